//! Why the generator cannot be opened.

use std::{
    io,
    path::{Path, PathBuf},
};

use greenroom_compiled::RegistryError;
use greenroom_dit::LoraError;
use greenroom_weights::{CheckpointError, ImageError};

/// Why a checkpoint folder is not used, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AcestepError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not where the public layout has it.
    #[error(
        "{} is not there; the folder has to hold acestep-v15-turbo, vae and Qwen3-Embedding-0.6B as they are published (`greenroom checkpoint random` writes one to try)",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A configuration is not of a network that is known here.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The weights are not those of the network.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The latent of silence cannot be used.
    #[error("{}: {reason}; it has to be the latent of silence as it is published, [1, 64, frames] of single precision", path.display())]
    Silence {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer cannot be used: {0}")]
    Tokenizer(String),
    /// A LoRA could not be written.
    #[error(transparent)]
    Lora(Box<LoraError>),
    /// Compiled engines could not be looked at.
    #[error(transparent)]
    Engines(#[from] RegistryError),
    /// The weights could not be packed.
    #[error("the weights of {group} could not be packed: {source}")]
    Image {
        /// The weight group.
        group: &'static str,
        /// Why.
        source: ImageError,
    },
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> AcestepError {
    AcestepError::Io {
        path: path.into(),
        source,
    }
}
