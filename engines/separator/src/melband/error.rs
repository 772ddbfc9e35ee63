//! Why there is no separator.

use std::{io, path::PathBuf};

use greenroom_weights::{ImageError, WeightsError};

/// Why a Mel-Band RoFormer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MelbandError {
    /// The checkpoint cannot be read or written.
    #[error("the separator's checkpoint {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not whole, or of another kind.
    #[error("the separator's checkpoint is no whole safetensors file ({0}); fetch it again")]
    Container(#[from] safetensors::SafeTensorError),
    /// A tensor is not there.
    #[error("the separator's checkpoint has no tensor {0}: it is of another network")]
    Missing(String),
    /// A tensor is there that the network does not have.
    #[error("the separator's checkpoint has a tensor {0} that the network does not have: it is of another network")]
    Extra(String),
    /// A tensor is of another shape.
    #[error("the checkpoint's tensor {name} has the shape {found:?}, and the network needs {needed:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape of the network's.
        needed: Vec<usize>,
    },
    /// A tensor is of a type that weights do not have.
    #[error("the checkpoint's tensor {name} is of type {found}, and weights are F32, F16 or BF16")]
    Type {
        /// The tensor.
        name: String,
        /// Type in the file.
        found: String,
    },
    /// The sizes of the network do not fit together.
    #[error("these sizes of the separator's network do not work: {0}")]
    Config(String),
    /// The options cannot be met.
    #[error("the separator cannot be run so: {0}")]
    Options(String),
    /// The weights could not be packed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A tensor could not be made.
    #[error("the separator's network could not be built: {0}")]
    Build(#[from] candle_core::Error),
    /// The packed weights are not the network's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
