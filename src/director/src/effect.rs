//! What the director wants done: the driver's and the simulation's whole instruction set. Nothing else decides.

use crate::{
    engine::{Caller, Component, EngineId},
    event::{Failure, Mode, ReferenceKind},
    ids::{ConnectionId, JobId, TrackId},
    intake::Ack,
    plan::Group,
    slot::Call,
};

/// One thing to do. Effects are carried out in order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read on: the declared bytes are reserved.
    Proceed {
        /// The connection.
        connection: ConnectionId,
    },
    /// Say why and close: `error` and 1011 for a session, `upload_failed` and 1000 for an upload, an HTTP error for a POST.
    Refuse {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        failure: Failure,
    },
    /// Send this close code ahead of everything queued (at most one frame is in flight) and nothing after it.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        code: Close,
    },
    /// Drop the socket without waiting for the client; `ConnectionGone` must follow soon.
    ForceClose {
        /// The connection.
        connection: ConnectionId,
    },
    /// Start a job; `JobEnded` must follow exactly once.
    Start {
        /// Its number.
        job: JobId,
        /// What to do.
        task: Task,
    },
    /// What follows next, a job's start or the gate's opening, may call these engines and no others. Never said where it may call none.
    Lend {
        /// Who.
        to: Caller,
        /// Which, in the order of [`Component::ALL`].
        engines: [Option<EngineId>; 3],
    },
    /// Ask a job to end early. `JobEnded` still follows, with whatever came first.
    Cancel {
        /// The job.
        job: JobId,
        /// How soon.
        urgency: Urgency,
    },
    /// The live thread may tick and decode: it holds a lease on the groups of `Work::Play` until the gate closes.
    GateOpen {
        /// The session.
        connection: ConnectionId,
    },
    /// The live thread must not begin another tick; `GateDrained` with this number must follow when the last pass is back.
    GateClose {
        /// The session.
        connection: ConnectionId,
        /// The number of this closing.
        closing: u64,
        /// Whether the tick under way should be given up rather than finished.
        abort: bool,
    },
    /// The session is live: send `ready`, the initial buffer, stems if at hand, and begin to play.
    SessionReady {
        /// The session.
        connection: ConnectionId,
        /// What it plays.
        track: TrackId,
        /// Which part.
        mode: Mode,
        /// What to send of its stems.
        stems: StemsAtHand,
    },
    /// The swap is done: send `swap_ready`, the initial buffer and stems if at hand.
    SwapReady {
        /// The session.
        connection: ConnectionId,
        /// What it plays now.
        track: TrackId,
        /// Which part.
        mode: Mode,
        /// What to send of its stems.
        stems: StemsAtHand,
    },
    /// A swap came to nothing; the session plays on.
    SwapFailed {
        /// The session.
        connection: ConnectionId,
        /// Why.
        failure: Failure,
    },
    /// The newest prompt is in force: send `prompt_applied`.
    PromptApplied {
        /// The session.
        connection: ConnectionId,
    },
    /// The prompt could not be encoded; the old one stays.
    PromptFailed {
        /// The session.
        connection: ConnectionId,
        /// Why.
        failure: Failure,
    },
    /// The timbre or structure that the session asked for is in force: send `timbre_set`, `timbre_cleared` or their like.
    ReferenceApplied {
        /// The session.
        connection: ConnectionId,
        /// Which of the two.
        kind: ReferenceKind,
        /// Whose; none for the source's own.
        track: Option<TrackId>,
    },
    /// It cannot be had, and what was in force stays: send `timbre_failed` or its like.
    ReferenceFailed {
        /// The session.
        connection: ConnectionId,
        /// Which of the two.
        kind: ReferenceKind,
        /// Why.
        failure: Failure,
    },
    /// The track is on disk and usable: send `upload_ok`, close 1000, list the track.
    UploadOk(Ack),
    /// Phase 1 came to nothing: send `upload_failed`, close 1000.
    UploadFailed {
        /// The connection or HTTP request.
        connection: ConnectionId,
        /// Why.
        failure: Failure,
    },
    /// Late push: send `stem_assets` with `source_mode: ""` and the stems to the owner's session.
    PushStems {
        /// The session.
        connection: ConnectionId,
        /// Whose stems.
        track: TrackId,
    },
    /// Tell the owner's session that the stems failed.
    PushStemFailure {
        /// The session.
        connection: ConnectionId,
        /// Whose stems.
        track: TrackId,
        /// Why.
        failure: Failure,
    },
    /// Tell the owner's session how far the stems are (only clients that asked see it).
    PushStemProgress {
        /// The session.
        connection: ConnectionId,
        /// Whose stems.
        track: TrackId,
        /// Batches done.
        done: u32,
        /// Batches in all.
        total: u32,
        /// What the stems are doing.
        state: StemsPhase,
    },
    /// Take a track out of every listing and cache; its files go with the `Wipe` job that follows (a nameless one has none).
    Forget {
        /// The track.
        track: TrackId,
    },
    /// Placement changed: telemetry and the wire's `vram` message.
    PlacementChanged {
        /// The group.
        group: Group,
        /// What it is doing now.
        phase: Phase,
    },
    /// End the process.
    Exit {
        /// 0 after an orderly shutdown, 75 after a lost device (the supervisor starts anew), 1 when hurried.
        code: u8,
    },
}

/// Work between two events, each with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Phase 1, on the work thread: decode, trim, analyse and encode at the same time, and write the audio into a draft (not for a nameless track).
    Encode {
        /// Its track.
        track: TrackId,
        /// Who sent the audio.
        connection: ConnectionId,
        /// Whether it comes with the session itself and never reaches the disk.
        nameless: bool,
    },
    /// Make the draft a track: everything synced, the manifest last. On the disk.
    Save {
        /// Its track.
        track: TrackId,
    },
    /// Go on with (or begin) a rip, on the work thread, until it is done or gives way.
    Rip {
        /// Its track.
        track: TrackId,
    },
    /// Encode each stem as a source, on the work thread, and keep what a later swap to it needs.
    EncodeStems {
        /// Their track.
        track: TrackId,
    },
    /// Write the stems, the sidecars and the manifest. On the disk.
    SaveStems {
        /// Its track.
        track: TrackId,
    },
    /// Remove a track and all that is kept of it. On the disk.
    Wipe {
        /// The track.
        track: TrackId,
    },
    /// Build the session's stream on the live thread: load the source, encode the prompt, open.
    OpenStream {
        /// The session.
        connection: ConnectionId,
        /// What it plays.
        track: TrackId,
        /// Which part.
        mode: Mode,
    },
    /// Give the live stream another source, on the live thread; in-flight work for the old one is dropped.
    SwapSource {
        /// The session.
        connection: ConnectionId,
        /// What it plays next.
        track: TrackId,
        /// Which part.
        mode: Mode,
    },
    /// Encode the newest prompt, on the live thread.
    EncodePrompt {
        /// The session.
        connection: ConnectionId,
    },
    /// Give the live stream the timbre or structure of another track, on the live thread, which keeps what it needs of it.
    Reference {
        /// The session.
        connection: ConnectionId,
        /// Which of the two.
        kind: ReferenceKind,
        /// Whose; none for the source's own again.
        track: Option<TrackId>,
    },
    /// Free the session's stream, on the live thread.
    CloseStream {
        /// The session.
        connection: ConnectionId,
    },
    /// Bring a group's weights onto the device. On the stage thread.
    Restore {
        /// The group.
        group: Group,
    },
    /// Take a group's weights off the device. On the stage thread.
    Park {
        /// The group.
        group: Group,
    },
    /// Load an engine, its execution context included, beside whatever is in the slot. On the stage thread. LoRAs are none of its business: they
    /// are the stream's, which refits whatever engine it is lent next.
    LoadEngine {
        /// Whose slot.
        slot: Component,
        /// Which.
        engine: EngineId,
    },
    /// Free an engine, which nobody calls any more. On the stage thread.
    UnloadEngine {
        /// Whose slot.
        slot: Component,
        /// Which.
        engine: EngineId,
    },
}

/// How soon a job should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// At its next look (100 ms on a CPU, 30 ms on a GPU); a rip abandons its batch.
    Now,
    /// A rip finishes its batch first, and does one if it has done none in this turn: nobody waits but ticks, or it was abandoned often
    /// enough.
    AfterBatch,
}

/// Close codes that the director decides (wire §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Close {
    /// 1001: the server is shutting down.
    GoingAway,
    /// 4001: another connection took over this pod.
    Preempted,
    /// 4002: the client acknowledges nothing.
    Stalled,
    /// 4003: no valid first frame in time.
    NoFirstFrame,
}

impl Close {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Preempted => 4001,
            Self::Stalled => 4002,
            Self::NoFirstFrame => 4003,
        }
    }
}

/// What there is of a track's stems when it starts to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StemsAtHand {
    /// Nothing to send: none wanted, or they follow.
    Nothing,
    /// Send them.
    Ready,
    /// Say that they failed.
    Failed(Failure),
}

/// What stems are doing, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StemsPhase {
    /// Waiting for the separator.
    Queued,
    /// Being made.
    Ripping,
    /// Being encoded for later swaps, and written.
    Saving,
}

/// Where a group is, for telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// In system RAM.
    Parked,
    /// On its way to the device.
    Restoring,
    /// On the device.
    Resident,
    /// On its way out.
    Parking,
}

/// The effects of one event, in order.
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
}

impl Effects {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has been asked for.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }

    /// Looks at what has been asked for.
    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Says which engines the job that starts next, or the ticks, may call.
    pub(crate) fn lend(&mut self, to: Caller, calls: &[Call]) {
        if calls.is_empty() {
            return;
        }
        let mut engines = [None; 3];
        for call in calls {
            engines[call.component() as usize] = Some(call.engine().id);
        }
        self.push(Effect::Lend { to, engines });
    }

    /// Starts a job that was just recorded.
    pub(crate) fn start(&mut self, job: JobId, task: Task) {
        self.push(Effect::Start { job, task });
    }
}
