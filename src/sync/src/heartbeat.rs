//! A sign of life that comes from progress itself.

use crate::platform::{Arc, AtomicU64, Ordering};

/// The last moment at which a loop got round, in microseconds of the pod's clock. Health is read from it, so that a wedged loop
/// cannot look healthy.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// A loop that got round at moment 0.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// The loop got round at `moment`; an earlier moment than the last changes nothing.
    pub fn beat(&self, moment: u64) {
        self.0.fetch_max(moment, Ordering::Release);
    }

    /// When the loop last got round.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}
