//! A driver that fails where it is told to, over one that works: so a real device shows the faults of the conformance list.

use std::sync::{Arc, Mutex, PoisonError};

use greenroom_stage::HostImage;

use crate::driver::{Driver, DriverError, Handle, Memory, Pool};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading the memory's figures; with an out-of-memory code it reads that nothing is free.
    Memory,
    /// Locking an image's pages.
    Pin,
    /// Taking memory.
    Create,
    /// Mapping it.
    Map,
    /// Letting go of the handle.
    Release,
    /// Granting access.
    Grant,
    /// Copying the image.
    Copy,
    /// Waiting for the lanes.
    Finish,
    /// Unmapping.
    Unmap,
}

/// The driver's code for memory that does not suffice.
const OUT_OF_MEMORY: u32 = 2;

/// A driver with faults.
pub struct Faulty {
    inner: Arc<dyn Driver>,
    faults: Mutex<Vec<(Step, u32)>>,
}

impl Faulty {
    /// One that works until it is told to fail.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::new(Vec::new()),
        })
    }

    /// Makes the next call of `step` fail with `code`.
    pub fn fail(&self, step: Step, code: u32) {
        self.faults().push((step, code));
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<(Step, u32)>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self, step: Step) -> Option<u32> {
        let mut faults = self.faults();
        let place = faults.iter().position(|(due, _)| *due == step)?;
        Some(faults.remove(place).1)
    }

    fn check(&self, step: Step) -> Result<(), DriverError> {
        match self.due(step) {
            None => Ok(()),
            Some(code) => Err(DriverError {
                call: "a call that was made to fail",
                code,
                words: format!("{step:?}"),
            }),
        }
    }
}

impl Driver for Faulty {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        let memory = self.inner.memory()?;
        match self.check(Step::Memory) {
            Err(error) if error.code != OUT_OF_MEMORY => Err(error),
            Err(_) => Ok(Memory { free: 0, ..memory }),
            Ok(()) => Ok(memory),
        }
    }

    fn pool(&self) -> Result<Pool, DriverError> {
        self.inner.pool()
    }

    fn drain(&self) -> Result<(), DriverError> {
        self.inner.drain()
    }

    fn trim(&self, keep: u64) -> Result<(), DriverError> {
        self.inner.trim(keep)
    }

    fn reserve(&self, bytes: u64) -> Result<u64, DriverError> {
        self.inner.reserve(bytes)
    }

    fn unreserve(&self, address: u64, bytes: u64) {
        self.inner.unreserve(address, bytes);
    }

    fn pin(&self, image: Arc<HostImage>) -> Result<Arc<HostImage>, DriverError> {
        self.check(Step::Pin)?;
        self.inner.pin(image)
    }

    fn create(&self, bytes: u64) -> Result<Handle, DriverError> {
        self.check(Step::Create)?;
        self.inner.create(bytes)
    }

    fn map(&self, address: u64, bytes: u64, memory: Handle) -> Result<(), DriverError> {
        self.check(Step::Map)?;
        self.inner.map(address, bytes, memory)
    }

    fn release(&self, memory: Handle) -> Result<(), DriverError> {
        // Failing before the call would lose the handle: here it is let go of, and the answer is bad all the same.
        self.inner.release(memory)?;
        self.check(Step::Release)
    }

    fn grant(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.check(Step::Grant)?;
        self.inner.grant(address, bytes)
    }

    fn copy(&self, address: u64, image: &HostImage) -> Result<(), DriverError> {
        self.check(Step::Copy)?;
        self.inner.copy(address, image)
    }

    fn finish(&self, address: u64) -> Result<(), DriverError> {
        self.check(Step::Finish)?;
        self.inner.finish(address)
    }

    fn unmap(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.check(Step::Unmap)?;
        self.inner.unmap(address, bytes)
    }
}
