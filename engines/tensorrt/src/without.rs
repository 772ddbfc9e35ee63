//! Instead of the library, in a program without the feature `tensorrt`.

use std::{io::Write, path::Path};

use crate::{BuildRequest, DeviceMemory, Step, TensorrtError};

/// The library: there can be none.
#[derive(Debug)]
pub enum Tensorrt {}

impl Tensorrt {
    /// Opens nothing.
    ///
    /// # Errors
    /// `NotBuiltIn`, always.
    pub fn open(_folder: Option<&Path>) -> Result<Self, TensorrtError> {
        Err(TensorrtError::NotBuiltIn)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        match *self {}
    }

    /// Builds an engine.
    ///
    /// # Errors
    /// None, since nobody can call it.
    pub fn build(
        &self,
        _request: &BuildRequest<'_>,
        _out: &mut dyn Write,
        _say: impl Fn(Step) + Send + Sync + 'static,
    ) -> Result<DeviceMemory, TensorrtError> {
        match *self {}
    }
}
