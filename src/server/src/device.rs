//! The device that weights are on and networks run on: chosen once, at the start.

use std::sync::Arc;
#[cfg(feature = "cuda")]
use std::sync::OnceLock;

use greenroom_compiled::ComputeCapability;
use greenroom_stage::{CpuStage, Stage};
use greenroom_weights::DeviceLane;

use crate::config::{Config, DeviceChoice};

/// Share of a GPU's memory that weights and workspaces may fill, where nobody says: the rest is for what the driver and its libraries
/// take when they are first used.
#[cfg(feature = "cuda")]
const GPU_SHARE: f64 = 0.95;

/// The device, and why it is this one.
pub struct Device {
    kind: Kind,
    /// For `doctor` and the log.
    pub why: String,
}

enum Kind {
    Cpu,
    #[cfg(feature = "cuda")]
    Gpu {
        gpu: greenroom_cuda::Gpu,
        /// Where the separator computes.
        work: Arc<greenroom_cuda::Lane>,
        /// Where the generator does.
        live: Arc<greenroom_cuda::Lane>,
        /// The stage that weights are moved by, once there is one.
        stage: OnceLock<greenroom_cuda::CudaStage>,
    },
}

impl Device {
    /// The device that the configuration asks for.
    ///
    /// # Errors
    /// If a GPU is asked for and there is none that works; the message says what is missing.
    pub fn choose(config: &Config) -> anyhow::Result<Self> {
        match config.device {
            DeviceChoice::Cpu => Ok(Self::cpu("it was asked for")),
            DeviceChoice::Cuda => Self::gpu(config, "it was asked for"),
            DeviceChoice::Auto => Ok(Self::gpu(config, "it is there")
                .unwrap_or_else(|error| Self::cpu(&format!("there is no GPU to use: {error:#}")))),
        }
    }

    fn cpu(why: &str) -> Self {
        Self {
            kind: Kind::Cpu,
            why: why.into(),
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn gpu(_config: &Config, _why: &str) -> anyhow::Result<Self> {
        anyhow::bail!("this program was built without CUDA (build it with `cargo xtask dist-gpu`)")
    }

    #[cfg(feature = "cuda")]
    fn gpu(config: &Config, why: &str) -> anyhow::Result<Self> {
        let gpu = greenroom_cuda::Gpu::open(0)?;
        // Work that needs more than all of ours runs out of memory, and takes nothing of anybody else's.
        gpu.bound_workspace(config.memory_budget_bytes.unwrap_or_else(|| gpu_budget_bytes(&gpu)))?;
        let (work, live) = (greenroom_cuda::Lane::open(&gpu)?, greenroom_cuda::Lane::open(&gpu)?);
        Ok(Self {
            kind: Kind::Gpu {
                gpu,
                work,
                live,
                stage: OnceLock::new(),
            },
            why: why.into(),
        })
    }

    /// Name and size.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Cpu => "CPU".into(),
            #[cfg(feature = "cuda")]
            Kind::Gpu { gpu, .. } => {
                let info = gpu.info();
                let (major, minor) = info.cuda_version;
                format!(
                    "{} ({} MB, CUDA {major}.{minor}, driver {})",
                    info.name,
                    info.total_bytes / 1_000_000,
                    info.driver_version.as_deref().unwrap_or("of unknown version")
                )
            }
        }
    }

    /// Its compute capability, if it is a GPU.
    #[must_use]
    pub fn compute_capability(&self) -> Option<ComputeCapability> {
        match &self.kind {
            Kind::Cpu => None,
            #[cfg(feature = "cuda")]
            Kind::Gpu { gpu, .. } => {
                let (major, minor) = gpu.info().compute_capability;
                Some(ComputeCapability {
                    major: u32::try_from(major).ok()?,
                    minor: u32::try_from(minor).ok()?,
                })
            }
        }
    }

    /// Whether it is a GPU.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        !matches!(self.kind, Kind::Cpu)
    }

    /// The separator's way to a GPU.
    #[must_use]
    pub fn work_lane(&self) -> Option<Arc<dyn DeviceLane>> {
        match &self.kind {
            Kind::Cpu => None,
            #[cfg(feature = "cuda")]
            Kind::Gpu { work, .. } => Some(Arc::clone(work) as Arc<dyn DeviceLane>),
        }
    }

    /// The generator's way to a GPU.
    #[must_use]
    pub fn live_lane(&self) -> Option<Arc<dyn DeviceLane>> {
        match &self.kind {
            Kind::Cpu => None,
            #[cfg(feature = "cuda")]
            Kind::Gpu { live, .. } => Some(Arc::clone(live) as Arc<dyn DeviceLane>),
        }
    }

    /// Bytes that weights and workspaces may fill, where the configuration says nothing.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        match &self.kind {
            // Weights are not all that a pod holds.
            Kind::Cpu => memory_bytes() / 2,
            #[cfg(feature = "cuda")]
            Kind::Gpu { gpu, .. } => gpu_budget_bytes(gpu),
        }
    }

    /// The stage that moves weights on and off it.
    ///
    /// # Errors
    /// If the driver says nothing of the device's memory.
    pub fn stage(&self, budget_bytes: u64) -> anyhow::Result<Arc<dyn Stage>> {
        match &self.kind {
            Kind::Cpu => Ok(Arc::new(CpuStage::new(budget_bytes))),
            #[cfg(feature = "cuda")]
            Kind::Gpu { gpu, stage, .. } => {
                let opened = gpu.stage(Some(budget_bytes))?;
                let _ = stage.set(opened.clone());
                Ok(Arc::new(opened))
            }
        }
    }

    /// Every kernel has been used once: what the GPU's libraries hold now is theirs for good, and no sign of another process.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn settle(&self) -> anyhow::Result<()> {
        #[cfg(feature = "cuda")]
        if let Kind::Gpu { stage, .. } = &self.kind
            && let Some(stage) = stage.get()
        {
            stage.settle()?;
        }
        Ok(())
    }

    /// The GPU, for measurements.
    #[cfg(feature = "cuda")]
    #[must_use]
    pub fn as_gpu(&self) -> Option<&greenroom_cuda::Gpu> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu { gpu, .. } => Some(gpu),
        }
    }
}

/// What of a GPU is ours, where nobody says.
#[cfg(feature = "cuda")]
fn gpu_budget_bytes(gpu: &greenroom_cuda::Gpu) -> u64 {
    let free = gpu.driver().memory().map_or(0, |memory| memory.free);
    (free as f64 * GPU_SHARE) as u64
}

/// Where the machine does not say how much memory it has.
const MEMORY_BYTES_UNKNOWN: u64 = 8 << 30;

/// The machine's memory.
#[must_use]
pub fn memory_bytes() -> u64 {
    let information = rustix::system::sysinfo();
    let bytes = (information.totalram as u64).saturating_mul(u64::from(information.mem_unit));
    if bytes == 0 { MEMORY_BYTES_UNKNOWN } else { bytes }
}
