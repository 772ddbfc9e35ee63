//! The driver's functions, one by one, with the context bound and the result in words. Nothing here decides anything.

use std::{
    ffi::c_void,
    mem::{self, MaybeUninit},
    sync::Arc,
};

use cudarc::driver::{CudaContext, CudaStream, DriverError as CudaDriverError, sys};

use crate::driver::{DriverError, Handle, Memory, Pool};

/// The driver's functions in one context.
#[derive(Clone)]
pub(super) struct Api {
    context: Arc<CudaContext>,
}

/// A library that is opened when it is first used.
#[derive(Clone, Copy, Debug)]
pub(super) enum Library {
    Driver,
    Blas,
    Random,
}

/// Whether a library can be opened: to call a function of one that cannot would end the program.
pub(super) fn is_present(library: Library) -> bool {
    // SAFETY: these look for a library's file and open it; NVIDIA's libraries may be opened at any time and from any thread.
    unsafe {
        match library {
            Library::Driver => sys::is_culib_present(),
            Library::Blas => cudarc::cublas::sys::is_culib_present(),
            Library::Random => cudarc::curand::sys::is_culib_present(),
        }
    }
}

/// Version of CUDA that the driver speaks: 13000 is 13.0.
pub(super) fn driver_version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: the driver writes one integer.
    let result = unsafe { sys::cuDriverGetVersion(&mut version) };
    explain("cuDriverGetVersion", result.result())?;
    Ok(version)
}

/// An error of the driver, in words.
pub(super) fn explain<T>(call: &'static str, result: Result<T, CudaDriverError>) -> Result<T, DriverError> {
    result.map_err(|error| DriverError {
        call,
        code: error.0 as u32,
        words: error.error_string().map_or_else(
            |_| format!("{:?}", error.0),
            |words| words.to_string_lossy().into_owned(),
        ),
    })
}

impl Api {
    pub(super) fn new(context: Arc<CudaContext>) -> Self {
        Self { context }
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    fn call(&self, name: &'static str, call: impl FnOnce() -> sys::CUresult) -> Result<(), DriverError> {
        explain(name, self.context.bind_to_thread())?;
        explain(name, call().result())
    }

    fn device(&self) -> sys::CUdevice {
        // The ordinal of a device and its handle are the same number; the handle is for the driver's own functions.
        self.context.cu_device()
    }

    fn location(&self) -> sys::CUmemLocation {
        sys::CUmemLocation {
            type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
            id: self.device(),
        }
    }

    /// Ordinary memory of the device.
    fn properties(&self) -> sys::CUmemAllocationProp {
        // SAFETY: a structure of C in which zero is a valid value of every field; the fields that matter follow.
        let mut properties: sys::CUmemAllocationProp = unsafe { mem::zeroed() };
        properties.type_ = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location = self.location();
        properties
    }

    pub(super) fn granule(&self) -> Result<u64, DriverError> {
        let properties = self.properties();
        let option = sys::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        let mut granule = 0;
        self.call("cuMemGetAllocationGranularity", || {
            // SAFETY: the driver reads the properties and writes one size.
            unsafe { sys::cuMemGetAllocationGranularity(&mut granule, &properties, option) }
        })?;
        Ok(granule as u64)
    }

    pub(super) fn memory(&self) -> Result<Memory, DriverError> {
        let (mut free, mut total) = (0, 0);
        self.call("cuMemGetInfo", || {
            // SAFETY: the driver writes two sizes.
            unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) }
        })?;
        Ok(Memory {
            total: total as u64,
            free: free as u64,
        })
    }

    pub(super) fn reserve(&self, bytes: u64) -> Result<u64, DriverError> {
        let mut address = 0;
        self.call("cuMemAddressReserve", || {
            // SAFETY: the driver writes one address; nothing is mapped.
            unsafe { sys::cuMemAddressReserve(&mut address, bytes as usize, 0, 0, 0) }
        })?;
        Ok(address)
    }

    pub(super) fn unreserve(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.call("cuMemAddressFree", || {
            // SAFETY: addresses of the device; the driver refuses what was not reserved or is mapped.
            unsafe { sys::cuMemAddressFree(address, bytes as usize) }
        })
    }

    pub(super) fn create(&self, bytes: u64) -> Result<Handle, DriverError> {
        let properties = self.properties();
        let mut handle = 0;
        self.call("cuMemCreate", || {
            // SAFETY: the driver reads the properties and writes one handle.
            unsafe { sys::cuMemCreate(&mut handle, bytes as usize, &properties, 0) }
        })?;
        Ok(handle)
    }

    pub(super) fn map(&self, address: u64, bytes: u64, memory: Handle) -> Result<(), DriverError> {
        self.call("cuMemMap", || {
            // SAFETY: numbers only; the driver refuses addresses that are not reserved and handles that it does not know.
            unsafe { sys::cuMemMap(address, bytes as usize, 0, memory, 0) }
        })
    }

    pub(super) fn release(&self, memory: Handle) -> Result<(), DriverError> {
        self.call("cuMemRelease", || {
            // SAFETY: a number; the driver keeps the memory as long as it is mapped.
            unsafe { sys::cuMemRelease(memory) }
        })
    }

    pub(super) fn grant(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        let access = sys::CUmemAccessDesc {
            location: self.location(),
            flags: sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        self.call("cuMemSetAccess", || {
            // SAFETY: the driver reads one description.
            unsafe { sys::cuMemSetAccess(address, bytes as usize, &access, 1) }
        })
    }

    pub(super) fn unmap(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.call("cuMemUnmap", || {
            // SAFETY: numbers only. That no kernel reads there is the stage's matter: it waits for the lanes first.
            unsafe { sys::cuMemUnmap(address, bytes as usize) }
        })
    }

    /// Copies to the device on `stream`, and waits.
    pub(super) fn upload(&self, stream: &CudaStream, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        self.call("cuMemcpyHtoDAsync", || {
            // SAFETY: the host's bytes are borrowed until the copy is done, which is waited for below; the driver checks the address.
            unsafe { sys::cuMemcpyHtoDAsync_v2(address, bytes.as_ptr().cast(), bytes.len(), stream.cu_stream()) }
        })?;
        explain("cuStreamSynchronize", stream.synchronize())
    }

    /// Whether everything that the stream was given is done.
    pub(super) fn is_done(&self, stream: &CudaStream) -> Result<bool, DriverError> {
        let asked = self.call("cuStreamQuery", || {
            // SAFETY: the stream is borrowed, so it lives.
            unsafe { sys::cuStreamQuery(stream.cu_stream()) }
        });
        match asked {
            Err(error) if error.code == sys::CUresult::CUDA_ERROR_NOT_READY as u32 => Ok(false),
            asked => asked.map(|()| true),
        }
    }

    /// Copies from the device, and waits.
    pub(super) fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.call("cuMemcpyDtoH", || {
            // SAFETY: the host's bytes are borrowed for the time of a synchronous copy; the driver checks the address.
            unsafe { sys::cuMemcpyDtoH_v2(bytes.as_mut_ptr().cast(), address, bytes.len()) }
        })
    }

    /// Locks the pages of bytes that are only read.
    pub(super) fn register(&self, bytes: &[u8]) -> Result<(), DriverError> {
        let flags = sys::CU_MEMHOSTREGISTER_READ_ONLY | sys::CU_MEMHOSTREGISTER_PORTABLE;
        self.call("cuMemHostRegister", || {
            // SAFETY: with this flag the device only reads there. Whoever calls keeps the bytes until `unregister`.
            unsafe { sys::cuMemHostRegister_v2(bytes.as_ptr().cast_mut().cast(), bytes.len(), flags) }
        })
    }

    pub(super) fn unregister(&self, bytes: &[u8]) -> Result<(), DriverError> {
        self.call("cuMemHostUnregister", || {
            // SAFETY: the driver refuses an address that is not registered.
            unsafe { sys::cuMemHostUnregister(bytes.as_ptr().cast_mut().cast()) }
        })
    }

    /// The pool that streams allocate from.
    fn with_pool<T>(&self, call: impl FnOnce(sys::CUmemoryPool) -> Result<T, DriverError>) -> Result<T, DriverError> {
        let mut pool = MaybeUninit::uninit();
        self.call("cuDeviceGetMemPool", || {
            // SAFETY: the driver writes one handle if it says so.
            unsafe { sys::cuDeviceGetMemPool(pool.as_mut_ptr(), self.device()) }
        })?;
        // SAFETY: it said so.
        call(unsafe { pool.assume_init() })
    }

    pub(super) fn pool(&self) -> Result<Pool, DriverError> {
        use sys::CUmemPool_attribute as Attribute;
        self.with_pool(|pool| {
            let read = |attribute| {
                let mut value = 0_u64;
                self.call("cuMemPoolGetAttribute", || {
                    // SAFETY: these attributes are 64 bits wide.
                    unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast::<c_void>()) }
                })?;
                Ok(value)
            };
            // Graphs have a pool of their own, which is for the same.
            use sys::CUgraphMem_attribute as Graphs;
            Ok(Pool {
                reserved: read(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?
                    + self.graphs(Graphs::CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT)?,
                reserved_high: read(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)?
                    + self.graphs(Graphs::CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)?,
                used: read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?
                    + self.graphs(Graphs::CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT)?,
                used_high: read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?
                    + self.graphs(Graphs::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH)?,
            })
        })
    }

    /// Of the memory that graphs allocate from, in bytes.
    fn graphs(&self, attribute: sys::CUgraphMem_attribute) -> Result<u64, DriverError> {
        let mut value = 0_u64;
        self.call("cuDeviceGetGraphMemAttribute", || {
            // SAFETY: these attributes are 64 bits wide.
            unsafe { sys::cuDeviceGetGraphMemAttribute(self.device(), attribute, (&raw mut value).cast::<c_void>()) }
        })?;
        Ok(value)
    }

    fn set_pool(&self, attribute: sys::CUmemPool_attribute, mut value: u64) -> Result<(), DriverError> {
        self.with_pool(|pool| {
            self.call("cuMemPoolSetAttribute", || {
                // SAFETY: the attributes that are set here are 64 bits wide.
                unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut value).cast::<c_void>()) }
            })
        })
    }

    /// The pool keeps what it has until it is trimmed, so that work does not allocate anew after each wait.
    pub(super) fn keep_pool(&self) -> Result<(), DriverError> {
        self.set_pool(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)
    }

    /// Forgets the highest figures.
    pub(super) fn reset_pool_high(&self) -> Result<(), DriverError> {
        self.set_pool(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, 0)?;
        self.set_pool(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)?;
        for attribute in [
            sys::CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH,
            sys::CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH,
        ] {
            let mut zero = 0_u64;
            self.call("cuDeviceSetGraphMemAttribute", || {
                // SAFETY: these attributes are 64 bits wide.
                unsafe { sys::cuDeviceSetGraphMemAttribute(self.device(), attribute, (&raw mut zero).cast::<c_void>()) }
            })?;
        }
        Ok(())
    }

    pub(super) fn trim_pool(&self, keep: u64) -> Result<(), DriverError> {
        self.with_pool(|pool| {
            self.call("cuMemPoolTrimTo", || {
                // SAFETY: the pool lives as long as the device.
                unsafe { sys::cuMemPoolTrimTo(pool, keep as usize) }
            })
        })?;
        // What graphs need they get again when they are launched.
        self.call("cuDeviceGraphMemTrim", || {
            // SAFETY: a number; what a graph that runs works with is kept.
            unsafe { sys::cuDeviceGraphMemTrim(self.device()) }
        })
    }

    /// From now on streams allocate from a pool of at most so many bytes. It lives as long as the process.
    pub(super) fn bound_pool(&self, bytes: u64) -> Result<(), DriverError> {
        // SAFETY: a structure of C in which zero is a valid value of every field; the fields that matter follow.
        let mut properties: sys::CUmemPoolProps = unsafe { mem::zeroed() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.location = self.location();
        properties.maxSize = bytes as usize;
        let mut pool = MaybeUninit::uninit();
        self.call("cuMemPoolCreate", || {
            // SAFETY: the driver reads the properties, and writes one handle if it says so.
            unsafe { sys::cuMemPoolCreate(pool.as_mut_ptr(), &properties) }
        })?;
        // SAFETY: it said so.
        let pool = unsafe { pool.assume_init() };
        self.call("cuDeviceSetMemPool", || {
            // SAFETY: a pool of this device, which is never destroyed.
            unsafe { sys::cuDeviceSetMemPool(self.device(), pool) }
        })
    }

    pub(super) fn host_alloc(&self, bytes: usize) -> Result<PinnedBuffer, DriverError> {
        let mut start = std::ptr::null_mut();
        self.call("cuMemHostAlloc", || {
            // SAFETY: the driver writes one address.
            unsafe { sys::cuMemHostAlloc(&mut start, bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }
        })?;
        let mut buffer = PinnedBuffer {
            api: self.clone(),
            start: start.cast(),
            bytes,
        };
        // What is read before it is written shall be something.
        buffer.as_mut().fill(0);
        Ok(buffer)
    }
}

/// Page-locked memory of the driver's own.
pub(super) struct PinnedBuffer {
    api: Api,
    start: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory that belongs to this value alone; the driver may free it from any thread.
unsafe impl Send for PinnedBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for PinnedBuffer {}

impl AsRef<[u8]> for PinnedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the driver gave so many bytes there, `host_alloc` writes them all before anybody has this, and they live as long as this.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }
}

impl AsMut<[u8]> for PinnedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this reference is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        // A process that ends gives it back in any case.
        let _ = self.api.call("cuMemFreeHost", || {
            // SAFETY: this value is the only owner, and it ends here.
            unsafe { sys::cuMemFreeHost(self.start.cast()) }
        });
    }
}
