//! The pure core: three machines and one event loop.
//!
//! No I/O, no clock, no randomness, no threads: events and the time go in, effects come out. The server's driver and the simulated
//! world carry out the same effects, and nothing else decides.
#![forbid(unsafe_code)]

mod effect;
mod event;
mod ids;
mod intake;
mod moment;
mod plan;

pub use effect::{Close, Effect, Effects, Phase, StemsAtHand, StemsPhase, Task, Urgency};
pub use event::{Event, Failure, Found, Intent, Mode, Outcome, Source};
pub use ids::{ClientKey, ConnectionId, JobId, LineageId, TrackId};
pub use intake::Ack;
pub use moment::{Moment, Span};
pub use plan::{Group, Groups, Limits, Need, Plan, Policy, Times, Uploads, Work};

/// The pod's one decider. (The API is fixed; the machines behind it are being written.)
#[derive(Debug)]
pub struct Director {
    plan: Plan,
}

impl Director {
    /// A pod with nobody on it and every group parked; it asks for nothing until the first event.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan }
    }

    /// Handles one event at a moment that is never before an earlier one; asks for everything that follows from it.
    pub fn handle(&mut self, now: Moment, event: Event, effects: &mut Effects) {
        let _ = (now, event, effects, &self.plan);
    }

    /// When to call with [`Event::Timer`] next, if nothing happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        None
    }
}
