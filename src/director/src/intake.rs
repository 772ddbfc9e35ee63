//! Phase 1 of a track.

use crate::ids::{ConnectionId, TrackId};

/// The right to say `upload_ok`: only a saved track gives one.
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
