//! The embedded default: Spleeter's two networks on the CPU.
//!
//! A track goes block by block (512 spectra, 11.9 s) through two U-Nets, one for the singing and one for everything else; what share of
//! each bin is singing is the ratio of their squared masks. The architecture follows the tensors of the published weights
//! (Hennequin et al., "Spleeter: a fast and efficient music source separation tool", 2020).

mod block;
mod core;
mod decoder;
mod encoder;
mod head;
mod interruption;
mod matmul;
mod network;
#[cfg(test)]
mod oracle;
mod plane;
mod rip;
mod scratch;
mod spectrum;
mod stretch;
mod tiling;
mod weights;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use greenroom_audio::Pcm;
use greenroom_stage::{GroupClass, Home, ModuleSlot, Tenant};

use self::core::Core;
pub use self::weights::{SpleeterNets, WeightsError};
use crate::{
    Rip, SeparateError, Separator, check_track,
    checkpoint::{CheckpointError, SPLEETER},
};

/// How a [`Spleeter`] is run.
#[derive(Clone, Debug)]
pub struct SpleeterOptions {
    /// Keep the weights' file in RAM (79 MB): a restore then needs no disk.
    pub ram_cache: bool,
    /// Whose threads do the work.
    pub pool: Arc<rayon::ThreadPool>,
}

/// The separator and its weight group, `separator`.
pub struct Spleeter {
    core: Arc<Core>,
    models_dir: PathBuf,
    /// The host image, if it is kept.
    image: Option<Vec<u8>>,
    weights_bytes: u64,
    workspace_bytes: u64,
}

impl Spleeter {
    /// Opens the checkpoint in the models directory `dir`, checks it against its checksum and builds its networks once for a trial.
    /// The group begins parked.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, `Unusable`, `Io`.
    pub fn open(dir: &Path, options: SpleeterOptions) -> Result<Arc<Self>, CheckpointError> {
        let image = SPLEETER.read(dir)?;
        let nets = SpleeterNets::build(&image).map_err(|error| CheckpointError::Unusable {
            path: SPLEETER.locate(dir),
            reason: error.to_string(),
        })?;
        Ok(Arc::new(Self {
            core: Arc::new(Core {
                slot: ModuleSlot::new("separator"),
                pool: options.pool,
                fourier: spectrum::Fourier::new(),
            }),
            models_dir: dir.into(),
            weights_bytes: image.len() as u64,
            workspace_bytes: block::workspace_bytes(&nets),
            image: options.ram_cache.then_some(image),
        }))
    }
}

impl Tenant for Spleeter {
    fn name(&self) -> &'static str {
        "separator"
    }

    fn class(&self) -> GroupClass {
        GroupClass::Separator
    }

    fn weights_bytes(&self) -> u64 {
        self.weights_bytes
    }

    fn attach(&self, _home: &Home) -> Result<(), String> {
        let nets = match &self.image {
            Some(image) => SpleeterNets::build(image),
            // Checked again: the file may have changed since it was opened.
            None => SpleeterNets::build(&SPLEETER.read(&self.models_dir).map_err(|error| error.to_string())?),
        };
        self.core.slot.fill(nets.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.core.slot.clear()
    }
}

impl Separator for Spleeter {
    fn name(&self) -> &'static str {
        "spleeter"
    }

    fn workspace_bytes(&self) -> u64 {
        self.workspace_bytes
    }

    fn begin(&self, track: Arc<Pcm>) -> Result<Box<dyn Rip>, SeparateError> {
        check_track(&track)?;
        Ok(Box::new(rip::SpleeterRip::new(Arc::clone(&self.core), track)?))
    }
}
