//! Normalisation by the root mean square, fused with the sums around it.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, same_shape, values, width};

/// `x / √(mean(x²) + eps) · γ` over the last dimension.
///
/// x: [.., d]; gamma: [d] f32; returns [.., d] in x's type. For a norm that divides by ‖x‖ instead and has no eps, give one so small
/// that it only keeps silence at zero (1e-24): `x/‖x‖·√d` is the same formula.
///
/// # Errors
/// If shapes do not match.
pub fn rms_norm(x: &Tensor, gamma: &Tensor, eps: f32) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Norm {
        bias: None,
        gamma: gamma.clone(),
        gamma_next: None,
        eps,
    })
}

/// `sum = x + delta + bias`, and its `rms_norm`: the end of one residual branch and the beginning of the next.
///
/// x, delta: [.., d]; bias, gamma: [d] f32. Returns (sum, normed), both [.., d] in x's type; the norm is taken before the sum is
/// rounded to it. Both are views of one allocation.
///
/// # Errors
/// If shapes do not match.
pub fn add_rms_norm(
    x: &Tensor,
    delta: &Tensor,
    bias: Option<&Tensor>,
    gamma: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    let op = Norm {
        bias: bias.cloned(),
        gamma: gamma.clone(),
        gamma_next: None,
        eps,
    };
    let both = x.apply_op2_no_bwd(delta, &op)?;
    Ok((both.get(0)?, both.get(1)?))
}

/// `out = rms_norm(x + delta + bias, gamma_out)` and `next = rms_norm(out, gamma_next)`: the end of a transformer that normalises its
/// output, and the beginning of the one after it.
///
/// Shapes as in [`add_rms_norm`]; returns (out, next).
///
/// # Errors
/// If shapes do not match.
pub fn add_rms_norm_twice(
    x: &Tensor,
    delta: &Tensor,
    bias: Option<&Tensor>,
    gamma_out: &Tensor,
    gamma_next: &Tensor,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    let op = Norm {
        bias: bias.cloned(),
        gamma: gamma_out.clone(),
        gamma_next: Some(gamma_next.clone()),
        eps,
    };
    let both = x.apply_op2_no_bwd(delta, &op)?;
    Ok((both.get(0)?, both.get(1)?))
}

/// With one input a norm; with two the fused ones, whose results lie one after the other: [2, .., d].
pub(crate) struct Norm {
    pub(crate) bias: Option<Tensor>,
    pub(crate) gamma: Tensor,
    pub(crate) gamma_next: Option<Tensor>,
    pub(crate) eps: f32,
}

impl Norm {
    pub(crate) const NAME: &str = "rms_norm";

    /// Checks the parameters and gives the width d.
    pub(crate) fn width(&self, layout: &Layout) -> Result<usize> {
        let width = width(Self::NAME, layout)?;
        parameter(Self::NAME, "gamma", &self.gamma, width)?;
        if let Some(gamma) = &self.gamma_next {
            parameter(Self::NAME, "gamma_next", gamma, width)?;
        }
        if let Some(bias) = &self.bias {
            parameter(Self::NAME, "bias", bias, width)?;
        }
        Ok(width)
    }

    /// The shape of the two results.
    pub(crate) fn both(layout: &Layout) -> Shape {
        Shape::from([&[2], layout.dims()].concat())
    }
}

/// `row · γ / √(mean(row²) + eps)`.
pub(crate) fn normalise(row: &[f32], gamma: &[f32], eps: f32, out: &mut [f32]) {
    let mean = row.iter().map(|value| value * value).sum::<f32>() / row.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, value), gamma) in out.iter_mut().zip(row).zip(gamma) {
        *out = value * scale * gamma;
    }
}

impl CustomOp1 for Norm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.width(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        let gamma = parameter_values(&self.gamma)?;
        let mut out = vec![0f32; x.len()];
        out.par_chunks_mut(width)
            .zip(x.par_chunks(width))
            .for_each(|(out, row)| normalise(row, &gamma, self.eps, out));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::norm(self, storage, layout, None)
    }
}

impl CustomOp2 for Norm {
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
        let bias = self
            .bias
            .as_ref()
            .map_or_else(|| Ok(vec![0.0; width]), parameter_values)?;
        let gamma = parameter_values(&self.gamma)?;
        let gamma_next = self.gamma_next.as_ref().map(parameter_values).transpose()?;
        let mut both = vec![0f32; 2 * x.len()];
        let (first, second) = both.split_at_mut(x.len());
        (
            first.par_chunks_mut(width),
            second.par_chunks_mut(width),
            x.par_chunks(width),
            delta.par_chunks(width),
        )
            .into_par_iter()
            .for_each(|(first, second, x, delta)| {
                let sum: Vec<f32> = x
                    .iter()
                    .zip(delta)
                    .zip(&bias)
                    .map(|((x, delta), bias)| x + delta + bias)
                    .collect();
                match &gamma_next {
                    None => {
                        first.copy_from_slice(&sum);
                        normalise(&sum, &gamma, self.eps, second);
                    }
                    Some(gamma_next) => {
                        normalise(&sum, &gamma, self.eps, first);
                        normalise(first, gamma_next, self.eps, second);
                    }
                }
            });
        Ok((CpuStorage::F32(both), Self::both(x_layout)))
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
        crate::cuda::norm(self, x, x_layout, Some((delta, delta_layout)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};

    use super::*;
    use crate::args::testing::{assert_near, random};

    const EPS: f32 = 1e-6;

    fn naive(x: &Tensor, gamma: &Tensor) -> Tensor {
        let mean = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let scale = (mean + f64::from(EPS)).unwrap().sqrt().unwrap();
        x.broadcast_div(&scale).unwrap().broadcast_mul(gamma).unwrap()
    }

    #[test]
    fn a_norm_is_its_formula() {
        let (x, gamma) = (random(&[3, 7, 24], 1), random(&[24], 2));
        assert_near(&rms_norm(&x, &gamma, EPS).unwrap(), &naive(&x, &gamma), 1e-6);
    }

    #[test]
    fn silence_stays_silent_however_small_eps_is() {
        let x = Tensor::zeros((2, 16), candle_core::DType::F32, &Device::Cpu).unwrap();
        let out = rms_norm(&x, &random(&[16], 3), 1e-24).unwrap();
        assert_eq!(out.flatten_all().unwrap().to_vec1::<f32>().unwrap(), vec![0.0; 32]);
    }

    #[test]
    fn the_fused_sums_are_their_parts() {
        let (x, delta) = (random(&[5, 3, 24], 4), random(&[5, 3, 24], 5));
        let (bias, gamma, next) = (random(&[24], 6), random(&[24], 7), random(&[24], 8));
        let expected = (&x + &delta).unwrap().broadcast_add(&bias).unwrap();

        let (sum, normed) = add_rms_norm(&x, &delta, Some(&bias), &gamma, EPS).unwrap();
        assert_near(&sum, &expected, 1e-6);
        assert_near(&normed, &naive(&expected, &gamma), 1e-6);

        let (sum, _) = add_rms_norm(&x, &delta, None, &gamma, EPS).unwrap();
        assert_near(&sum, &(&x + &delta).unwrap(), 1e-6);

        let (out, normed) = add_rms_norm_twice(&x, &delta, Some(&bias), &gamma, &next, EPS).unwrap();
        let expected = naive(&expected, &gamma);
        assert_near(&out, &expected, 1e-6);
        assert_near(&normed, &naive(&expected, &next), 1e-6);
    }

    #[test]
    fn a_parameter_of_another_width_is_refused() {
        let refused = rms_norm(&random(&[2, 8], 1), &random(&[7], 2), EPS)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("gamma"), "{refused}");
    }
}
