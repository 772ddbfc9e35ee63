//! Compiled engines in place of the modules: which there are, which are loaded, and what a call may run.

#[cfg(feature = "module-engines")]
mod modules;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use candle_core::{Device, Tensor};
use greenroom_compiled::{
    Choice, Component, ComputeCapability, Eager, Engine, Library, Look, Origin, Pod, Registry, Room, Shapes, choose,
};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_dit::{LoraSet, Memory, Running};
use greenroom_generator::{COMPONENTS, CompiledEngines, EngineInfo, Extent, GenerateError, Lent, LoadError};
use greenroom_oobleck::{WINDOW_MARGIN, Window};
use greenroom_sync::CancelFlag;

use crate::{
    checkpoint::{FRAME_SAMPLES, WeightFiles},
    error::AcestepError,
    generator::WINDOW_FRAMES,
};

#[cfg(feature = "module-engines")]
pub use modules::{ModuleLibrary, Outcome, write_module_engine};

/// Slots that an engine of the diffusion transformer has to take: as many as a session begins with.
const SLOTS: u64 = 4;
/// Latents of a window that does not begin with a frame, which most do not.
const WINDOW_ROWS: u64 = (WINDOW_FRAMES + 1 + 2 * WINDOW_MARGIN) as u64;
/// States of a prompt that it has to take.
const TOKENS: u64 = 200;

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
    /// Velocities, [slots, frames, channels] f32.
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

/// The engines of a pod. Numbers are never given twice: an engine that was built anew has another.
pub(crate) struct Host {
    /// Values of a condition of the diffusion transformer.
    width: u64,
    numbered: Vec<Engine>,
    /// What loads each of them.
    built_by: Vec<Arc<dyn EngineLibrary>>,
    loaded: Mutex<BTreeMap<u32, Arc<Loaded>>>,
    runs: Arc<Runs>,
}

/// How often an engine of each component has run.
type Runs = [AtomicU64; COMPONENTS];

impl Host {
    /// Looks at a folder. Gigabytes of weights are read only for an engine that fits in everything else.
    pub(crate) fn scan(
        folder: &Path,
        libraries: &[Arc<dyn EngineLibrary>],
        compute_capability: Option<ComputeCapability>,
        weights: &WeightFiles,
        width: usize,
    ) -> Result<Self, AcestepError> {
        let mut pod = Pod {
            compute_capability,
            libraries: libraries.iter().map(|library| library.library()).collect(),
            checkpoints: BTreeMap::new(),
        };
        let mut registry = Registry::new();
        registry.scan_beside(folder, &mut pod, Look::Length, |component| {
            weights.of_component(component).into()
        })?;
        for found in registry.found() {
            match &found.misfit {
                Some(misfit) => tracing::warn!(engine = found.name, %misfit, "an engine is not used"),
                None => tracing::info!(engine = found.name, "an engine can be used"),
            }
        }
        let (mut numbered, mut built_by) = (Vec::new(), Vec::new());
        for engine in registry.engines() {
            let found = registry.found().iter().find(|found| found.name == engine.name);
            let metadata = found.and_then(|found| found.metadata.as_ref());
            let library = libraries
                .iter()
                .find(|library| metadata.is_some_and(|metadata| metadata.library == library.library()));
            if let Some(library) = library {
                numbered.push(engine.clone());
                built_by.push(Arc::clone(library));
            }
        }
        Ok(Self {
            width: width as u64,
            numbered,
            built_by,
            loaded: Mutex::default(),
            runs: Arc::default(),
        })
    }

    /// What a call was lent of a component.
    pub(crate) fn lent(&self, component: Component, lent: Lent) -> Option<Arc<Loaded>> {
        let id = lent.0[component as usize]?;
        self.loaded().get(&id).map(Arc::clone)
    }

    fn loaded(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbered(&self, id: u32) -> Option<&Engine> {
        self.numbered.get(id as usize)
    }

    fn smallest(&self, component: Component, shapes: &Shapes) -> Option<EngineInfo> {
        // Whether there is room is the director's matter.
        let room = Room {
            budget_bytes: u64::MAX,
            used_bytes: 0,
        };
        let Choice::Engine { engine, .. } = choose(component, shapes, &self.numbered, None, room, Eager::There) else {
            return None;
        };
        let id = self.numbered.iter().position(|numbered| numbered == engine)?;
        self.info(u32::try_from(id).ok()?)
    }
}

impl CompiledEngines for Host {
    fn serving(&self, extent: Extent) -> [Option<EngineInfo>; COMPONENTS] {
        let frames = extent.part_frames / FRAME_SAMPLES as u64;
        Component::ALL.map(|component| {
            let shapes = match component {
                Component::Decoder => Shapes::decoder_of_width(SLOTS, frames, TOKENS, self.width),
                Component::VaeEncode => Shapes::vae_encode(extent.frames),
                Component::VaeDecode => Shapes::vae_decode(WINDOW_ROWS),
            };
            self.smallest(component, &shapes)
        })
    }

    fn info(&self, id: u32) -> Option<EngineInfo> {
        let engine = self.numbered(id)?;
        Some(EngineInfo {
            id,
            weights_bytes: engine.weights_bytes,
            workspace_bytes: engine.workspace_bytes,
        })
    }

    fn file(&self, id: u32) -> Option<PathBuf> {
        match &self.numbered(id)?.origin {
            Origin::File { path, .. } => Some(path.clone()),
            Origin::Captured => None,
        }
    }

    fn load(&self, id: u32) -> Result<(), LoadError> {
        let engine = self.numbered(id).ok_or(LoadError::NotThere(id))?;
        let library = self.built_by.get(id as usize).ok_or(LoadError::NotThere(id))?;
        // A failure is not remembered: the next try asks the library anew.
        let module = library.load(engine)?;
        tracing::info!(engine = engine.name, "an engine is loaded");
        let engine = engine.clone();
        self.loaded().insert(
            id,
            Arc::new(Loaded {
                engine,
                module,
                runs: Arc::clone(&self.runs),
            }),
        );
        Ok(())
    }

    fn unload(&self, id: u32) {
        if let Some(loaded) = self.loaded().remove(&id) {
            tracing::info!(engine = loaded.engine.name, "an engine is freed");
        }
    }

    fn runs(&self) -> [u64; COMPONENTS] {
        std::array::from_fn(|component| self.runs[component].load(Ordering::Relaxed))
    }
}

impl Loaded {
    /// Whether it takes these shapes; it is run then.
    fn takes(&self, shapes: &Shapes) -> bool {
        let takes = self.engine.profile.covers(shapes);
        if takes {
            self.runs[self.engine.component as usize].fetch_add(1, Ordering::Relaxed);
        }
        takes
    }

    /// The encoder, if it takes so many samples.
    pub(crate) fn encoder(&self, samples: usize) -> Option<&dyn Encode> {
        match &self.module {
            Module::VaeEncode(encoder) if self.takes(&Shapes::vae_encode(samples as u64)) => Some(&**encoder),
            _ => None,
        }
    }

    /// The decoder of latents, if it takes so many frames.
    pub(crate) fn window_decoder(&self, frames: usize) -> Option<&dyn Decode> {
        match &self.module {
            Module::VaeDecode(decoder) if self.takes(&Shapes::vae_decode(frames as u64)) => Some(&**decoder),
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
            && engine.takes(&shapes(batch)?)
        {
            return decoder.velocity(batch);
        }
        self.modules.velocity(batch)
    }
}

/// What a batch asks of an engine.
fn shapes(batch: &Batch<'_, Memory>) -> candle_core::Result<Shapes> {
    let (slots, frames, _) = batch.latents.dims3()?;
    let longest = batch.prompts.iter().map(|prompt| prompt.states()).max();
    let (tokens, width) = longest.unwrap_or_default();
    Ok(Shapes::decoder_of_width(
        slots as u64,
        frames as u64,
        tokens as u64,
        width as u64,
    ))
}
