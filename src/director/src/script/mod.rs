//! Scripts of events, in any order and with any ids, and what every one of them must keep to: for property tests and fuzzers.
//!
//! A script keeps to what a driver promises (numbers of connections and tracks are new, a job ends once) and to nothing else.

mod engines;
mod plans;
mod play;
mod witness;

pub use engines::EngineWatch;
pub use plans::{PLANS, engines, plan};
pub use play::{Names, Play};

/// One thing that happens. Small numbers choose among what there is, so that any bytes mean something and smaller ones mean something
/// simpler: connections from the newest back, jobs from the oldest on, one past the last being none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Step {
    /// A connection is accepted.
    Open,
    /// One that is there, and was not dropped, is said to be accepted once more.
    OpenAgain {
        /// Which.
        connection: u8,
    },
    /// A first frame.
    Declare {
        /// Whose.
        connection: u8,
        /// Whether it is an upload.
        upload: bool,
        /// Declared size, in units of 2 MiB.
        bytes: u8,
    },
    /// The handshake of a session is whole.
    AskSession {
        /// Whose.
        connection: u8,
        /// Who asks: 0 is nobody.
        client: u8,
        /// What is to be played: 0 is what it sent.
        source: u8,
        /// Which part.
        mode: u8,
    },
    /// The body of an upload is whole.
    AskUpload {
        /// Whose.
        connection: u8,
    },
    /// A session, from its acceptance to its whole handshake.
    Session {
        /// Who asks: 0 is nobody.
        client: u8,
        /// What is to be played: 0 is what it sent.
        source: u8,
        /// Which part.
        mode: u8,
    },
    /// An upload, from its acceptance to its last byte.
    Upload,
    /// A socket is closed.
    Gone {
        /// Whose.
        connection: u8,
    },
    /// A client acknowledges nothing, or does again.
    Stuck {
        /// Which.
        connection: u8,
        /// Whether it is stuck.
        stuck: bool,
    },
    /// Another source is asked for.
    Swap {
        /// By whom.
        connection: u8,
        /// What is to be played: 0 is what it sent.
        source: u8,
        /// Which part.
        mode: u8,
    },
    /// Another prompt is asked for.
    Prompt {
        /// By whom.
        connection: u8,
    },
    /// Another timbre is asked for, or another structure.
    Reference {
        /// By whom.
        connection: u8,
        /// Whether it is the structure.
        structure: bool,
        /// Whose: 0 is what it sent.
        source: u8,
    },
    /// The source's own timbre is asked for again, or its structure.
    ClearReference {
        /// By whom.
        connection: u8,
        /// Whether it is the structure.
        structure: bool,
    },
    /// The live thread wants to tick, or not.
    Playing {
        /// For whom.
        connection: u8,
        /// Whether it wants to.
        wanted: bool,
    },
    /// The gate has drained.
    Drained {
        /// How far the number is off the newest closing's.
        off: u8,
    },
    /// A job ends.
    End {
        /// Which.
        job: u8,
        /// How: 0 is well.
        outcome: u8,
    },
    /// A rip gets on.
    Progress {
        /// Batches done.
        done: u8,
        /// Batches in all.
        total: u8,
        /// Whether a job that is none reports it.
        stale: bool,
    },
    /// The disk has a track.
    Found {
        /// What it is.
        found: u8,
        /// Whether its number is known already.
        again: bool,
    },
    /// A track is measured, or measured anew.
    Measure {
        /// Which, from the newest back.
        track: u8,
        /// What serves it.
        engines: u8,
    },
    /// What nobody asked for: other processes take memory; 254 asks for the end, 255 loses the device.
    Weather {
        /// Bytes, or 254, or 255.
        kind: u8,
    },
    /// Time passes, and every deadline is kept.
    Wait {
        /// How much.
        milliseconds: u16,
    },
    /// Time has passed, and deadlines with it.
    Jump {
        /// How much.
        seconds: u8,
    },
    /// Everything under way ends well.
    Settle,
}

/// Plays a script to its end and lets everything come to rest; the plan is one of [`PLANS`].
///
/// # Errors
/// What was not kept to, and what led there.
pub fn run(number: u8, steps: &[Step]) -> Result<(), String> {
    let mut play = Play::new(plan(number), Names::default());
    let end = steps.iter().try_for_each(|step| play.step(*step));
    end.and_then(|()| play.rest())
        .and_then(|()| play.leave())
        .map_err(|wrong| format!("{wrong}; plan {number}; {}", play.told()))
}
