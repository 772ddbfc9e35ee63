//! The network over its weights.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::{
    Adaptive, Gate, Heads, Mask, cross_attention, linear, norm_rotary, residual_norm, rms_norm, rotary_frequencies,
    rotary_table, self_attention, swiglu,
};
use greenroom_weights::{ImageError, WeightSource, WeightsError};

use crate::{
    config::{DitConfig, MODULATIONS, PATCH, TIME_FEATURES},
    time::{Linear, TimeEmbedding},
};

/// Rows of a layer's modulations.
const SHIFT: usize = 0;
const SCALE: usize = 1;
const GATE: usize = 2;
/// Where those of the feed-forward begin.
const FORWARD: usize = 3;

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum DitError {
    /// A tensor is not in the image.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The device failed.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}

/// The diffusion transformer. Weights only: it can be shared, and nothing in it changes.
pub struct Dit {
    config: DitConfig,
    device: Device,
    dtype: DType,
    time: TimeEmbedding,
    /// What the second time adds, [width] and [6 · width].
    constant: (Tensor, Tensor),
    /// [layers, 1, 6, width].
    tables: Tensor,
    into: (Tensor, Tensor),
    condition: (Tensor, Tensor),
    rotary: Tensor,
    layers: Vec<Layer>,
    out_norm: Tensor,
    /// [1, 2, width].
    out_table: Tensor,
    out: (Tensor, Tensor),
}

struct Layer {
    self_attention: Attention,
    cross_attention: Attention,
    /// Keys and values of the cross-attention.
    memory: Tensor,
    forward_norm: Tensor,
    forward_in: Tensor,
    forward_out: Tensor,
    mask: Mask,
}

struct Attention {
    norm: Tensor,
    q_norm: Tensor,
    k_norm: Tensor,
    into: Tensor,
    out: Tensor,
}

/// Keys and values of every layer's cross-attention: of one prompt.
pub struct Memory {
    /// [layers, states, 2 · keys], in the network's type.
    pub(crate) values: Tensor,
    /// What they were made of: a compiled network makes its own.
    states: Tensor,
}

/// Keys and values of every slot's prompt.
#[derive(Clone)]
pub(crate) struct Memories {
    /// [layers, slots, longest, 2 · keys]; what lies beyond a slot's prompt is not looked at.
    pub(crate) values: Tensor,
    /// States of each slot's prompt, u32.
    pub(crate) lengths: Tensor,
}

/// What of a forward lies on the device.
pub(crate) struct Inputs<'a> {
    /// [slots, frames, channels] f32.
    pub(crate) latents: &'a Tensor,
    /// [slots, frames, 2 · channels] f32.
    pub(crate) context: &'a Tensor,
    /// [slots, 256] f32.
    pub(crate) times: &'a Tensor,
    pub(crate) memories: &'a Memories,
}

impl Memory {
    /// The prompt's states as the encoder gave them, [states, width] f32.
    #[must_use]
    pub fn states(&self) -> &Tensor {
        &self.states
    }
}

impl Dit {
    /// Takes its tensors from `weights`, for sources of up to so many frames, and computes on their device.
    ///
    /// # Errors
    /// If a tensor is not there, or the configuration is not consistent.
    pub fn new(
        config: &DitConfig,
        weights: &dyn WeightSource,
        frames_max: usize,
    ) -> std::result::Result<Self, DitError> {
        config.check()?;
        let (width, channels) = (config.hidden_size, config.audio_acoustic_hidden_dim);
        let device = weights.device().clone();
        let time = |name: &str, outputs: usize, inputs: usize| -> std::result::Result<_, WeightsError> {
            Ok(Linear {
                weight: weights.tensor(&format!("time.{name}.weight"), &[outputs, inputs])?,
                bias: weights.tensor(&format!("time.{name}.bias"), &[outputs])?,
            })
        };
        let into = weights.tensor("in.weight", &[width, PATCH * config.in_channels])?;
        let dtype = into.dtype();
        let bias = |name: &str, length: usize| -> std::result::Result<_, DitError> {
            Ok(weights.tensor(name, &[length])?.to_dtype(dtype)?)
        };
        let frequencies = rotary_frequencies(config.head_dim, config.rope_theta);
        Ok(Self {
            time: TimeEmbedding {
                first: time("linear_1", width, TIME_FEATURES)?,
                second: time("linear_2", width, width)?,
                project: time("time_proj", MODULATIONS * width, width)?,
            },
            constant: (
                weights.tensor("time_r.embedded", &[width])?,
                weights.tensor("time_r.projected", &[MODULATIONS, width])?,
            ),
            tables: weights
                .tensor("tables", &[config.num_hidden_layers, MODULATIONS, width])?
                .unsqueeze(1)?,
            into: (into, bias("in.bias", width)?),
            condition: (
                weights.tensor("condition.weight", &[width, width])?,
                bias("condition.bias", width)?,
            ),
            rotary: rotary_table(&frequencies, frames_max.div_ceil(PATCH), &device)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| Layer::new(config, weights, layer))
                .collect::<std::result::Result<_, _>>()?,
            out_norm: weights.tensor("out.norm", &[width])?,
            out_table: weights.tensor("out.table", &[2, width])?.unsqueeze(0)?,
            out: (
                weights.tensor("out.weight", &[PATCH * channels, width])?,
                bias("out.bias", PATCH * channels)?,
            ),
            dtype,
            device,
            config: config.clone(),
        })
    }

    /// Where it computes.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Keys and values of a prompt, states: [states, width] f32.
    pub(crate) fn memory(&self, states: &Tensor) -> Result<Arc<Memory>> {
        let heads = self.config.heads();
        let (weight, bias) = &self.condition;
        let embedded = linear(&states.to_dtype(self.dtype)?, weight)?.broadcast_add(bias)?;
        let rows = embedded.dim(0)?;
        let layers = self
            .layers
            .iter()
            .map(|layer| {
                let memory = linear(&embedded, &layer.memory)?;
                let (keys, values) = (
                    memory.narrow(1, 0, self.config.keys())?.contiguous()?,
                    memory.narrow(1, self.config.keys(), self.config.keys())?,
                );
                let keys = keys.reshape((rows * heads.keys, heads.dim))?;
                let keys = rms_norm(&keys, &layer.cross_attention.k_norm, self.config.eps())?;
                Tensor::cat(&[&keys.reshape((rows, self.config.keys()))?, &values], 1)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Memory {
            values: Tensor::stack(&layers, 0)?,
            states: states.clone(),
        }))
    }

    /// Velocities, [slots, frames, channels] f32. Nothing here waits for the device.
    pub(crate) fn forward(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let (slots, frames, channels) = inputs.latents.dims3()?;
        let tokens = frames.div_ceil(PATCH);
        let (modulations, out_modulations) = self.modulations(inputs.times)?;
        let mut x = self.tokens(inputs)?;
        let eps = self.config.eps();
        let first = modulations.get(0)?;
        let attention_norm = |layer: &Layer| layer.self_attention.norm.clone();
        let (_, mut normed) = residual_norm(
            &x,
            None,
            &attention_norm(&self.layers[0]),
            Some(adaptive(&first, 0)),
            tokens,
            eps,
        )?;
        for (index, layer) in self.layers.iter().enumerate() {
            let modulation = modulations.get(index)?;
            let memory = inputs.memories.values.get(index)?;
            let delta = layer.attend(&normed, &self.rotary, self.config.heads(), tokens, eps)?;
            (x, normed) = residual_norm(
                &x,
                Some((&delta, Some(gate(&modulation, 0)))),
                &layer.cross_attention.norm,
                None,
                tokens,
                eps,
            )?;
            let delta = layer.attend_to(
                &normed,
                &memory,
                &inputs.memories.lengths,
                self.config.heads(),
                tokens,
                eps,
            )?;
            (x, normed) = residual_norm(
                &x,
                Some((&delta, None)),
                &layer.forward_norm,
                Some(adaptive(&modulation, FORWARD)),
                tokens,
                eps,
            )?;
            let delta = linear(&swiglu(&linear(&normed, &layer.forward_in)?)?, &layer.forward_out)?;
            let (norm, next) = match self.layers.get(index + 1) {
                Some(next) => (attention_norm(next), modulations.get(index + 1)?),
                None => (self.out_norm.clone(), out_modulations.clone()),
            };
            (x, normed) = residual_norm(
                &x,
                Some((&delta, Some(gate(&modulation, FORWARD)))),
                &norm,
                Some(adaptive(&next, 0)),
                tokens,
                eps,
            )?;
        }
        let (weight, bias) = &self.out;
        let out = linear(&normed, weight)?.broadcast_add(bias)?;
        let out = out.reshape((slots, tokens * PATCH, channels))?;
        out.narrow(1, 0, frames)?.contiguous()?.to_dtype(DType::F32)
    }

    /// What the times give every layer, [layers, slots, 6, width], and the output, [slots, 2, width].
    fn modulations(&self, times: &Tensor) -> Result<(Tensor, Tensor)> {
        let slots = times.dim(0)?;
        let width = self.config.hidden_size;
        let (embedded, projected) = self.time.forward(times)?;
        let embedded = embedded.broadcast_add(&self.constant.0)?;
        let projected = projected
            .reshape((slots, MODULATIONS, width))?
            .broadcast_add(&self.constant.1)?;
        let layers = self.tables.broadcast_add(&projected.unsqueeze(0)?)?;
        let out = self.out_table.broadcast_add(&embedded.unsqueeze(1)?)?;
        Ok((layers, out))
    }

    /// Two frames a token, context first: [slots · tokens, width]. A last frame without a partner gets one of zeros.
    fn tokens(&self, inputs: &Inputs<'_>) -> Result<Tensor> {
        let (slots, frames, _) = inputs.latents.dims3()?;
        let mut rows = Tensor::cat(&[inputs.context, inputs.latents], 2)?;
        if frames % PATCH > 0 {
            rows = rows.pad_with_zeros(1, 0, 1)?;
        }
        let tokens = frames.div_ceil(PATCH);
        let rows = rows.reshape((slots * tokens, PATCH * self.config.in_channels))?;
        let (weight, bias) = &self.into;
        linear(&rows.to_dtype(self.dtype)?, weight)?.broadcast_add(bias)
    }
}

impl Layer {
    fn new(config: &DitConfig, weights: &dyn WeightSource, layer: usize) -> std::result::Result<Self, WeightsError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (config.queries(), config.keys());
        let tensor = |name: &str, shape: &[usize]| weights.tensor(&format!("layers.{layer}.{name}"), shape);
        let attention = |name: &str, outputs: usize| -> std::result::Result<_, WeightsError> {
            Ok(Attention {
                norm: tensor(&format!("{name}.norm"), &[width])?,
                q_norm: tensor(&format!("{name}.q_norm"), &[config.head_dim])?,
                k_norm: tensor(&format!("{name}.k_norm"), &[config.head_dim])?,
                into: tensor(&format!("{name}.in"), &[outputs, width])?,
                out: tensor(&format!("{name}.out"), &[width, queries])?,
            })
        };
        Ok(Self {
            self_attention: attention("self", queries + 2 * keys)?,
            cross_attention: attention("cross", queries)?,
            memory: tensor("cross.memory", &[2 * keys, width])?,
            forward_norm: tensor("mlp.norm", &[width])?,
            forward_in: tensor("mlp.in", &[2 * inner, width])?,
            forward_out: tensor("mlp.out", &[width, inner])?,
            mask: config.mask(layer),
        })
    }

    fn attend(&self, normed: &Tensor, rotary: &Tensor, heads: Heads, tokens: usize, eps: f32) -> Result<Tensor> {
        let attention = &self.self_attention;
        let qkv = linear(normed, &attention.into)?;
        let qkv = norm_rotary(qkv, &attention.q_norm, &attention.k_norm, rotary, heads, tokens, eps)?;
        linear(&self_attention(&qkv, heads, tokens, self.mask)?, &attention.out)
    }

    /// To the prompts; neither positions nor masks.
    fn attend_to(
        &self,
        normed: &Tensor,
        memory: &Tensor,
        lengths: &Tensor,
        heads: Heads,
        tokens: usize,
        eps: f32,
    ) -> Result<Tensor> {
        let attention = &self.cross_attention;
        let queries = linear(normed, &attention.into)?;
        let shape = queries.dims2()?;
        let queries = queries.reshape((shape.0 * heads.queries, heads.dim))?;
        let queries = rms_norm(&queries, &attention.q_norm, eps)?.reshape(shape)?;
        linear(
            &cross_attention(&queries, memory, lengths, heads, tokens)?,
            &attention.out,
        )
    }
}

fn adaptive(modulation: &Tensor, first: usize) -> Adaptive<'_> {
    Adaptive {
        modulation,
        shift: first + SHIFT,
        scale: first + SCALE,
    }
}

fn gate(modulation: &Tensor, first: usize) -> Gate<'_> {
    Gate {
        modulation,
        gate: first + GATE,
    }
}
