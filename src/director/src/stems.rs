//! The stems of a track.

use crate::{canary::Bug, event::Failure, fork::fork_fields, ids::JobId, machine::machine};

/// How far a rip is. It outlives its turns on the device: what was done stays done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rip {
    /// The job of the turn under way.
    pub(crate) job: Option<JobId>,
    /// Batches done.
    pub(crate) done: u32,
    /// Batches in all; 0 until the first report.
    pub(crate) total: u32,
    /// Times that the batch under way was abandoned.
    pub(crate) abandoned: u8,
    /// Memory ran out once. Never cleared: what was done then is gone, so batches done since are no sign that it will not again.
    pub(crate) short: bool,
}

fork_fields!(Rip {
    job,
    done,
    total,
    abandoned,
    short
});

/// Tries to encode the stems of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tries {
    /// The try under way.
    pub(crate) job: Option<JobId>,
    /// Tries that gave way.
    pub(crate) given_up: u8,
}

fork_fields!(Tries { job, given_up });

/// Encoding that gave way so often does not any more, and if it is stopped all the same the stems are written without.
pub(crate) const GIVEN_UP_MAX: u8 = 3;

machine! {
    /// The stems of a track.
    machine Stems {
        /// Nobody asked for them. In: a fixture, a track whose phase 1 is not over, a pod without a separator. Out: owed.
        Absent {}
        /// Owed. Out: the separator takes it up, or cannot.
        Queued {}
        /// Being made, or waiting in mid-rip for the device. Out: all batches are done, or it failed; out of memory the second time.
        Ripping { rip: Rip }
        /// Made; what the generator keeps of each is being made, or waits for the device. Out: there, or not to be had: a later swap encodes.
        Encoding { tries: Tries }
        /// Being written. Out: on disk, or the disk failed.
        Saving { job: Option<JobId> }
        /// At hand for good.
        Ready {}
        /// Not to be had.
        Failed { why: Failure }
        /// The track's owner is gone; whatever still comes is dropped.
        Discarded {}
    }
    transitions {
        Absent: owe() => Queued |_| Queued {};
        Absent: find() => Ready |_| Ready {};
        Absent: find_failed() => Failed |_| Failed { why: Failure::StemExtractFailed };
        Absent: discard() => Discarded |_| Discarded {};
        Queued: begin(job: JobId) => Ripping |_| Ripping { rip: Rip { job: Some(job), ..Rip::default() } };
        Queued: fail(why: Failure) => Failed |_| Failed { why };
        Queued: discard() => Discarded |_| Discarded {};
        Ripping: resume(job: JobId) => Ripping |from| Ripping { rip: Rip { job: Some(job), ..from.rip } };
        Ripping: progress(done: u32, total: u32) => Ripping |from| {
            let abandoned = if done > from.rip.done { 0 } else { from.rip.abandoned };
            Ripping { rip: Rip { done, total, abandoned, ..from.rip } }
        };
        Ripping: give_way(abandoned: bool) => Ripping |from| {
            let abandoned = from.rip.abandoned.saturating_add(u8::from(abandoned)).min(3);
            Ripping { rip: Rip { job: None, abandoned, ..from.rip } }
        };
        /// Memory ran out; what the try held has been given back, so once more from the beginning.
        Ripping: run_short() => Ripping |_| Ripping { rip: Rip { short: true, ..Rip::default() } };
        Ripping: ripped() => Saving |_| Saving { job: None };
        Ripping: ripped_to_keep() => Encoding |_| Encoding { tries: Tries::default() };
        Ripping: ripped_in_memory() => Ready |_| Ready {};
        Ripping: fail(why: Failure) => Failed |_| Failed { why };
        Ripping: discard() => Discarded |_| Discarded {};
        Encoding: encode(job: JobId) => Encoding |from| Encoding { tries: Tries { job: Some(job), ..from.tries } };
        Encoding: give_way() => Encoding |from| Encoding { tries: Tries { job: None, given_up: from.tries.given_up + 1 } };
        Encoding: encoded() => Saving |_| Saving { job: None };
        Encoding: discard() => Discarded |_| Discarded {};
        Saving: save(job: JobId) => Saving |_| Saving { job: Some(job) };
        Saving: saved() => Ready |_| Ready {};
        Saving: fail(why: Failure) => Failed |_| Failed { why };
        Saving: discard() => Discarded |_| Discarded {};
    }
}

impl Rip {
    /// Batches done, and how often the one under way was abandoned.
    #[must_use]
    pub fn progress(&self) -> (u32, u8) {
        (self.done, self.abandoned)
    }
}

impl Ripping {
    pub(crate) fn rip(&self) -> Rip {
        self.rip
    }
}

impl Encoding {
    pub(crate) fn tries(&self) -> Tries {
        self.tries
    }
}

impl Stems {
    pub(crate) fn absent() -> Self {
        Absent {}.into()
    }

    /// Whether the separator has something to do here.
    pub(crate) fn wants_rip(&self) -> bool {
        matches!(self, Self::Queued(_) | Self::Ripping(_))
            || (Bug::DoubleRip.is_active() && matches!(self, Self::Saving(_)))
    }

    /// Whether they are owed and not there yet.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::Queued(_) | Self::Ripping(_) | Self::Encoding(_) | Self::Saving(_)
        )
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Failed(state) => Some(state.why),
            _ => None,
        }
    }

    pub(crate) fn rip(&self) -> Option<Rip> {
        match self {
            Self::Ripping(state) => Some(state.rip),
            _ => None,
        }
    }

    /// How often they were tried to be encoded, while they are to be.
    pub(crate) fn tries(&self) -> Option<Tries> {
        match self {
            Self::Encoding(state) => Some(state.tries),
            _ => None,
        }
    }

    /// Whether they are to be written and nobody does it yet.
    pub(crate) fn is_unsaved(&self) -> bool {
        matches!(self, Self::Saving(Saving { job: None }))
    }

    /// Whatever still comes is dropped; what is final stays so.
    pub(crate) fn discarded(self) -> Self {
        match self {
            Self::Absent(state) => state.discard().into(),
            Self::Queued(state) => state.discard().into(),
            Self::Ripping(state) => state.discard().into(),
            Self::Encoding(state) => state.discard().into(),
            Self::Saving(state) => state.discard().into(),
            other @ (Self::Ready(_) | Self::Failed(_) | Self::Discarded(_)) => other,
        }
    }

    /// Not to be had after all; what is final stays so.
    pub(crate) fn failed(self, why: Failure) -> Self {
        match self {
            Self::Queued(state) => state.fail(why).into(),
            Self::Ripping(state) => state.fail(why).into(),
            Self::Saving(state) => state.fail(why).into(),
            // Stems that are made are not lost for want of what would be kept of them.
            other @ (Self::Absent(_) | Self::Encoding(_) | Self::Ready(_) | Self::Failed(_) | Self::Discarded(_)) => {
                other
            }
        }
    }
}
