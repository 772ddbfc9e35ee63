//! What the director is told. Every event is quick to handle; whatever is slow is a job between two of them.

use crate::{
    engine::Engines,
    ids::{ClientKey, ConnectionId, JobId, TrackId},
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A connection was accepted and is authorised. Answered by nothing, or by `Refuse{Busy}` where too many handshakes are open.
    HandshakeOpened {
        /// The connection.
        connection: ConnectionId,
    },
    /// Its first frame said what it is and how much audio follows. Answered by `Proceed` or `Refuse`; until then the driver reads no further.
    HandshakeDeclared {
        /// The connection.
        connection: ConnectionId,
        /// What it is.
        intent: Intent,
        /// Declared size of what follows, in bytes.
        bytes: u64,
    },
    /// The handshake of a session is whole and valid: it may now take the pod over.
    SessionAsked {
        /// The connection.
        connection: ConnectionId,
        /// Who asks; none for an empty `client_id`.
        client: Option<ClientKey>,
        /// What is to be played.
        source: Source,
        /// Which part of it.
        mode: Mode,
    },
    /// The body of an upload is whole.
    UploadAsked {
        /// The connection or HTTP request.
        connection: ConnectionId,
        /// The number that the driver gave the track to be.
        track: TrackId,
    },
    /// The socket is closed for good, by either side; the last event of a connection.
    ConnectionGone {
        /// The connection.
        connection: ConnectionId,
    },
    /// The count of bytes that the client has not acknowledged is not zero and stopped falling.
    ClientStuck {
        /// The connection.
        connection: ConnectionId,
    },
    /// It falls again, or is zero.
    ClientMoving {
        /// The connection.
        connection: ConnectionId,
    },
    /// The live session wants another source.
    SwapAsked {
        /// The session's connection.
        connection: ConnectionId,
        /// What is to be played.
        source: Source,
        /// Which part of it.
        mode: Mode,
    },
    /// The live session's prompt changed; the driver keeps the newest text.
    PromptAsked {
        /// The session's connection.
        connection: ConnectionId,
    },
    /// The live session wants another timbre or structure than its source's.
    ReferenceAsked {
        /// The session's connection.
        connection: ConnectionId,
        /// Which of the two.
        kind: ReferenceKind,
        /// Whose; none for its source's own again.
        source: Option<Source>,
    },
    /// The live thread wants to tick, or has nothing to do (idle pause).
    Playing {
        /// The session's connection.
        connection: ConnectionId,
        /// Whether it wants to tick.
        wanted: bool,
    },
    /// No pass is out any more since the `GateClose` of that number.
    GateDrained {
        /// The number of the closing.
        closing: u64,
    },
    /// A job ended, in whatever way.
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        outcome: Outcome,
    },
    /// A rip got on.
    RipProgress {
        /// The rip's job.
        job: JobId,
        /// Batches done.
        done: u32,
        /// Batches in all.
        total: u32,
    },
    /// A track that the disk had at boot, told before any connection.
    TrackFound {
        /// The number that the driver gave it.
        track: TrackId,
        /// What it is.
        found: Found,
    },
    /// How long a track is has been measured, and which engines serve it: told before its phase 1 ends (of a track found at boot, right after
    /// it), and again when that changes, by the way it is played or by what is built. The newest counts.
    SourceMeasured {
        /// The track.
        track: TrackId,
        /// The smallest engine that covers it, for each component.
        engines: Engines,
    },
    /// Memory that other processes hold changed.
    ForeignMemory {
        /// Bytes that are not ours and not free.
        bytes: u64,
    },
    /// The device is unusable until the process ends.
    DeviceLost,
    /// SIGTERM or its like; a second one ends at once.
    ShutdownAsked,
    /// Time passed: something in `next_deadline` may be due.
    Timer,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// A live session.
    Session,
    /// An upload, over a socket or by POST.
    Upload,
}

/// Where the audio of a session or swap comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The PCM that the connection just sent; becomes a nameless track of this number.
    Sent(TrackId),
    /// A track that the server has.
    Track(TrackId),
}

/// What a session may borrow of a source that it does not play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// How it sounds.
    Timbre,
    /// How it goes.
    Structure,
}

impl ReferenceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Timbre, Self::Structure];
}

/// Which part of a source is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// All of it; stems are owed (the default of an upload).
    Full,
    /// All of it; no stems wanted (the default of a fixture).
    Plain,
    /// The singing; waits for stems.
    Vocals,
    /// The rest; waits for stems.
    Instruments,
}

impl Mode {
    /// Whether it can only be played once the stems are there.
    #[must_use]
    pub const fn waits_for_stems(self) -> bool {
        matches!(self, Self::Vocals | Self::Instruments)
    }
}

/// What a track found at boot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// A fixture whose stems are at hand.
    FixtureWithStems,
    /// A fixture without stems.
    Fixture,
    /// A kept upload whose stems are at hand.
    UploadWithStems,
    /// A kept upload whose stems are owed.
    UploadOwingStems,
    /// A kept upload whose separation failed.
    UploadWithoutStems,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// A rip gave way; what it had done stays.
    Yielded {
        /// Whether a batch was abandoned in the middle.
        abandoned: bool,
    },
    /// It saw that it was cancelled.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// Why a job failed or a request was refused; each has its code on the wire (§3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The audio cannot be used.
    BadAudio,
    /// It is too long.
    TooLong,
    /// It is too short.
    TooShort,
    /// It did not arrive in time.
    TooSlow,
    /// Device or host memory ran out.
    OutOfMemory,
    /// Too much is going on; later is fine.
    Busy,
    /// The disk, the data directory's limit or the number of tracks is full.
    DiskFull,
    /// The device is gone.
    DeviceLost,
    /// Something newer took its place.
    Superseded,
    /// The stems could not be made.
    StemExtractFailed,
    /// No engine covers the shape.
    EngineNotBuilt,
    /// The library gave no execution context for an engine, and no error either.
    NullContext,
    /// Anything else; the log says what.
    Internal,
}
