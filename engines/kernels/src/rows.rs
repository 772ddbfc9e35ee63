//! Linear layers, and rows in another order.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, values};

/// `x · wᵀ` without a bias: [n, k] · [m, k] → [n, m], or [g, n, k] · [g, m, k] → [g, n, m] for g networks at once.
///
/// # Errors
/// If shapes or types do not match.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// Swaps the two leading dimensions, and adds a bias on the way: [a, b, d] → [b, a, d], bias [a, d] f32.
///
/// # Errors
/// If shapes do not match.
pub fn swap_leading(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    x.apply_op1_no_bwd(&SwapLeading { bias: bias.cloned() })
}

pub(crate) struct SwapLeading {
    pub(crate) bias: Option<Tensor>,
}

impl SwapLeading {
    pub(crate) const NAME: &str = "swap_leading";

    /// The three dimensions of x.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<(usize, usize, usize)> {
        let &[outer, inner, width] = layout.dims() else {
            bail!("{}: {:?} has to have three dimensions", Self::NAME, layout.shape())
        };
        if let Some(bias) = &self.bias {
            parameter(Self::NAME, "bias", bias, outer * width)?;
        }
        Ok((outer, inner, width))
    }
}

impl CustomOp1 for SwapLeading {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outer, inner, width) = self.extent(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        let bias = self
            .bias
            .as_ref()
            .map_or_else(|| Ok(vec![0.0; outer * width]), parameter_values)?;
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut((outer * width).max(1))
            .enumerate()
            .for_each(|(i, out)| {
                for (o, (out, bias)) in out.chunks_mut(width).zip(bias.chunks(width)).enumerate() {
                    let row = &x[(o * inner + i) * width..][..width];
                    for ((out, x), bias) in out.iter_mut().zip(row).zip(bias) {
                        *out = x + bias;
                    }
                }
            });
        Ok((CpuStorage::F32(out), Shape::from((inner, outer, width))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::swap_leading(self, storage, layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::testing::{assert_near, random};

    #[test]
    fn rows_change_places_and_keep_their_bias() {
        let (x, bias) = (random(&[3, 5, 4], 1), random(&[3, 4], 2));
        let expected = x
            .broadcast_add(&bias.unsqueeze(1).unwrap())
            .unwrap()
            .transpose(0, 1)
            .unwrap();
        assert_near(&swap_leading(&x, Some(&bias)).unwrap(), &expected, 0.0);
        assert_near(&swap_leading(&x, None).unwrap(), &x.transpose(0, 1).unwrap(), 0.0);
    }

    #[test]
    fn a_linear_layer_takes_weights_as_checkpoints_have_them() {
        let (x, weight) = (random(&[2, 5, 4], 1), random(&[2, 3, 4], 2));
        let out = linear(&x, &weight).unwrap();
        for network in 0..2 {
            let (x, weight) = (x.get(network).unwrap(), weight.get(network).unwrap());
            assert_near(&out.get(network).unwrap(), &linear(&x, &weight).unwrap(), 1e-6);
            assert_near(
                &linear(&x, &weight).unwrap(),
                &x.matmul(&weight.t().unwrap()).unwrap(),
                0.0,
            );
        }
    }
}
