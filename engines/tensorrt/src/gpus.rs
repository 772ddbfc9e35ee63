//! The GPUs that engines can be built for.

use greenroom_compiled::ComputeCapability;

use crate::TensorrtError;

const fn gpu(major: u32, minor: u32) -> ComputeCapability {
    ComputeCapability { major, minor }
}

/// Compute capabilities that TensorRT for RTX 1.7 builds for and runs on. It knows 7.5 too, which cannot compute in `bfloat16`.
pub const GPUS: &[ComputeCapability] = &[gpu(8, 0), gpu(8, 6), gpu(8, 9), gpu(12, 0), gpu(12, 1)];

/// Whether engines can be built for all of these.
///
/// # Errors
/// `Gpu`, of the first that is not known.
pub fn check_gpus(asked: &[ComputeCapability]) -> Result<(), TensorrtError> {
    match asked.iter().find(|gpu| !GPUS.contains(gpu)) {
        Some(asked) => Err(TensorrtError::Gpu { asked: *asked }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_no_engine_can_be_built_for_is_named_with_those_that_can() {
        assert!(check_gpus(GPUS).is_ok());
        let error = check_gpus(&[gpu(8, 9), gpu(9, 0)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "TensorRT for RTX builds no engines for compute capability 9.0: it does for 8.0, 8.6, 8.9, 12.0, 12.1"
        );
    }
}
