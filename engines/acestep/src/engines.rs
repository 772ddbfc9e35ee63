//! Compiled engines in place of the modules: which there are, which are loaded, and what a call may run.

mod host;
#[cfg(feature = "module-engines")]
mod modules;
mod plans;
mod runs;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use candle_core::{Device, Tensor};
use greenroom_compiled::{Engine, Library, Shapes};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_dit::{LoraSet, Memory, Running};
use greenroom_generator::{COMPONENTS, GenerateError, LoadError};
use greenroom_oobleck::Window;
use greenroom_sync::CancelFlag;

pub(crate) use host::{Host, Place};
#[cfg(feature = "module-engines")]
pub use modules::{ModuleLibrary, Outcome, write_module_engine};
pub(crate) use plans::PlanLibrary;
pub use plans::{Plan, Plans, RefitError};

/// Loads the files of one library. Whoever asks has made room on the device.
pub trait EngineLibrary: Send + Sync {
    /// What engines must have been built by.
    fn library(&self) -> Library;

    /// Loads an engine, its execution context included.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing of it is left then.
    fn load(&self, engine: &Engine) -> Result<Module, LoadError>;
}

/// A loaded engine.
pub enum Module {
    /// Of the diffusion transformer.
    Decoder(Box<dyn Decoder>),
    /// Of the autoencoder's way in.
    VaeEncode(Box<dyn Encode>),
    /// Of the autoencoder's way out.
    VaeDecode(Box<dyn Decode>),
}

/// A compiled diffusion transformer.
pub trait Decoder: Send + Sync {
    /// Velocities, [slots, frames, channels] f32. Slots whose prompts differ in length have nothing to do with each other: the profile has to take
    /// those of each length by themselves.
    ///
    /// # Errors
    /// If the shapes are none of its profile, or the device fails.
    fn velocity(&self, batch: &Batch<'_, Memory>) -> candle_core::Result<Tensor>;

    /// Puts LoRAs into its weights in place of those before; between two ticks.
    ///
    /// # Errors
    /// In words, why it cannot have them: the modules are asked then.
    fn wear(&self, loras: &LoraSet) -> Result<(), String>;
}

/// A compiled encoder of sound.
pub trait Encode: Send + Sync {
    /// Latents [frames, channels] f32 of interleaved stereo of whole frames.
    ///
    /// # Errors
    /// `Cancelled` if the flag was seen; `Compute` if the length is none of its profile, or the device fails.
    fn encode(&self, sound: &[f32], cancel: &CancelFlag) -> Result<Tensor, GenerateError>;
}

/// A compiled decoder of latents.
pub trait Decode: Send + Sync {
    /// The sound of a window: interleaved stereo in system RAM.
    ///
    /// # Errors
    /// If the length is none of its profile, or the device fails.
    fn decode(&self, window: &Window) -> candle_core::Result<Vec<f32>>;
}

/// An engine on the device.
pub(crate) struct Loaded {
    engine: Engine,
    module: Module,
    runs: Arc<Runs>,
}

/// How often an engine of each component has run.
type Runs = [AtomicU64; COMPONENTS];

impl Loaded {
    /// Whether it takes each of these shapes; it is run then.
    fn takes(&self, shapes: &[Shapes]) -> bool {
        let takes = shapes.iter().all(|shapes| self.engine.profile.covers(shapes));
        if takes {
            self.runs[self.engine.component as usize].fetch_add(1, Ordering::Relaxed);
        }
        takes
    }

    /// The encoder, if it takes so many samples.
    pub(crate) fn encoder(&self, samples: usize) -> Option<&dyn Encode> {
        match &self.module {
            Module::VaeEncode(encoder) if self.takes(&[Shapes::vae_encode(samples as u64)]) => Some(&**encoder),
            _ => None,
        }
    }

    /// The decoder of latents, if it takes so many frames.
    pub(crate) fn window_decoder(&self, frames: usize) -> Option<&dyn Decode> {
        match &self.module {
            Module::VaeDecode(decoder) if self.takes(&[Shapes::vae_decode(frames as u64)]) => Some(&**decoder),
            _ => None,
        }
    }

    /// The diffusion transformer.
    pub(crate) fn transformer(&self) -> Option<&dyn Decoder> {
        match &self.module {
            Module::Decoder(decoder) => Some(&**decoder),
            _ => None,
        }
    }
}

/// The networks of a tick: an engine where it takes the batch, else the modules.
pub(crate) struct Networks<'a> {
    pub(crate) engine: Option<&'a Loaded>,
    pub(crate) modules: Running<'a>,
}

impl Denoiser for Networks<'_> {
    type Prompt = Memory;

    fn device(&self) -> &Device {
        self.modules.device()
    }

    fn prompt(&self, states: &Tensor) -> candle_core::Result<Arc<Memory>> {
        self.modules.prompt(states)
    }

    fn velocity(&mut self, batch: &Batch<'_, Memory>) -> candle_core::Result<Tensor> {
        if let Some(engine) = self.engine
            && let Some(decoder) = engine.transformer()
            && engine.takes(&runs::shapes(batch)?)
        {
            return decoder.velocity(batch);
        }
        self.modules.velocity(batch)
    }
}
