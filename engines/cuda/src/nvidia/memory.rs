//! Host memory that is page-locked, and device memory that is only held.

use std::sync::Arc;

use greenroom_stage::HostImage;

use super::{gpu::Gpu, raw::Api};
use crate::driver::{DriverError, Handle, Severity};

/// An image whose pages are locked where they lie.
struct Registered {
    api: Api,
    image: Arc<HostImage>,
}

impl AsRef<[u8]> for Registered {
    fn as_ref(&self) -> &[u8] {
        (*self.image).as_ref()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Only a device that is lost refuses; then the process is about to end.
        let _ = self.api.unregister((*self.image).as_ref());
    }
}

/// Locks an image's pages where they lie; where that is refused (a kernel too old, pages locked already), locks those of a copy.
pub(super) fn pin(api: &Api, image: Arc<HostImage>) -> Result<Arc<HostImage>, DriverError> {
    if api.register((*image).as_ref()).is_ok() {
        let api = api.clone();
        return Ok(Arc::new(Registered { api, image }));
    }
    let bytes: &[u8] = (*image).as_ref();
    let mut copy = api.host_alloc(bytes.len())?;
    copy.as_mut().copy_from_slice(bytes);
    Ok(Arc::new(copy))
}

/// Device memory that is held and not used, as another process would: to try what a smaller or a busier device does.
pub struct Hold {
    gpu: Gpu,
    memory: Vec<Handle>,
    bytes: u64,
}

impl Hold {
    /// Takes so many bytes, in whole granules, in one piece or in several.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn take(gpu: &Gpu, bytes: u64) -> Result<Self, DriverError> {
        let driver = gpu.driver();
        let granule = driver.granule();
        let mut rest = bytes.next_multiple_of(granule);
        let mut piece = rest;
        let mut hold = Self {
            gpu: gpu.clone(),
            memory: Vec::new(),
            bytes: rest,
        };
        while rest > 0 {
            match driver.create(piece.min(rest)) {
                Ok(memory) => {
                    hold.memory.push(memory);
                    rest -= piece.min(rest);
                }
                // In one piece there may be less than there is.
                Err(error) if error.severity() == Severity::OutOfMemory && piece > granule => {
                    piece = (piece / 2).next_multiple_of(granule);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(hold)
    }

    /// Takes everything but so many bytes.
    ///
    /// # Errors
    /// If less is free.
    pub fn all_but(gpu: &Gpu, free: u64) -> Result<Self, DriverError> {
        let memory = gpu.driver().memory()?;
        let granule = gpu.driver().granule();
        let rest = memory.free.saturating_sub(free) / granule * granule;
        Self::take(gpu, rest.max(granule))
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for memory in &self.memory {
            // A process that ends gives it back in any case.
            let _ = self.gpu.driver().release(*memory);
        }
    }
}
