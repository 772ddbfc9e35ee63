//! How a batch ends that does not come to its end.

use crate::SeparateError;

/// Why a batch ended before its end.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// The flag was seen.
    Cancelled,
    /// It cannot be done.
    Failed(SeparateError),
}

impl From<SeparateError> for Interruption {
    fn from(error: SeparateError) -> Self {
        Self::Failed(error)
    }
}

impl From<candle_core::Error> for Interruption {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(SeparateError::Compute(error.to_string()))
    }
}

/// Looks whether the work shall go on; an error ends it.
pub(crate) type Look<'a> = &'a mut (dyn FnMut() -> Result<(), Interruption> + Send);
