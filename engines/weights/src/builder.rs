//! Writes an image tensor by tensor.

use std::io::{self, Write};

use candle_core::DType;
use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::{
    error::ImageError,
    layout::{ALIGNMENT, Layout, TensorEntry},
};

/// An image's length is a multiple of this, so that it can be mapped and page-locked as it is.
const PAGE: usize = 4096;
/// Values that are converted at a time.
const CHUNK: usize = 16 * 1024;

/// Takes the tensors of an image, in the order in which they shall lie.
pub struct ImageBuilder<'a> {
    sink: &'a mut dyn Write,
    /// Turns what the sink says into words with the file's name in them.
    explain: &'a dyn Fn(io::Error) -> ImageError,
    layout: Layout,
    length: usize,
    digest: Option<Sha256>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) layout: Layout,
    pub(crate) length: usize,
    /// SHA-256 of the bytes, if it was asked for.
    pub(crate) digest: Option<[u8; 32]>,
}

impl<'a> ImageBuilder<'a> {
    pub(crate) fn new(
        sink: &'a mut dyn Write,
        explain: &'a dyn Fn(io::Error) -> ImageError,
        with_digest: bool,
    ) -> Self {
        Self {
            sink,
            explain,
            layout: Layout::default(),
            length: 0,
            digest: with_digest.then(Sha256::new),
        }
    }

    /// Adds a tensor of `f32`, `f16`, `bf16` from single-precision values, row-major.
    ///
    /// # Errors
    /// `Duplicate`, `Length`, `Type`; `Unfit` for a value that is not finite or would not be in the smaller type; `DiskFull`, `Io`.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: DType, values: &[f32]) -> Result<(), ImageError> {
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(ImageError::Type {
                name: name.into(),
                dtype,
            });
        }
        self.begin(name, shape, dtype, values.len())?;
        let mut bytes = Vec::with_capacity(CHUNK.min(values.len()) * dtype.size_in_bytes());
        for (number, chunk) in values.chunks(CHUNK).enumerate() {
            bytes.clear();
            if let Some(index) = convert(dtype, chunk, &mut bytes) {
                return Err(ImageError::Unfit {
                    name: name.into(),
                    index: number * CHUNK + index,
                    value: chunk[index],
                    dtype,
                });
            }
            self.write(&bytes)?;
        }
        Ok(())
    }

    /// Adds a tensor whose bytes are ready: little-endian, row-major.
    ///
    /// # Errors
    /// `Duplicate`, `Length`, `DiskFull`, `Io`.
    pub fn raw(&mut self, name: &str, shape: &[usize], dtype: DType, bytes: &[u8]) -> Result<(), ImageError> {
        let size = dtype.size_in_bytes().max(1);
        // Half a value counts as one too many.
        self.begin(name, shape, dtype, bytes.len().div_ceil(size))?;
        self.write(bytes)
    }

    /// Bytes written so far, gaps between tensors included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn finish(mut self) -> Result<Written, ImageError> {
        if self.layout.is_empty() {
            return Err(ImageError::Empty);
        }
        self.pad(PAGE)?;
        Ok(Written {
            layout: self.layout,
            length: self.length,
            digest: self.digest.map(|digest| digest.finalize().into()),
        })
    }

    fn begin(&mut self, name: &str, shape: &[usize], dtype: DType, given: usize) -> Result<(), ImageError> {
        if self.layout.get(name).is_some() {
            return Err(ImageError::Duplicate(name.into()));
        }
        let wanted = shape.iter().product();
        if given != wanted {
            return Err(ImageError::Length {
                name: name.into(),
                shape: shape.into(),
                given,
                wanted,
            });
        }
        self.pad(ALIGNMENT)?;
        let entry = TensorEntry {
            dtype,
            shape: shape.into(),
            offset: self.length,
        };
        self.layout.insert(name, entry);
        Ok(())
    }

    fn pad(&mut self, to: usize) -> Result<(), ImageError> {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        let gap = self.length.next_multiple_of(to) - self.length;
        self.write(&ZEROS[..gap])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.sink.write_all(bytes).map_err(self.explain)?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.length += bytes.len();
        Ok(())
    }
}

/// Appends `values` in `dtype`; gives the first that is no number there, if one is.
fn convert(dtype: DType, values: &[f32], bytes: &mut Vec<u8>) -> Option<usize> {
    match dtype {
        DType::F16 => {
            bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()));
            values.iter().position(|value| !f16::from_f32(*value).is_finite())
        }
        DType::BF16 => {
            bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()));
            values.iter().position(|value| !bf16::from_f32(*value).is_finite())
        }
        _ => {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            values.iter().position(|value| !value.is_finite())
        }
    }
}
