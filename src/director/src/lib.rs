//! The pure core: typestate machines and one event loop.
//!
//! No I/O, no clock, no randomness, no threads: events and the time go in, effects come out. The server's driver and the simulated
//! world carry out the same effects, and nothing else decides.
#![forbid(unsafe_code)]

mod alarms;
mod canary;
#[cfg(feature = "checking")]
mod checking;
mod connections;
mod director;
mod effect;
mod engine;
mod engines;
mod event;
mod floor;
#[cfg_attr(
    not(feature = "checking"),
    allow(dead_code, reason = "only a checked core is copied")
)]
mod fork;
mod gate;
mod ids;
mod intake;
mod invariants;
mod jobs;
mod ledger;
mod lineage;
mod machine;
mod moment;
mod placement;
mod plan;
mod references;
mod rips;
mod room;
#[cfg(feature = "checking")]
pub mod script;
mod seat;
mod sessions;
mod slot;
mod stems;
mod track;
mod tracks;

#[cfg(feature = "canary")]
pub use canary::Bug;
#[cfg(feature = "checking")]
pub use checking::{LiveView, Stand, TrackView};
pub use director::{Counters, Director};
pub use effect::{Close, Effect, Effects, Phase, StemsAtHand, StemsPhase, Task, Urgency};
pub use engine::{Caller, Component, Components, Engine, EngineId, Engines};
pub use event::{Event, Failure, Found, Intent, Mode, Outcome, ReferenceKind, Source};
pub use fork::{Fork, Rename};
pub use ids::{ClientKey, ConnectionId, JobId, LineageId, TrackId};
pub use intake::Ack;
pub use invariants::Broken;
#[cfg(feature = "checking")]
pub use machine::coverage;
pub use machine::{Row, Table};
pub use moment::{Moment, Span};
pub use plan::{Group, Groups, Limits, Need, Plan, Policy, Times, Uploads, Work};

/// The machines as types, for whoever wants to see that an illegal transition does not compile. Nobody outside can make the
/// tokens that they start from.
pub mod typestate {
    pub use crate::{
        intake::{Asker, Encoding, Intake, Saved, Saving as SavingSource, Waiting},
        placement::{Grounds, Lease, Parked, Parking, Pass, Placement, Resident, Restoring, Vacancy},
        references::{Reference, References, Wish},
        seat::{
            Ask, Candidate, Cause, Chair, Creating, Draining, Leaving, Live, Prompt, Released, Seat, Session, Stream,
            Swap,
        },
        slot::{Call, Empty, Loaded, Loading, Slot, Unloading},
        stems::{
            Absent, Discarded, Encoding as EncodingStems, Failed, Queued, Ready, Rip, Ripping, Saving, Stems, Tries,
        },
    };
}

/// The exit code that tells a supervisor to start the pod anew: the device is lost.
pub const EXIT_DEVICE_LOST: u8 = 75;

/// The tables of all machines, for the matrix, the graph and the campaign that must walk every cell.
pub const TABLES: [Table; 5] = [
    seat::Seat::TABLE,
    placement::Placement::TABLE,
    intake::Intake::TABLE,
    stems::Stems::TABLE,
    slot::Slot::TABLE,
];
