//! Where modules take their tensors from.

use candle_core::{DType, Device, Tensor};

use crate::{error::WeightsError, image::PackedImage};

/// Tensors by name, on one device.
pub trait WeightSource {
    /// The device that they are on.
    fn device(&self) -> &Device;

    /// The tensor of that name, which must have that shape.
    ///
    /// # Errors
    /// `Unknown`, `Shape`, `Tensor`; each names the tensor.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError>;
}

/// One thread's way to a device, as engines are given it: so they need know nothing of whose device it is.
pub trait DeviceLane: Send + Sync {
    /// Where its tensors are.
    fn device(&self) -> &Device;

    /// The tensors of `image` at the device address at which a stage keeps it. They stay valid while the group is parked, and must not be
    /// used then.
    ///
    /// # Errors
    /// In words, why there are none; such as that no group is there.
    fn weights<'a>(&'a self, image: &'a PackedImage, address: u64) -> Result<Box<dyn WeightSource + 'a>, String>;

    /// Records work of this lane, so that the device can do it again without the host; it is done once meanwhile. None where the device
    /// records nothing. What the work takes and where it puts its result has to exist before and stay: the same addresses are read and
    /// written each time. It must not wait for the device, nor take anything from the host that is not the same each time.
    ///
    /// # Errors
    /// If the work fails, or holds something that cannot be recorded; the lane goes on without.
    fn record(&self, work: LaneWork) -> candle_core::Result<Option<Box<dyn Recording>>> {
        drop(work);
        Ok(None)
    }
}

/// Work that is recorded.
pub type LaneWork = Box<dyn Fn() -> candle_core::Result<()> + Send>;

/// What a lane recorded: a graph, launched on the lane by one thread at a time. It owns room for what lies between its steps, and no weights:
/// these have to be on the device whenever it is repeated, at the addresses that they had.
pub trait Recording: Send {
    /// Does the work again, after what the lane was given before.
    ///
    /// # Errors
    /// If the device fails.
    fn repeat(&self) -> candle_core::Result<()>;
}

/// The tensors of an image as copies in system RAM, in `f32` whatever floating-point type the image has: what the CPU computes in.
#[derive(Clone, Copy, Debug)]
pub struct HostWeights<'a> {
    image: &'a PackedImage,
}

impl<'a> HostWeights<'a> {
    /// The tensors of `image`.
    #[must_use]
    pub fn new(image: &'a PackedImage) -> Self {
        Self { image }
    }
}

impl WeightSource for HostWeights<'_> {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let entry = self.image.layout().find(name, shape)?;
        let bytes = &self.image.bytes()[entry.offset..entry.offset + entry.bytes()];
        let tensor = Tensor::from_raw_buffer(bytes, entry.dtype, shape, &Device::Cpu).and_then(|tensor| {
            if matches!(entry.dtype, DType::F16 | DType::BF16) {
                tensor.to_dtype(DType::F32)
            } else {
                Ok(tensor)
            }
        });
        tensor.map_err(|source| WeightsError::Tensor {
            name: name.into(),
            source,
        })
    }
}

/// The tensors of an image as copies on any device, in the image's types: for comparisons, beside any stage.
#[derive(Clone, Debug)]
pub struct CopiedWeights<'a> {
    image: &'a PackedImage,
    device: Device,
}

impl<'a> CopiedWeights<'a> {
    /// The tensors of `image`, copied when they are asked for.
    #[must_use]
    pub fn new(image: &'a PackedImage, device: &Device) -> Self {
        Self {
            image,
            device: device.clone(),
        }
    }
}

impl WeightSource for CopiedWeights<'_> {
    fn device(&self) -> &Device {
        &self.device
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let entry = self.image.layout().find(name, shape)?;
        let bytes = &self.image.bytes()[entry.offset..entry.offset + entry.bytes()];
        Tensor::from_raw_buffer(bytes, entry.dtype, shape, &self.device).map_err(|source| WeightsError::Tensor {
            name: name.into(),
            source,
        })
    }
}
