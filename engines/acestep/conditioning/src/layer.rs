//! The transformer layer that every network here is made of.

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::{
    Mask, linear, norm_rotary, residual_norm, rotary_frequencies, rotary_table, self_attention, swiglu,
};
use greenroom_weights::{WeightSource, WeightsError};

use crate::config::LayerShape;

/// Layers one behind the other, and the norm at their end.
pub(crate) struct Layers {
    shape: LayerShape,
    layers: Vec<Layer>,
    norm: Tensor,
    theta: f64,
}

struct Layer {
    attention_norm: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    attention_in: Tensor,
    attention_out: Tensor,
    forward_norm: Tensor,
    forward_in: Tensor,
    forward_out: Tensor,
}

impl Layers {
    /// So many layers under a prefix, which ends in a dot where there is one.
    pub(crate) fn new(
        weights: &dyn WeightSource,
        prefix: &str,
        count: usize,
        shape: LayerShape,
        theta: f64,
    ) -> std::result::Result<Self, WeightsError> {
        let (width, inner) = (shape.width, shape.inner);
        let (queries, keys) = (shape.queries(), shape.keys());
        let layer = |index: usize| -> std::result::Result<_, WeightsError> {
            let tensor = |name: &str, shape: &[usize]| weights.tensor(&format!("{prefix}layers.{index}.{name}"), shape);
            Ok(Layer {
                attention_norm: tensor("input_layernorm.weight", &[width])?,
                q_norm: tensor("self_attn.q_norm.weight", &[shape.heads.dim])?,
                k_norm: tensor("self_attn.k_norm.weight", &[shape.heads.dim])?,
                attention_in: tensor("self_attn.in", &[queries + 2 * keys, width])?,
                attention_out: tensor("self_attn.o_proj.weight", &[width, queries])?,
                forward_norm: tensor("post_attention_layernorm.weight", &[width])?,
                forward_in: tensor("mlp.in", &[2 * inner, width])?,
                forward_out: tensor("mlp.down_proj.weight", &[width, inner])?,
            })
        };
        Ok(Self {
            layers: (0..count).map(layer).collect::<std::result::Result<_, _>>()?,
            norm: weights.tensor(&format!("{prefix}norm.weight"), &[width])?,
            shape,
            theta,
        })
    }

    /// Cosines and sines of so many positions.
    pub(crate) fn rotary(&self, positions: usize, device: &Device) -> Result<Tensor> {
        rotary_table(&rotary_frequencies(self.shape.heads.dim, self.theta), positions, device)
    }

    /// x: [sequences · length, width] → the same, normed; `mask` says how far each layer looks.
    pub(crate) fn forward(
        &self,
        mut x: Tensor,
        length: usize,
        rotary: &Tensor,
        mask: impl Fn(usize) -> Mask,
    ) -> Result<Tensor> {
        let LayerShape { heads, eps, .. } = self.shape;
        let rows = x.dim(0)?;
        let first = self.layers.first().map_or(&self.norm, |layer| &layer.attention_norm);
        let mut normed;
        (_, normed) = residual_norm(&x, None, first, None, rows, eps)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = linear(&normed, &layer.attention_in)?;
            let qkv = norm_rotary(qkv, &layer.q_norm, &layer.k_norm, rotary, heads, length, eps)?;
            let attended = self_attention(&qkv, heads, length, mask(index))?;
            let delta = linear(&attended, &layer.attention_out)?;
            (x, normed) = residual_norm(&x, Some((&delta, None)), &layer.forward_norm, None, rows, eps)?;
            let delta = linear(&swiglu(&linear(&normed, &layer.forward_in)?)?, &layer.forward_out)?;
            let next = self
                .layers
                .get(index + 1)
                .map_or(&self.norm, |next| &next.attention_norm);
            (x, normed) = residual_norm(&x, Some((&delta, None)), next, None, rows, eps)?;
        }
        Ok(normed)
    }
}

/// A linear layer with a bias.
pub(crate) struct Biased {
    weight: Tensor,
    /// In the type of the weight.
    bias: Tensor,
}

impl Biased {
    pub(crate) fn new(
        weights: &dyn WeightSource,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> std::result::Result<Self, ConditioningError> {
        let weight = weights.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = weights
            .tensor(&format!("{name}.bias"), &[outputs])?
            .to_dtype(weight.dtype())?;
        Ok(Self { weight, bias })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(&x.to_dtype(self.dtype())?, &self.weight)?.broadcast_add(&self.bias)
    }

    pub(crate) fn dtype(&self) -> DType {
        self.weight.dtype()
    }
}

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ConditioningError {
    /// A tensor is not in the image.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The device failed, or the configuration is not consistent.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}
