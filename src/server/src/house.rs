//! What a configuration makes of this machine: engines, stage, library and plan.

#[cfg(feature = "simulated-stage")]
mod simulated;

use std::sync::Arc;

use anyhow::Context;
use candle_core::DType;
use greenroom_director::{Group, Plan, Times};
use greenroom_generator::{Generator, PlayerSettings};
use greenroom_library::{Library, Limits, RealDisk, Recovery, Uploads};
use greenroom_separator::{Melband, MelbandOptions, Separator, Spleeter, SpleeterOptions};
use greenroom_spectral::Spectral;
use greenroom_stage::{CpuStage, Stage, Tenant};
use greenroom_weighted::{Weighted, WeightedConfig};

use crate::{
    config::{Config, GeneratorChoice},
    pod::{PodConfig, ThreadSettings, needs},
};

/// Audio kept in memory beyond what plays: about five tracks of two minutes.
const CACHE_BYTES_MAX: usize = 256 << 20;
/// Folder of the models directory for weights as devices want them; what is in it can be made anew.
const PACKED_WEIGHTS: &str = "packed";
/// Where the machine does not say how much memory it has.
const MEMORY_BYTES_UNKNOWN: u64 = 8 << 30;

/// Engines that stand, and why others do not.
pub struct Engines {
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
    pub fn open(config: &Config, pool: Arc<rayon::ThreadPool>) -> anyhow::Result<Self> {
        match &config.melband_checkpoint {
            Some(checkpoint) => {
                let options = MelbandOptions {
                    dtype: DType::F32,
                    on_device: false,
                    pieces_a_batch: 1,
                    pool,
                };
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

    fn of<S: Separator + Tenant + 'static>(separator: Arc<S>) -> Self {
        Self {
            tenant: Arc::clone(&separator) as Arc<dyn Tenant>,
            separator,
        }
    }
}

impl Engines {
    /// Opens what the configuration names. A separator without weights is no error: everything but stems works without.
    ///
    /// # Errors
    /// If the generator cannot be made.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let (generator, mut tenants): (Arc<dyn Generator>, Vec<Arc<dyn Tenant>>) = match config.generator {
            GeneratorChoice::Spectral => (Arc::new(Spectral::new()), Vec::new()),
            GeneratorChoice::Weighted => {
                let weighted =
                    Weighted::new(&WeightedConfig::default()).context("the weighted generator cannot be made")?;
                let tenants = weighted.tenants();
                (Arc::new(weighted), tenants)
            }
        };
        let pool = ThreadSettings::of_this_machine()
            .signal_pool()
            .context("no threads for signal processing")?;
        let separator = OpenSeparator::open(config, Arc::new(pool));
        if let Ok(open) = &separator {
            tenants.push(Arc::clone(&open.tenant));
        }
        Ok(Self {
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
                weights_bytes[group as usize] = Some(tenant.weights_bytes());
            }
        }
        let mut needs = needs(&*self.generator, self.separator.is_ok());
        if let Ok(open) = &self.separator {
            needs[greenroom_director::Work::Rip as usize].workspace_bytes = open.separator.workspace_bytes();
        }
        Plan {
            weights_bytes,
            needs,
            budget_bytes: config.memory_budget_bytes.unwrap_or_else(half_of_memory),
            policy: config.policy,
            uploads: config.uploads,
            limits: config.limits,
            times: Times::default(),
        }
    }
}

/// Everything that a pod is made of, and what the library found at boot.
///
/// # Errors
/// If an engine, the stage or the data directory is not to be had; the message says what to do.
pub fn build(config: &Config) -> anyhow::Result<(PodConfig, Recovery)> {
    let engines = Engines::open(config)?;
    match &engines.separator {
        Ok(open) => tracing::info!(separator = open.separator.name(), "stems will be made"),
        Err(error) => tracing::warn!("no stems: {error:#}"),
    }
    let plan = engines.plan(config);
    let stage = stage(config, plan.budget_bytes);
    for tenant in &engines.tenants {
        stage
            .register(Arc::clone(tenant))
            .context("a weight group cannot be registered")?;
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

#[cfg(not(feature = "simulated-stage"))]
/// The stage of this machine.
#[must_use]
pub fn stage(_config: &Config, budget_bytes: u64) -> Arc<dyn Stage> {
    Arc::new(CpuStage::new(budget_bytes))
}

#[cfg(feature = "simulated-stage")]
/// The stage of this machine, or one that only acts as one.
#[must_use]
pub fn stage(config: &Config, budget_bytes: u64) -> Arc<dyn Stage> {
    match config.stage {
        crate::config::StageChoice::Cpu => Arc::new(CpuStage::new(budget_bytes)),
        crate::config::StageChoice::Simulated => Arc::new(simulated::device(budget_bytes)),
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

/// Half of the machine's memory: weights are not all that a pod holds.
#[must_use]
pub fn half_of_memory() -> u64 {
    let information = rustix::system::sysinfo();
    let bytes = (information.totalram as u64).saturating_mul(u64::from(information.mem_unit));
    if bytes == 0 {
        MEMORY_BYTES_UNKNOWN / 2
    } else {
        bytes / 2
    }
}
