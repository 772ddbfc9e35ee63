//! A flag that one thread raises and a worker looks at between two steps of its work.

use crate::platform::{Arc, AtomicBool, Ordering};

/// Asks running work to give up at its next look; once raised it stays raised.
#[derive(Clone, Debug)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is down.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// Raises the flag; everything written before is seen by whoever sees it raised.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is up. Cheap enough to ask per layer.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for CancelFlag {
    fn default() -> Self {
        Self::new()
    }
}
