//! What of a source a generation has to follow: its latents, drawn through few levels and spread again, so that the shape stays and the
//! sound is lost.

use candle_core::{DType, Device, Result, Tensor, bail};
use greenroom_weights::WeightSource;

use crate::{
    config::ConditionerConfig,
    layer::{Biased, ConditioningError, Layers},
};

/// Semantic tokenizer and detokenizer.
pub struct Semantic {
    config: ConditionerConfig,
    device: Device,
    acoustic: Biased,
    pooler_in: Biased,
    /// [1, 1, width], in the networks' type.
    pooler_token: Tensor,
    pooler: Layers,
    quantizer: Quantizer,
    spread_in: Biased,
    /// [1, 5, width], in the networks' type.
    spread_tokens: Tensor,
    spread: Layers,
    out: Biased,
}

/// Finite scalar quantisation (Mentzer et al. 2023), as the checkpoint was trained with it: a soft clamp, then a hard one, then levels that
/// lie evenly in −1..1. In single precision.
struct Quantizer {
    into: Biased,
    out: Biased,
    /// Levels less one, of each value.
    steps: Tensor,
    /// Where the soft clamp begins to bend: a little beyond the outermost levels.
    reach: Tensor,
}

impl Semantic {
    /// Takes its tensors from `weights`, and computes on their device.
    ///
    /// # Errors
    /// If a tensor is not there, or the configuration is not consistent.
    pub fn new(config: &ConditionerConfig, weights: &dyn WeightSource) -> std::result::Result<Self, ConditioningError> {
        config.check()?;
        let (width, channels) = (config.hidden_size, config.audio_acoustic_hidden_dim);
        let layers = |prefix: &str| {
            let count = config.num_attention_pooler_hidden_layers;
            Layers::new(weights, prefix, count, config.layer(), config.rope_theta)
        };
        let acoustic = Biased::new(weights, "tokenizer.audio_acoustic_proj", width, channels)?;
        let dtype = acoustic.dtype();
        Ok(Self {
            pooler_in: Biased::new(weights, "tokenizer.attention_pooler.embed_tokens", width, width)?,
            pooler_token: weights
                .tensor("tokenizer.attention_pooler.special_token", &[1, 1, width])?
                .to_dtype(dtype)?,
            pooler: layers("tokenizer.attention_pooler.")?,
            quantizer: Quantizer::new(config, weights)?,
            spread_in: Biased::new(weights, "detokenizer.embed_tokens", width, width)?,
            spread_tokens: weights
                .tensor("detokenizer.special_tokens", &[1, config.pool_window_size, width])?
                .to_dtype(dtype)?,
            spread: layers("detokenizer.")?,
            out: Biased::new(weights, "detokenizer.proj_out", channels, width)?,
            device: weights.device().clone(),
            acoustic,
            config: config.clone(),
        })
    }

    /// The hints of a source: latents [frames, 64] f32 → [frames, 64] f32.
    ///
    /// # Errors
    /// If the frames are not a multiple of five, or the device fails.
    pub fn hints(&self, latents: &Tensor) -> Result<Tensor> {
        let (frames, _) = latents.dims2()?;
        let window = self.config.pool_window_size;
        if frames == 0 || !frames.is_multiple_of(window) {
            bail!(
                "a source of {frames} latent frames: they have to be a multiple of {window}, which whole pools of sound are"
            )
        }
        let tokens = frames / window;
        let pooled = self.pool(latents, tokens)?;
        let quantised = self.quantizer.forward(&pooled)?;
        self.spread(&quantised, tokens)?.to_dtype(DType::F32)
    }

    #[cfg(test)]
    pub(crate) fn levels(&self, values: &Tensor) -> Result<Tensor> {
        self.quantizer.levels(values)
    }

    /// Five frames into one token: [tokens, width].
    fn pool(&self, latents: &Tensor, tokens: usize) -> Result<Tensor> {
        let (width, window) = (self.config.hidden_size, self.config.pool_window_size);
        let x = self.pooler_in.forward(&self.acoustic.forward(latents)?)?;
        let first = self.pooler_token.expand((tokens, 1, width))?;
        let x = Tensor::cat(&[&first, &x.reshape((tokens, window, width))?], 1)?;
        let length = window + 1;
        let rotary = self.pooler.rotary(length, &self.device)?;
        let x = self
            .pooler
            .forward(x.reshape((tokens * length, width))?, length, &rotary, |layer| {
                self.config.mask(layer)
            })?;
        x.reshape((tokens, length, width))?
            .narrow(1, 0, 1)?
            .squeeze(1)?
            .contiguous()
    }

    /// One token into five frames: [frames, 64].
    fn spread(&self, quantised: &Tensor, tokens: usize) -> Result<Tensor> {
        let (width, window) = (self.config.hidden_size, self.config.pool_window_size);
        let x = self.spread_in.forward(quantised)?.unsqueeze(1)?;
        let x = x
            .broadcast_add(&self.spread_tokens)?
            .reshape((tokens * window, width))?;
        let rotary = self.spread.rotary(window, &self.device)?;
        let x = self
            .spread
            .forward(x, window, &rotary, |layer| self.config.mask(layer))?;
        self.out.forward(&x)
    }
}

impl Quantizer {
    fn new(config: &ConditionerConfig, weights: &dyn WeightSource) -> std::result::Result<Self, ConditioningError> {
        let levels = &config.fsq_input_levels;
        let row = |value: fn(f32) -> f32| {
            let values: Vec<f32> = levels.iter().map(|levels| value(*levels as f32 - 1.0)).collect();
            Tensor::from_vec(values, levels.len(), weights.device())
        };
        Ok(Self {
            into: Biased::new(
                weights,
                "tokenizer.quantizer.project_in",
                levels.len(),
                config.hidden_size,
            )?,
            out: Biased::new(
                weights,
                "tokenizer.quantizer.project_out",
                config.hidden_size,
                levels.len(),
            )?,
            steps: row(|steps| steps)?,
            reach: row(|steps| 1.0 + 1.0 / steps)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.out.forward(&self.levels(&self.into.forward(x)?)?)
    }

    /// The nearest levels, −1..1.
    fn levels(&self, values: &Tensor) -> Result<Tensor> {
        let soft = values.broadcast_div(&self.reach)?.tanh()?.broadcast_mul(&self.reach)?;
        let shares = ((soft.clamp(-1f32, 1f32)? + 1.0)? * 0.5)?;
        let places = (shares.broadcast_mul(&self.steps)? + 0.5)?.floor()?;
        (places.broadcast_div(&self.steps)? * 2.0)? - 1.0
    }
}
