//! What a separator and its rips share.

use std::sync::Arc;

use greenroom_stage::ModuleSlot;

use super::{spectrum::Fourier, weights::SpleeterNets};

/// Lives as long as the separator or one of its rips.
pub(crate) struct Core {
    pub(crate) slot: ModuleSlot<SpleeterNets>,
    pub(crate) pool: Arc<rayon::ThreadPool>,
    pub(crate) fourier: Fourier,
}
