//! One transformer of one layer: attention along time or along the bands, then a feed-forward net, each with its residual, then a norm.

use candle_core::{Result, Tensor};
use greenroom_kernels::{Sequences, add_rms_norm, add_rms_norm_twice, bias_gelu, gated_rotary_attention, linear};
use greenroom_weights::{WeightSource, WeightsError};

use super::{
    config::{HEAD_DIM, MelbandConfig},
    layout::transformer,
};

/// What keeps silence at zero in `x / ‖x‖`, and is too small to be seen otherwise.
pub(crate) const NORM_EPS: f32 = 1e-24;

/// Which axis of the tokens a transformer looks along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Time,
    Bands,
}

pub(crate) struct Transformer {
    axis: Axis,
    heads: usize,
    bands: usize,
    attention_norm: Tensor,
    /// Queries, keys, values and gates.
    attention_in: Tensor,
    gate_bias: Tensor,
    rotary: Tensor,
    attention_out: Tensor,
    forward_norm: Tensor,
    forward_in: Tensor,
    forward_in_bias: Tensor,
    forward_out: Tensor,
    forward_out_bias: Tensor,
    norm: Tensor,
}

impl Transformer {
    pub(crate) fn new(
        config: &MelbandConfig,
        weights: &dyn WeightSource,
        layer: usize,
        axis: Axis,
    ) -> std::result::Result<Self, WeightsError> {
        let (side, positions) = match axis {
            Axis::Time => (0, config.frames()),
            Axis::Bands => (1, config.bands),
        };
        let (dim, hidden, inner) = (config.dim, config.hidden(), config.inner());
        let tensor =
            |name: &str, shape: &[usize]| weights.tensor(&format!("{}.{name}", transformer(layer, side)), shape);
        Ok(Self {
            axis,
            heads: config.heads,
            bands: config.bands,
            attention_norm: tensor("attention.norm", &[dim])?,
            attention_in: tensor("attention.in", &[config.projected(), dim])?,
            gate_bias: tensor("attention.gate_bias", &[config.heads])?,
            rotary: tensor("attention.rotary", &[positions, HEAD_DIM / 2, 2])?,
            attention_out: tensor("attention.out", &[dim, inner])?,
            forward_norm: tensor("forward.norm", &[dim])?,
            forward_in: tensor("forward.in.weight", &[hidden, dim])?,
            forward_in_bias: tensor("forward.in.bias", &[hidden])?,
            forward_out: tensor("forward.out.weight", &[dim, hidden])?,
            forward_out_bias: tensor("forward.out.bias", &[dim])?,
            norm: tensor("norm", &[dim])?,
        })
    }

    /// Scale of the norm that this transformer's input goes through first.
    pub(crate) fn input_norm(&self) -> &Tensor {
        &self.attention_norm
    }

    /// `tokens` and, in `normed`, the same through [`input_norm`](Self::input_norm): `[batch · frames · bands, dim]`. Gives the transformer's
    /// output, and the same through the norm of scale `next`, if there is a next.
    pub(crate) fn forward(
        &self,
        tokens: &Tensor,
        normed: &Tensor,
        next: Option<&Tensor>,
        (batch, frames): (usize, usize),
    ) -> Result<(Tensor, Tensor)> {
        let sequences = match self.axis {
            Axis::Time => Sequences::over_time(batch, frames, self.bands),
            Axis::Bands => Sequences::over_bands(batch, frames, self.bands),
        };
        let projected = linear(normed, &self.attention_in)?;
        let attended = gated_rotary_attention(&projected, &self.gate_bias, &self.rotary, self.heads, &sequences)?;
        drop(projected);
        let delta = linear(&attended, &self.attention_out)?;
        drop(attended);
        let (tokens, normed) = add_rms_norm(tokens, &delta, None, &self.forward_norm, NORM_EPS)?;
        drop(delta);
        let hidden = bias_gelu(linear(&normed, &self.forward_in)?, &self.forward_in_bias)?;
        drop(normed);
        let delta = linear(&hidden, &self.forward_out)?;
        drop(hidden);
        let bias = Some(&self.forward_out_bias);
        match next {
            Some(next) => add_rms_norm_twice(&tokens, &delta, bias, &self.norm, next, NORM_EPS),
            None => {
                let (_, out) = add_rms_norm(&tokens, &delta, bias, &self.norm, NORM_EPS)?;
                Ok((out.clone(), out))
            }
        }
    }
}
