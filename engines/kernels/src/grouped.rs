//! Attention whose heads of queries share heads of keys and values: within a sequence, or to a memory beside it.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::{args::values, matmul::Product};

/// Heads of a grouped attention: `queries / keys` heads of queries look at one of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys, and of values.
    pub keys: usize,
    /// Width of each.
    pub dim: usize,
}

impl Heads {
    /// Columns of all queries.
    #[must_use]
    pub fn query_columns(&self) -> usize {
        self.queries * self.dim
    }

    /// Columns of all keys, and of all values.
    #[must_use]
    pub fn key_columns(&self) -> usize {
        self.keys * self.dim
    }

    pub(crate) fn check(&self, op: &str) -> Result<()> {
        if self.keys == 0 || self.dim == 0 || !self.queries.is_multiple_of(self.keys) {
            bail!("{op}: {self:?}: heads of queries have to share those of keys evenly")
        }
        Ok(())
    }
}

/// Which keys a query of the same sequence looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All.
    None,
    /// Those up to its own place.
    Causal,
    /// Those up to so many places away, to either side.
    Window(usize),
}

impl Mask {
    /// The keys that queries `first..end` of a sequence look at between them.
    fn span(self, first: usize, end: usize, length: usize) -> (usize, usize) {
        match self {
            Self::None => (0, length),
            Self::Causal => (0, end),
            Self::Window(reach) => (first.saturating_sub(reach), (end + reach).min(length)),
        }
    }

    /// The keys that one query looks at.
    fn keys(self, query: usize, length: usize) -> (usize, usize) {
        self.span(query, query + 1, length)
    }
}

/// `softmax(q · kᵀ / √dim) · v` inside each sequence of `length` rows.
///
/// qkv: [sequences · length, (queries + 2 · keys) · dim], a row the queries of all heads, then their keys, then their values. Returns
/// [sequences · length, queries · dim] in its type. A sequence's result does not depend on the others.
///
/// # Errors
/// If shapes do not match.
pub fn self_attention(qkv: &Tensor, heads: Heads, length: usize, mask: Mask) -> Result<Tensor> {
    qkv.apply_op1_no_bwd(&SelfAttention { heads, length, mask })
}

/// `softmax(q · kᵀ / √dim) · v` of each batch of `rows` queries with its own memory.
///
/// q: [batch · rows, queries · dim]; memory: [batch, longest, 2 · keys · dim], a row keys, then values; lengths: [batch] u32, how many rows
/// of each memory there are: what lies beyond is not looked at. Returns [batch · rows, queries · dim].
///
/// # Errors
/// If shapes do not match.
pub fn cross_attention(q: &Tensor, memory: &Tensor, lengths: &Tensor, heads: Heads, rows: usize) -> Result<Tensor> {
    q.apply_op3_no_bwd(memory, lengths, &CrossAttention { heads, rows })
}

pub(crate) struct SelfAttention {
    pub(crate) heads: Heads,
    pub(crate) length: usize,
    pub(crate) mask: Mask,
}

pub(crate) struct CrossAttention {
    pub(crate) heads: Heads,
    pub(crate) rows: usize,
}

impl SelfAttention {
    pub(crate) const NAME: &str = "self_attention";

    /// How many sequences there are.
    pub(crate) fn sequences(&self, layout: &Layout) -> Result<usize> {
        self.heads.check(Self::NAME)?;
        let columns = self.heads.query_columns() + 2 * self.heads.key_columns();
        match layout.dims() {
            &[rows, width] if width == columns && self.length > 0 && rows.is_multiple_of(self.length) => {
                Ok(rows / self.length)
            }
            dims => bail!(
                "{}: {dims:?} are no sequences of {} rows of {columns}",
                Self::NAME,
                self.length
            ),
        }
    }
}

impl CrossAttention {
    pub(crate) const NAME: &str = "cross_attention";

    /// How many batches there are, and the longest memory.
    pub(crate) fn extent(&self, q: &Layout, memory: &Layout, lengths: &Layout) -> Result<(usize, usize)> {
        self.heads.check(Self::NAME)?;
        let &[batch, longest, columns] = memory.dims() else {
            bail!(
                "{}: the memory {:?} has to have three dimensions",
                Self::NAME,
                memory.shape()
            )
        };
        if columns != 2 * self.heads.key_columns()
            || q.dims() != [batch * self.rows, self.heads.query_columns()]
            || lengths.dims() != [batch]
        {
            bail!(
                "{}: queries {:?}, a memory {:?} and lengths {:?} do not fit {:?} and {} rows",
                Self::NAME,
                q.shape(),
                memory.shape(),
                lengths.shape(),
                self.heads,
                self.rows
            )
        }
        Ok((batch, longest))
    }
}

/// Queries that are computed at a time.
const BLOCK: usize = 48;

/// One head of queries with its keys and values, wherever they lie.
struct Head<'a> {
    dim: usize,
    queries: &'a [f32],
    query_stride: usize,
    keys: &'a [f32],
    values: &'a [f32],
    key_stride: usize,
    /// Keys that there are.
    length: usize,
    mask: Mask,
}

impl Head<'_> {
    /// Queries `first..end`: [end − first, dim].
    fn block(&self, first: usize, end: usize) -> Vec<f32> {
        let (rows, dim) = (end - first, self.dim);
        let (start, stop) = self.mask.span(first, end, self.length);
        let keys = stop - start;
        let scale = 1.0 / (dim as f32).sqrt();
        let queries: Vec<f32> = (first..end)
            .flat_map(|row| {
                self.queries[row * self.query_stride..][..dim]
                    .iter()
                    .map(|value| value * scale)
            })
            .collect();
        let mut scores = vec![0f32; rows * keys];
        Product {
            m: keys,
            n: rows,
            k: dim,
            rows: &self.keys[start * self.key_stride..],
            stride: self.key_stride,
            weights: &queries,
        }
        .store(&mut scores);
        let totals: Vec<f32> = scores
            .chunks_exact_mut(keys)
            .enumerate()
            .map(|(row, scores)| {
                let (from, to) = self.mask.keys(first + row, self.length);
                weigh(scores, from - start, to - start)
            })
            .collect();
        let mut values = vec![0f32; dim * keys];
        for key in 0..keys {
            let row = &self.values[(start + key) * self.key_stride..][..dim];
            for (column, value) in row.iter().enumerate() {
                values[column * keys + key] = *value;
            }
        }
        let mut sums = vec![0f32; dim * rows];
        Product {
            m: rows,
            n: dim,
            k: keys,
            rows: &scores,
            stride: keys,
            weights: &values,
        }
        .store(&mut sums);
        (0..rows)
            .flat_map(|row| (0..dim).map(move |column| (row, column)))
            .map(|(row, column)| sums[column * rows + row] / totals[row])
            .collect()
    }
}

/// Turns scores into weights; those outside `from..to` become 0. Gives their sum.
fn weigh(scores: &mut [f32], from: usize, to: usize) -> f32 {
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    let seen = &mut scores[from..to];
    let largest = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for score in seen.iter_mut() {
        *score = exp(*score - largest);
    }
    seen.iter().sum()
}

/// `exp` of what is not above 0, to 2 units in the last place, without a call, so that a loop of it is vectorised.
fn exp(x: f32) -> f32 {
    /// Adding and taking away this rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let power = (x * std::f32::consts::LOG2_E).max(-126.0);
    let whole = (power + ROUND) - ROUND;
    let rest = (power - whole) * std::f32::consts::LN_2;
    // The exponential series of at most half a power of two.
    let series = 1.0
        + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest / 720.0)))));
    f32::from_bits(((whole as i32 + 127) << 23) as u32) * series
}

/// All heads of all batches: `head` says where one lies; each has `rows` queries.
fn attend<'a>(batches: usize, rows: usize, heads: Heads, head: impl Fn(usize, usize) -> Head<'a> + Sync) -> Vec<f32> {
    let (columns, blocks) = (heads.query_columns(), rows.div_ceil(BLOCK));
    let mut out = vec![0f32; batches * rows * columns];
    let computed: Vec<Vec<f32>> = (0..batches * heads.queries * blocks)
        .into_par_iter()
        .map(|unit| {
            let (batch, rest) = (unit / (heads.queries * blocks), unit % (heads.queries * blocks));
            let first = rest % blocks * BLOCK;
            head(batch, rest / blocks).block(first, (first + BLOCK).min(rows))
        })
        .collect();
    for (unit, values) in computed.iter().enumerate() {
        let (batch, rest) = (unit / (heads.queries * blocks), unit % (heads.queries * blocks));
        let first = batch * rows + rest % blocks * BLOCK;
        for (row, values) in values.chunks_exact(heads.dim).enumerate() {
            out[(first + row) * columns + rest / blocks * heads.dim..][..heads.dim].copy_from_slice(values);
        }
    }
    out
}

impl CustomOp1 for SelfAttention {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sequences = self.sequences(layout)?;
        let qkv = values(Self::NAME, storage, layout)?;
        let heads = self.heads;
        let stride = heads.query_columns() + 2 * heads.key_columns();
        let out = attend(sequences, self.length, heads, |sequence, head| {
            let rows = &qkv[sequence * self.length * stride..];
            let shared = head / (heads.queries / heads.keys) * heads.dim;
            Head {
                dim: heads.dim,
                queries: &rows[head * heads.dim..],
                query_stride: stride,
                keys: &rows[heads.query_columns() + shared..],
                values: &rows[heads.query_columns() + heads.key_columns() + shared..],
                key_stride: stride,
                length: self.length,
                mask: self.mask,
            }
        });
        let shape = Shape::from((sequences * self.length, heads.query_columns()));
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::self_attention(self, storage, layout)
    }
}

impl CustomOp3 for CrossAttention {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        memory: &CpuStorage,
        memory_layout: &Layout,
        lengths: &CpuStorage,
        lengths_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, longest) = self.extent(q_layout, memory_layout, lengths_layout)?;
        let (q, memory) = (
            values(Self::NAME, q, q_layout)?,
            values(Self::NAME, memory, memory_layout)?,
        );
        let lengths = &lengths.as_slice::<u32>()?[lengths_layout.start_offset()..][..batch];
        if let Some(wrong) = lengths
            .iter()
            .find(|length| **length == 0 || **length as usize > longest)
        {
            bail!(
                "{}: a memory of {wrong} rows, where there are 1 to {longest}",
                Self::NAME
            )
        }
        let heads = self.heads;
        let stride = 2 * heads.key_columns();
        let out = attend(batch, self.rows, heads, |batch, head| {
            let memory = &memory[batch * longest * stride..];
            let shared = head / (heads.queries / heads.keys) * heads.dim;
            Head {
                dim: heads.dim,
                queries: &q[batch * self.rows * heads.query_columns() + head * heads.dim..],
                query_stride: heads.query_columns(),
                keys: &memory[shared..],
                values: &memory[heads.key_columns() + shared..],
                key_stride: stride,
                length: lengths[batch] as usize,
                mask: Mask::None,
            }
        });
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &candle_core::CudaStorage,
        q_layout: &Layout,
        memory: &candle_core::CudaStorage,
        memory_layout: &Layout,
        lengths: &candle_core::CudaStorage,
        lengths_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::cross_attention(self, (q, q_layout), (memory, memory_layout), (lengths, lengths_layout))
    }
}

/// Asks for lengths as the kernels take them.
#[cfg(feature = "cuda")]
pub(crate) fn lengths_type(dtype: DType) -> Result<()> {
    if dtype != DType::U32 {
        bail!("{}: lengths are {dtype:?} and have to be u32", CrossAttention::NAME)
    }
    Ok(())
}

#[cfg(test)]
mod tests;
