//! A checkpoint as it is published: a safetensors file with every tensor that a network has, and none besides.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View, tensor::Metadata};
use sha2::{Digest, Sha256};

use crate::{mapping, random::RandomTensors};

/// What of each tensor a stamp looks at, in bytes.
const PAGE: usize = 4096;

/// A tensor that a network has.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name in the file.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// What random weights in its place are like.
    pub spread: Spread,
}

/// Where random values of a tensor lie: `centre ± reach`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle.
    pub centre: f32,
    /// The farthest from it.
    pub reach: f32,
}

impl Spread {
    /// Scales of a norm.
    pub const GAMMA: Self = Self {
        centre: 1.0,
        reach: 0.2,
    };
    /// Biases.
    pub const BIAS: Self = Self {
        centre: 0.0,
        reach: 0.1,
    };

    /// A matrix of so many inputs: variance 1 / inputs, which keeps a signal's level.
    #[must_use]
    pub fn weight(inputs: usize) -> Self {
        Self {
            centre: 0.0,
            reach: (3.0 / inputs as f64).sqrt() as f32,
        }
    }
}

impl Key {
    /// A tensor of that name and shape.
    #[must_use]
    pub fn new(name: impl Into<String>, shape: &[usize], spread: Spread) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            spread,
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The values of a checkpoint's tensors: of a file, or from a formula.
pub trait Tensors: Sync {
    /// All values of a tensor, row-major.
    ///
    /// # Errors
    /// `Missing`, `Shape`, `Type`.
    fn values(&self, key: &Key) -> Result<Vec<f32>, CheckpointError>;
}

/// Why a checkpoint is not used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no safetensors file, or a truncated one.
    #[error("{} is no whole safetensors file ({source}); fetch it again", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SafeTensorError,
    },
    /// A tensor is not there.
    #[error("{} has no tensor {name}: it is of another network, or of another version of it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor is there that the network has not.
    #[error("{} has a tensor {name}, which the network has not: it is of another network, or of another version of it", path.display())]
    Extra {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape.
    #[error("{}: the tensor {name} has the shape {found:?}, and the network's is {needed:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The network's.
        needed: Vec<usize>,
    },
    /// A tensor's values are of a type that is not read.
    #[error("{}: the tensor {name} is of {found}; F32, F16 and BF16 are read", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
}

/// A safetensors file that has every tensor of a network in its shape, and none besides.
pub struct CheckpointFile {
    path: PathBuf,
    bytes: Mmap,
    /// Where values begin.
    data: usize,
    metadata: Metadata,
}

impl CheckpointFile {
    /// Looks at every tensor's name, shape and type; reads no values.
    ///
    /// # Errors
    /// Any [`CheckpointError`].
    pub fn open(path: &Path, keys: &[Key]) -> Result<Self, CheckpointError> {
        let explain = |source| CheckpointError::Io {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(explain)?;
        let bytes = mapping::read_only(&file).map_err(explain)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|source| CheckpointError::Container {
            path: path.into(),
            source,
        })?;
        let this = Self {
            path: path.into(),
            data: header + size_of::<u64>(),
            bytes,
            metadata,
        };
        let needed: BTreeMap<&str, &Key> = keys.iter().map(|key| (key.name.as_str(), key)).collect();
        let mut names: Vec<String> = this.metadata.tensors().into_keys().collect();
        names.sort_unstable();
        if let Some(extra) = names.into_iter().find(|name| !needed.contains_key(name.as_str())) {
            return Err(CheckpointError::Extra {
                path: path.into(),
                name: extra,
            });
        }
        for key in needed.values() {
            this.view(key)?;
        }
        Ok(this)
    }

    /// What tells this file from others without reading gigabytes of values: its header, its length, when it was written, and a page of
    /// every tensor.
    ///
    /// # Errors
    /// `Io`.
    pub fn stamp(&self) -> Result<[u8; 32], CheckpointError> {
        let written = fs::metadata(&self.path)
            .and_then(|metadata| metadata.modified())
            .map_err(|source| CheckpointError::Io {
                path: self.path.clone(),
                source,
            })?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut digest = Sha256::new();
        digest.update(&self.bytes[..self.data]);
        digest.update(self.bytes.len().to_le_bytes());
        digest.update(since.as_nanos().to_le_bytes());
        for (start, end) in self
            .metadata
            .tensors()
            .values()
            .map(|info| info.data_offsets)
            .collect::<BTreeSet<_>>()
        {
            let data = &self.bytes[self.data + start..self.data + end];
            digest.update(&data[..data.len().min(PAGE)]);
        }
        Ok(digest.finalize().into())
    }

    /// The type and the bytes of a tensor.
    fn view(&self, key: &Key) -> Result<(Dtype, &[u8]), CheckpointError> {
        let info = self.metadata.info(&key.name).ok_or_else(|| CheckpointError::Missing {
            path: self.path.clone(),
            name: key.name.clone(),
        })?;
        if info.shape != key.shape {
            return Err(CheckpointError::Shape {
                path: self.path.clone(),
                name: key.name.clone(),
                found: info.shape.clone(),
                needed: key.shape.clone(),
            });
        }
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(CheckpointError::Type {
                path: self.path.clone(),
                name: key.name.clone(),
                found: format!("{:?}", info.dtype),
            });
        }
        let (start, end) = info.data_offsets;
        Ok((info.dtype, &self.bytes[self.data + start..self.data + end]))
    }
}

impl Tensors for CheckpointFile {
    fn values(&self, key: &Key) -> Result<Vec<f32>, CheckpointError> {
        let (dtype, bytes) = self.view(key)?;
        Ok(decode(dtype, bytes))
    }
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let (pairs, _) = bytes.as_chunks::<2>();
    match dtype {
        Dtype::F16 => pairs.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
        Dtype::BF16 => pairs.iter().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
        _ => {
            let (words, _) = bytes.as_chunks::<4>();
            words.iter().map(|word| f32::from_le_bytes(*word)).collect()
        }
    }
}

/// Writes a checkpoint of random weights in `bf16`, one tensor after another: no more than one of them is in memory.
///
/// # Errors
/// `Io`; nothing is left behind then.
pub fn write_random_checkpoint(path: &Path, keys: &[Key], random: RandomTensors) -> Result<(), CheckpointError> {
    let partial = path.with_extension("partial");
    let views = keys.iter().map(|key| (key.name.as_str(), Lazy { key, random }));
    let written = safetensors::serialize_to_file(views, None, &partial).map_err(|error| match error {
        SafeTensorError::IoError(source) => CheckpointError::Io {
            path: partial.clone(),
            source,
        },
        source => CheckpointError::Container {
            path: partial.clone(),
            source,
        },
    });
    let renamed = written.and_then(|()| {
        fs::rename(&partial, path).map_err(|source| CheckpointError::Io {
            path: path.into(),
            source,
        })
    });
    if renamed.is_err() {
        let _ = fs::remove_file(&partial);
    }
    renamed
}

/// A tensor whose values are made when they are written.
struct Lazy<'a> {
    key: &'a Key,
    random: RandomTensors,
}

impl View for Lazy<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.key.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.random
            .of(self.key)
            .iter()
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect::<Vec<_>>()
            .into()
    }

    fn data_len(&self) -> usize {
        self.key.len() * size_of::<bf16>()
    }
}
