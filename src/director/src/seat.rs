//! The life of a session on the pod's one seat.

use crate::{
    effect::Close,
    event::{Failure, Mode, Source},
    fork::{Fork, Rename, fork_fields, fork_plain},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    machine::machine,
    references::References,
};

/// The seat itself: there is one, so there is at most one session that is being created, lives, or is being torn down.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Chair(());

impl Chair {
    /// The pod's one chair, made with the pod.
    pub(crate) fn mint() -> Self {
        Self(())
    }
}

impl Fork for Chair {
    fn fork(&self, _rename: &Rename) -> Self {
        Self(())
    }
}

/// What a whole handshake asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub(crate) client: Option<ClientKey>,
    pub(crate) source: Source,
    pub(crate) mode: Mode,
}

fork_fields!(Ask { client, source, mode });

impl Ask {
    /// The track that is to be played.
    pub(crate) fn track(&self) -> TrackId {
        match self.source {
            Source::Sent(track) | Source::Track(track) => track,
        }
    }
}

/// A source on its way into a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Swap {
    pub(crate) track: TrackId,
    pub(crate) mode: Mode,
    /// Set while the live thread is at it.
    pub(crate) job: Option<JobId>,
}

fork_fields!(Swap { track, mode, job });

/// What became of the newest prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prompt {
    /// In force.
    Settled,
    /// Waits for the live thread.
    Asked,
    /// Being encoded; `again` if a newer one came meanwhile.
    Encoding {
        /// By this job.
        job: JobId,
        /// Whether a newer one came.
        again: bool,
    },
}

impl Fork for Prompt {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Settled => Self::Settled,
            Self::Asked => Self::Asked,
            Self::Encoding { job, again } => Self::Encoding {
                job: job.fork(rename),
                again: *again,
            },
        }
    }
}

/// What a live session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    pub(crate) client: Option<ClientKey>,
    pub(crate) track: TrackId,
    pub(crate) mode: Mode,
    /// Whether the live thread wants to tick.
    pub(crate) wanted: bool,
    /// The swap under way, and the newest one behind it.
    pub(crate) swap: Option<Swap>,
    pub(crate) next_swap: Option<Swap>,
    pub(crate) prompt: Prompt,
    pub(crate) references: References,
}

fork_fields!(Session {
    client,
    track,
    mode,
    wanted,
    swap,
    next_swap,
    prompt,
    references
});

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The client closed.
    Left,
    /// The server closed it with this code.
    Closed(Close),
    /// It could not start, or broke.
    Failed(Failure),
}

fork_plain!(Cause);

/// The session's stream on the live thread while the session is being torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// There is none.
    None,
    /// A job is still opening it.
    Opening(JobId),
    /// It stands and must be closed.
    Open,
    /// A job is closing it.
    Closing(JobId),
}

impl Fork for Stream {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::None => Self::None,
            Self::Opening(job) => Self::Opening(job.fork(rename)),
            Self::Open => Self::Open,
            Self::Closing(job) => Self::Closing(job.fork(rename)),
        }
    }
}

/// A session being torn down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaving {
    pub(crate) client: Option<ClientKey>,
    pub(crate) cause: Cause,
    pub(crate) socket_open: bool,
    pub(crate) forced: bool,
    pub(crate) stream: Stream,
}

fork_fields!(Leaving {
    client,
    cause,
    socket_open,
    forced,
    stream
});

machine! {
    /// The life of a session.
    machine Seat {
        /// Its handshake is whole and valid. Out: the chair is free, or a later one took its place.
        Candidate { ask: Ask }
        /// On the chair; tracks of others are wiped, its source and stems are made, its stream is opened.
        Creating { chair: Chair, ask: Ask, opening: Option<JobId> }
        /// Playing.
        Live { chair: Chair, session: Session }
        /// Leaving: its socket closes, its stream is freed. Out: both are done.
        Draining { chair: Chair, leaving: Leaving }
        /// Gone; what it had is free.
        Released {}
    }
    transitions {
        Candidate: admit(chair: Chair) => Creating |from| Creating { chair, ask: from.ask, opening: None };
        Candidate: pass_over() => Released |_| Released {};
        Creating: open(job: JobId) => Creating |from| Creating { opening: Some(job), ..from };
        Creating: opened(session: Session) => Live |from| Live { chair: from.chair, session };
        Creating: leave(leaving: Leaving) => Draining |from| Draining { chair: from.chair, leaving };
        Live: leave(leaving: Leaving) => Draining |from| Draining { chair: from.chair, leaving };
        Draining: force() => Draining |from| Draining { leaving: Leaving { forced: true, ..from.leaving }, ..from };
        Draining: socket_gone() => Draining |from| Draining { leaving: Leaving { socket_open: false, ..from.leaving }, ..from };
        Draining: stream(stream: Stream) => Draining |from| Draining { leaving: Leaving { stream, ..from.leaving }, ..from };
        /// Only when the socket is closed and the stream is freed.
        Draining: release() => Released with Chair |from| {
            assert!(!from.leaving.socket_open && from.leaving.stream == Stream::None, "released with something still held");
            (Released {}, from.chair)
        };
    }
}

impl Candidate {
    pub(crate) fn new(ask: Ask) -> Self {
        Self { ask }
    }
}

impl Creating {
    pub(crate) fn ask(&self) -> Ask {
        self.ask
    }

    pub(crate) fn opening(&self) -> Option<JobId> {
        self.opening
    }
}

impl Live {
    /// Whom the pod plays for: everything that is sent to a session is sent to this.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Draining {
    pub(crate) fn leaving(&self) -> Leaving {
        self.leaving
    }
}

/// The session on the chair: which connection, and where in its life.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Incumbent {
    pub(crate) connection: ConnectionId,
    pub(crate) seat: crate::machine::Cell<Seat>,
}

fork_fields!(Incumbent { connection, seat });

impl Incumbent {
    pub(crate) fn live(&self) -> Option<&Session> {
        match self.seat.get() {
            Seat::Live(live) => Some(live.session()),
            _ => None,
        }
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Session> {
        match self.seat.get_mut() {
            Seat::Live(live) => Some(&mut live.session),
            _ => None,
        }
    }

    pub(crate) fn creating(&self) -> Option<&Creating> {
        match self.seat.get() {
            Seat::Creating(creating) => Some(creating),
            _ => None,
        }
    }

    pub(crate) fn leaving(&self) -> Option<Leaving> {
        match self.seat.get() {
            Seat::Draining(draining) => Some(draining.leaving()),
            _ => None,
        }
    }

    /// Puts a draining session's stream into another state.
    pub(crate) fn set_stream(&mut self, stream: Stream) {
        self.seat.step(|seat| match seat {
            Seat::Draining(draining) => (draining.stream(stream).into(), ()),
            other => (other, ()),
        });
    }

    /// The client whose session it is.
    pub(crate) fn client(&self) -> Option<ClientKey> {
        match self.seat.get() {
            Seat::Candidate(state) => state.ask.client,
            Seat::Creating(state) => state.ask.client,
            Seat::Live(state) => state.session.client,
            Seat::Draining(state) => state.leaving.client,
            Seat::Released(_) => None,
        }
    }
}
