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
        Self::Failed(failure(&error))
    }
}

/// Looks whether the work shall go on; an error ends it.
pub(crate) type Look<'a> = &'a mut (dyn FnMut() -> Result<(), Interruption> + Send);

/// What an error of a tensor operation means for whoever asked for stems.
fn failure(error: &candle_core::Error) -> SeparateError {
    let words = error.to_string();
    #[cfg(feature = "cuda")]
    match greenroom_cuda::severity(error) {
        greenroom_cuda::Severity::OutOfMemory => return SeparateError::OutOfMemory(words),
        greenroom_cuda::Severity::Lost => return SeparateError::DeviceLost(words),
        greenroom_cuda::Severity::Refused => {}
    }
    SeparateError::Compute(words)
}
