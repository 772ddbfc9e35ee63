//! Between system RAM and the device that computes: how sound gets there and back, and how far ahead of the device work is queued.

use candle_core::{Device, Result, Tensor};

#[cfg(feature = "cuda")]
use self::gpu::{Ahead, Staging};

/// The way to the device and back.
pub(crate) struct Bridge {
    device: Device,
    #[cfg(feature = "cuda")]
    staging: Option<Staging>,
}

impl Bridge {
    /// For batches of so many values.
    pub(crate) fn new(device: &Device, values: usize) -> Result<Self> {
        #[cfg(not(feature = "cuda"))]
        let _ = values;
        Ok(Self {
            device: device.clone(),
            #[cfg(feature = "cuda")]
            staging: Staging::new(device, values)?,
        })
    }

    /// A tensor on the device of what `fill` writes.
    pub(crate) fn send(&self, shape: (usize, usize, usize), fill: impl FnOnce(&mut [f32])) -> Result<Tensor> {
        let values = shape.0 * shape.1 * shape.2;
        #[cfg(feature = "cuda")]
        if let Some(staging) = self.staging.as_ref().filter(|staging| staging.fits(values)) {
            return staging.send(shape, fill);
        }
        let mut sound = vec![0.0; values];
        fill(&mut sound);
        Tensor::from_vec(sound, shape, &self.device)
    }

    /// Gives `take` the values of a contiguous tensor, when the device has come so far.
    pub(crate) fn fetch<R>(&self, sound: &Tensor, take: impl FnOnce(&[f32]) -> R) -> Result<R> {
        #[cfg(feature = "cuda")]
        if let Some(staging) = self.staging.as_ref().filter(|staging| staging.fits(sound.elem_count())) {
            return staging.fetch(sound, take);
        }
        Ok(take(&sound.flatten_all()?.to_vec1::<f32>()?))
    }

    /// Keeps the work that is queued short; for one batch.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            #[cfg(feature = "cuda")]
            ahead: Ahead::new(&self.device),
        }
    }
}

/// Lets the device be one step behind, and no more: without that it would idle between two steps, and a rip that gives way would wait for
/// everything that was queued.
pub(crate) struct Pace {
    #[cfg(feature = "cuda")]
    ahead: Option<Ahead>,
}

impl Pace {
    /// Another step is queued: waits for the one before it.
    pub(crate) fn step(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(ahead) = &mut self.ahead {
            return ahead.step();
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use std::sync::{Arc, Mutex, PoisonError};

    use candle_core::{
        CudaDevice, CudaStorage, Device, Result, Storage, Tensor,
        cuda_backend::{
            WrapErr,
            cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice},
        },
        op::BackpropOp,
    };

    /// Page-locked memory for one batch each way: a copy from or to memory that is not is ten times as slow. The driver's own events are
    /// off on lanes, so what is copied when is told by events of ours.
    pub(super) struct Staging {
        device: CudaDevice,
        values: usize,
        there: Mutex<There>,
        back: Mutex<PinnedHostSlice<f32>>,
    }

    /// The way there.
    struct There {
        memory: PinnedHostSlice<f32>,
        /// The end of the newest copy of it: after a batch that was abandoned it may still be under way.
        copied: Option<CudaEvent>,
    }

    impl Staging {
        pub(super) fn new(device: &Device, values: usize) -> Result<Option<Self>> {
            let Device::Cuda(device) = device else {
                return Ok(None);
            };
            let pinned = || {
                let context = Arc::clone(device.cuda_stream().context());
                #[allow(unsafe_code, reason = "the memory comes as it is")]
                // SAFETY: the slice is filled before anything is read of it, just below; any bits are a number of this type.
                let slice = unsafe { context.alloc_pinned_with_flags::<f32>(values, 0) };
                let mut slice = slice.w()?;
                slice.as_mut_slice().w()?.fill(0.0);
                Ok::<_, candle_core::Error>(slice)
            };
            Ok(Some(Self {
                device: device.clone(),
                values,
                there: Mutex::new(There {
                    memory: pinned()?,
                    copied: None,
                }),
                back: Mutex::new(pinned()?),
            }))
        }

        pub(super) fn fits(&self, values: usize) -> bool {
            self.values == values
        }

        pub(super) fn send(&self, shape: (usize, usize, usize), fill: impl FnOnce(&mut [f32])) -> Result<Tensor> {
            let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(copied) = there.copied.take() {
                copied.synchronize().w()?;
            }
            fill(there.memory.as_mut_slice().w()?);
            let stream = self.device.cuda_stream();
            let slice = stream.clone_htod(&there.memory).w()?;
            there.copied = Some(stream.record_event(None).w()?);
            let storage = CudaStorage::wrap_cuda_slice(slice, self.device.clone());
            Ok(Tensor::from_storage(
                Storage::Cuda(storage),
                shape,
                BackpropOp::none(),
                false,
            ))
        }

        pub(super) fn fetch<R>(&self, sound: &Tensor, take: impl FnOnce(&[f32]) -> R) -> Result<R> {
            let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
            let (storage, layout) = sound.storage_and_layout();
            let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
                candle_core::bail!("what is fetched is no contiguous tensor of the device")
            };
            let values = storage.as_cuda_slice::<f32>()?.slice(start..end);
            let stream = self.device.cuda_stream();
            stream.memcpy_dtoh(&values, &mut *back).w()?;
            stream.synchronize().w()?;
            Ok(take(back.as_slice().w()?))
        }
    }

    /// The end of the step before.
    pub(super) struct Ahead {
        stream: Arc<CudaStream>,
        before: Option<CudaEvent>,
    }

    impl Ahead {
        pub(super) fn new(device: &Device) -> Option<Self> {
            let Device::Cuda(device) = device else {
                return None;
            };
            Some(Self {
                stream: device.cuda_stream(),
                before: None,
            })
        }

        pub(super) fn step(&mut self) -> Result<()> {
            let end = self.stream.record_event(None).w()?;
            match self.before.replace(end) {
                Some(before) => before.synchronize().w(),
                None => Ok(()),
            }
        }
    }
}
