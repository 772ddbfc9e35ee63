//! What the pod sends towards a socket: a bounded queue of things in their order, and a cell for the ending that goes ahead of all.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use greenroom_audio::Pcm;
use greenroom_director::{ConnectionId, Event, Failure};
use greenroom_generator::Knobs;
use greenroom_sync::{Latest, SliceBuffer};
use greenroom_wire::{ErrorCode, ServerMessage, UploadOk};
use tokio::sync::{Notify, mpsc, watch};

use super::{announce, events::EventSender};

/// Most that may wait for a socket's writer; a client that lets more pile up (slices are not counted) is not reading at all.
const OUTGOING_MAX: usize = 256;

/// One thing for a connection's writer, in the order in which the client must see it.
#[derive(Debug)]
pub enum Outgoing {
    /// Read the declared audio: its bytes are reserved.
    Proceed,
    /// A text frame.
    Text(ServerMessage),
    /// Frames with nothing in between, not even a slice.
    Atomic(Vec<Frame>),
    /// Send the initial buffer of this source; its slices flow from there on, those of an earlier one stop.
    Play(Playback),
    /// Say why and close: `error` and 1011 for a session, `upload_failed` and 1000 for an upload, an HTTP error for a POST.
    Refuse(Refusal),
    /// Answer the upload with this and close 1000 (200 for a POST).
    UploadOk(UploadOk),
    /// Answer the upload with `upload_failed` and close 1000 (an HTTP error for a POST).
    UploadFailed(Refusal),
}

/// A frame within [`Outgoing::Atomic`].
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there are three of them at a time, twice a track"
)]
pub enum Frame {
    /// A text frame.
    Text(ServerMessage),
    /// A binary frame: all of this audio as interleaved f16.
    Audio(Arc<Pcm>),
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
        Self {
            failure,
            message: explanation(failure).to_owned(),
        }
    }

    /// A refusal with its own words.
    #[must_use]
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
        }
    }

    /// The code on the wire (§3).
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        announce::code(self.failure)
    }
}

/// What to tell a person who was given no better words.
const fn explanation(failure: Failure) -> &'static str {
    match failure {
        Failure::BadAudio => "the audio cannot be used: send finite 48 kHz PCM, or an mp3, flac, ogg, m4a or wav file",
        Failure::TooLong => "the audio is too long: send at most 20 minutes",
        Failure::TooShort => "the audio is too short: send at least one second",
        Failure::TooSlow => {
            "the audio did not arrive in time: send it again over a faster connection, or a shorter or compressed file"
        }
        Failure::OutOfMemory => {
            "memory ran out, even after everything that could be given back was: try a shorter clip"
        }
        Failure::Busy => "the pod has too much to do at once: try again in a few seconds",
        Failure::DiskFull => {
            "the disk or the limit of the library is full: remove tracks, or ask the pod's operator for room"
        }
        Failure::DeviceLost => "the device failed and the pod starts anew: connect again in a few seconds",
        Failure::Superseded => "a newer request took its place",
        Failure::StemExtractFailed => "the stems could not be made: play the full track",
        Failure::EngineNotBuilt => "no engine covers this source: send a shorter one",
        Failure::NullContext => {
            "an engine was loaded and gave nothing to run it with: try again, or ask the pod's operator to look at its log"
        }
        Failure::Internal => "something failed inside the pod: its log says what; try again",
    }
}

/// A source that plays: where its slices come from.
#[derive(Clone, Debug)]
pub struct Playback {
    /// What is played: the initial buffer is made of it (f16, 50 ms seam fade), and the mirror starts as that buffer.
    pub source: Arc<Pcm>,
    /// The regions that are new, exact and merged; the live thread writes them, the connection's writer takes them.
    pub slices: SliceBuffer,
    /// Notified after every write into `slices`.
    pub fresh: Arc<Notify>,
    /// What the newest slice was made with, to be peeked at: for headers and for `params_update`.
    pub echo: Latest<Echo>,
    /// The frame that is being heard, as far as the live thread knows: which region is needed first.
    pub playhead_frame: Arc<AtomicU64>,
    /// The writer puts in how long a slice took from its making ([`Echo::made_at`]) into the socket: the lead is made of it.
    pub transmitted: Latest<Duration>,
}

impl Playback {
    /// A source of which nothing has been made yet.
    pub(super) fn new(source: Arc<Pcm>) -> Self {
        let slices = SliceBuffer::new(source.samples().to_vec(), usize::from(source.channels()));
        Self {
            source,
            slices,
            fresh: Arc::new(Notify::new()),
            echo: Latest::new(),
            playhead_frame: Arc::new(AtomicU64::new(0)),
            transmitted: Latest::new(),
        }
    }
}

/// What the newest slice was made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo {
    /// When its sound was ready.
    pub made_at: Instant,
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
        self.events.tell_surely(Event::ConnectionGone {
            connection: self.connection,
        });
    }
}

/// Both ends of a connection.
pub(super) fn channel(connection: ConnectionId, events: EventSender) -> (Outbox, Inbox) {
    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
    let (ending, ending_seen) = watch::channel(Ending::Open);
    (
        Outbox { outgoing, ending },
        Inbox {
            connection,
            outgoing: queue,
            ending: ending_seen,
            events,
        },
    )
}

impl Outbox {
    /// Queues one thing. A client that reads nothing while the pod has more than [`OUTGOING_MAX`] things to say loses its socket.
    pub(super) fn send(&self, outgoing: Outgoing) {
        match self.outgoing.try_send(outgoing) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(
                    queued = OUTGOING_MAX,
                    "a client reads nothing of what it is told: its socket is dropped"
                );
                self.end(Ending::Force);
            }
        }
    }

    /// Queues what the next of its kind makes old (progress, telemetry): only while there is room to spare.
    pub(super) fn send_news(&self, outgoing: Outgoing) {
        if self.outgoing.capacity() > OUTGOING_MAX / 2 {
            self.send(outgoing);
        }
    }

    /// Ends the connection; what is more urgent replaces what is less.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.send_if_modified(|current| {
            let replaced = matches!(
                (*current, ending),
                (Ending::Open, _) | (Ending::Close(_), Ending::Force)
            );
            if replaced {
                *current = ending;
            }
            replaced
        });
    }
}
