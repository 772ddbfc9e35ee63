//! Production's separator: Mel-Band RoFormer, a network that hears a spectrum as 60 bands on the mel scale and looks along time and along
//! the bands in turn (Wang et al., "Mel-Band RoFormer for music source separation", 2023).
//!
//! A track goes through it in pieces of 8 s that overlap by half. The same code computes on the CPU in single precision and on a GPU in
//! half; the tensors come from a packed image, made once of the public checkpoint.

mod bands;
mod bridge;
mod config;
#[cfg(feature = "cuda")]
mod conformance;
mod error;
mod fourier;
mod interruption;
mod layout;
mod network;
mod pack;
mod plan;
mod random;
mod resample;
mod rip;
mod source;
#[cfg(test)]
mod tests;
mod transformer;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::DType;
use greenroom_audio::Pcm;
use greenroom_stage::{DeviceHome, GroupClass, Home, HostImage, ModuleSlot, Tenant};
use greenroom_weights::{DeviceLane, HostWeights, ImageKey, PackedImage};
use sha2::{Digest, Sha256};

#[cfg(feature = "cuda")]
pub use self::conformance::conformance;
pub use self::{config::MelbandConfig, error::MelbandError, random::noise, source::write_random_checkpoint};
use self::{
    network::Network,
    source::{CheckpointFile, RandomWeights, Source},
};
use crate::{Rip, SeparateError, Separator, check_track};

/// The weight group's name.
const GROUP: &str = "separator";

/// How a [`Melband`] is run.
#[derive(Clone)]
pub struct MelbandOptions {
    /// Type of the weights, and on a GPU of what is computed with them: F16, BF16 or F32. The CPU computes in F32.
    pub dtype: DType,
    /// The way to the GPU that computes; the stage that the separator is registered with has to be that GPU's. Without one the CPU does,
    /// and the weights live in system RAM, whatever the stage.
    pub lane: Option<Arc<dyn DeviceLane>>,
    /// Pieces of 8 s that go through the network together.
    pub pieces_a_batch: usize,
    /// Whose threads do the work around the network, and on the CPU the network's.
    pub pool: Arc<rayon::ThreadPool>,
}

/// The separator and its weight group, `separator`.
pub struct Melband {
    core: Arc<Core>,
    image: Arc<PackedImage>,
    lane: Option<Arc<dyn DeviceLane>>,
    /// The network over the group's place on the device, built at the first attachment and kept: addresses stay.
    built: Mutex<Option<(DeviceHome, Arc<Network>)>>,
}

/// Lives as long as the separator or one of its rips.
struct Core {
    config: MelbandConfig,
    slot: ModuleSlot<Arc<Network>>,
    pool: Arc<rayon::ThreadPool>,
    pieces_a_batch: usize,
    dtype: DType,
}

impl Melband {
    /// Opens a checkpoint in the public layout. The packed weights are kept in the folder `cache`; the first time they are made of the
    /// checkpoint, later they are only looked at.
    ///
    /// # Errors
    /// `Io`, `Container`, `Missing`, `Extra`, `Shape`, `Type`, `Image`, `Options`.
    pub fn open(checkpoint: &Path, cache: &Path, options: MelbandOptions) -> Result<Arc<Self>, MelbandError> {
        Self::open_shaped(checkpoint, cache, MelbandConfig::PUBLIC, options)
    }

    /// The same for a network of another shape.
    ///
    /// # Errors
    /// As [`open`](Self::open), and `Config`.
    pub fn open_shaped(
        checkpoint: &Path,
        cache: &Path,
        config: MelbandConfig,
        options: MelbandOptions,
    ) -> Result<Arc<Self>, MelbandError> {
        check(&config, &options)?;
        let bytes = fs::read(checkpoint).map_err(|source| MelbandError::Io {
            path: checkpoint.into(),
            source,
        })?;
        let file = CheckpointFile::open(&bytes, &config)?;
        let key = ImageKey {
            group: GROUP.into(),
            checkpoint: Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            layout_version: pack::LAYOUT_VERSION,
            dtype: options.dtype,
        };
        let image = PackedImage::open_or_build(cache, &key, |builder| {
            pack::pack(&config, &file, options.dtype, builder)
        })?;
        Ok(Self::new(config, image, options))
    }

    /// A separator of random weights, for tests and for measuring: it separates nothing, in the same time.
    ///
    /// # Errors
    /// `Config`, `Options`, `Image`.
    pub fn random(config: MelbandConfig, seed: u64, options: MelbandOptions) -> Result<Arc<Self>, MelbandError> {
        Self::of_source(config, &RandomWeights { seed }, options)
    }

    fn of_source(
        config: MelbandConfig,
        source: &dyn Source,
        options: MelbandOptions,
    ) -> Result<Arc<Self>, MelbandError> {
        check(&config, &options)?;
        let image = options
            .pool
            .install(|| PackedImage::in_memory(|builder| pack::pack(&config, source, options.dtype, builder)))?;
        Ok(Self::new(config, image, options))
    }

    fn new(config: MelbandConfig, image: Arc<PackedImage>, options: MelbandOptions) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::new(Core {
                config,
                slot: ModuleSlot::new(GROUP),
                pool: options.pool,
                pieces_a_batch: options.pieces_a_batch,
                dtype: options.dtype,
            }),
            image,
            lane: options.lane,
            built: Mutex::default(),
        })
    }

    /// The network over weights in system RAM.
    fn in_ram(&self) -> Result<Arc<Network>, String> {
        let core = &self.core;
        Network::new(&core.config, &HostWeights::new(&self.image), core.pieces_a_batch)
            .map(Arc::new)
            .map_err(|error| error.to_string())
    }

    /// The network over weights on the device.
    fn on_device(&self, home: DeviceHome, lane: &dyn DeviceLane) -> Result<Arc<Network>, String> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, network)) = built.as_ref().filter(|(built_for, _)| *built_for == home) {
            return Ok(Arc::clone(network));
        }
        let core = &self.core;
        let weights = lane.weights(&self.image, home.address)?;
        let network = Network::new(&core.config, &*weights, core.pieces_a_batch).map_err(|error| error.to_string())?;
        let network = Arc::new(network);
        *built = Some((home, Arc::clone(&network)));
        Ok(network)
    }
}

/// Asks that the options can be met.
fn check(config: &MelbandConfig, options: &MelbandOptions) -> Result<(), MelbandError> {
    config.check()?;
    if !matches!(options.dtype, DType::F32 | DType::F16 | DType::BF16) {
        let dtype = options.dtype.as_str();
        return Err(MelbandError::Options(format!(
            "it computes in F32, F16 or BF16, not in {dtype}"
        )));
    }
    if options.pieces_a_batch == 0 {
        return Err(MelbandError::Options("a batch has at least one piece".into()));
    }
    Ok(())
}

impl Tenant for Melband {
    fn name(&self) -> &'static str {
        GROUP
    }

    fn class(&self) -> GroupClass {
        GroupClass::Separator
    }

    fn weights_bytes(&self) -> u64 {
        self.image.bytes().len() as u64
    }

    fn image(&self) -> Option<Arc<HostImage>> {
        self.lane.is_some().then(|| Arc::clone(&self.image) as Arc<HostImage>)
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        let network = match (home, &self.lane) {
            (Home::Ram, None) => self.in_ram()?,
            (Home::Device(home), Some(lane)) => self.on_device(*home, &**lane)?,
            (Home::Ram, Some(_)) => {
                return Err("the separator computes on a GPU, and the stage gave it a place in RAM".into());
            }
            (Home::Device(_), None) => {
                return Err("the separator computes on the CPU, and the stage gave it a place on a device".into());
            }
        };
        self.core.slot.fill(network);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.core.slot.clear()
    }
}

impl Separator for Melband {
    fn name(&self) -> &'static str {
        "melband"
    }

    fn workspace_bytes(&self) -> u64 {
        workspace_bytes(&self.core)
    }

    fn begin(&self, track: Arc<Pcm>) -> Result<Box<dyn Rip>, SeparateError> {
        check_track(&track)?;
        Ok(Box::new(rip::MelbandRip::new(Arc::clone(&self.core), track)?))
    }
}

/// Bytes of the widest moment of a batch.
fn workspace_bytes(core: &Core) -> u64 {
    let config = &core.config;
    let rows = core.pieces_a_batch * config.frames();
    let tokens = rows * config.bands;
    let value = core.dtype.size_in_bytes();
    // A transformer's input and its norm, then the projection with its turned keys and what attention makes of it, or the hidden layer and
    // the net's output with the next pair; after the last, two hidden layers of the mask estimator.
    let attention = tokens * (2 * config.dim + config.projected() + 2 * config.inner());
    let forward = tokens * (4 * config.dim + config.dim + config.hidden());
    let masks = tokens * 2 * config.hidden();
    // The spectra are kept beside it, in single precision.
    let spectra = rows * config.spectrum() * DType::F32.size_in_bytes();
    (attention.max(forward).max(masks) * value + spectra) as u64
}
