//! One GPU: opened once, shared by the stage and the lanes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::driver::{CudaContext, CudaStream};
use greenroom_stage::{HostImage, StageError};

use super::{
    memory::pin,
    raw::{self, Api, Library},
};
use crate::{
    driver::{Driver, DriverError, Handle, Memory, Pool},
    stage::CudaStage,
};

/// Why there is no GPU to work with.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// A library of NVIDIA's is not there.
    #[error("{library} cannot be opened: {advice}")]
    NoLibrary {
        /// The library.
        library: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// There is a driver, and it finds no device.
    #[error("the NVIDIA driver finds no GPU ({0}): is one given to this container?")]
    NoDevice(DriverError),
    /// There are devices, and not this one.
    #[error("there is no GPU {ordinal}: the driver has {count}, numbered from 0")]
    NoSuchDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The device cannot do what the stage needs.
    #[error("{name} has no virtual memory management or no memory pools, which weight groups need: use the CPU")]
    Unsupported {
        /// The device.
        name: String,
    },
    /// The driver refused a call.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The stage did.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Random weights could not be made.
    #[error(transparent)]
    Image(#[from] greenroom_weights::ImageError),
    /// What computes could not be set up.
    #[error("the GPU's libraries could not be set up: {0}")]
    Compute(#[from] candle_core::Error),
    /// Tensors were asked for where no group of that size is.
    #[error("no weight group of {bytes} bytes is at the device address {address:#x}")]
    NoGroup {
        /// The address.
        address: u64,
        /// Bytes of the image.
        bytes: u64,
    },
}

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Bytes of its memory.
    pub total_bytes: u64,
    /// Compute capability, major and minor.
    pub compute_capability: (i32, i32),
    /// Newest CUDA version that the driver speaks, major and minor.
    pub cuda_version: (i32, i32),
    /// Version of the driver, where the system tells it.
    pub driver_version: Option<String>,
    /// Memory is mapped in multiples of this.
    pub granule: u64,
}

/// A GPU that works. Clones are one.
#[derive(Clone)]
pub struct Gpu(Arc<Opened>);

struct Opened {
    api: Api,
    info: GpuInfo,
    /// Copies of images run here, beside what the lanes do.
    copies: Arc<CudaStream>,
    reserved: Mutex<BTreeMap<u64, Reservation>>,
    lanes: Mutex<Vec<Arc<LaneEntry>>>,
}

/// Addresses of a group.
struct Reservation {
    bytes: u64,
    /// Tensors of a lane point there, for good.
    wrapped: bool,
}

/// A lane as the stage waits for it.
pub(super) struct LaneEntry {
    stream: Arc<CudaStream>,
    /// Addresses of the groups that it has tensors of.
    groups: Mutex<BTreeSet<u64>>,
    /// Held while the lane records: an event on its stream would become part of the graph, and waiting for it would spoil the recording.
    recording: Mutex<()>,
}

impl LaneEntry {
    /// Keeps the stage from looking at the lane's stream. Whoever records gives the stream work of microseconds.
    pub(super) fn hold_for_recording(&self) -> MutexGuard<'_, ()> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu {
    /// Opens the GPU of that number. Nothing of CUDA is touched where its libraries are not.
    ///
    /// # Errors
    /// See [`GpuError`]: each says what is missing.
    pub fn open(ordinal: usize) -> Result<Self, GpuError> {
        expect_libraries()?;
        let count = raw::explain("cuInit", CudaContext::device_count()).map_err(GpuError::NoDevice)?;
        let count = usize::try_from(count).unwrap_or(0);
        if ordinal >= count {
            return Err(GpuError::NoSuchDevice { ordinal, count });
        }
        let context = raw::explain("cuDevicePrimaryCtxRetain", CudaContext::new(ordinal))?;
        let api = Api::new(Arc::clone(&context));
        let info = read_info(&api, ordinal)?;
        api.keep_pool()?;
        let copies = raw::explain("cuStreamCreate", context.new_stream())?;
        Ok(Self(Arc::new(Opened {
            api,
            info,
            copies,
            reserved: Mutex::default(),
            lanes: Mutex::default(),
        })))
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &GpuInfo {
        &self.0.info
    }

    /// The driver behind the seam that the stage uses.
    #[must_use]
    pub fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.0) as Arc<dyn Driver>
    }

    /// The stage on this GPU, which uses at most `budget` bytes; all of the memory without one.
    ///
    /// # Errors
    /// If the driver says nothing of its memory.
    pub fn stage(&self, budget: Option<u64>) -> Result<CudaStage, StageError> {
        CudaStage::over(self.driver(), budget)
    }

    /// What lanes allocate comes from a pool of at most so many bytes from now on; to be called before the first lane is opened. Work
    /// that needs more runs out of memory then, and takes nothing of anybody else's.
    ///
    /// # Errors
    /// If the driver refuses such a pool; the old one is still in use then.
    pub fn bound_workspace(&self, bytes: u64) -> Result<(), DriverError> {
        self.0.api.bound_pool(bytes)?;
        self.0.api.keep_pool()
    }

    /// Forgets the pool's highest figures, so that the next ones are of what comes now.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn reset_workspace_high(&self) -> Result<(), DriverError> {
        self.0.api.reset_pool_high()
    }

    /// Reads what is mapped at an address, for whoever compares.
    ///
    /// # Errors
    /// If nothing is mapped there.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.0.api.download(address, bytes)
    }

    pub(super) fn api(&self) -> &Api {
        &self.0.api
    }

    pub(super) fn copies(&self) -> &CudaStream {
        &self.0.copies
    }

    /// Makes a lane's stream known.
    pub(super) fn enter(&self, stream: Arc<CudaStream>) -> Arc<LaneEntry> {
        let entry = Arc::new(LaneEntry {
            stream,
            groups: Mutex::default(),
            recording: Mutex::default(),
        });
        self.0.lanes().push(Arc::clone(&entry));
        entry
    }

    /// Notes that a lane has tensors of the group at this address; from now on the address is never given back.
    pub(super) fn note_tensors(&self, lane: &LaneEntry, address: u64, bytes: u64) -> Result<(), GpuError> {
        let mut reserved = self.0.reserved();
        let there = reserved.get_mut(&address).filter(|there| bytes <= there.bytes);
        there.ok_or(GpuError::NoGroup { address, bytes })?.wrapped = true;
        lane.groups().insert(address);
        Ok(())
    }
}

impl Opened {
    fn reserved(&self) -> MutexGuard<'_, BTreeMap<u64, Reservation>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<LaneEntry>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what the lanes that `which` chooses were given so far, and not for what they get meanwhile.
    fn wait_for(&self, which: impl Fn(&LaneEntry) -> bool) -> Result<(), DriverError> {
        let events = self
            .lanes()
            .iter()
            .filter(|lane| which(lane))
            .map(|lane| {
                let _between_recordings = lane.hold_for_recording();
                raw::explain("cuEventRecord", lane.stream.record_event(None))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for event in events {
            raw::explain("cuEventSynchronize", event.synchronize())?;
        }
        Ok(())
    }
}

/// Asks for the libraries that are opened when they are first used: without one the program would end there.
fn expect_libraries() -> Result<(), GpuError> {
    let needed = [
        (
            Library::Driver,
            "NVIDIA's driver (libcuda.so.1)",
            "this machine has no NVIDIA GPU, or the container was started without it (docker: --gpus all)",
        ),
        (
            Library::Blas,
            "libcublas.so.13",
            "install CUDA 13's libraries, or start from an image that has them",
        ),
        (
            Library::Random,
            "libcurand.so.10",
            "install CUDA 13's libraries, or start from an image that has them",
        ),
    ];
    for (which, library, advice) in needed {
        if !raw::is_present(which) {
            return Err(GpuError::NoLibrary { library, advice });
        }
    }
    Ok(())
}

fn read_info(api: &Api, ordinal: usize) -> Result<GpuInfo, GpuError> {
    use cudarc::driver::sys::CUdevice_attribute as Attribute;
    let context = api.context();
    let name = raw::explain("cuDeviceGetName", context.name())?;
    let has = |attribute| raw::explain("cuDeviceGetAttribute", context.attribute(attribute)).map(|value| value > 0);
    if !has(Attribute::CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED)?
        || !has(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)?
    {
        return Err(GpuError::Unsupported { name });
    }
    let version = raw::driver_version()?;
    Ok(GpuInfo {
        ordinal,
        name,
        total_bytes: api.memory()?.total,
        compute_capability: raw::explain("cuDeviceGetAttribute", context.compute_capability())?,
        cuda_version: (version / 1000, version % 1000 / 10),
        driver_version: fs::read_to_string("/sys/module/nvidia/version")
            .ok()
            .map(|version| version.trim().into()),
        granule: api.granule()?,
    })
}

impl Driver for Opened {
    fn describe(&self) -> String {
        let GpuInfo {
            name,
            compute_capability: (major, minor),
            total_bytes,
            ..
        } = &self.info;
        format!("{name} (compute capability {major}.{minor}, {} MiB)", total_bytes >> 20)
    }

    fn granule(&self) -> u64 {
        self.info.granule
    }

    fn memory(&self) -> Result<Memory, DriverError> {
        self.api.memory()
    }

    fn pool(&self) -> Result<Pool, DriverError> {
        self.api.pool()
    }

    fn drain(&self) -> Result<(), DriverError> {
        self.wait_for(|_| true)
    }

    fn trim(&self, keep: u64) -> Result<(), DriverError> {
        self.api.trim_pool(keep)
    }

    fn reserve(&self, bytes: u64) -> Result<u64, DriverError> {
        let address = self.api.reserve(bytes)?;
        let reservation = Reservation { bytes, wrapped: false };
        self.reserved().insert(address, reservation);
        Ok(address)
    }

    fn unreserve(&self, address: u64, bytes: u64) {
        let mut reserved = self.reserved();
        if reserved.get(&address).is_some_and(|there| !there.wrapped) {
            reserved.remove(&address);
            // Addresses are plentiful: some that could not be given back are no loss.
            let _ = self.api.unreserve(address, bytes);
        }
    }

    fn pin(&self, image: Arc<HostImage>) -> Result<Arc<HostImage>, DriverError> {
        pin(&self.api, image)
    }

    fn create(&self, bytes: u64) -> Result<Handle, DriverError> {
        self.api.create(bytes)
    }

    fn map(&self, address: u64, bytes: u64, memory: Handle) -> Result<(), DriverError> {
        self.api.map(address, bytes, memory)
    }

    fn release(&self, memory: Handle) -> Result<(), DriverError> {
        self.api.release(memory)
    }

    fn grant(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.api.grant(address, bytes)
    }

    fn copy(&self, address: u64, image: &HostImage) -> Result<(), DriverError> {
        self.api.upload(&self.copies, address, image.as_ref())
    }

    fn finish(&self, address: u64) -> Result<(), DriverError> {
        self.wait_for(|lane| lane.groups().contains(&address))
    }

    fn unmap(&self, address: u64, bytes: u64) -> Result<(), DriverError> {
        self.api.unmap(address, bytes)
    }
}
