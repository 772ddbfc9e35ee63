//! What every generator of live music offers to the pod: prepare a source, encode a prompt, tick, decode a window.
//!
//! And the playing policy that they all share: [`Player`].
#![forbid(unsafe_code)]

mod engines;
mod estimate;
mod lora;
mod player;
mod playhead;
mod slice;
mod walk;

pub use engines::{COMPONENTS, CompiledEngines, EngineInfo, EngineState, Extent, Lent, LoadError, Standing};
pub use lora::{LoadedLora, LoraAbout, LoraCatalogue, LoraInfo};
pub use player::{Action, Player, PlayerSettings};
pub use slice::{FADE_FRAMES_MAX, SLICE_FRAMES, Slice, Window};
pub use walk::Walk;

use std::{any::Any, sync::Arc};

use greenroom_audio::Pcm;
use greenroom_sync::CancelFlag;

/// A generator: loaded once, shared by the live session and the upload lane (an upload brings no second copy of a model).
///
/// Each method names, through [`Generator::groups`], the weight groups it touches; the caller holds a lease on them.
pub trait Generator: Send + Sync {
    /// Name, capabilities and limits.
    fn description(&self) -> &Description;

    /// The weight groups (names as registered with the stage) that a kind of work needs; empty where it needs none.
    fn groups(&self, work: Work) -> &[&'static str];

    /// Device memory that a kind of work needs beside its groups, in bytes.
    fn workspace_bytes(&self, _work: Work) -> u64 {
        0
    }

    /// Encodes a source (48 kHz, a multiple of `POOL_FRAMES` long): phase 1 of an upload.
    ///
    /// # Errors
    /// See [`GenerateError`]; `Cancelled` if the flag was seen.
    fn prepare_source(&self, audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError>;

    /// The same, by engines where they take its shape.
    ///
    /// # Errors
    /// As [`Generator::prepare_source`].
    fn prepare_source_by(
        &self,
        audio: Arc<Pcm>,
        _engines: Lent,
        cancel: &CancelFlag,
    ) -> Result<PreparedSource, GenerateError> {
        self.prepare_source(audio, cancel)
    }

    /// The compiled engines that it can run; none where it has modules alone.
    fn engines(&self) -> Option<&dyn CompiledEngines> {
        None
    }

    /// Restores a prepared source from its sidecar files, so that a later swap encodes nothing.
    ///
    /// # Errors
    /// If the sidecar does not fit this generator or this audio: the caller prepares anew.
    fn restore_source(&self, audio: Arc<Pcm>, sidecar: &[u8]) -> Result<PreparedSource, GenerateError>;

    /// Encodes a prompt for a source, with the timbre of another where one is given.
    ///
    /// # Errors
    /// See [`GenerateError`]; `Unsuitable` for a timbre where [`Description::takes_references`] is false.
    fn encode_prompt(
        &self,
        prompt: &Prompt,
        source: &PreparedSource,
        timbre: Option<&PreparedSource>,
        cancel: &CancelFlag,
    ) -> Result<Conditioning, GenerateError>;

    /// Opens a live stream on a source.
    ///
    /// # Errors
    /// See [`GenerateError`].
    fn open(
        &self,
        source: PreparedSource,
        conditioning: Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError>;

    /// The LoRAs that were found when it was opened.
    fn loras(&self) -> &LoraCatalogue {
        &lora::NO_LORAS
    }

    /// Reads a LoRA into system RAM, which takes as long as its file: never on the live thread while a slice is due. Touches no group.
    ///
    /// # Errors
    /// `Lora` if there is none of that id, or its file cannot be used.
    fn load_lora(&self, id: &str) -> Result<LoadedLora, GenerateError> {
        Err(no_loras(self.description().name, id))
    }
}

/// What a generator without them says of timbres and structures.
#[must_use]
pub fn no_references(generator: &str) -> GenerateError {
    GenerateError::Unsuitable(format!(
        "the generator `{generator}` takes no timbre or structure of other sources; use the knobs, or a pod with another generator"
    ))
}

fn no_loras(generator: &str, id: &str) -> GenerateError {
    GenerateError::Lora(format!(
        "{id:?}: the generator {generator} has none; a pod with another generator may"
    ))
}

/// One live session's stream: lives on the live thread.
pub trait LiveStream: Send {
    /// Takes effect as wire §8 says for each knob; unknown knobs never reach here.
    fn set_knobs(&mut self, knobs: &Knobs);

    /// Replaces the prompt's encoding; the blend stays as it was set.
    fn set_conditioning(&mut self, conditioning: Conditioning);

    /// How far the result leans from prompt A (0) to prompt B (1); of no effect while the conditioning has no B.
    fn set_prompt_blend(&mut self, blend: f64);

    /// How much of the timbre source (the source itself, where none was given) is heard, 0..1.
    fn set_timbre_strength(&mut self, strength: f64);

    /// Changes the number of slots in flight; returns the depth that now holds, within `1..=depth_max`.
    fn set_depth(&mut self, depth: u32) -> u32;

    /// Puts LoRAs in force in place of those before, each at its strength (0..2), from the next tick on. They stay over a swap of the source
    /// and over every parking of the weights.
    ///
    /// # Errors
    /// `Lora` if one is not of this generator: none of them is put in force then.
    fn set_loras(&mut self, loras: &[(LoadedLora, f64)]) -> Result<(), GenerateError> {
        match loras.first() {
            None => Ok(()),
            Some((lora, _)) => Err(no_loras("of this stream", &lora.id)),
        }
    }

    /// Says which engines ticks and decodes may run from now on.
    fn lend(&mut self, _engines: Lent) {}

    /// From the next generation on, how another source goes in place of how the one that plays does: repeated or cut to its length, and kept over
    /// a swap. None for the one that plays.
    ///
    /// # Errors
    /// `Unsuitable` if another generator prepared it, or this one takes none: what was in force stays.
    fn set_structure(&mut self, structure: Option<&PreparedSource>) -> Result<(), GenerateError> {
        structure.map_or(Ok(()), |_| Err(no_references("of this stream")))
    }

    /// Replaces the source at once: nothing that was in flight for the old one is ever decoded.
    fn swap_source(&mut self, source: PreparedSource, conditioning: Conditioning);

    /// One step of generation (a DiT forward; for `spectral`, a share of the resynthesis). Needs the groups of [`Work::Tick`].
    ///
    /// `target_frame` is where the next slice begins. In walk mode its part of the source is what is generated from now on: entering another
    /// part drops whatever was in flight for the last.
    ///
    /// # Errors
    /// See [`GenerateError`].
    fn tick(&mut self, target_frame: u64, cancel: &CancelFlag) -> Result<Tick, GenerateError>;

    /// Decodes `frames` frames from `start_frame` (both per channel, wrapping at the end of the source): interleaved, source channels. In walk
    /// mode they lie within the part that was last ticked for, and nothing wraps.
    /// Needs the groups of [`Work::Decode`].
    ///
    /// # Errors
    /// See [`GenerateError`].
    fn decode(&mut self, start_frame: u64, frames: usize, cancel: &CancelFlag) -> Result<Vec<f32>, GenerateError>;
}

/// Kinds of work, each of which names its weight groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Phase 1 of an upload: `vae`, `conditioner`.
    EncodeSource,
    /// A prompt: `text_encoder`, `conditioner`.
    EncodePrompt,
    /// One step of generation: `dit`.
    Tick,
    /// A window of sound: `vae`.
    Decode,
}

/// Name, capabilities and limits of a generator.
#[derive(Clone, Debug)]
pub struct Description {
    /// `spectral`, `weighted`, `acestep`.
    pub name: &'static str,
    /// What `ready.checkpoint` says: the checkpoint's name, or a word that there is none.
    pub checkpoint: String,
    /// `2B`, `5B`, or none.
    pub checkpoint_scale: Option<String>,
    /// Longest source served, in seconds.
    pub seconds_max: u32,
    /// Depth range is `1..=depth_max`.
    pub depth_max: u32,
    /// Whether what is kept of a source is worth writing beside it (its sidecar is not empty): then stems are encoded before they are written.
    pub keeps_sources: bool,
    /// Whether timbre and structure sources can be had.
    pub takes_references: bool,
}

/// A source ready to be played upon.
#[derive(Clone)]
pub struct PreparedSource {
    /// The audio it was made from.
    pub audio: Arc<Pcm>,
    /// What the generator keeps of it (its own type, shared between sessions).
    pub encoded: Arc<dyn Any + Send + Sync>,
    /// The bytes to keep beside the track so that a later swap encodes nothing; empty where preparing is cheap.
    pub sidecar: Arc<Vec<u8>>,
}

/// A prompt's encoding, in the generator's own type.
#[derive(Clone)]
pub struct Conditioning(pub Arc<dyn Any + Send + Sync>);

/// A prompt as the wire gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// Tags of prompt A.
    pub tags: String,
    /// Tags of prompt B, where given.
    pub tags_b: Option<String>,
    /// Musical key, such as `F# minor`.
    pub key: Option<String>,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: Option<String>,
    /// Beats a minute.
    pub bpm: u32,
}

/// What a session fixes at its start.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Slots in flight.
    pub depth: u32,
    /// Steps a generation.
    pub steps: u32,
    /// Opened with `sde`.
    pub sde: bool,
    /// Walk mode, where it was asked for.
    pub walk: Option<Walk>,
}

/// What one tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Generations finished by this tick: each is worth a decode.
    pub finished: u32,
}

/// Knob values after clamping, by their wire names (`denoise`, `seed`, …).
pub type Knobs = std::collections::BTreeMap<String, KnobValue>;

/// One knob's value.
#[derive(Clone, Debug, PartialEq)]
pub enum KnobValue {
    /// A number, already within its range.
    Number(f64),
    /// A switch.
    Bool(bool),
    /// A choice.
    Choice(String),
    /// A curve over the source; resampled to its latent frames by the generator.
    Curve(Vec<f32>),
}

/// Why a generator failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Work was asked of a parked group: a bug of whoever granted the lease.
    #[error("weight group {0} is not resident")]
    NotResident(&'static str),
    /// The cancel flag was seen.
    #[error("cancelled")]
    Cancelled,
    /// The source cannot be used.
    #[error("this source cannot be used: {0}")]
    Unsuitable(String),
    /// A LoRA cannot be used.
    #[error("this LoRA cannot be used: {0}")]
    Lora(String),
    /// Device memory ran out.
    #[error("out of memory on the device: {0}")]
    OutOfMemory(String),
    /// The computation failed.
    #[error("the generator's computation failed: {0}")]
    Compute(String),
}
