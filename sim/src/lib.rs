//! The simulated world the director is proved in: virtual time, seeded chance, clients that misbehave, jobs that are slow, fail or hang.
//! One thread; the same seed always gives the same history. The director in it is the production one, never a copy.
#![forbid(unsafe_code)]

mod chance;
mod clients;
mod faults;
mod shadow;
mod swarm;
mod world;

pub use faults::Faults;
pub use swarm::{Campaign, Outcome, campaign, run_seed};
pub use world::{History, Violation, World};
