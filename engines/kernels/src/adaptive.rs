//! What stands between the branches of a transformer that is told the time: gates, norms that time scales and shifts, and the gated
//! activation of its feed-forwards.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, InplaceOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::{
    args::{parameter, parameter_values, same_shape, values, values_mut, width},
    grouped::Heads,
    norm::normalise,
};

/// Scale and shift of a norm: rows of `modulation`, [batch, rows, d] f32.
#[derive(Clone, Copy, Debug)]
pub struct Adaptive<'a> {
    /// Every batch's vectors.
    pub modulation: &'a Tensor,
    /// Which of them is added.
    pub shift: usize,
    /// Which of them, plus one, is multiplied by.
    pub scale: usize,
}

/// Gate of a branch: a row of `modulation`, [batch, rows, d] f32.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// Every batch's vectors.
    pub modulation: &'a Tensor,
    /// Which of them is multiplied by.
    pub gate: usize,
}

/// The end of one residual branch and the beginning of the next: `sum = x + gate · delta` and `normed = rms_norm(sum) · (1 + scale) + shift`.
///
/// x, delta: [batch · rows, d]; gamma: [d] f32. Without a delta the sum is x, without a gate it is 1, and without `adaptive` the norm is a
/// plain one. Returns (sum, normed), both in x's type; the norm is taken before the sum is rounded to it.
///
/// # Errors
/// If shapes do not match.
pub fn residual_norm(
    x: &Tensor,
    delta: Option<(&Tensor, Option<Gate<'_>>)>,
    gamma: &Tensor,
    adaptive: Option<Adaptive<'_>>,
    rows: usize,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    let op = ResidualNorm {
        gamma: gamma.clone(),
        gate: delta
            .and_then(|(_, gate)| gate)
            .map(|gate| (gate.modulation.clone(), gate.gate)),
        adaptive: adaptive.map(|adaptive| (adaptive.modulation.clone(), adaptive.shift, adaptive.scale)),
        rows,
        eps,
    };
    match delta {
        None => Ok((x.clone(), x.apply_op1_no_bwd(&op)?)),
        Some((delta, _)) => {
            let both = x.apply_op2_no_bwd(delta, &op)?;
            Ok((both.get(0)?, both.get(1)?))
        }
    }
}

/// With one input a norm; with two the sum and its norm, one after the other: [2, .., d].
pub(crate) struct ResidualNorm {
    pub(crate) gamma: Tensor,
    pub(crate) gate: Option<(Tensor, usize)>,
    /// Modulation, shift, scale.
    pub(crate) adaptive: Option<(Tensor, usize, usize)>,
    pub(crate) rows: usize,
    pub(crate) eps: f32,
}

/// A modulation's values on the CPU.
struct Rows {
    values: Vec<f32>,
    count: usize,
    width: usize,
}

impl Rows {
    fn of(tensor: &Tensor, width: usize) -> Result<Self> {
        Ok(Self {
            values: parameter_values(tensor)?,
            count: tensor.dim(1)?,
            width,
        })
    }

    fn row(&self, batch: usize, row: usize) -> &[f32] {
        &self.values[(batch * self.count + row) * self.width..][..self.width]
    }
}

impl ResidualNorm {
    pub(crate) const NAME: &str = "residual_norm";

    /// Checks the parameters and gives the width d.
    pub(crate) fn width(&self, layout: &Layout) -> Result<usize> {
        let width = width(Self::NAME, layout)?;
        parameter(Self::NAME, "gamma", &self.gamma, width)?;
        let rows = layout.shape().elem_count() / width;
        if self.rows == 0 || !rows.is_multiple_of(self.rows) {
            bail!("{}: {rows} rows are no batches of {}", Self::NAME, self.rows)
        }
        let batch = rows / self.rows;
        let check = |modulation: &Tensor, largest: usize| {
            let count = modulation.dims().get(1).copied().unwrap_or(0);
            if modulation.rank() != 3 || largest >= count {
                bail!("{}: row {largest} of a modulation {:?}", Self::NAME, modulation.shape())
            }
            parameter(Self::NAME, "modulation", modulation, batch * count * width)
        };
        if let Some((modulation, gate)) = &self.gate {
            check(modulation, *gate)?;
        }
        if let Some((modulation, shift, scale)) = &self.adaptive {
            check(modulation, *shift.max(scale))?;
        }
        Ok(width)
    }

    /// Normalises rows that are the batches' in turn.
    fn normed(&self, rows: &[f32], width: usize) -> Result<Vec<f32>> {
        let gamma = parameter_values(&self.gamma)?;
        let adaptive = self
            .adaptive
            .as_ref()
            .map(|(modulation, shift, scale)| {
                Ok::<_, candle_core::Error>((Rows::of(modulation, width)?, *shift, *scale))
            })
            .transpose()?;
        let mut out = vec![0f32; rows.len()];
        out.par_chunks_mut(width)
            .zip(rows.par_chunks(width))
            .enumerate()
            .for_each(|(row, (out, x))| {
                normalise(x, &gamma, self.eps, out);
                if let Some((rows, shift, scale)) = &adaptive {
                    let batch = row / self.rows;
                    let (shift, scale) = (rows.row(batch, *shift), rows.row(batch, *scale));
                    for ((out, shift), scale) in out.iter_mut().zip(shift).zip(scale) {
                        *out = *out * (1.0 + scale) + shift;
                    }
                }
            });
        Ok(out)
    }
}

impl CustomOp1 for ResidualNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.width(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        Ok((CpuStorage::F32(self.normed(x, width)?), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::residual_norm(self, storage, layout, None)
    }
}

impl CustomOp2 for ResidualNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        delta: &CpuStorage,
        delta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = self.width(x_layout)?;
        same_shape(Self::NAME, x_layout, delta_layout)?;
        let (x, delta) = (
            values(Self::NAME, x, x_layout)?,
            values(Self::NAME, delta, delta_layout)?,
        );
        let mut both: Vec<f32> = match &self.gate {
            None => x.iter().zip(delta).map(|(x, delta)| x + delta).collect(),
            Some((modulation, gate)) => {
                let rows = Rows::of(modulation, width)?;
                let rows = &rows;
                x.chunks(width)
                    .zip(delta.chunks(width))
                    .enumerate()
                    .flat_map(|(row, (x, delta))| {
                        let gate = rows.row(row / self.rows, *gate);
                        x.iter().zip(delta).zip(gate).map(|((x, delta), gate)| x + gate * delta)
                    })
                    .collect()
            }
        };
        let normed = self.normed(&both, width)?;
        both.extend(normed);
        Ok((CpuStorage::F32(both), Shape::from([&[2], x_layout.dims()].concat())))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        delta: &candle_core::CudaStorage,
        delta_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        same_shape(Self::NAME, x_layout, delta_layout)?;
        crate::cuda::residual_norm(self, x, x_layout, Some((delta, delta_layout)))
    }
}

/// `silu(gate) · up`, where the gate is the first half of x's last dimension: [.., 2d] → [.., d].
///
/// # Errors
/// If the last dimension is odd.
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&SwiGlu)
}

pub(crate) struct SwiGlu;

impl SwiGlu {
    pub(crate) const NAME: &str = "swiglu";

    /// Width of the result, and its shape.
    pub(crate) fn halved(layout: &Layout) -> Result<(usize, Shape)> {
        let double = width(Self::NAME, layout)?;
        if double % 2 > 0 {
            bail!("{}: {:?} has no halves", Self::NAME, layout.shape())
        }
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = double / 2;
        }
        Ok((double / 2, Shape::from(dims)))
    }
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (width, shape) = Self::halved(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        let mut out = vec![0f32; x.len() / 2];
        out.par_chunks_mut(width)
            .zip(x.par_chunks(2 * width))
            .for_each(|(out, x)| {
                let (gate, up) = x.split_at(width);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = gate / (1.0 + (-gate).exp()) * up;
                }
            });
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::swiglu(storage, layout)
    }
}

/// Queries and keys of a projection, each head normalised and then turned by its row's position; values stay.
///
/// qkv: [sequences · length, (queries + 2 · keys) · dim], a product nobody else looks at: it is overwritten and given back. Gammas: [dim]
/// f32. rotary: a [`rotary_table`](crate::rotary_table) of at least `length` positions; it turns the pairs (i, i + dim/2) of a head.
///
/// # Errors
/// If shapes do not match.
pub fn norm_rotary(
    qkv: Tensor,
    q_gamma: &Tensor,
    k_gamma: &Tensor,
    rotary: &Tensor,
    heads: Heads,
    length: usize,
    eps: f32,
) -> Result<Tensor> {
    qkv.inplace_op1(&NormRotary {
        q_gamma: q_gamma.clone(),
        k_gamma: k_gamma.clone(),
        rotary: rotary.clone(),
        heads,
        length,
        eps,
    })?;
    Ok(qkv)
}

pub(crate) struct NormRotary {
    pub(crate) q_gamma: Tensor,
    pub(crate) k_gamma: Tensor,
    pub(crate) rotary: Tensor,
    pub(crate) heads: Heads,
    pub(crate) length: usize,
    pub(crate) eps: f32,
}

impl NormRotary {
    pub(crate) const NAME: &str = "norm_rotary";

    /// Rows and columns of the projection; checks the parameters.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<(usize, usize)> {
        let Heads { queries, keys, dim } = self.heads;
        self.heads.check(Self::NAME)?;
        let columns = (queries + 2 * keys) * dim;
        let &[rows, found] = layout.dims() else {
            bail!("{}: {:?} has to have two dimensions", Self::NAME, layout.shape())
        };
        if found != columns || self.length == 0 || !rows.is_multiple_of(self.length) || dim % 2 > 0 {
            bail!(
                "{}: {:?} are no sequences of {} rows of {:?}",
                Self::NAME,
                layout.shape(),
                self.length,
                self.heads
            )
        }
        parameter(Self::NAME, "q_gamma", &self.q_gamma, dim)?;
        parameter(Self::NAME, "k_gamma", &self.k_gamma, dim)?;
        let positions = self.rotary.dims().first().copied().unwrap_or(0);
        parameter(Self::NAME, "rotary", &self.rotary, positions * dim)?;
        if positions < self.length {
            bail!(
                "{}: rotary ends at {positions}, before {} positions",
                Self::NAME,
                self.length
            )
        }
        Ok((rows, columns))
    }
}

impl InplaceOp1 for NormRotary {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (_, columns) = self.extent(layout)?;
        let Heads { queries, keys, dim } = self.heads;
        let gammas = [parameter_values(&self.q_gamma)?, parameter_values(&self.k_gamma)?];
        let rotary = parameter_values(&self.rotary)?;
        values_mut(Self::NAME, storage, layout)?
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(row, x)| {
                let angles = &rotary[row % self.length * dim..][..dim];
                let mut normed = vec![0f32; dim];
                for (head, x) in x.chunks_exact_mut(dim).take(queries + keys).enumerate() {
                    normalise(x, &gammas[usize::from(head >= queries)], self.eps, &mut normed);
                    let (a, b) = normed.split_at(dim / 2);
                    for (pair, angle) in angles.chunks_exact(2).enumerate() {
                        x[pair] = a[pair] * angle[0] - b[pair] * angle[1];
                        x[pair + dim / 2] = b[pair] * angle[0] + a[pair] * angle[1];
                    }
                }
            });
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut candle_core::CudaStorage, layout: &Layout) -> Result<()> {
        crate::cuda::norm_rotary(self, storage, layout)
    }
}

#[cfg(test)]
mod tests;
