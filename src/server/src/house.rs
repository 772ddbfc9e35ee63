//! What a configuration makes of this machine: engines, stage, library and plan.

#[cfg(feature = "simulated-stage")]
mod simulated;
pub mod tensorrt;
mod warm;

use std::sync::Arc;

use anyhow::Context;
use candle_core::DType;
use greenroom_acestep::{Acestep, AcestepOptions, EngineLibrary, Lanes, WeightFiles};
use greenroom_director::{Group, Plan, Span, Times};
use greenroom_generator::{Generator, PlayerSettings};
use greenroom_library::{Library, Limits, RealDisk, Recovery, Uploads};
use greenroom_separator::{Melband, MelbandOptions, Separator, Spleeter, SpleeterOptions};
use greenroom_spectral::Spectral;
use greenroom_stage::{Stage, Tenant};
use greenroom_weighted::{Weighted, WeightedConfig};

use crate::{
    config::{Config, GeneratorChoice},
    device::Device,
    pod::{PodConfig, ThreadSettings, needs},
};

/// Audio kept in memory beyond what plays: about five tracks of two minutes.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// Folder of the models directory for weights as devices want them; what is in it can be made anew.
const PACKED_WEIGHTS: &str = "packed";
/// Folder of the models directory for compiled engines.
const ENGINES: &str = "engines";
/// Engines that stand, and why others do not.
pub struct Engines {
    /// Where they run.
    pub device: Device,
    /// Makes the music.
    pub generator: Arc<dyn Generator>,
    /// Makes the stems, where its weights are at hand.
    pub separator: anyhow::Result<OpenSeparator>,
    /// Every weight group that moves.
    pub tenants: Vec<Arc<dyn Tenant>>,
}

/// A separator, as the pod and as the stage know it.
pub struct OpenSeparator {
    /// Makes the stems.
    pub separator: Arc<dyn Separator>,
    /// Its weight group.
    pub tenant: Arc<dyn Tenant>,
}

impl OpenSeparator {
    /// Mel-Band RoFormer where its checkpoint is configured, else Spleeter. The first start with a checkpoint packs its weights anew.
    ///
    /// # Errors
    /// If the weights are missing, damaged or of another network; one separator never stands in for the other.
    pub fn open(config: &Config, device: &Device, pool: Arc<rayon::ThreadPool>) -> anyhow::Result<Self> {
        match &config.melband_checkpoint {
            Some(checkpoint) => {
                let options = melband_options(device, pool);
                let cache = config.models_dir.join(PACKED_WEIGHTS);
                Ok(Self::of(Melband::open(checkpoint, &cache, options)?))
            }
            None => {
                let options = SpleeterOptions {
                    ram_cache: config.separator_ram_cache,
                    pool,
                };
                Ok(Self::of(Spleeter::open(&config.models_dir, options)?))
            }
        }
    }

    /// One that is open already.
    pub fn of<S: Separator + Tenant + 'static>(separator: Arc<S>) -> Self {
        Self {
            tenant: Arc::clone(&separator) as Arc<dyn Tenant>,
            separator,
        }
    }
}

/// Half precision on a GPU, single on the CPU; one piece of 8 s a batch, so that a rip gives way soon.
#[must_use]
pub fn melband_options(device: &Device, pool: Arc<rayon::ThreadPool>) -> MelbandOptions {
    MelbandOptions {
        dtype: if device.is_gpu() { DType::F16 } else { DType::F32 },
        lane: device.work_lane(),
        pieces_a_batch: 1,
        pool,
    }
}

/// ACE-Step from the folder that is configured. The first start with a checkpoint packs its weights anew.
fn acestep(config: &Config, device: &Device) -> anyhow::Result<Acestep> {
    let folder = config.acestep_models_dir.as_ref().context(
        "the generator acestep needs its checkpoints: name their folder by --acestep-models-dir or ACESTEP_MODELS_DIR",
    )?;
    let cache = config.models_dir.join(PACKED_WEIGHTS);
    let mut acestep = Acestep::open(folder, &cache, acestep_options(device)).context("ACE-Step cannot be opened")?;
    if let Some(folder) = &config.lora_dir {
        acestep = acestep
            .with_loras(folder)
            .context("the folder of LoRAs cannot be read")?;
    }
    with_engines(acestep, config, device, &WeightFiles::of(folder))
}

/// The compiled engines of the folder that is configured, or of the models directory where that has one, now or later.
fn with_engines(acestep: Acestep, config: &Config, device: &Device, weights: &WeightFiles) -> anyhow::Result<Acestep> {
    let (libraries, gpu) = (engine_libraries(&acestep, config, device), device.compute_capability());
    let default = config.models_dir.join(ENGINES);
    let folder = config.engines_dir.as_ref().unwrap_or(&default);
    // The folder that nobody named need not be there.
    if config.engines_dir.is_none() && !folder.is_dir() {
        return Ok(acestep.with_engines_to_come(folder, &libraries, gpu, weights));
    }
    acestep
        .with_engines(folder, &libraries, gpu, weights)
        .context("compiled engines cannot be used: name another folder by --engines-dir, or an empty one")
}

/// What can load engines here.
fn engine_libraries(acestep: &Acestep, config: &Config, device: &Device) -> Vec<Arc<dyn EngineLibrary>> {
    let found = tensorrt::Found::open(config, device.compute_capability());
    tracing::info!(tensorrt = %found, "the library of compiled engines");
    vec![
        #[cfg(feature = "simulated-stage")]
        acestep.module_library(),
    ]
    .into_iter()
    .chain(planned(acestep, found, device))
    .collect()
}

/// TensorRT's engines, where they run.
#[cfg(all(feature = "cuda", feature = "tensorrt"))]
fn planned(acestep: &Acestep, found: tensorrt::Found, device: &Device) -> Option<Arc<dyn EngineLibrary>> {
    let (library, lanes) = found.running().zip(lanes(device))?;
    Some(acestep.plan_library(tensorrt::plans(library, lanes)))
}

/// TensorRT's engines: they run in no such program.
#[cfg(not(all(feature = "cuda", feature = "tensorrt")))]
fn planned(_acestep: &Acestep, _found: tensorrt::Found, _device: &Device) -> Option<Arc<dyn EngineLibrary>> {
    None
}

/// Brain floating point on a GPU, single precision on the CPU.
#[must_use]
pub fn acestep_options(device: &Device) -> AcestepOptions {
    AcestepOptions {
        dtype: if device.is_gpu() { DType::BF16 } else { DType::F32 },
        lanes: lanes(device),
    }
}

fn lanes(device: &Device) -> Option<Lanes> {
    let lanes = device.work_lane().zip(device.live_lane());
    lanes.map(|(work, live)| Lanes { work, live })
}

/// Beside a GPU, weights come back within a tenth of a second and a batch of a rip takes a few hundredths: turns can be short, and ticks
/// stay away for a third of a second instead of most of one.
fn times(device: &Device) -> Times {
    const GPU_TURN: Span = Span::milliseconds(200);
    if !device.is_gpu() {
        return Times::default();
    }
    Times {
        rip_turn: GPU_TURN,
        live_turn: GPU_TURN,
        ..Times::default()
    }
}

impl Engines {
    /// Opens what the configuration names. A separator without weights is no error: everything but stems works without.
    ///
    /// # Errors
    /// If the generator cannot be made, or a GPU is asked for and there is none.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let device = Device::choose(config)?;
        tracing::info!(device = device.describe(), why = device.why, "where networks run");
        if config.lora_dir.is_some() && config.generator != GeneratorChoice::Acestep {
            tracing::warn!("--lora-dir is of no use: only the generator acestep has LoRAs");
        }
        let (generator, mut tenants): (Arc<dyn Generator>, Vec<Arc<dyn Tenant>>) = match config.generator {
            GeneratorChoice::Spectral => (Arc::new(Spectral::new()), Vec::new()),
            GeneratorChoice::Acestep => {
                let acestep = acestep(config, &device)?;
                let tenants = acestep.tenants();
                (Arc::new(acestep), tenants)
            }
            GeneratorChoice::Weighted => {
                let weighted = Weighted::new(&WeightedConfig::default(), device.live_lane())
                    .context("the weighted generator cannot be made")?;
                let tenants = weighted.tenants();
                (Arc::new(weighted), tenants)
            }
        };
        let pool = ThreadSettings::of_this_machine()
            .signal_pool()
            .context("no threads for signal processing")?;
        let separator = OpenSeparator::open(config, &device, Arc::new(pool));
        if let Ok(open) = &separator {
            tenants.push(Arc::clone(&open.tenant));
        }
        Ok(Self {
            device,
            generator,
            separator,
            tenants,
        })
    }

    /// The director's plan for these engines.
    #[must_use]
    pub fn plan(&self, config: &Config) -> Plan {
        let mut weights_bytes = [None; 5];
        for tenant in &self.tenants {
            if let Some(group) = Group::named(tenant.name()) {
                // Beside a GPU, what has nothing for it stays in system RAM and takes no room there.
                let takes_room = !self.device.is_gpu() || tenant.image().is_some();
                weights_bytes[group as usize] = Some(if takes_room { tenant.weights_bytes() } else { 0 });
            }
        }
        let separator = self.separator.as_ref().ok().map(|open| &*open.separator);
        Plan {
            weights_bytes,
            needs: needs(&*self.generator, separator),
            engines_only: greenroom_director::Components::NONE,
            budget_bytes: config.memory_budget_bytes.unwrap_or_else(|| self.device.budget_bytes()),
            keeps_stems: self.generator.description().keeps_sources,
            policy: config.policy,
            uploads: config.uploads,
            limits: config.limits,
            times: times(&self.device),
        }
    }
}

/// Everything that a pod is made of, and what the library found at boot.
///
/// # Errors
/// If an engine, the stage or the data directory is not to be had; the message says what to do.
pub fn build(config: &Config) -> anyhow::Result<(PodConfig, Recovery)> {
    assemble(config, Engines::open(config)?)
}

/// The same of engines that are open already.
///
/// # Errors
/// If the stage or the data directory is not to be had.
pub fn assemble(config: &Config, engines: Engines) -> anyhow::Result<(PodConfig, Recovery)> {
    match &engines.separator {
        Ok(open) => tracing::info!(separator = open.separator.name(), "stems will be made"),
        Err(error) => tracing::warn!("no stems: {error:#}"),
    }
    let plan = engines.plan(config);
    let stage = stage(config, &engines.device, plan.budget_bytes)?;
    for tenant in &engines.tenants {
        stage
            .register(Arc::clone(tenant))
            .context("a weight group cannot be registered")?;
    }
    if config.startup_warmup && engines.device.is_gpu() {
        warm::warm_up(&engines, &*stage).context("the GPU could not be warmed up")?;
    }
    let (library, recovery) = open_library(config)?;
    let pod = PodConfig {
        generator: engines.generator,
        separator: engines.separator.ok().map(|open| open.separator),
        stage,
        library,
        plan,
        cache_bytes_max: CACHE_BYTES_MAX,
        source_seconds_max: config.source_seconds_max,
        player: PlayerSettings {
            idle_after: config.idle_pause,
            ..PlayerSettings::default()
        },
        startup_warmup: config.startup_warmup,
        threads: ThreadSettings::of_this_machine(),
    };
    Ok((pod, recovery))
}

/// The device's stage.
///
/// # Errors
/// If the device says nothing of its memory.
#[cfg(not(feature = "simulated-stage"))]
pub fn stage(_config: &Config, device: &Device, budget_bytes: u64) -> anyhow::Result<Arc<dyn Stage>> {
    device.stage(budget_bytes)
}

/// The device's stage, or one that only acts as one.
///
/// # Errors
/// If the device says nothing of its memory.
#[cfg(feature = "simulated-stage")]
pub fn stage(config: &Config, device: &Device, budget_bytes: u64) -> anyhow::Result<Arc<dyn Stage>> {
    match config.stage {
        crate::config::StageChoice::Cpu => device.stage(budget_bytes),
        crate::config::StageChoice::Simulated => Ok(Arc::new(simulated::device(budget_bytes))),
    }
}

fn open_library(config: &Config) -> anyhow::Result<(Library, Recovery)> {
    let uploads = match config.uploads {
        greenroom_director::Uploads::Wipe => Uploads::Wipe,
        greenroom_director::Uploads::Keep => Uploads::Keep,
    };
    let limits = Limits {
        tracks_max: config.limits.tracks,
        data_bytes_max: config.data_bytes_max,
    };
    Library::open(Arc::new(RealDisk), &config.data_dir, uploads, limits)
        .with_context(|| format!("the data directory {} cannot be used", config.data_dir.display()))
}
