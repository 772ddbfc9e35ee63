//! The simulated world the director is proved in: virtual time, seeded chance, clients that misbehave, jobs that are slow, fail or hang,
//! a device that runs out of memory, a disk that tears and fills up. One thread a history; the same seed always gives the same one. The
//! director in it is the production one, never a copy.
#![forbid(unsafe_code)]

#[cfg(feature = "canary")]
pub mod canary;
mod chance;
mod clients;
mod device;
mod disk;
mod faults;
pub mod field;
mod marks;
mod matrix;
mod onlooker;
mod plans;
mod queue;
mod record;
mod script;
mod shadow;
mod shrink;
mod swarm;
mod timeline;
mod trace;
mod world;

pub use faults::{Fault, Faults};
pub use marks::Mark;
pub use matrix::Matrix;
pub use record::Record;
pub use script::{Deed, Script};
pub use shrink::shrink;
pub use swarm::{
    Campaign, Extent, Lived, Outcome, WHOLE_CAMPAIGN, campaign, campaign_on, run_script, run_seed, words_of,
};
pub use timeline::timeline;
pub use world::{History, Tamper, Violation, World};
