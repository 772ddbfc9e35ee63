//! A lane: one stream on which one thread's work runs in order, and the weights as its tensors.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Storage, Tensor,
    cuda_backend::{CudaDType, cudarc::driver::DeviceRepr},
    op::BackpropOp,
};
use greenroom_stage::DeviceHome;
use greenroom_weights::{DeviceLane, LaneWork, PackedImage, Recording, TensorEntry, WeightSource, WeightsError};

use super::{
    gpu::{Gpu, GpuError, LaneEntry},
    recording,
};
use crate::driver::DriverError;

/// A device object of candle's with a stream of its own. Tensors of one lane cannot be used on another.
pub struct Lane {
    gpu: Gpu,
    device: Device,
    cuda: CudaDevice,
    entry: Arc<LaneEntry>,
    /// What was wrapped, by address: the second network over a group makes no second tensors.
    wrapped: Mutex<HashMap<(u64, DType), Tensor>>,
}

impl Lane {
    /// Opens a lane.
    ///
    /// # Errors
    /// If the GPU's libraries cannot be set up.
    pub fn open(gpu: &Gpu) -> Result<Arc<Self>, GpuError> {
        let cuda = CudaDevice::new_with_stream(gpu.info().ordinal)?;
        #[allow(
            unsafe_code,
            reason = "candle leaves the order of streams to whoever turns its events off"
        )]
        // SAFETY: nothing has been allocated yet, all that this device object does is on its one stream, and its tensors are used with
        // no other. What the stage does to a group's memory it does when the lanes have finished, and waits for before they begin.
        unsafe {
            cuda.disable_event_tracking();
        }
        let entry = gpu.enter(cuda.cuda_stream());
        Ok(Arc::new(Self {
            gpu: gpu.clone(),
            device: Device::Cuda(cuda.clone()),
            cuda,
            entry,
            wrapped: Mutex::default(),
        }))
    }

    /// Where this lane's tensors are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Waits until everything that the lane was given is done.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub fn synchronize(&self) -> candle_core::Result<()> {
        self.device.synchronize()
    }

    /// Whether everything that the lane was given is done.
    ///
    /// # Errors
    /// What went wrong meanwhile.
    pub fn is_idle(&self) -> Result<bool, DriverError> {
        self.gpu.api().is_done(&self.cuda.cuda_stream())
    }

    pub(super) fn cuda(&self) -> &CudaDevice {
        &self.cuda
    }

    pub(super) fn entry(&self) -> &LaneEntry {
        &self.entry
    }

    /// A tensor over memory that a group has for good.
    fn wrap(&self, home: &DeviceHome, entry: &TensorEntry) -> candle_core::Result<Tensor> {
        let address = home.address + entry.offset as u64;
        let mut wrapped = self.wrapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = wrapped.get(&(address, entry.dtype)) {
            return tensor.reshape(entry.shape.as_slice());
        }
        let storage = match entry.dtype {
            DType::F32 => self.storage::<f32>(address, entry.elements()),
            DType::F16 => self.storage::<half::f16>(address, entry.elements()),
            DType::BF16 => self.storage::<half::bf16>(address, entry.elements()),
            DType::U32 => self.storage::<u32>(address, entry.elements()),
            DType::U8 => self.storage::<u8>(address, entry.elements()),
            DType::I64 => self.storage::<i64>(address, entry.elements()),
            other => candle_core::bail!("weights of the type {} are not supported on a GPU", other.as_str()),
        };
        let tensor = Tensor::from_storage(
            Storage::Cuda(storage),
            entry.shape.as_slice(),
            BackpropOp::none(),
            false,
        );
        // Leaked on purpose: dropping the last tensor would free an address that no allocator gave.
        mem::forget(tensor.clone());
        wrapped.insert((address, entry.dtype), tensor.clone());
        Ok(tensor)
    }

    #[allow(unsafe_code, reason = "a tensor over memory that candle did not allocate")]
    fn storage<T: CudaDType + DeviceRepr>(&self, address: u64, elements: usize) -> CudaStorage {
        // SAFETY: `note_tensors` has seen that the address is within a group's reservation, which is never given back afterwards; the
        // image's layout says that so many values fit there, and they are of this type when the group is resident. Work on a group that
        // is parked is kept away by its module slot. The slice is never dropped: see `wrap`.
        let slice = unsafe { self.cuda.cuda_stream().upgrade_device_ptr::<T>(address, elements) };
        CudaStorage::wrap_cuda_slice(slice, self.cuda.clone())
    }
}

impl DeviceLane for Lane {
    fn device(&self) -> &Device {
        &self.device
    }

    fn weights<'a>(&'a self, image: &'a PackedImage, address: u64) -> Result<Box<dyn WeightSource + 'a>, String> {
        let home = DeviceHome {
            address,
            bytes: image.bytes().len() as u64,
        };
        let weights = DeviceWeights::new(self, home, image).map_err(|error| error.to_string())?;
        Ok(Box::new(weights))
    }

    fn record(&self, work: LaneWork) -> candle_core::Result<Option<Box<dyn Recording>>> {
        recording::record(self, &work).map(Some)
    }
}

/// The tensors of a group as one lane sees them: over its memory on the device, not copies of it.
pub struct DeviceWeights<'a> {
    lane: &'a Lane,
    image: &'a PackedImage,
    home: DeviceHome,
}

impl<'a> DeviceWeights<'a> {
    /// The tensors of `image`, which the stage keeps at `home`. From now on parking the group waits for this lane.
    ///
    /// # Errors
    /// `NoGroup`: that is no home of this image.
    pub fn new(lane: &'a Lane, home: DeviceHome, image: &'a PackedImage) -> Result<Self, GpuError> {
        let bytes = image.bytes().len() as u64;
        if home.bytes != bytes {
            return Err(GpuError::NoGroup {
                address: home.address,
                bytes,
            });
        }
        lane.gpu.note_tensors(&lane.entry, home.address, bytes)?;
        Ok(Self { lane, image, home })
    }
}

impl WeightSource for DeviceWeights<'_> {
    fn device(&self) -> &Device {
        &self.lane.device
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let entry = self.image.layout().find(name, shape)?;
        self.lane
            .wrap(&self.home, entry)
            .map_err(|source| WeightsError::Tensor {
                name: name.into(),
                source,
            })
    }
}
