//! What the pod sends towards a socket: a bounded queue of things in their order, and a cell for the ending that goes ahead of all.

use std::sync::Arc;

use bytes::Bytes;
use greenroom_director::{ConnectionId, Event, Failure};
use greenroom_generator::Knobs;
use greenroom_sync::{Latest, SliceBuffer};
use greenroom_wire::ServerMessage;
use tokio::sync::{Notify, mpsc, watch};

use super::handle::EventSender;

/// Most that may wait for a socket's writer; a client that lets more pile up (slices are not counted) is not reading at all.
const OUTGOING_MAX: usize = 256;

/// One thing for a connection's writer, in the order in which the client must see it.
#[derive(Debug)]
pub enum Outgoing {
    /// Read the declared audio: its bytes are reserved.
    Proceed,
    /// A text frame.
    Text(ServerMessage),
    /// A binary frame.
    Binary(Bytes),
    /// Frames with nothing in between, not even a slice.
    Atomic(Vec<Frame>),
    /// The slices of this source flow from here on; those of an earlier one stop.
    Play(Playback),
    /// Say why and close: `error` and 1011 for a session, `upload_failed` and 1000 for an upload, an HTTP error for a POST.
    Refuse(Refusal),
    /// Answer the upload with this and close 1000 (200 for a POST).
    UploadOk(UploadAnswer),
    /// Answer the upload with `upload_failed` and close 1000 (an HTTP error for a POST).
    UploadFailed(Refusal),
}

/// A frame within [`Outgoing::Atomic`].
#[derive(Debug)]
pub enum Frame {
    /// A text frame.
    Text(ServerMessage),
    /// A binary frame.
    Binary(Bytes),
}

/// What a usable upload is; the fields of `upload_ok`.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadAnswer {
    /// The name in the library: sanitised, unique.
    pub name: String,
    /// Beats per minute, rounded.
    pub bpm: u32,
    /// Musical key.
    pub key: String,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: String,
    /// Length in seconds, after trimming.
    pub duration_s: f64,
    /// Frames per channel, after trimming.
    pub samples: u64,
    /// Whether stems follow.
    pub stems_pending: bool,
}

/// Why something was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which code it has on the wire.
    pub failure: Failure,
    /// What happened, why, and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal that says no more than its code does.
    #[must_use]
    pub fn plain(failure: Failure) -> Self {
        Self { failure, message: explanation(failure).to_owned() }
    }

    /// A refusal with its own words.
    #[must_use]
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into() }
    }

    /// The code on the wire (§3).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        code(self.failure)
    }
}

/// The code of a failure on the wire (§3).
#[must_use]
pub const fn code(failure: Failure) -> &'static str {
    match failure {
        Failure::BadAudio => "bad_audio",
        Failure::TooLong => "too_long",
        Failure::TooShort => "too_short",
        Failure::OutOfMemory => "out_of_memory",
        Failure::Busy => "busy",
        Failure::DiskFull => "disk_full",
        Failure::DeviceLost => "device_lost",
        Failure::Superseded => "superseded",
        Failure::StemExtractFailed => "stem_extract_failed",
        Failure::EngineNotBuilt => "engine_not_built",
        Failure::Internal => "internal",
    }
}

/// What to tell a person who was given no better words.
const fn explanation(failure: Failure) -> &'static str {
    match failure {
        Failure::BadAudio => "the audio cannot be used: send finite 48 kHz PCM, or an mp3, flac, ogg, m4a or wav file",
        Failure::TooLong => "the audio is too long: send at most 20 minutes",
        Failure::TooShort => "the audio is too short: send at least one second",
        Failure::OutOfMemory => "memory ran out, even after everything that could be given back was: try a shorter clip",
        Failure::Busy => "the pod has too much to do at once: try again in a few seconds",
        Failure::DiskFull => "the disk or the limit of the library is full: remove tracks, or ask the pod's operator for room",
        Failure::DeviceLost => "the device failed and the pod starts anew: connect again in a few seconds",
        Failure::Superseded => "a newer request took its place",
        Failure::StemExtractFailed => "the stems could not be made: play the full track",
        Failure::EngineNotBuilt => "no engine covers this source: send a shorter one",
        Failure::Internal => "something failed inside the pod: its log says what; try again",
    }
}

/// A source that plays: where its slices come from.
#[derive(Clone, Debug)]
pub struct Playback {
    /// The initial buffer as the client holds it (interleaved f16, little-endian): the mirror starts as `f32` of it.
    pub initial: Bytes,
    /// Channels of the source.
    pub channels: u16,
    /// Frames per channel of the source.
    pub frames: usize,
    /// The regions that are new, exact and merged; its writer is the live thread.
    pub slices: Arc<SliceBuffer>,
    /// Notified after every write into `slices`.
    pub fresh: Arc<Notify>,
    /// What the slices were made with: for their headers and for `params_update`.
    pub echo: Arc<Latest<Echo>>,
}

/// What the newest slice was made with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Echo {
    /// Milliseconds of the last tick.
    pub tick_ms: f32,
    /// Milliseconds of the last decode.
    pub dec_ms: f32,
    /// Generations finished since the session started.
    pub num_gens: u32,
    /// The knobs in force, clamped; those never set are at their defaults (§8).
    pub knobs: Knobs,
    /// The prompt in force (`_prompt`).
    pub prompt: String,
}

/// How a connection must end, ahead of everything that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It goes on.
    #[default]
    Open,
    /// Send this close code next and nothing after it; at most one frame is in flight.
    Close(u16),
    /// Drop the socket now.
    Force,
}

/// The pod's end of a connection: never blocks, never waits.
#[derive(Clone, Debug)]
pub struct Outbox {
    outgoing: mpsc::Sender<Outgoing>,
    ending: watch::Sender<Ending>,
}

/// The socket's end of a connection. Dropping it tells the director that the connection is gone.
#[derive(Debug)]
pub struct Inbox {
    /// The connection.
    pub connection: ConnectionId,
    /// What to send, in order; `None` after the pod has ended.
    pub outgoing: mpsc::Receiver<Outgoing>,
    /// How to end, ahead of `outgoing`; look at it before every frame.
    pub ending: watch::Receiver<Ending>,
    events: EventSender,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.events.tell_surely(Event::ConnectionGone { connection: self.connection });
    }
}

/// Both ends of a connection.
pub(super) fn channel(connection: ConnectionId, events: EventSender) -> (Outbox, Inbox) {
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let (ending, ending_seen) = watch::channel(Ending::Open);
    (Outbox { outgoing, ending }, Inbox { connection, outgoing: queue, ending: ending_seen, events })
}

impl Outbox {
    /// Queues one thing. A client that reads nothing while the pod has more than [`OUTGOING_MAX`] things to say loses its socket.
    pub(super) fn send(&self, outgoing: Outgoing) {
        match self.outgoing.try_send(outgoing) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(queued = OUTGOING_MAX, "a client reads nothing of what it is told: its socket is dropped");
                self.end(Ending::Force);
            }
        }
    }

    /// Ends the connection; what is more urgent replaces what is less.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.send_if_modified(|current| {
            let replaced = matches!((*current, ending), (Ending::Open, _) | (Ending::Close(_), Ending::Force));
            if replaced {
                *current = ending;
            }
            replaced
        });
    }
}
