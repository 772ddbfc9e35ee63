//! Self-attention with rotary positions and a gate a head, over sequences that lie scattered among the tokens.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, values, width};

/// Where sequences lie among tokens.
///
/// Sequence (o, i) begins at token `o · outer_stride + i · inner_stride`, and its next tokens follow `stride` apart. Two axes of
/// sequences and one inside them read a [batch, time, band] layout along time as well as along bands, so nothing is ever transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// How many sequences on the outer axis.
    pub outer: usize,
    /// Tokens from one to the next on the outer axis.
    pub outer_stride: usize,
    /// How many sequences on the inner axis.
    pub inner: usize,
    /// Tokens from one to the next on the inner axis.
    pub inner_stride: usize,
    /// Tokens in each.
    pub length: usize,
    /// Tokens from one of a sequence to its next.
    pub stride: usize,
}

impl Sequences {
    /// Along time: `batch · bands` sequences of `frames` tokens, `bands` apart.
    pub fn over_time(batch: usize, frames: usize, bands: usize) -> Self {
        Self {
            outer: batch,
            outer_stride: frames * bands,
            inner: bands,
            inner_stride: 1,
            length: frames,
            stride: bands,
        }
    }

    /// Along the bands: `batch · frames` sequences of `bands` tokens, one after another.
    pub fn over_bands(batch: usize, frames: usize, bands: usize) -> Self {
        Self {
            outer: batch * frames,
            outer_stride: bands,
            inner: 1,
            inner_stride: 0,
            length: bands,
            stride: 1,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// The token that a sequence begins with.
    fn first(&self, sequence: usize) -> usize {
        sequence / self.inner * self.outer_stride + sequence % self.inner * self.inner_stride
    }

    /// One past the last token of all; 0 if there is none.
    fn end(&self) -> usize {
        if self.count() == 0 || self.length == 0 {
            return 0;
        }
        self.first(self.count() - 1) + (self.length - 1) * self.stride + 1
    }
}

/// The frequencies of a rotary embedding: `theta^(−2i/head_dim)` for each of its head_dim/2 pairs.
pub fn rotary_frequencies(head_dim: usize, theta: f64) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64) as f32)
        .collect()
}

/// Cosines and sines of `position · frequency` for positions 0..length: [length, frequencies, 2] f32 on the device.
///
/// # Errors
/// If the device has no room.
pub fn rotary_table(frequencies: &[f32], length: usize, device: &Device) -> Result<Tensor> {
    let angles = (0..length).flat_map(|position| frequencies.iter().map(move |&f| position as f64 * f64::from(f)));
    let table: Vec<f32> = angles
        .flat_map(|angle| [angle.cos() as f32, angle.sin() as f32])
        .collect();
    Tensor::from_vec(table, (length, frequencies.len(), 2), device)
}

/// Attention inside each sequence, without a mask: `softmax(rot(q) · rot(k)ᵀ / √head_dim) · v · sigmoid(gate + gate_bias)`.
///
/// qkvg: [tokens, columns], a row the queries of all heads, their keys, their values and one gate logit a head
/// (`3 · heads · head_dim + heads` columns; what follows is padding and not read). gate_bias: [heads] f32. rotary: a [`rotary_table`] at
/// least as long as the sequences; it turns the pairs (0, 1), (2, 3), … of a head. Returns [tokens, heads · head_dim] in qkvg's type;
/// tokens of no sequence are zero on the CPU and undefined on CUDA. Every token belongs to one sequence at most.
///
/// # Errors
/// If shapes do not match, or a sequence reaches beyond the tokens.
pub fn gated_rotary_attention(
    qkvg: &Tensor,
    gate_bias: &Tensor,
    rotary: &Tensor,
    heads: usize,
    sequences: &Sequences,
) -> Result<Tensor> {
    let op = Attention {
        gate_bias: gate_bias.clone(),
        rotary: rotary.clone(),
        heads,
        sequences: *sequences,
    };
    qkvg.apply_op1_no_bwd(&op)
}

pub(crate) struct Attention {
    pub(crate) gate_bias: Tensor,
    pub(crate) rotary: Tensor,
    pub(crate) heads: usize,
    pub(crate) sequences: Sequences,
}

/// Sizes that the arguments agree on.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) tokens: usize,
    pub(crate) columns: usize,
    pub(crate) head_dim: usize,
}

impl Attention {
    pub(crate) const NAME: &str = "gated_rotary_attention";

    /// Checks every shape.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<Extent> {
        let columns = width(Self::NAME, layout)?;
        let tokens = layout.shape().elem_count() / columns;
        let &[positions, pairs, 2] = self.rotary.dims() else {
            bail!(
                "{}: rotary is {:?} instead of [length, head_dim/2, 2]",
                Self::NAME,
                self.rotary.shape()
            )
        };
        parameter(Self::NAME, "rotary", &self.rotary, positions * pairs * 2)?;
        parameter(Self::NAME, "gate_bias", &self.gate_bias, self.heads)?;
        let head_dim = 2 * pairs;
        if columns < self.heads * (3 * head_dim + 1) {
            bail!(
                "{}: {columns} columns hold no {} heads of {head_dim} with gates",
                Self::NAME,
                self.heads
            )
        }
        if positions < self.sequences.length {
            bail!(
                "{}: rotary ends at {positions}, before {} positions",
                Self::NAME,
                self.sequences.length
            )
        }
        if self.sequences.end() > tokens {
            bail!("{}: {:?} reach beyond {tokens} tokens", Self::NAME, self.sequences)
        }
        Ok(Extent {
            tokens,
            columns,
            head_dim,
        })
    }

    /// One head of one sequence: [length, head_dim].
    fn head(&self, qkvg: &[f32], extent: Extent, rotary: &[f32], bias: f32, sequence: usize, head: usize) -> Vec<f32> {
        let Extent { columns, head_dim, .. } = extent;
        let inner = self.heads * head_dim;
        let first = self.sequences.first(sequence);
        let row = |position: usize| &qkvg[(first + position * self.sequences.stride) * columns..][..columns];
        let part = |position: usize, part: usize| &row(position)[part * inner + head * head_dim..][..head_dim];
        let turned = |which: usize| -> Vec<f32> {
            (0..self.sequences.length)
                .flat_map(|p| turn(part(p, which), &rotary[p * head_dim..][..head_dim]))
                .collect()
        };
        let (q, k) = (turned(0), turned(1));
        let mut out = vec![0f32; self.sequences.length * head_dim];
        for (position, (out, q)) in out.chunks_mut(head_dim).zip(q.chunks(head_dim)).enumerate() {
            let scores: Vec<f32> = k
                .chunks(head_dim)
                .map(|k| dot(q, k) / (head_dim as f32).sqrt())
                .collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut total = 0.0;
            for (other, score) in scores.iter().enumerate() {
                let weight = (score - largest).exp();
                total += weight;
                for (out, v) in out.iter_mut().zip(part(other, 2)) {
                    *out += weight * v;
                }
            }
            let gate = 1.0 / (1.0 + (-(row(position)[3 * inner + head] + bias)).exp());
            out.iter_mut().for_each(|out| *out *= gate / total);
        }
        out
    }
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Turns each pair by its angle.
fn turn<'a>(pairs: &'a [f32], angles: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    pairs.chunks(2).zip(angles.chunks(2)).flat_map(|(pair, angle)| {
        [
            pair[0] * angle[0] - pair[1] * angle[1],
            pair[1] * angle[0] + pair[0] * angle[1],
        ]
    })
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let extent = self.extent(layout)?;
        let qkvg = values(Self::NAME, storage, layout)?;
        let (rotary, bias) = (parameter_values(&self.rotary)?, parameter_values(&self.gate_bias)?);
        let heads: Vec<Vec<f32>> = (0..self.sequences.count() * self.heads)
            .into_par_iter()
            .map(|i| {
                self.head(
                    qkvg,
                    extent,
                    &rotary,
                    bias[i % self.heads],
                    i / self.heads,
                    i % self.heads,
                )
            })
            .collect();
        let mut out = vec![0f32; extent.tokens * self.heads * extent.head_dim];
        for (i, values) in heads.iter().enumerate() {
            let first = self.sequences.first(i / self.heads);
            for (position, values) in values.chunks(extent.head_dim).enumerate() {
                let token = first + position * self.sequences.stride;
                out[(token * self.heads + i % self.heads) * extent.head_dim..][..extent.head_dim]
                    .copy_from_slice(values);
            }
        }
        Ok((
            CpuStorage::F32(out),
            Shape::from((extent.tokens, self.heads * extent.head_dim)),
        ))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::attention(self, storage, layout)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, IndexOp};

    use super::*;
    use crate::args::testing::{assert_near, random};

    const HEADS: usize = 3;
    const DIM: usize = 8;
    const COLUMNS: usize = HEADS * (3 * DIM + 1) + 5;

    /// Turns [s, n, h, d] by interleaved pairs, with candle's own operations.
    fn rotated(x: &Tensor) -> Tensor {
        let (s, n, h, d) = x.dims4().unwrap();
        let frequencies: Vec<f32> = (0..d / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / d as f32)).collect();
        let frequencies = Tensor::from_vec(frequencies, (1, d / 2), &Device::Cpu).unwrap();
        let positions = Tensor::arange(0f32, n as f32, &Device::Cpu)
            .unwrap()
            .reshape((n, 1))
            .unwrap();
        let angles = positions
            .matmul(&frequencies)
            .unwrap()
            .reshape((1, n, 1, d / 2))
            .unwrap();
        let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
        let pairs = x.reshape((s, n, h, d / 2, 2)).unwrap();
        let (a, b) = (
            pairs.i((.., .., .., .., 0)).unwrap(),
            pairs.i((.., .., .., .., 1)).unwrap(),
        );
        let times = |x: &Tensor, y: &Tensor| x.broadcast_mul(y).unwrap();
        let first = (times(&a, &cos) - times(&b, &sin)).unwrap();
        let second = (times(&b, &cos) + times(&a, &sin)).unwrap();
        Tensor::stack(&[first, second], D::Minus1)
            .unwrap()
            .reshape((s, n, h, d))
            .unwrap()
    }

    /// The formula over [s, n, columns]: [s, n, heads · dim].
    fn naive(qkvg: &Tensor, bias: &Tensor) -> Tensor {
        let (s, n, _) = qkvg.dims3().unwrap();
        let part = |i: usize| {
            qkvg.narrow(2, i * HEADS * DIM, HEADS * DIM)
                .unwrap()
                .reshape((s, n, HEADS, DIM))
                .unwrap()
        };
        let by_head = |x: Tensor| x.transpose(1, 2).unwrap().contiguous().unwrap();
        let (q, k, v) = (by_head(rotated(&part(0))), by_head(rotated(&part(1))), by_head(part(2)));
        let scores = (q.matmul(&k.t().unwrap()).unwrap() * (DIM as f64).powf(-0.5)).unwrap();
        let weights = scores.exp().unwrap();
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1).unwrap()).unwrap();
        let out = weights.matmul(&v).unwrap().transpose(1, 2).unwrap();
        let logits = qkvg
            .narrow(2, 3 * HEADS * DIM, HEADS)
            .unwrap()
            .broadcast_add(bias)
            .unwrap();
        let one = logits.ones_like().unwrap();
        let gate = (&one / (logits.neg().unwrap().exp().unwrap() + &one).unwrap()).unwrap();
        out.broadcast_mul(&gate.unsqueeze(3).unwrap())
            .unwrap()
            .reshape((s, n, HEADS * DIM))
            .unwrap()
    }

    #[test]
    fn time_and_bands_read_one_layout() {
        let (batch, frames, bands) = (2, 11, 5);
        let qkvg = random(&[batch * frames * bands, COLUMNS], 1);
        let bias = random(&[HEADS], 2);
        let rotary = rotary_table(&rotary_frequencies(DIM, 1e4), 13, &Device::Cpu).unwrap();
        let grid = qkvg.reshape((batch, frames, bands, COLUMNS)).unwrap();

        let along_bands = naive(&grid.reshape((batch * frames, bands, COLUMNS)).unwrap(), &bias);
        let sequences = Sequences::over_bands(batch, frames, bands);
        let actual = gated_rotary_attention(&qkvg, &bias, &rotary, HEADS, &sequences).unwrap();
        assert_near(
            &actual,
            &along_bands.reshape((batch * frames * bands, HEADS * DIM)).unwrap(),
            1e-5,
        );

        let columns = grid
            .transpose(1, 2)
            .unwrap()
            .reshape((batch * bands, frames, COLUMNS))
            .unwrap();
        let along_time = naive(&columns, &bias)
            .reshape((batch, bands, frames, HEADS * DIM))
            .unwrap();
        let sequences = Sequences::over_time(batch, frames, bands);
        let actual = gated_rotary_attention(&qkvg, &bias, &rotary, HEADS, &sequences).unwrap();
        let expected = along_time
            .transpose(1, 2)
            .unwrap()
            .reshape((batch * frames * bands, HEADS * DIM))
            .unwrap();
        assert_near(&actual, &expected, 1e-5);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let qkvg = random(&[12, COLUMNS], 1);
        let bias = random(&[HEADS], 2);
        let table = |length| rotary_table(&rotary_frequencies(DIM, 1e4), length, &Device::Cpu).unwrap();
        let refused = |length, sequences| {
            gated_rotary_attention(&qkvg, &bias, &table(length), HEADS, &sequences)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(3, Sequences::over_bands(1, 3, 4)).contains("positions"));
        assert!(refused(8, Sequences::over_bands(1, 4, 4)).contains("beyond 12 tokens"));
    }
}
