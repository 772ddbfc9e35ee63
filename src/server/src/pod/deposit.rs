//! Data that travels beside events: events are small and the director never sees audio.

use std::sync::Arc;

use bytes::Bytes;
use greenroom_audio::Pcm;
use greenroom_director::TrackId;
use greenroom_generator::{Knobs, Prompt, StreamSettings};

/// What a session's handshake brought; deposited before `SessionAsked` is told.
#[derive(Clone, Debug)]
pub struct SessionDeposit {
    /// Depth, steps, sde.
    pub settings: StreamSettings,
    /// The first prompt; its `bpm` is filled in by the pod.
    pub prompt: Prompt,
    /// What the client calls its source (`fixture_name`); said again with the stems of one that it sent.
    pub source_name: String,
    /// The audio that came with it and the number of its track to be (`Source::Sent`), already through `PodHandle::admit`.
    pub sent: Option<(TrackId, Arc<Pcm>)>,
    /// LoRAs to open with, and how strong each is to be where the client says so.
    pub loras: Vec<(String, Option<f64>)>,
    /// What the client asked for beyond the old protocol.
    pub wants: Wants,
}

/// What only clients get that asked for it (`wants`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// `stem_progress`.
    pub stem_progress: bool,
    /// `vram`.
    pub vram: bool,
    /// `source_id` in what is said of a source and its stems.
    pub source_id: bool,
}

/// An upload's body; deposited before `UploadAsked` is told.
#[derive(Clone, Debug)]
pub struct UploadDeposit {
    /// The name that the client gave it, as it came: the library makes it safe and unique.
    pub name: String,
    /// The key that the client knows; else it is found by analysis.
    pub key: Option<String>,
    /// The time signature that the client knows; else `4`.
    pub time_signature: Option<String>,
    /// The audio.
    pub body: UploadBody,
}

/// The audio of an upload.
#[derive(Clone, Debug)]
pub enum UploadBody {
    /// Decoded, 48 kHz, checked for shape only.
    Pcm(Pcm),
    /// A whole compressed file.
    File(Bytes),
}

/// A swap request; deposited before `SwapAsked` is told.
#[derive(Clone, Debug)]
pub struct SwapDeposit {
    /// What is to be played: the number in the event.
    pub track: TrackId,
    /// Its audio where it was sent along (`Source::Sent`), already through `PodHandle::admit`.
    pub sent: Option<Arc<Pcm>>,
    /// What the client calls it (`fixture_name`).
    pub source_name: String,
    /// New tags; none keeps the prompt.
    pub tags: Option<String>,
    /// The key that the client knows of what it sent; a server track's own wins.
    pub key: Option<String>,
    /// Likewise.
    pub time_signature: Option<String>,
}

/// The newest `params` of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Knobs after clamping, by their wire names.
    pub knobs: Knobs,
    /// Where the client's playhead is, in seconds; none where it did not say.
    pub playback_pos_s: Option<f64>,
}

/// What goes from a session's socket straight to the live thread: nothing here moves weights or waits.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// `loop_band`: play only between these seconds, or all.
    LoopBand(Option<(f64, f64)>),
    /// `set_prompt_blend`.
    PromptBlend(f64),
    /// `set_depth`; answered by `depth_applied`.
    Depth(u32),
    /// `set_timbre_strength`.
    TimbreStrength(f64),
    /// `enable_lora`; answered by `lora_catalog`, and again once its file is read.
    EnableLora {
        /// Which.
        id: String,
        /// How strong, 0..2.
        strength: Option<f64>,
    },
    /// `disable_lora`; answered by `lora_catalog`.
    DisableLora {
        /// Which.
        id: String,
    },
}
