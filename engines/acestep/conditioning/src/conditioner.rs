//! What the diffusion transformer looks at beside the sound: lyrics, timbre and caption, one behind the other.

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::linear;
use greenroom_weights::WeightSource;

use crate::{
    config::ConditionerConfig,
    layer::{Biased, ConditioningError, Layers},
};

/// The condition encoder.
pub struct Conditioner {
    config: ConditionerConfig,
    device: Device,
    lyric_in: Biased,
    lyric: Layers,
    timbre_in: Biased,
    timbre: Layers,
    text: Tensor,
}

impl Conditioner {
    /// Takes its tensors from `weights`, and computes on their device.
    ///
    /// # Errors
    /// If a tensor is not there, or the configuration is not consistent.
    pub fn new(config: &ConditionerConfig, weights: &dyn WeightSource) -> std::result::Result<Self, ConditioningError> {
        config.check()?;
        let (width, text) = (config.hidden_size, config.text_hidden_dim);
        let layers = |name: &str, count| {
            Layers::new(
                weights,
                &format!("encoder.{name}."),
                count,
                config.layer(),
                config.rope_theta,
            )
        };
        let embed = |name: &str, inputs| Biased::new(weights, &format!("encoder.{name}.embed_tokens"), width, inputs);
        Ok(Self {
            lyric_in: embed("lyric_encoder", text)?,
            lyric: layers("lyric_encoder", config.num_lyric_encoder_hidden_layers)?,
            timbre_in: embed("timbre_encoder", config.timbre_hidden_dim)?,
            timbre: layers("timbre_encoder", config.num_timbre_encoder_hidden_layers)?,
            text: weights.tensor("encoder.text_projector.weight", &[width, text])?,
            device: weights.device().clone(),
            config: config.clone(),
        })
    }

    /// Encoder states, [lyrics + 1 + tokens, width] f32, of a caption's states [tokens, text width], of lyrics' embeddings [lyrics, text width],
    /// and of a timbre's latents [frames, 64], all f32.
    ///
    /// # Errors
    /// If the device fails or has no room.
    pub fn states(&self, text: &Tensor, lyrics: &Tensor, timbre: &Tensor) -> Result<Tensor> {
        let text = linear(&text.to_dtype(self.text.dtype())?, &self.text)?;
        let lyrics = self.encode(&self.lyric_in, &self.lyric, lyrics)?;
        // What a timbre is, its first state says.
        let timbre = self.encode(&self.timbre_in, &self.timbre, timbre)?.narrow(0, 0, 1)?;
        Tensor::cat(&[&lyrics, &timbre, &text], 0)?.to_dtype(DType::F32)
    }

    fn encode(&self, into: &Biased, layers: &Layers, sequence: &Tensor) -> Result<Tensor> {
        let length = sequence.dim(0)?;
        let rotary = layers.rotary(length, &self.device)?;
        layers.forward(into.forward(sequence)?, length, &rotary, |layer| {
            self.config.mask(layer)
        })
    }
}
