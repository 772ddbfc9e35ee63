//! What happens to rows of activations.

use candle_core::{
    CudaStorage, DType, Layout, Result, Shape,
    backend::BackendStorage,
    bail,
    cuda_backend::{WrapErr, cudarc::driver::sys::CUdevice_attribute},
};

use super::launch::{Launch, packs, suffix, uninitialised};
use crate::{
    attention::Attention,
    bias::{BiasCurve, BiasGlu, Curve},
    norm::Norm,
    rows::SwapLeading,
};

/// Threads of a block, as in common.cuh.
const THREADS: usize = 256;
/// The head size that kernels are made for, and keys of a block.
const HEAD_DIM: usize = 64;
const KEYS: usize = 64;
/// Long sequences: queries and threads of a block, and how many blocks of keys are in shared memory at once (kernels.cu).
const LONG_QUERIES: usize = 128;
const LONG_THREADS: u32 = 256;
const LONG_STAGES: usize = 2;
/// GPUs that have warpgroups multiply by them in long sequences, and their blocks of keys.
const GROUPED_CAPABILITY: (i32, i32) = (9, 0);
const GROUPED_STAGES: usize = 3;
/// Sequences of one block of keys: threads of a block, and how many blocks a multiprocessor has at once.
const SHORT_THREADS: u32 = 128;
const SHORT_BLOCKS: usize = 3;
/// Queries of a block of f32, one a thread.
const PLAIN_QUERIES: usize = 128;

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
    let columns = op.heads * HEAD_DIM;
    let out = uninitialised(qkvg.device(), dtype, extent.tokens * columns)?;
    let call = AttentionCall {
        op,
        qkvg,
        layout,
        columns: extent.columns,
        out: &out,
        values: extent.tokens * columns,
    };
    match dtype {
        DType::F32 => call.plain()?,
        _ if sequences.length <= KEYS => call.short()?,
        _ => call.long()?,
    }
    Ok((out, Shape::from((extent.tokens, columns))))
}

/// Attention whose arguments have been checked: no sequence reaches beyond the tokens, and a row holds all heads. Tokens of no sequence
/// stay unwritten, as the operation says.
struct AttentionCall<'a> {
    op: &'a Attention,
    qkvg: &'a CudaStorage,
    layout: &'a Layout,
    /// Of a row of qkvg.
    columns: usize,
    out: &'a CudaStorage,
    /// Of the result.
    values: usize,
}

impl AttentionCall<'_> {
    fn kernel(&self, name: &str) -> Result<Launch> {
        let name = format!("{name}_{}", suffix(Attention::NAME, self.qkvg.dtype())?);
        Launch::new(Attention::NAME, self.qkvg.device(), &name)
    }

    /// What every kernel takes, with so many tiles of queries a sequence.
    fn arguments(&self, launch: Launch, tiles: usize) -> Result<Launch> {
        let sequences = &self.op.sequences;
        launch
            .data(self.qkvg, self.layout)?
            .parameter(&self.op.gate_bias)?
            .parameter(&self.op.rotary)?
            .result(self.out, self.values)?
            .int(self.op.heads)?
            .int(self.columns)?
            .int(sequences.length)?
            .int(tiles)?
            .int(sequences.inner)?
            .int(sequences.outer_stride)?
            .int(sequences.inner_stride)?
            .int(sequences.stride)
    }

    /// A head of a sequence each; empty sequences are nothing to do.
    fn units(&self) -> usize {
        self.op.heads * self.op.sequences.count() * self.op.sequences.length.min(1)
    }

    fn plain(&self) -> Result<()> {
        let tiles = self.op.sequences.length.div_ceil(PLAIN_QUERIES);
        let launch = self.arguments(self.kernel("attention_plain")?, tiles)?;
        // SAFETY: arguments as in attention.cuh, checked as said above.
        unsafe { launch.run(tiles * self.units(), PLAIN_QUERIES as u32, 0) }
    }

    /// Blocks stay and take one unit after another, so that there are no more of them than run at once.
    fn short(&self) -> Result<()> {
        let launch = self.arguments(self.kernel("attention_short")?, 1)?.int(self.units())?;
        let blocks = self.units().min(multiprocessors(self.qkvg)? * SHORT_BLOCKS);
        // Two units' queries, keys and values.
        let shared = 2 * 3 * KEYS * HEAD_DIM * self.qkvg.dtype().size_in_bytes();
        // SAFETY: arguments as in attention.cuh, checked as said above; shared memory as there.
        unsafe { launch.run(blocks, SHORT_THREADS, shared) }
    }

    /// Keys are turned once, before every tile of queries reads them.
    fn long(&self) -> Result<()> {
        let sequences = &self.op.sequences;
        let keys = uninitialised(self.qkvg.device(), self.qkvg.dtype(), self.values)?;
        let packs = self.units() * sequences.length * packs(Attention::NAME, self.qkvg.dtype(), HEAD_DIM)?;
        let turn = self
            .kernel("turn_keys")?
            .data(self.qkvg, self.layout)?
            .parameter(&self.op.rotary)?
            .result(&keys, self.values)?
            .unsigned(packs)?
            .int(self.op.heads)?
            .int(self.columns)?
            .int(sequences.length)?
            .int(sequences.inner)?
            .int(sequences.outer_stride)?
            .int(sequences.inner_stride)?
            .int(sequences.stride)?;
        // SAFETY: arguments as in attention.cuh, checked as said above; keys have a row a token, of which those of sequences are written.
        unsafe { turn.run(blocks(packs), THREADS as u32, 0)? };
        let tiles = sequences.length.div_ceil(LONG_QUERIES);
        let grouped = self.qkvg.device().cuda_stream().context().compute_capability().w()? == GROUPED_CAPABILITY;
        let (name, stages) = if grouped {
            ("attention_grouped", GROUPED_STAGES)
        } else {
            ("attention_long", LONG_STAGES)
        };
        let launch = self.kernel(name)?.result(&keys, self.values)?;
        let launch = self.arguments(launch, tiles)?;
        let shared = (LONG_QUERIES + 2 * stages * KEYS) * HEAD_DIM * self.qkvg.dtype().size_in_bytes();
        // SAFETY: as above; no row of keys is read that was not written. They are freed on the same stream, behind this kernel.
        unsafe { launch.run(tiles * self.units(), LONG_THREADS, shared) }
    }
}

/// Multiprocessors of the GPU that holds the data.
fn multiprocessors(storage: &CudaStorage) -> Result<usize> {
    let stream = storage.device().cuda_stream();
    let count = stream
        .context()
        .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        .w()?;
    Ok(count.max(1) as usize)
}
