//! How a batch ends that does not come to its end.

use super::network::Cancelled;
use crate::SeparateError;

/// Why a batch ended before its end.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// The flag was seen.
    Cancelled,
    /// It cannot be done.
    Failed(SeparateError),
}

impl From<Cancelled> for Interruption {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<SeparateError> for Interruption {
    fn from(error: SeparateError) -> Self {
        Self::Failed(error)
    }
}
