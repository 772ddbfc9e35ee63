//! Attention in groups, norms that time moves, and what goes with them.

use candle_core::{CudaStorage, DType, Layout, Result, Shape, Tensor, backend::BackendStorage, bail};

use super::launch::{Launch, packs, suffix, uninitialised};
use crate::{
    adaptive::{NormRotary, ResidualNorm, SwiGlu},
    grouped::{CrossAttention, Heads, Mask, SelfAttention, lengths_type},
};

/// Threads of a block, as in common.cuh.
const THREADS: usize = 256;
/// Norms (adaptive.cuh): the most threads of a block, which has so many rows; and heads that a thread turns.
const NORM_THREADS: usize = 512;
const NORM_ROWS: usize = 4;
const ROTARY_HEADS: usize = 4;
/// The head that kernels are made for.
const HEAD_DIM: usize = 128;
/// Attention (grouped.cuh): queries and threads of a block, and keys of a block of them, of which two are in shared memory.
const QUERIES: usize = 64;
const ATTENTION_THREADS: u32 = 128;
const KEYS: usize = 64;
/// Queries of a block of f32, a warp each.
const PLAIN_QUERIES: usize = 4;

/// Blocks for so many packs, one a thread.
fn blocks(packs: usize) -> usize {
    packs.div_ceil(THREADS)
}

/// Where one of three parts of an attention's rows lies.
#[derive(Clone, Copy)]
struct Part<'a> {
    storage: &'a CudaStorage,
    layout: &'a Layout,
    /// Values from the beginning of a row.
    offset: usize,
}

/// An attention whose arguments have been checked.
struct Attention<'a> {
    op: &'static str,
    heads: Heads,
    queries: Part<'a>,
    keys: Part<'a>,
    values: Part<'a>,
    lengths: Option<(&'a CudaStorage, &'a Layout)>,
    sequences: usize,
    /// Queries of a sequence, and keys.
    rows: usize,
    length: usize,
    query_step: usize,
    key_step: usize,
    mask: Mask,
}

impl Attention<'_> {
    fn run(&self) -> Result<(CudaStorage, Shape)> {
        let (storage, heads) = (self.queries.storage, self.heads);
        let dtype = storage.dtype();
        if heads.dim != HEAD_DIM {
            bail!("{}: kernels have heads of {HEAD_DIM}, not {}", self.op, heads.dim)
        }
        let shape = (self.sequences * self.rows, heads.query_columns());
        let values = shape.0 * shape.1;
        let out = uninitialised(storage.device(), dtype, values)?;
        let kernel = format!("grouped_attention_{}", suffix(self.op, dtype)?);
        let mut launch = Launch::new(self.op, storage.device(), &kernel)?;
        for part in [self.queries, self.keys, self.values] {
            launch = launch.data_from(part.storage, part.layout, part.offset)?;
        }
        let launch = match self.lengths {
            Some((lengths, layout)) => launch.indices(lengths, layout)?,
            None => launch.nothing(),
        };
        let plain = dtype == DType::F32;
        let tiles = self.rows.div_ceil(QUERIES);
        let (reach, causal) = match self.mask {
            Mask::None => (None, false),
            Mask::Causal => (None, true),
            Mask::Window(reach) => (Some(reach), false),
        };
        let launch = launch
            .result(&out, values)?
            .int(heads.queries)?
            .int(heads.queries / heads.keys)?
            .int(self.rows)?
            .int(self.length)?
            .int(if plain { self.sequences } else { tiles })?
            .int(self.query_step)?
            .int(self.key_step)?
            .int(self.length * self.key_step)?
            .int_or_all(reach)?
            .int(usize::from(causal))?;
        let units = self.sequences * heads.queries;
        if plain {
            // SAFETY: arguments as in grouped.cuh, checked by the operation; a warp a query.
            unsafe { launch.run((units * self.rows).div_ceil(PLAIN_QUERIES), ATTENTION_THREADS, 0)? };
        } else {
            let shared = (QUERIES + 4 * KEYS) * HEAD_DIM * dtype.size_in_bytes();
            // SAFETY: as above; shared memory as there: queries, and two blocks of keys and of values.
            unsafe { launch.run(units * tiles, ATTENTION_THREADS, shared)? };
        }
        Ok((out, Shape::from(shape)))
    }
}

/// `self_attention`.
pub(crate) fn self_attention(op: &SelfAttention, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let sequences = op.sequences(layout)?;
    let (queries, keys) = (op.heads.query_columns(), op.heads.key_columns());
    let part = |offset| Part {
        storage: qkv,
        layout,
        offset,
    };
    let step = queries + 2 * keys;
    Attention {
        op: SelfAttention::NAME,
        heads: op.heads,
        queries: part(0),
        keys: part(queries),
        values: part(queries + keys),
        lengths: None,
        sequences,
        rows: op.length,
        length: op.length,
        query_step: step,
        key_step: step,
        mask: op.mask,
    }
    .run()
}

/// `cross_attention`.
pub(crate) fn cross_attention(
    op: &CrossAttention,
    (q, q_layout): (&CudaStorage, &Layout),
    (memory, memory_layout): (&CudaStorage, &Layout),
    (lengths, lengths_layout): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let (sequences, longest) = op.extent(q_layout, memory_layout, lengths_layout)?;
    lengths_type(lengths.dtype())?;
    if memory.dtype() != q.dtype() {
        bail!(
            "{}: queries are {:?} and the memory {:?}",
            CrossAttention::NAME,
            q.dtype(),
            memory.dtype()
        )
    }
    let part = |offset| Part {
        storage: memory,
        layout: memory_layout,
        offset,
    };
    Attention {
        op: CrossAttention::NAME,
        heads: op.heads,
        queries: Part {
            storage: q,
            layout: q_layout,
            offset: 0,
        },
        keys: part(0),
        values: part(op.heads.key_columns()),
        lengths: Some((lengths, lengths_layout)),
        sequences,
        rows: op.rows,
        length: longest,
        query_step: op.heads.query_columns(),
        key_step: 2 * op.heads.key_columns(),
        mask: Mask::None,
    }
    .run()
}

/// `residual_norm`, with a delta or without.
pub(crate) fn residual_norm(
    op: &ResidualNorm,
    x: &CudaStorage,
    x_layout: &Layout,
    delta: Option<(&CudaStorage, &Layout)>,
) -> Result<(CudaStorage, Shape)> {
    let width = op.width(x_layout)?;
    let (dtype, device) = (x.dtype(), x.device());
    let packs = packs(ResidualNorm::NAME, dtype, width)?;
    if packs > NORM_THREADS {
        bail!(
            "{}: kernels normalise up to {NORM_THREADS} packs of 16 bytes, not rows of {width} {dtype:?}",
            ResidualNorm::NAME
        )
    }
    let values = x_layout.shape().elem_count();
    let results = if delta.is_some() { 2 } else { 1 };
    let out = uninitialised(device, dtype, results * values)?;
    let kernel = format!("residual_norm_{}", suffix(ResidualNorm::NAME, dtype)?);
    let mut launch = Launch::new(ResidualNorm::NAME, device, &kernel)?.data(x, x_layout)?;
    launch = match delta {
        Some((delta, _)) if delta.dtype() != dtype => {
            bail!("{}: x is {dtype:?} and delta {:?}", ResidualNorm::NAME, delta.dtype())
        }
        Some((delta, layout)) => launch.data(delta, layout)?,
        None => launch.nothing(),
    };
    launch = launch.parameter(&op.gamma)?;
    let stride = |modulation: &Tensor| modulation.dims().get(1).map_or(0, |rows| rows * width);
    launch = match &op.gate {
        Some((modulation, gate)) => launch.parameter_from(modulation, gate * width)?,
        None => launch.nothing(),
    };
    launch = match &op.adaptive {
        Some((modulation, shift, scale)) => launch
            .parameter_from(modulation, shift * width)?
            .parameter_from(modulation, scale * width)?,
        None => launch.nothing().nothing(),
    };
    launch = if delta.is_some() {
        launch.result(&out, values)?.second_result(&out, values)?
    } else {
        launch.nothing().result(&out, values)?
    };
    let (batches, tiles) = (values / width / op.rows, op.rows.div_ceil(NORM_ROWS));
    let launch = launch
        .int(op.gate.as_ref().map_or(0, |(modulation, _)| stride(modulation)))?
        .int(op.adaptive.as_ref().map_or(0, |(modulation, ..)| stride(modulation)))?
        .int(op.rows)?
        .int(tiles)?
        .int(packs)?
        .float(op.eps);
    // SAFETY: arguments as in adaptive.cuh; vectors have `width` values, of which every batch has its own; data and results rows · width.
    unsafe { launch.run(batches * tiles, packs.next_multiple_of(32) as u32, 0)? };
    let shape = if delta.is_some() {
        Shape::from([&[2], x_layout.dims()].concat())
    } else {
        x_layout.shape().clone()
    };
    Ok((out, shape))
}

/// `norm_rotary`, in place.
pub(crate) fn norm_rotary(op: &NormRotary, qkv: &mut CudaStorage, layout: &Layout) -> Result<()> {
    let (rows, columns) = op.extent(layout)?;
    let dtype = qkv.dtype();
    let Heads { queries, keys, dim } = op.heads;
    if dim != HEAD_DIM {
        bail!("{}: kernels have heads of {HEAD_DIM}, not {dim}", NormRotary::NAME)
    }
    let groups = (queries + keys).div_ceil(ROTARY_HEADS);
    let units = rows * groups;
    let kernel = format!("norm_rotary_{}", suffix(NormRotary::NAME, dtype)?);
    let launch = Launch::new(NormRotary::NAME, qkv.device(), &kernel)?
        .data(qkv, layout)?
        .parameter(&op.q_gamma)?
        .parameter(&op.k_gamma)?
        .parameter(&op.rotary)?
        .int(queries + keys)?
        .int(queries)?
        .int(columns)?
        .int(op.length)?
        .int(groups)?
        .unsigned(units)?
        .float(op.eps);
    let lanes = packs(NormRotary::NAME, dtype, dim)?;
    // SAFETY: arguments as in adaptive.cuh; rotary has a row for every position; qkv is ours alone.
    unsafe { launch.run(blocks(units * lanes), THREADS as u32, 0) }
}

/// `swiglu`.
pub(crate) fn swiglu(x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (width, shape) = SwiGlu::halved(layout)?;
    let (dtype, values) = (x.dtype(), shape.elem_count());
    let row = packs(SwiGlu::NAME, dtype, width)?;
    let total = values / width.max(1) * row;
    let out = uninitialised(x.device(), dtype, values)?;
    let kernel = format!("swiglu_{}", suffix(SwiGlu::NAME, dtype)?);
    let launch = Launch::new(SwiGlu::NAME, x.device(), &kernel)?
        .data(x, layout)?
        .result(&out, values)?
        .unsigned(total)?
        .unsigned(row)?;
    // SAFETY: arguments as in adaptive.cuh; x has rows of 2 · width, the result of width.
    unsafe { launch.run(blocks(total), THREADS as u32, 0)? };
    Ok((out, shape))
}
