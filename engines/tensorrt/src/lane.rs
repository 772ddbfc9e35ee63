//! An engine on a lane: what goes in and comes out are candle's tensors, and it runs on the stream that all else of the lane is on.
//!
//! As [`Plan`], never run by a test.

use std::{ffi::c_void, sync::Arc};

use candle_core::{
    CudaStorage, DType, Device, Result, Storage, Tensor, bail,
    cuda_backend::{
        WrapErr,
        cudarc::driver::{CudaEvent, CudaStream, DevicePtrMut},
    },
    op::BackpropOp,
};
use greenroom_compiled::Component;
use half::bf16;

use crate::{Bound, Plan, SharedStream, Tensorrt, TensorrtError, Values};

/// A loaded engine whose runs are ordered with everything else that its lane is given.
pub struct LanePlan {
    plan: Plan,
    device: Device,
    /// When the last run is done. Not the stream itself is waited for: its thread may be recording a graph.
    last_run: Option<CudaEvent>,
    // Behind the plan, which it has to outlive.
    stream: Arc<CudaStream>,
}

impl LanePlan {
    /// Loads a component's engine onto a lane's device. What it takes there is allocated by the library, beside candle's pool: room has been made.
    ///
    /// # Errors
    /// As [`Plan::load`]; `Load` for a device that is no GPU.
    pub fn load(
        library: &Tensorrt,
        component: Component,
        file: &[u8],
        device: &Device,
    ) -> std::result::Result<Self, TensorrtError> {
        let failed = |error: candle_core::Error| TensorrtError::Load {
            words: error.to_string(),
        };
        let stream = device.as_cuda_device().map_err(failed)?.cuda_stream();
        stream.context().bind_to_thread().w().map_err(failed)?;
        // SAFETY: a stream of the device that is current now, which lives as long as `stream`: longer than the plan.
        let shared = unsafe { SharedStream::new(stream.cu_stream().cast::<c_void>()) };
        Ok(Self {
            plan: Plan::load(library, component, file, shared)?,
            device: device.clone(),
            last_run: None,
            stream,
        })
    }

    /// The lane's device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs on these inputs, all contiguous f32 of the lane; gives the output, of this shape, as a tensor of the lane. Nobody waits.
    ///
    /// # Errors
    /// For a tensor of another lane, type or layout; for what [`Plan::run`] refuses; if the device has no room for the output.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)], output: &str, shape: &[usize]) -> Result<Tensor> {
        self.stream.context().bind_to_thread().w()?;
        let device = self.device.as_cuda_device()?;
        let mut values = device.alloc_zeros::<f32>(shape.iter().product())?;
        {
            let held: Vec<_> = inputs.iter().map(|(_, tensor)| tensor.storage_and_layout()).collect();
            let shapes: Vec<Vec<u64>> = inputs.iter().map(|(_, tensor)| sizes(tensor.dims())).collect();
            let (mut bound, mut reads) = (Vec::new(), Vec::new());
            for (((name, tensor), (storage, layout)), shape) in inputs.iter().zip(&held).zip(&shapes) {
                let (Storage::Cuda(storage), Some((start, end))) = (&**storage, layout.contiguous_offsets()) else {
                    bail!("{name} is not contiguous on the device")
                };
                if !tensor.device().same_device(&self.device) {
                    bail!("{name} is of another lane")
                }
                let view = storage.as_cuda_slice::<f32>()?.slice(start..end);
                let (address, read) = view.view_ptr(&self.stream);
                reads.push(read);
                bound.push(Bound { name, shape, address });
            }
            let (address, _written) = values.device_ptr_mut(&self.stream);
            let output = Bound {
                name: output,
                shape: &sizes(shape),
                address,
            };
            // SAFETY: the inputs are contiguous f32 of this lane, whose lengths are those of their shapes; the output was just allocated as long as its
            // shape says, and nobody else has it. Memory of a lane is written, and given back, in the order of its stream, which the run is on: so
            // whatever becomes of the tensors afterwards comes after the run.
            let ran = unsafe { self.plan.run(&bound, &output) };
            // Also of a run that failed: some of it may be under way.
            self.last_run = Some(self.stream.record_event(None).w()?);
            ran.map_err(candle_core::Error::wrap)?;
        }
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(values, device.clone()));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }

    /// Puts other values into matrices, contiguous in system RAM, by their names in the checkpoint; see [`Plan::refit`]. Waits for the last run
    /// first.
    ///
    /// # Errors
    /// As there; `Weights` as well for a matrix of another place or type.
    pub fn refit(&mut self, matrices: &[(&str, &Tensor)]) -> std::result::Result<(), TensorrtError> {
        let refused = |error: candle_core::Error| TensorrtError::Weights {
            words: error.to_string(),
        };
        self.settle().map_err(refused)?;
        let held: Vec<_> = matrices
            .iter()
            .map(|(name, tensor)| (*name, tensor.dtype(), tensor.storage_and_layout()))
            .collect();
        let values = held
            .iter()
            .map(|(name, dtype, (storage, layout))| {
                let (Storage::Cpu(storage), Some((start, end))) = (&**storage, layout.contiguous_offsets()) else {
                    bail!("{name} is not contiguous in system RAM")
                };
                let values = match dtype {
                    DType::F32 => Values::F32(&storage.as_slice::<f32>()?[start..end]),
                    DType::BF16 => Values::Bf16(&storage.as_slice::<bf16>()?[start..end]),
                    other => bail!("{name} is in {}", other.as_str()),
                };
                Ok((*name, values))
            })
            .collect::<Result<Vec<_>>>()
            .map_err(refused)?;
        // SAFETY: runs of this plan are on one stream, the last of them is done, and `&mut self` keeps others from beginning.
        unsafe { self.plan.refit(&values) }
    }

    /// Waits until the last run is done; the device is current on this thread then.
    fn settle(&self) -> Result<()> {
        self.stream.context().bind_to_thread().w()?;
        self.last_run.as_ref().map_or(Ok(()), |run| run.synchronize().w())
    }
}

impl Drop for LanePlan {
    fn drop(&mut self) {
        // What runs still reads the engine. A device that is lost runs nothing more.
        let _ = self.settle();
    }
}

fn sizes(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|size| *size as u64).collect()
}
