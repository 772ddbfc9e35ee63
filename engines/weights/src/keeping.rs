//! A lane of the CPU that records, for tests of what is recorded.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use candle_core::{Device, Result, bail};

use crate::{
    image::PackedImage,
    source::{DeviceLane, LaneWork, Recording, WeightSource},
};

/// Repeats work by doing it: over the same tensors, as a graph does.
#[derive(Default)]
pub struct KeepingLane {
    recorded: AtomicU32,
    repeated: Arc<AtomicU32>,
    fails: bool,
}

struct Kept(LaneWork, Arc<AtomicU32>);

impl KeepingLane {
    /// One that does the work and then says that it could not be recorded.
    #[must_use]
    pub fn that_fails() -> Self {
        Self {
            fails: true,
            ..Self::default()
        }
    }

    /// How often it was asked to record, and to repeat.
    #[must_use]
    pub fn counts(&self) -> (u32, u32) {
        let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        (count(&self.recorded), count(&self.repeated))
    }
}

impl Recording for Kept {
    fn repeat(&self) -> Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        (self.0)()
    }
}

impl DeviceLane for KeepingLane {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn weights<'a>(&'a self, _: &'a PackedImage, _: u64) -> std::result::Result<Box<dyn WeightSource + 'a>, String> {
        Err("there is no device".into())
    }

    fn record(&self, work: LaneWork) -> Result<Option<Box<dyn Recording>>> {
        self.recorded.fetch_add(1, Ordering::Relaxed);
        work()?;
        if self.fails {
            bail!("this lane cannot")
        }
        Ok(Some(Box::new(Kept(work, Arc::clone(&self.repeated)))))
    }
}
