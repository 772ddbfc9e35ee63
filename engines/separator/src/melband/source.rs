//! Where the values of a checkpoint come from: a file in the public layout, read strictly, or a formula.

use std::{collections::BTreeMap, fs, path::Path};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    config::MelbandConfig,
    error::MelbandError,
    layout::{Key, keys},
    random,
};

/// The values of a checkpoint's tensors.
pub(crate) trait Source: Sync {
    /// All values of a tensor, row-major.
    fn values(&self, key: &Key) -> Result<Vec<f32>, MelbandError>;
}

/// A safetensors file that has every tensor of the network in its shape, and none besides.
pub(crate) struct CheckpointFile<'a> {
    file: SafeTensors<'a>,
}

impl<'a> CheckpointFile<'a> {
    /// Looks at every tensor's name, shape and type.
    pub(crate) fn open(bytes: &'a [u8], config: &MelbandConfig) -> Result<Self, MelbandError> {
        let file = SafeTensors::deserialize(bytes)?;
        let needed: BTreeMap<String, Key> = keys(config).into_iter().map(|key| (key.name.clone(), key)).collect();
        let mut names: Vec<&str> = file.names();
        names.sort_unstable();
        if let Some(extra) = names.iter().find(|name| !needed.contains_key(**name)) {
            return Err(MelbandError::Extra((*extra).into()));
        }
        let this = Self { file };
        for key in needed.values() {
            this.view(key)?;
        }
        Ok(this)
    }

    fn view(&self, key: &Key) -> Result<TensorView<'_>, MelbandError> {
        let view = self
            .file
            .tensor(&key.name)
            .map_err(|_| MelbandError::Missing(key.name.clone()))?;
        if view.shape() != key.shape {
            return Err(MelbandError::Shape {
                name: key.name.clone(),
                found: view.shape().into(),
                needed: key.shape.clone(),
            });
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(MelbandError::Type {
                name: key.name.clone(),
                found: format!("{:?}", view.dtype()),
            });
        }
        Ok(view)
    }
}

impl Source for CheckpointFile<'_> {
    fn values(&self, key: &Key) -> Result<Vec<f32>, MelbandError> {
        let view = self.view(key)?;
        let (pairs, _) = view.data().as_chunks::<2>();
        Ok(match view.dtype() {
            Dtype::F16 => pairs.iter().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
            Dtype::BF16 => pairs.iter().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
            _ => {
                let (words, _) = view.data().as_chunks::<4>();
                words.iter().map(|word| f32::from_le_bytes(*word)).collect()
            }
        })
    }
}

/// Weights from the formula.
pub(crate) struct RandomWeights {
    pub(crate) seed: u64,
}

impl Source for RandomWeights {
    fn values(&self, key: &Key) -> Result<Vec<f32>, MelbandError> {
        Ok(random::values(self.seed, key))
    }
}

/// Writes a checkpoint of random weights in the public layout and in half precision, as the public one is, so that what reads checkpoints
/// can be tested and measured without it.
///
/// # Errors
/// `Config`, `Container`, `Io`.
pub fn write_random_checkpoint(path: &Path, config: &MelbandConfig, seed: u64) -> Result<(), MelbandError> {
    config.check()?;
    let tensors: Vec<(Key, Vec<u8>)> = keys(config)
        .into_iter()
        .map(|key| {
            let values = random::values(seed, &key);
            let bytes = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes());
            (key, bytes.collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(key, bytes)| {
            Ok((
                key.name.as_str(),
                TensorView::new(Dtype::F16, key.shape.clone(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, MelbandError>>()?;
    let file = safetensors::serialize(views, None)?;
    fs::write(path, file).map_err(|source| MelbandError::Io {
        path: path.into(),
        source,
    })
}
