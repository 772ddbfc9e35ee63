//! Where in an image each tensor is.

use std::collections::BTreeMap;

use candle_core::DType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::error::WeightsError;

/// Every tensor begins at a multiple of this many bytes: what the widest loads of a device and of its libraries ask for.
pub const ALIGNMENT: usize = 256;

/// One tensor of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorEntry {
    /// Type of its values.
    #[serde(serialize_with = "write_dtype", deserialize_with = "read_dtype")]
    pub dtype: DType,
    /// Its shape; row-major, contiguous.
    pub shape: Vec<usize>,
    /// Bytes from the beginning of the image.
    pub offset: usize,
}

impl TensorEntry {
    /// Number of its values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that its values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size_in_bytes()
    }
}

/// The tensors of an image, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout(BTreeMap<String, TensorEntry>);

impl Layout {
    /// The tensor of that name and shape.
    ///
    /// # Errors
    /// `Unknown`, `Shape`.
    pub fn find(&self, name: &str, shape: &[usize]) -> Result<&TensorEntry, WeightsError> {
        let entry = self.get(name).ok_or_else(|| WeightsError::Unknown(name.into()))?;
        if entry.shape != shape {
            return Err(WeightsError::Shape {
                name: name.into(),
                wanted: shape.into(),
                found: entry.shape.clone(),
            });
        }
        Ok(entry)
    }

    /// The tensor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.0.get(name)
    }

    /// All tensors, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TensorEntry)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, name: &str, entry: TensorEntry) {
        self.0.insert(name.into(), entry);
    }

    /// Whether every tensor is aligned and within an image of so many bytes: what a file says is not believed unseen.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.0.values().all(|entry| {
            let elements = entry.shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
            let size = elements.and_then(|elements| elements.checked_mul(entry.dtype.size_in_bytes()));
            let end = size.and_then(|size| entry.offset.checked_add(size));
            entry.offset.is_multiple_of(ALIGNMENT) && end.is_some_and(|end| end <= bytes)
        })
    }
}

fn write_dtype<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.as_str())
}

fn read_dtype<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DType, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(D::Error::custom)
}
