//! Connections before and after they are sessions: admission, reserved bytes, closing.

use crate::{
    alarms::Alarm,
    canary::Bug,
    director::Director,
    effect::{Close, Effect, Effects},
    event::{Failure, Intent, Source},
    fork::{Fork, Rename, fork_fields, fork_plain},
    ids::{ConnectionId, LineageId, TrackId},
    intake::Intake,
    seat::{Ask, Cause},
    track::{Kind, Owner, Track},
};

fork_plain!(Intent);

/// Connections that are being refused are remembered up to this many; beyond, they are dropped at once.
const CONNECTIONS_MAX: usize = 64;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// Its first frame is due.
    Greeting,
    /// Its audio is coming; an upload belongs to the lineage that was live when it began.
    Body {
        intent: Intent,
        began_in: Option<LineageId>,
    },
    /// An upload in phase 1.
    Uploading(TrackId),
    /// A candidate or the session on the chair.
    Seated,
    /// Told to close.
    Closing,
}

impl Fork for Standing {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Body { intent, began_in } => Self::Body {
                intent: *intent,
                began_in: began_in.fork(rename),
            },
            Self::Uploading(track) => Self::Uploading(track.fork(rename)),
            other => *other,
        }
    }
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Connection {
    pub(crate) standing: Standing,
    /// Bytes reserved for what it sends, until they are no longer held.
    pub(crate) reserved: u64,
}

fork_fields!(Connection { standing, reserved });

impl Connection {
    fn is_handshake(&self) -> bool {
        matches!(self.standing, Standing::Greeting | Standing::Body { .. })
    }

    fn is_upload(&self) -> bool {
        matches!(
            self.standing,
            Standing::Uploading(_)
                | Standing::Body {
                    intent: Intent::Upload,
                    ..
                }
        )
    }
}

impl Director {
    pub(crate) fn handshake_opened(&mut self, connection: ConnectionId, effects: &mut Effects) {
        if self.connections.contains_key(&connection) {
            return self.stale();
        }
        if self.connections.len() >= CONNECTIONS_MAX {
            effects.push(Effect::Refuse {
                connection,
                failure: Failure::Busy,
            });
            effects.push(Effect::ForceClose { connection });
            return;
        }
        let handshakes = self.connections.values().filter(|other| other.is_handshake()).count();
        self.connections.insert(
            connection,
            Connection {
                standing: Standing::Greeting,
                reserved: 0,
            },
        );
        if !self.is_running() {
            return self.close(connection, Close::GoingAway, effects);
        }
        if handshakes >= self.plan.limits.handshakes {
            return self.refuse(connection, Failure::Busy, effects);
        }
        self.alarms
            .set(Alarm::FirstFrame(connection), self.now + self.plan.times.first_frame);
    }

    pub(crate) fn handshake_declared(
        &mut self,
        connection: ConnectionId,
        intent: Intent,
        bytes: u64,
        effects: &mut Effects,
    ) {
        if self.standing(connection) != Some(Standing::Greeting) {
            return self.stale();
        }
        if let Err(failure) = self.admit_body(intent, bytes) {
            return self.refuse(connection, failure, effects);
        }
        let began_in = self
            .incumbent
            .as_ref()
            .filter(|incumbent| incumbent.leaving().is_none())
            .and(self.lineage.as_ref())
            .map(|lineage| lineage.id);
        self.connections.insert(
            connection,
            Connection {
                standing: Standing::Body { intent, began_in },
                reserved: bytes,
            },
        );
        self.alarms.clear(Alarm::FirstFrame(connection));
        self.alarms
            .set(Alarm::Body(connection), self.now + self.plan.times.body);
        effects.push(Effect::Proceed { connection });
        let incumbent = self.incumbent.as_ref().map(|incumbent| incumbent.connection);
        if let Some(incumbent) = incumbent.filter(|_| intent == Intent::Session && Bug::PreemptedTooEarly.is_active()) {
            self.leave(incumbent, Cause::Closed(Close::Preempted), effects);
        }
    }

    /// Whether so many bytes may be sent now.
    fn admit_body(&self, intent: Intent, bytes: u64) -> Result<(), Failure> {
        let limits = self.plan.limits;
        let reserved: u64 = self.connections.values().map(|other| other.reserved).sum();
        if reserved.saturating_add(bytes) > limits.handshake_bytes {
            return Err(Failure::Busy);
        }
        if intent == Intent::Upload {
            if self.connections.values().filter(|other| other.is_upload()).count() >= limits.uploads {
                return Err(Failure::Busy);
            }
            if self.tracks.values().filter(|track| track.kind == Kind::Upload).count() >= limits.tracks {
                return Err(Failure::DiskFull);
            }
        }
        Ok(())
    }

    pub(crate) fn session_asked(&mut self, connection: ConnectionId, ask: Ask, effects: &mut Effects) {
        if !matches!(
            self.standing(connection),
            Some(Standing::Body {
                intent: Intent::Session,
                ..
            })
        ) {
            // It timed out or left while its last bytes came: they lie there for nobody.
            if let Source::Sent(track) = ask.source {
                effects.push(Effect::Forget { track });
            }
            return self.stale();
        }
        self.alarms.clear(Alarm::Body(connection));
        self.stand(connection, Standing::Seated);
        self.seat_asked(connection, ask, effects);
    }

    pub(crate) fn upload_asked(&mut self, connection: ConnectionId, track: TrackId, effects: &mut Effects) {
        let Some(Standing::Body {
            intent: Intent::Upload,
            began_in,
        }) = self.standing(connection)
        else {
            effects.push(Effect::Forget { track });
            return self.stale();
        };
        self.alarms.clear(Alarm::Body(connection));
        let current = self.lineage.as_ref().map(|lineage| lineage.id);
        let live = self
            .incumbent
            .as_ref()
            .is_some_and(|incumbent| incumbent.leaving().is_none());
        let owner = match (began_in, current) {
            (Some(began), Some(current)) if began == current => Owner::Lineage(current),
            (Some(_), _) => {
                effects.push(Effect::Forget { track });
                return self.answer_upload(
                    connection,
                    Effect::UploadFailed {
                        connection,
                        failure: Failure::Superseded,
                    },
                    effects,
                );
            }
            (None, Some(current)) if live => Owner::Lineage(current),
            (None, _) => Owner::Unclaimed,
        };
        self.tracks.insert(
            track,
            Track::new(Kind::Upload, owner, Intake::arrived(Some(connection))),
        );
        if owner == Owner::Unclaimed && self.plan.uploads == crate::Uploads::Wipe {
            self.alarms
                .set(Alarm::Unclaimed(track), self.now + self.plan.times.unclaimed);
        }
        self.stand(connection, Standing::Uploading(track));
    }

    pub(crate) fn connection_gone(&mut self, connection: ConnectionId, effects: &mut Effects) {
        if self.connections.remove(&connection).is_none() {
            return self.stale();
        }
        for alarm in [
            Alarm::FirstFrame(connection),
            Alarm::Body(connection),
            Alarm::Grace(connection),
            Alarm::Stall(connection),
        ] {
            self.alarms.clear(alarm);
        }
        self.seat_gone(connection, effects);
    }

    /// Closes with a code and waits for the socket to go.
    pub(crate) fn close(&mut self, connection: ConnectionId, code: Close, effects: &mut Effects) {
        if self.begin_closing(connection) {
            effects.push(Effect::Close { connection, code });
        }
    }

    /// Says why and closes.
    pub(crate) fn refuse(&mut self, connection: ConnectionId, failure: Failure, effects: &mut Effects) {
        if self.begin_closing(connection) {
            effects.push(Effect::Refuse { connection, failure });
        }
    }

    /// Answers an upload whose client may still be there, or may have been told that the pod ends: then it hears nothing after that.
    pub(crate) fn answer_upload(&mut self, connection: ConnectionId, answer: Effect, effects: &mut Effects) {
        if self.begin_closing(connection) || self.standing(connection).is_none() {
            effects.push(answer);
        }
    }

    fn begin_closing(&mut self, connection: ConnectionId) -> bool {
        let Some(standing) = self.standing(connection) else {
            return false;
        };
        if standing == Standing::Closing {
            return false;
        }
        self.alarms.clear(Alarm::FirstFrame(connection));
        self.alarms.clear(Alarm::Body(connection));
        self.alarms.clear(Alarm::Stall(connection));
        self.connections.insert(
            connection,
            Connection {
                standing: Standing::Closing,
                reserved: 0,
            },
        );
        self.alarms
            .set(Alarm::Grace(connection), self.now + self.plan.times.farewell);
        true
    }

    pub(crate) fn grace_over(&mut self, connection: ConnectionId, effects: &mut Effects) {
        effects.push(Effect::ForceClose { connection });
        self.seat_forced(connection);
    }

    pub(crate) fn close_everybody(&mut self, code: Close, effects: &mut Effects) {
        let seated = self.incumbent.as_ref().map(|incumbent| incumbent.connection);
        self.candidate = None;
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            if Some(connection) == seated {
                self.leave(connection, Cause::Closed(code), effects);
            } else {
                self.close(connection, code, effects);
            }
        }
        self.drop_unfinished(Failure::Internal, effects);
    }

    pub(crate) fn refuse_everybody(&mut self, failure: Failure, effects: &mut Effects) {
        let seated = self.incumbent.as_ref().map(|incumbent| incumbent.connection);
        self.candidate = None;
        self.drop_unfinished(failure, effects);
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            if Some(connection) == seated {
                self.leave(connection, Cause::Failed(failure), effects);
            } else {
                self.refuse(connection, failure, effects);
            }
        }
    }

    pub(crate) fn standing(&self, connection: ConnectionId) -> Option<Standing> {
        self.connections.get(&connection).map(|connection| connection.standing)
    }

    pub(crate) fn release_reserved(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.reserved = 0;
        }
    }

    fn stand(&mut self, connection: ConnectionId, standing: Standing) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.standing = standing;
        }
    }
}
