//! What follows a linear layer: its bias and a curve.

use candle_core::{CpuStorage, CustomOp1, InplaceOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, values, values_mut, width};

/// `gelu(x + bias)`, the exact one: `y · (1 + erf(y/√2)) / 2`.
///
/// x: [.., d], a matrix product nobody else looks at: it is overwritten and given back. bias: [d], or [g, d] for x: [g, .., d], each of
/// g networks its own; f32.
///
/// # Errors
/// If shapes do not match.
pub fn bias_gelu(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    x.inplace_op1(&BiasCurve {
        curve: Curve::Gelu,
        bias: bias.clone(),
    })?;
    Ok(x)
}

/// `tanh(x + bias)`; arguments as for [`bias_gelu`], x is overwritten and given back.
///
/// # Errors
/// If shapes do not match.
pub fn bias_tanh(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    x.inplace_op1(&BiasCurve {
        curve: Curve::Tanh,
        bias: bias.clone(),
    })?;
    Ok(x)
}

/// A gated linear unit with its bias: `(v + b_v) · sigmoid(g + b_g)`, where v is the first half of x's last dimension and g the second.
///
/// x: [.., 2d]; bias: [2d], or [g, 2d] for x: [g, .., 2d]; f32. Returns [.., d].
///
/// # Errors
/// If shapes do not match.
pub fn bias_glu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&BiasGlu { bias: bias.clone() })
}

/// The curve after the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Gelu,
    Tanh,
}

impl Curve {
    fn at(self, x: f32) -> f32 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + candle_core::cpu::erf::erf_f32(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::Tanh => x.tanh(),
        }
    }
}

/// How many rows of x share one row of the bias; checks the bias.
fn rows_per_bias(op: &str, layout: &Layout, bias: &Tensor) -> Result<usize> {
    let width = width(op, layout)?;
    let networks = match bias.dims() {
        [_] => 1,
        [networks, _] if layout.dims().first() == Some(networks) => *networks,
        _ => bail!("{op}: a bias {:?} does not fit {:?}", bias.shape(), layout.shape()),
    };
    parameter(op, "bias", bias, networks * width)?;
    Ok(layout.shape().elem_count() / width / networks.max(1))
}

pub(crate) struct BiasCurve {
    pub(crate) curve: Curve,
    pub(crate) bias: Tensor,
}

impl BiasCurve {
    pub(crate) const NAME: &str = "bias_curve";

    /// Width, and how many rows share a bias.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<(usize, usize)> {
        Ok((
            width(Self::NAME, layout)?,
            rows_per_bias(Self::NAME, layout, &self.bias)?,
        ))
    }
}

impl InplaceOp1 for BiasCurve {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (width, rows_per_bias) = self.extent(layout)?;
        let bias = parameter_values(&self.bias)?;
        values_mut(Self::NAME, storage, layout)?
            .par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, x)| {
                let bias = &bias[row / rows_per_bias * width..];
                for (x, bias) in x.iter_mut().zip(bias) {
                    *x = self.curve.at(*x + bias);
                }
            });
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut candle_core::CudaStorage, layout: &Layout) -> Result<()> {
        crate::cuda::bias_curve(self, storage, layout)
    }
}

pub(crate) struct BiasGlu {
    pub(crate) bias: Tensor,
}

impl BiasGlu {
    pub(crate) const NAME: &str = "bias_glu";

    /// Width of the result, and how many rows share a bias.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<(usize, usize)> {
        let width = width(Self::NAME, layout)?;
        if !width.is_multiple_of(2) {
            bail!("{}: {:?} cannot be halved", Self::NAME, layout.shape())
        }
        Ok((width / 2, rows_per_bias(Self::NAME, layout, &self.bias)?))
    }

    /// The shape of the result.
    pub(crate) fn halved(layout: &Layout, width: usize) -> Shape {
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = width;
        }
        Shape::from(dims)
    }
}

impl CustomOp1 for BiasGlu {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (width, rows_per_bias) = self.extent(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        let bias = parameter_values(&self.bias)?;
        let mut out = vec![0f32; x.len() / 2];
        out.par_chunks_mut(width)
            .zip(x.par_chunks(2 * width))
            .enumerate()
            .for_each(|(row, (out, x))| {
                let bias = &bias[row / rows_per_bias * 2 * width..][..2 * width];
                for (i, out) in out.iter_mut().enumerate() {
                    let gate = x[width + i] + bias[width + i];
                    *out = (x[i] + bias[i]) / (1.0 + (-gate).exp());
                }
            });
        Ok((CpuStorage::F32(out), Self::halved(layout, width)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::bias_glu(self, storage, layout)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::*;
    use crate::args::testing::{assert_near, random};

    /// Adds [d] or [g, d] to [g, n, d].
    fn biased(x: &Tensor, bias: &Tensor) -> Tensor {
        let bias = if bias.rank() == 2 {
            bias.unsqueeze(1).unwrap()
        } else {
            bias.clone()
        };
        x.broadcast_add(&bias).unwrap()
    }

    #[test]
    fn curves_follow_the_bias_of_their_network() {
        for bias in [random(&[12], 2), random(&[3, 12], 2)] {
            let x = random(&[3, 5, 12], 1);
            let expected = biased(&x, &bias);
            let gelu = bias_gelu(x.copy().unwrap(), &bias).unwrap();
            assert_near(&gelu, &expected.gelu_erf().unwrap(), 1e-6);
            let tanh = bias_tanh(x.copy().unwrap(), &bias).unwrap();
            assert_near(&tanh, &expected.tanh().unwrap(), 1e-6);
        }
    }

    #[test]
    fn the_second_half_gates_the_first() {
        for bias in [random(&[12], 2), random(&[3, 12], 2)] {
            let x = random(&[3, 5, 12], 1);
            let halves = biased(&x, &bias).chunk(2, D::Minus1).unwrap();
            let one = Tensor::ones_like(&halves[1]).unwrap();
            let gate = (&one / (halves[1].neg().unwrap().exp().unwrap() + &one).unwrap()).unwrap();
            assert_near(&bias_glu(&x, &bias).unwrap(), &(&halves[0] * gate).unwrap(), 1e-6);
        }
    }

    #[test]
    fn a_bias_of_another_shape_is_refused() {
        assert!(bias_gelu(random(&[3, 5, 12], 1), &random(&[2, 12], 2)).is_err());
        assert!(bias_glu(&random(&[5, 7], 1), &random(&[7], 2)).is_err());
    }
}
