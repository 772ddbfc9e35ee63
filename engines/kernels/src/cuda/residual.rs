//! Residual units in one pass, where the hardware and their width allow it.

use candle_core::{
    DType, Layout, Result, Storage, Tensor, backend::BackendStorage, bail, cuda_backend::WrapErr, op::BackpropOp,
};

use super::{
    convolutions::GROUPED_CAPABILITY,
    launch::{Launch, suffix, uninitialised},
};
use crate::{
    Convolution, ConvolutionLayer, ResidualUnit,
    args::{parameter, width},
};

const NAME: &str = "residual_unit";
/// Channels of the unit that there is a kernel for, and rows of a block (residual_unit.cuh).
const WIDTH: usize = 128;
const THREADS: u32 = 128;
/// Of three stages of both operands.
const SHARED_BYTES: usize = 3 * 2 * WIDTH * 64 * 2;

/// The trunk after the unit, unless there is no kernel for that.
pub(crate) fn residual_unit(unit: &ResidualUnit, trunk: &Tensor) -> Result<Option<Tensor>> {
    let (storage, layout) = trunk.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Ok(None);
    };
    let (device, dtype) = (storage.device(), storage.dtype());
    let grouped = device.cuda_stream().context().compute_capability().w()? == GROUPED_CAPABILITY;
    let (dilated, pointwise) = (&unit.dilated, &unit.pointwise);
    let shape = dilated.shape;
    let fits = width(NAME, layout)? == WIDTH
        && shape == Convolution::same(shape.taps, shape.dilation)
        && pointwise.shape == Convolution::same(1, 1)
        && [dilated, pointwise].iter().all(|layer| layer.bias.is_some())
        && dtype != DType::F32;
    if !grouped || !fits {
        return Ok(None);
    }
    check(unit, dtype)?;
    let (two, rows, _) = trunk.dims3()?;
    let (Some((start, _)), 2) = (layout.contiguous_offsets(), two) else {
        bail!(
            "{NAME}: the trunk {:?} is not contiguous, or has not two halves",
            layout.shape()
        )
    };
    let values = rows * WIDTH;
    let out = uninitialised(device, dtype, 2 * values)?;
    let launch = Launch::new(NAME, device, &format!("residual_unit_{}", suffix(NAME, dtype)?))?
        .data(storage, &Layout::contiguous_with_offset(values, start + values))?
        .data(storage, &Layout::contiguous_with_offset(values, start))?
        .parameter(&dilated.weight)?
        .optional(dilated.bias.as_ref())?
        .parameter(&unit.between)?
        .parameter(&pointwise.weight)?
        .optional(pointwise.bias.as_ref())?
        .parameter(&unit.next)?
        .result(&out, values)?
        .second_result(&out, values)?
        .int(rows)?
        .int(shape.taps)?
        .int(shape.dilation)?;
    // SAFETY: arguments as in residual_unit.cuh; `check` has seen the parameters' sizes, and both trunks hold 2 · rows · 128 values.
    unsafe { launch.run(rows.div_ceil(WIDTH), THREADS, SHARED_BYTES)? };
    Ok(Some(Tensor::from_storage(
        Storage::Cuda(out),
        (2, rows, WIDTH),
        BackpropOp::none(),
        false,
    )))
}

/// Asks that all parameters are of the unit's width, and weights of the data's type.
fn check(unit: &ResidualUnit, dtype: DType) -> Result<()> {
    for layer in [&unit.dilated, &unit.pointwise] {
        let ConvolutionLayer { shape, weight, bias } = layer;
        if weight.dims() != [WIDTH, shape.taps * WIDTH] || weight.dtype() != dtype || !weight.is_contiguous() {
            bail!("{NAME}: weights {weight:?} do not go with {WIDTH} channels of {dtype:?}")
        }
        if let Some(bias) = bias {
            parameter(NAME, "a bias", bias, WIDTH)?;
        }
    }
    parameter(NAME, "between", &unit.between, 2 * WIDTH)?;
    parameter(NAME, "next", &unit.next, 2 * WIDTH)
}
