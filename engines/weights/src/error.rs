//! What can be wrong with an image or with what is asked of it.

use std::{io, path::PathBuf};

use candle_core::DType;

/// Whatever an engine's builder fails with; an [`ImageError`] in it comes out again as itself.
pub type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The disk has no room; nothing is left of what was written.
    #[error("the disk is full: {} could not be written; free some room, or choose another folder for the cache", path.display())]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine could not say what belongs into the image.
    #[error("the weights could not be packed: {0}")]
    Build(BuildError),
    /// A name was given twice.
    #[error("the tensor {0} was packed twice")]
    Duplicate(String),
    /// The values do not fill the shape.
    #[error("the tensor {name} has {given} values and its shape {shape:?} holds {wanted}")]
    Length {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Values that were given.
        given: usize,
        /// Values that the shape holds.
        wanted: usize,
    },
    /// A value is no number, or becomes none in the image's type.
    #[error("the tensor {name}: value {index} is {value}, which {} cannot hold", dtype.as_str())]
    Unfit {
        /// The tensor.
        name: String,
        /// Its position.
        index: usize,
        /// The value.
        value: f32,
        /// The type that it was to have.
        dtype: DType,
    },
    /// Images do not hold this type.
    #[error("the tensor {name}: an image cannot hold {} made of floating-point numbers", dtype.as_str())]
    Type {
        /// The tensor.
        name: String,
        /// The type.
        dtype: DType,
    },
    /// There is nothing in it.
    #[error("an image without tensors was asked for")]
    Empty,
}

/// Why a module did not get its tensor.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The image has no tensor of that name.
    #[error("the packed weights have no tensor {0}")]
    Unknown(String),
    /// The tensor has another shape.
    #[error("the packed tensor {name} has the shape {found:?}, and {wanted:?} is needed")]
    Shape {
        /// The tensor.
        name: String,
        /// Shape that was asked for.
        wanted: Vec<usize>,
        /// Shape that it has.
        found: Vec<usize>,
    },
    /// The tensor could not be made.
    #[error("the packed tensor {name}: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What candle said.
        source: candle_core::Error,
    },
}
