//! NVIDIA's driver, and what computes on it.

pub mod bench;
pub mod conformance;
mod gpu;
mod lane;
mod memory;
#[allow(unsafe_code, reason = "the driver's functions take pointers")]
mod raw;
mod recording;
mod tenant;

use candle_core::cuda_backend::CudaError;
use cudarc::driver::DriverError as CudaDriverError;

pub use gpu::{Gpu, GpuError, GpuInfo};
pub use lane::{DeviceWeights, Lane};
pub use memory::Hold;

use crate::driver::{Severity, severity_of};

/// What an error that candle gave of work on a GPU means.
#[must_use]
pub fn severity(error: &candle_core::Error) -> Severity {
    use candle_core::Error;
    match error {
        Error::WithBacktrace { inner, .. } | Error::WithPath { inner, .. } | Error::Context { inner, .. } => {
            severity(inner)
        }
        Error::Cuda(inner) => {
            if let Some(CudaDriverError(code)) = inner.downcast_ref() {
                return severity_of(*code as u32);
            }
            match inner.downcast_ref::<CudaError>() {
                Some(CudaError::Cuda(error) | CudaError::Load { cuda: error, .. }) => severity_of(error.0 as u32),
                Some(CudaError::Cublas(error))
                    if error.0 == cudarc::cublas::sys::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED =>
                {
                    Severity::OutOfMemory
                }
                _ => Severity::Refused,
            }
        }
        _ => Severity::Refused,
    }
}
