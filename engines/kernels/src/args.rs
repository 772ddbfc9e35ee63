//! What the operations ask of their arguments.

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, bail};

/// The values of a contiguous f32 tensor on the CPU.
pub(crate) fn values<'a>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "{op}: the input {:?} is not contiguous; call `contiguous()` on it first",
            layout.shape()
        )
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The same, to be overwritten.
pub(crate) fn values_mut<'a>(op: &str, storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "{op}: the input {:?} is not contiguous; call `contiguous()` on it first",
            layout.shape()
        )
    };
    match storage {
        CpuStorage::F32(all) => Ok(&mut all[start..end]),
        _ => bail!("{op}: on the CPU data is f32"),
    }
}

/// Asks that a parameter is contiguous f32 with so many values.
pub(crate) fn parameter(op: &str, name: &str, tensor: &Tensor, len: usize) -> Result<()> {
    if tensor.dtype() != DType::F32 || !tensor.is_contiguous() || tensor.elem_count() != len {
        bail!(
            "{op}: {name} is {:?} {:?}; it has to be {len} contiguous values of f32",
            tensor.dtype(),
            tensor.shape()
        )
    }
    Ok(())
}

/// A parameter's values.
pub(crate) fn parameter_values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1::<f32>()
}

/// The last dimension, which is not empty.
pub(crate) fn width(op: &str, layout: &Layout) -> Result<usize> {
    match layout.dims().last() {
        Some(&width) if width > 0 => Ok(width),
        _ => bail!("{op}: the input {:?} has no last dimension", layout.shape()),
    }
}

/// Asks that two inputs have one shape.
pub(crate) fn same_shape(op: &str, left: &Layout, right: &Layout) -> Result<()> {
    if left.dims() != right.dims() {
        bail!(
            "{op}: {:?} and {:?} have to be of one shape",
            left.shape(),
            right.shape()
        )
    }
    Ok(())
}

/// Random inputs, and how near is near, for the tests of every operation.
#[cfg(test)]
pub(crate) mod testing {
    use candle_core::{Device, Tensor};

    /// Values in [-2, 2) that depend on the seed alone.
    pub(crate) fn random(dims: &[usize], seed: u64) -> Tensor {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let values: Vec<f32> = (0..dims.iter().product::<usize>())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 22) as f32 - 2.0
            })
            .collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    /// Asserts that no value differs by more than `bound` of the largest.
    pub(crate) fn assert_near(actual: &Tensor, expected: &Tensor, bound: f32) {
        assert_eq!(actual.dims(), expected.dims());
        let list = |tensor: &Tensor| {
            tensor
                .contiguous()
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        let (actual, expected) = (list(actual), list(expected));
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        assert!(actual.iter().all(|value| value.is_finite()));
        for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            assert!(
                (actual - expected).abs() <= bound * largest,
                "at {i}: {actual} instead of {expected}"
            );
        }
    }
}
