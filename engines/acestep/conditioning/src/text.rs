//! Qwen3-Embedding-0.6B: what a prompt's words mean.

use candle_core::{DType, Device, Result, Tensor, bail};
use greenroom_kernels::Mask;
use greenroom_weights::WeightSource;

use crate::{
    config::Qwen3Config,
    layer::{ConditioningError, Layers},
};

/// The text encoder.
pub struct TextEncoder {
    embeddings: Tensor,
    layers: Layers,
    device: Device,
}

impl TextEncoder {
    /// Takes its tensors from `weights`, and computes on their device.
    ///
    /// # Errors
    /// If a tensor is not there, or the configuration is not consistent.
    pub fn new(config: &Qwen3Config, weights: &dyn WeightSource) -> std::result::Result<Self, ConditioningError> {
        config.check()?;
        Ok(Self {
            embeddings: weights.tensor("embed_tokens.weight", &[config.vocab_size, config.hidden_size])?,
            layers: Layers::new(weights, "", config.num_hidden_layers, config.layer(), config.rope_theta)?,
            device: weights.device().clone(),
        })
    }

    /// The last states of a text, [tokens, width] f32: what captions are conditioned with.
    ///
    /// # Errors
    /// If a token is not known, or the device fails.
    pub fn encode(&self, ids: &[u32]) -> Result<Tensor> {
        let x = self.looked_up(ids)?;
        let rotary = self.layers.rotary(ids.len(), &self.device)?;
        let states = self.layers.forward(x, ids.len(), &rotary, |_| Mask::Causal)?;
        states.to_dtype(DType::F32)
    }

    /// The embeddings alone, [tokens, width] f32: what lyrics are conditioned with.
    ///
    /// # Errors
    /// If a token is not known, or the device fails.
    pub fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.looked_up(ids)?.to_dtype(DType::F32)
    }

    fn looked_up(&self, ids: &[u32]) -> Result<Tensor> {
        let known = self.embeddings.dim(0)?;
        if let Some(unknown) = ids.iter().find(|id| **id as usize >= known) {
            bail!(
                "the tokenizer gave the token {unknown}, and the text encoder knows {known}: they are not of one model"
            )
        }
        self.embeddings.index_select(&Tensor::new(ids, &self.device)?, 0)
    }
}
