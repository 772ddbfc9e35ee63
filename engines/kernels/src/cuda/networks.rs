//! What happens to rows of activations.

use candle_core::{CudaStorage, DType, Layout, Result, Shape, backend::BackendStorage, bail};

use super::launch::{Launch, packs, suffix, uninitialised};
use crate::{
    attention::Attention,
    bias::{BiasCurve, BiasGlu, Curve},
    norm::Norm,
    rows::SwapLeading,
};

/// Threads of a block, as in common.cuh.
const THREADS: usize = 256;
/// Queries and threads of a block of attention, and the longest sequence that is one block of keys (kernels.cu).
const LONG_QUERIES: usize = 128;
const SHORT_QUERIES: usize = 64;
const ATTENTION_THREADS: usize = 128;
/// The head size that kernels are made for.
const HEAD_DIM: usize = 64;
/// Keys of a block, and how many blocks are in shared memory at once.
const KEYS: usize = 64;
const LONG_STAGES: usize = 2;

/// Blocks for so many packs, one a thread.
fn blocks(packs: usize) -> usize {
    packs.div_ceil(THREADS)
}

/// `rms_norm`, or with a delta one of the two that add it first.
pub(crate) fn norm(
    op: &Norm,
    x: &CudaStorage,
    x_layout: &Layout,
    delta: Option<(&CudaStorage, &Layout)>,
) -> Result<(CudaStorage, Shape)> {
    let width = op.width(x_layout)?;
    let (dtype, device) = (x.dtype(), x.device());
    let packs = packs(Norm::NAME, dtype, width)?;
    // The widths that norm.cuh has kernels for: lanes times packs each.
    let (variant, lanes) = match packs {
        0..=48 => ("16x3", 16),
        49..=128 => ("32x4", 32),
        129..=320 => ("32x10", 32),
        _ => bail!(
            "{}: kernels normalise up to 320 packs of 16 bytes, not rows of {width} {dtype:?}",
            Norm::NAME
        ),
    };
    let kind = match (delta, &op.gamma_next) {
        (None, _) => "rms_norm",
        (Some(_), None) => "add_rms_norm",
        (Some(_), Some(_)) => "add_rms_norm_twice",
    };
    let values = x_layout.shape().elem_count();
    let results = if delta.is_some() { 2 } else { 1 };
    let out = uninitialised(device, dtype, results * values)?;
    let name = format!("{kind}_{variant}_{}", suffix(Norm::NAME, dtype)?);
    let mut launch = Launch::new(Norm::NAME, device, &name)?.data(x, x_layout)?;
    if let Some((delta, delta_layout)) = delta {
        if delta.dtype() != dtype {
            bail!("{}: x is {dtype:?} and delta {:?}", Norm::NAME, delta.dtype())
        }
        launch = launch.data(delta, delta_layout)?.optional(op.bias.as_ref())?;
    }
    launch = launch.parameter(&op.gamma)?;
    if let (Some(_), Some(gamma_next)) = (delta, &op.gamma_next) {
        launch = launch.parameter(gamma_next)?;
    }
    launch = launch.result(&out, values)?;
    if delta.is_some() {
        launch = launch.second_result(&out, values)?;
    }
    let rows = values / width;
    let launch = launch.int(rows)?.int(packs)?.float(op.eps);
    // SAFETY: arguments as in norm.cuh; parameters have `width` values, data and results rows · width.
    unsafe { launch.run((rows * lanes).div_ceil(THREADS), THREADS as u32, 0)? };
    let shape = if delta.is_some() {
        Norm::both(x_layout)
    } else {
        x_layout.shape().clone()
    };
    Ok((out, shape))
}

/// `bias_gelu` and `bias_tanh`, in place.
pub(crate) fn bias_curve(op: &BiasCurve, x: &mut CudaStorage, layout: &Layout) -> Result<()> {
    let (width, rows_per_bias) = op.extent(layout)?;
    let dtype = x.dtype();
    let curve = match op.curve {
        Curve::Gelu => "bias_gelu",
        Curve::Tanh => "bias_tanh",
    };
    let row = packs(BiasCurve::NAME, dtype, width)?;
    let total = layout.shape().elem_count() / width * row;
    let name = format!("{curve}_{}", suffix(BiasCurve::NAME, dtype)?);
    let launch = Launch::new(BiasCurve::NAME, x.device(), &name)?
        .data(x, layout)?
        .parameter(&op.bias)?
        .unsigned(total)?
        .unsigned(row)?
        .unsigned(rows_per_bias)?;
    // SAFETY: arguments as in rows.cuh; the bias has a row of `width` values for every `rows_per_bias` rows; x is ours alone.
    unsafe { launch.run(blocks(total), THREADS as u32, 0) }
}

/// `bias_glu`.
pub(crate) fn bias_glu(op: &BiasGlu, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (width, rows_per_bias) = op.extent(layout)?;
    let (dtype, values) = (x.dtype(), layout.shape().elem_count() / 2);
    let row = packs(BiasGlu::NAME, dtype, width)?;
    let total = values / width * row;
    let out = uninitialised(x.device(), dtype, values)?;
    let name = format!("bias_glu_{}", suffix(BiasGlu::NAME, dtype)?);
    let launch = Launch::new(BiasGlu::NAME, x.device(), &name)?
        .data(x, layout)?
        .parameter(&op.bias)?
        .result(&out, values)?
        .unsigned(total)?
        .unsigned(row)?
        .unsigned(rows_per_bias)?;
    // SAFETY: arguments as in rows.cuh; x and the bias have rows of 2 · width, the result of width.
    unsafe { launch.run(blocks(total), THREADS as u32, 0)? };
    Ok((out, BiasGlu::halved(layout, width)))
}

/// `swap_leading`.
pub(crate) fn swap_leading(op: &SwapLeading, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (outer, inner, width) = op.extent(layout)?;
    let (dtype, values) = (x.dtype(), layout.shape().elem_count());
    let row = packs(SwapLeading::NAME, dtype, width)?;
    let total = outer * inner * row;
    let out = uninitialised(x.device(), dtype, values)?;
    let name = format!("swap_leading_{}", suffix(SwapLeading::NAME, dtype)?);
    let launch = Launch::new(SwapLeading::NAME, x.device(), &name)?
        .data(x, layout)?
        .optional(op.bias.as_ref())?
        .result(&out, values)?
        .unsigned(total)?
        .unsigned(outer)?
        .unsigned(inner)?
        .unsigned(row)?;
    // SAFETY: arguments as in rows.cuh; data and result have outer · inner rows, the bias outer.
    unsafe { launch.run(blocks(total), THREADS as u32, 0)? };
    Ok((out, Shape::from((inner, outer, width))))
}

/// `gated_rotary_attention`.
pub(crate) fn attention(op: &Attention, qkvg: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let extent = op.extent(layout)?;
    let (dtype, sequences) = (qkvg.dtype(), &op.sequences);
    if extent.head_dim != HEAD_DIM {
        bail!(
            "{}: kernels have heads of {HEAD_DIM}, not {}",
            Attention::NAME,
            extent.head_dim
        )
    }
    packs(Attention::NAME, dtype, extent.columns)?;
    // A row of keys or values in shared memory has HEAD_DIM 16-bit values.
    let shared = |queries: usize, stages: usize| (queries + 2 * stages * KEYS) * HEAD_DIM * 2;
    let (name, queries, shared) = match dtype {
        DType::F32 => ("attention_plain", ATTENTION_THREADS, 0),
        _ if sequences.length <= KEYS => ("attention_short", SHORT_QUERIES, shared(SHORT_QUERIES, 1)),
        _ => ("attention_long", LONG_QUERIES, shared(LONG_QUERIES, LONG_STAGES)),
    };
    let tiles = sequences.length.div_ceil(queries);
    let columns = op.heads * HEAD_DIM;
    let out = uninitialised(qkvg.device(), dtype, extent.tokens * columns)?;
    let name = format!("{name}_{}", suffix(Attention::NAME, dtype)?);
    let launch = Launch::new(Attention::NAME, qkvg.device(), &name)?
        .data(qkvg, layout)?
        .parameter(&op.gate_bias)?
        .parameter(&op.rotary)?
        .result(&out, extent.tokens * columns)?
        .int(op.heads)?
        .int(extent.columns)?
        .int(sequences.length)?
        .int(tiles)?
        .int(sequences.inner)?
        .int(sequences.outer_stride)?
        .int(sequences.inner_stride)?
        .int(sequences.stride)?;
    // SAFETY: arguments as in attention.cuh; `extent` has checked that no sequence reaches beyond the tokens and that a row holds all
    // heads. Tokens of no sequence stay unwritten, as the operation says.
    unsafe { launch.run(tiles * op.heads * sequences.count(), ATTENTION_THREADS as u32, shared)? };
    Ok((out, Shape::from((extent.tokens, columns))))
}
