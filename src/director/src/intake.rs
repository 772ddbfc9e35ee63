//! Phase 1 of a track: from audio that arrived to a track that can be played.

use crate::{
    event::Failure,
    fork::{Fork, Rename},
    ids::{ConnectionId, JobId, TrackId},
    machine::machine,
};

/// The right to say `upload_ok`: only a saved track gives one, and only once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ack {
    connection: ConnectionId,
    track: TrackId,
    stems_pending: bool,
}

impl Ack {
    /// Who is told.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Of which track.
    #[must_use]
    pub fn track(&self) -> TrackId {
        self.track
    }

    /// Whether stems follow.
    #[must_use]
    pub fn stems_pending(&self) -> bool {
        self.stems_pending
    }
}

/// Somebody waits for the answer of an upload.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Asker(pub(crate) ConnectionId);

impl Fork for Asker {
    fn fork(&self, rename: &Rename) -> Self {
        Self(self.0.fork(rename))
    }
}

machine! {
    /// Phase 1 of a track.
    machine Intake {
        /// The audio is here. Out: the work thread is free and the groups are resident.
        Waiting { asker: Option<Asker>, retried: bool }
        /// Decoding, analysing, encoding. Out: done, failed, or out of memory for the first time.
        Encoding { asker: Option<Asker>, retried: bool, job: JobId }
        /// Being made durable. Out: the manifest is on disk, or the disk failed.
        Saving { asker: Option<Asker>, job: Option<JobId> }
        /// Playable. In: also a nameless track after encoding, and what the disk had at boot.
        Saved { asker: Option<Asker> }
        /// Came to nothing.
        Failed { why: Failure }
    }
    transitions {
        Waiting: encode(job: JobId) => Encoding |from| Encoding { asker: from.asker, retried: from.retried, job };
        Waiting: fail(why: Failure) => Failed with Option<Asker> |from| (Failed { why }, from.asker);
        Encoding: encoded() => Saving |from| Saving { asker: from.asker, job: None };
        Encoding: encoded_in_memory() => Saved |from| Saved { asker: from.asker };
        /// Memory ran out, and everything that can be given back has been, or it turned out on the way which engine is needed: so once more.
        Encoding: retry() => Waiting |from| Waiting { asker: from.asker, retried: true };
        Encoding: fail(why: Failure) => Failed with Option<Asker> |from| (Failed { why }, from.asker);
        Saving: save(job: JobId) => Saving |from| Saving { asker: from.asker, job: Some(job) };
        Saving: saved() => Saved |from| Saved { asker: from.asker };
        Saving: fail(why: Failure) => Failed with Option<Asker> |from| (Failed { why }, from.asker);
    }
}

impl Saved {
    /// The acknowledgement, if somebody waits for it: once.
    pub fn ack(&mut self, track: TrackId, stems_pending: bool) -> Option<Ack> {
        self.asker.take().map(|asker| Ack {
            connection: asker.0,
            track,
            stems_pending,
        })
    }
}

impl Intake {
    /// Audio that has just arrived.
    pub(crate) fn arrived(asker: Option<ConnectionId>) -> Self {
        Waiting {
            asker: asker.map(Asker),
            retried: false,
        }
        .into()
    }

    /// A track that the disk had at boot.
    pub(crate) fn found() -> Self {
        Saved { asker: None }.into()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    pub(crate) fn is_saved(&self) -> bool {
        matches!(self, Self::Saved(_))
    }

    /// Whether phase 1 is still under way.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Encoding(_) | Self::Saving(_))
    }

    /// Whether it is to be saved and nobody does it yet.
    pub(crate) fn is_unsaved(&self) -> bool {
        matches!(self, Self::Saving(Saving { job: None, .. }))
    }

    /// Why it came to nothing.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Failed(state) => Some(state.why),
            _ => None,
        }
    }

    /// Who waits for the answer.
    pub(crate) fn asker(&self) -> Option<ConnectionId> {
        let asker = match self {
            Self::Waiting(state) => &state.asker,
            Self::Encoding(state) => &state.asker,
            Self::Saving(state) => &state.asker,
            Self::Saved(state) => &state.asker,
            Self::Failed(_) => &None,
        };
        asker.as_ref().map(|asker| asker.0)
    }

    /// Whether it may still be retried.
    pub(crate) fn may_retry(&self) -> bool {
        matches!(self, Self::Encoding(Encoding { retried: false, .. }))
    }

    /// Came to nothing; what is final stays so. Gives whoever waits for the answer.
    pub(crate) fn failed(self, why: Failure) -> (Self, Option<Asker>) {
        let (state, asker) = match self {
            Self::Waiting(state) => state.fail(why),
            Self::Encoding(state) => state.fail(why),
            Self::Saving(state) => state.fail(why),
            other @ (Self::Saved(_) | Self::Failed(_)) => return (other, None),
        };
        (state.into(), asker)
    }
}
