//! A track as the director knows it: whose it is, and how far its phases are. Its audio is the driver's.

use crate::{
    engine::Engines,
    event::Mode,
    fork::{Fork, Rename, fork_fields, fork_plain},
    ids::{ConnectionId, JobId, LineageId},
    intake::Intake,
    machine::Cell,
    stems::Stems,
};

/// What a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Shipped with the pod; never wiped.
    Fixture,
    /// Uploaded: listed, on disk.
    Upload,
    /// What a session brought with it: played, ripped, never listed or written.
    Nameless(ConnectionId),
}

impl Fork for Kind {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Nameless(connection) => Self::Nameless(connection.fork(rename)),
            other => *other,
        }
    }
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// Everybody's: fixtures, and kept uploads whose session is over.
    Everybody,
    /// The next session's.
    Unclaimed,
    /// This line of sessions'.
    Lineage(LineageId),
}

impl Fork for Owner {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Lineage(lineage) => Self::Lineage(lineage.fork(rename)),
            other => *other,
        }
    }
}

/// How far the removal of a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doom {
    /// It stays.
    None,
    /// It goes as soon as no job touches it.
    Sealed,
    /// Its files are being removed.
    Wiping(JobId),
    /// The disk would not give them up; tried again later. Nothing of it can be reached meanwhile.
    Stuck,
}

impl Fork for Doom {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Wiping(job) => Self::Wiping(job.fork(rename)),
            other => *other,
        }
    }
}

/// Whether the owner is still to be told how the stems ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owed {
    /// Nothing is owed.
    Nothing,
    /// `stem_assets`, `stem_failed`, or a discard: exactly one of them.
    Answer,
}

fork_plain!(Owed);

/// One track.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Track {
    pub(crate) kind: Kind,
    pub(crate) owner: Owner,
    pub(crate) intake: Cell<Intake>,
    pub(crate) stems: Cell<Stems>,
    pub(crate) owed: Owed,
    pub(crate) doom: Doom,
    /// The engines that serve it; none before it is measured.
    pub(crate) engines: Option<Engines>,
}

fork_fields!(Track {
    kind,
    owner,
    intake,
    stems,
    owed,
    doom,
    engines
});

impl Track {
    pub(crate) fn new(kind: Kind, owner: Owner, intake: Intake) -> Self {
        Self {
            kind,
            owner,
            intake: Cell::new(intake),
            stems: Cell::new(Stems::absent()),
            owed: Owed::Nothing,
            doom: Doom::None,
            engines: None,
        }
    }

    /// Whether anything about it reaches the disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.kind == Kind::Upload
    }

    /// Whether anybody may name it.
    pub(crate) fn is_usable(&self) -> bool {
        self.doom == Doom::None
    }

    /// Whether it can be played in `mode` now.
    pub(crate) fn is_playable(&self, mode: Mode) -> bool {
        self.is_usable() && self.intake.get().is_saved() && (!mode.waits_for_stems() || self.stems.get().is_ready())
    }

    /// Asks for stems, where nobody has yet.
    pub(crate) fn owe_stems(&mut self) {
        self.stems.step(|stems| match stems {
            Stems::Absent(state) => (state.owe().into(), ()),
            other => (other, ()),
        });
    }
}
