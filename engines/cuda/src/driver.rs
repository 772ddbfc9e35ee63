//! What the stage needs of a device's driver.

use std::sync::Arc;

use greenroom_stage::{HostImage, StageError};

/// What an error of a driver means for whoever goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The device's memory did not suffice; nothing else is wrong.
    OutOfMemory,
    /// The context is destroyed: everything on the device is lost, and every later call fails.
    Lost,
    /// The call was refused, and the device works.
    Refused,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {words} ({code})")]
pub struct DriverError {
    /// The driver's function.
    pub call: &'static str,
    /// Its result.
    pub code: u32,
    /// The result in the driver's words.
    pub words: String,
}

impl DriverError {
    /// What it means.
    #[must_use]
    pub fn severity(&self) -> Severity {
        severity_of(self.code)
    }

    /// As a stage says it, of an operation that needed so many bytes while so many were free.
    pub(crate) fn for_stage(self, needed: u64, free: u64) -> StageError {
        match self.severity() {
            Severity::OutOfMemory => StageError::OutOfMemory { needed, free },
            Severity::Lost => StageError::DeviceLost(self.to_string()),
            Severity::Refused => StageError::Refused {
                call: self.call.into(),
                reason: format!("{} ({})", self.words, self.code),
            },
        }
    }
}

/// What a result of the CUDA driver means (the names are those of its `CUresult`).
pub(crate) fn severity_of(code: u32) -> Severity {
    match code {
        // OUT_OF_MEMORY.
        2 => Severity::OutOfMemory,
        // DEINITIALIZED, DEVICE_UNAVAILABLE, INVALID_CONTEXT.
        4 | 46 | 201
        // ECC_UNCORRECTABLE, NVLINK_UNCORRECTABLE, CONTAINED.
        | 214 | 220 | 226
        // ILLEGAL_ADDRESS, LAUNCH_TIMEOUT, CONTEXT_IS_DESTROYED, ASSERT.
        | 700 | 702 | 709 | 710
        // HARDWARE_STACK_ERROR, ILLEGAL_INSTRUCTION, MISALIGNED_ADDRESS, INVALID_ADDRESS_SPACE, INVALID_PC, LAUNCH_FAILED.
        | 714..=719
        // MPS_RPC_FAILURE, MPS_CLIENT_TERMINATED, EXTERNAL_DEVICE, UNKNOWN.
        | 806 | 810 | 911 | 999 => Severity::Lost,
        _ => Severity::Refused,
    }
}

/// A device's memory as its driver counts it, in bytes: all processes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What nobody holds.
    pub free: u64,
}

/// The memory that work allocates from, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Held for it, in use or not.
    pub reserved: u64,
    /// Most that was held.
    pub reserved_high: u64,
    /// In use.
    pub used: u64,
    /// Most that was in use.
    pub used_high: u64,
}

/// Physical memory that has no address yet.
pub type Handle = u64;

/// A device's memory, call by call. An error means that the call did nothing.
pub trait Driver: Send + Sync {
    /// What the device is.
    fn describe(&self) -> String;

    /// Memory is mapped in multiples of this many bytes.
    fn granule(&self) -> u64;

    /// The driver's figures.
    ///
    /// # Errors
    /// `Lost` if the device is.
    fn memory(&self) -> Result<Memory, DriverError>;

    /// The pool's figures.
    ///
    /// # Errors
    /// `Lost` if the device is.
    fn pool(&self) -> Result<Pool, DriverError>;

    /// Waits for what every lane was given so far: only then is free what its work frees.
    ///
    /// # Errors
    /// `Lost` if the device is.
    fn drain(&self) -> Result<(), DriverError>;

    /// Leaves the pool so many bytes, as far as nobody uses the rest. Waits for nobody.
    ///
    /// # Errors
    /// `Lost` if the device is.
    fn trim(&self, keep: u64) -> Result<(), DriverError>;

    /// Reserves addresses, without memory behind them.
    ///
    /// # Errors
    /// If there are none.
    fn reserve(&self, bytes: u64) -> Result<u64, DriverError>;

    /// Gives reserved addresses back, unless tensors of a lane point there: those stay reserved for good.
    fn unreserve(&self, address: u64, bytes: u64);

    /// Locks the pages of an image where they lie or, where that is refused, in a copy of it.
    ///
    /// # Errors
    /// If the machine has not enough memory that can be locked.
    fn pin(&self, image: Arc<HostImage>) -> Result<Arc<HostImage>, DriverError>;

    /// Takes physical memory.
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn create(&self, bytes: u64) -> Result<Handle, DriverError>;

    /// Puts memory behind reserved addresses.
    ///
    /// # Errors
    /// Whatever the driver refuses.
    fn map(&self, address: u64, bytes: u64, memory: Handle) -> Result<(), DriverError>;

    /// Lets go of memory: it is free when it is not mapped either.
    ///
    /// # Errors
    /// Whatever the driver refuses.
    fn release(&self, memory: Handle) -> Result<(), DriverError>;

    /// Lets the device read and write mapped addresses.
    ///
    /// # Errors
    /// `OutOfMemory` (of page tables), whatever else the driver refuses.
    fn grant(&self, address: u64, bytes: u64) -> Result<(), DriverError>;

    /// Copies a pinned image to mapped addresses, and waits until it is there.
    ///
    /// # Errors
    /// Whatever the driver refuses.
    fn copy(&self, address: u64, image: &HostImage) -> Result<(), DriverError>;

    /// Waits until every lane whose tensors point to this address has done what it was given.
    ///
    /// # Errors
    /// `Lost`, if what it did broke the device.
    fn finish(&self, address: u64) -> Result<(), DriverError>;

    /// Takes the memory from behind addresses; if it was let go of, it is free at once.
    ///
    /// # Errors
    /// Whatever the driver refuses.
    fn unmap(&self, address: u64, bytes: u64) -> Result<(), DriverError>;
}
