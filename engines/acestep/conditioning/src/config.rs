//! Shapes of the networks.

use candle_core::{Result, bail};
use greenroom_kernels::{Heads, Mask};
use serde::Deserialize;

/// What of `Qwen3-Embedding-0.6B/config.json` says how the text encoder is shaped.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Qwen3Config {
    /// Tokens that are known.
    pub vocab_size: usize,
    /// Width of a state.
    pub hidden_size: usize,
    /// Width inside a feed-forward.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Keeps norms of silence finite.
    pub rms_norm_eps: f64,
    /// Base of the rotary positions.
    pub rope_theta: f64,
}

/// What of `acestep-v15-turbo/config.json` says how the condition encoder and the semantic tokenizer are shaped.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ConditionerConfig {
    /// Width of a state.
    pub hidden_size: usize,
    /// Width inside a feed-forward.
    pub intermediate_size: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Keeps norms of silence finite.
    pub rms_norm_eps: f64,
    /// Base of the rotary positions.
    pub rope_theta: f64,
    /// Tokens to either side that a layer with a window looks at.
    pub sliding_window: usize,
    /// Width of the text encoder's states.
    pub text_hidden_dim: usize,
    /// Latent channels of a timbre.
    pub timbre_hidden_dim: usize,
    /// Latent channels of a source.
    pub audio_acoustic_hidden_dim: usize,
    /// Layers over the lyrics.
    pub num_lyric_encoder_hidden_layers: usize,
    /// Layers over the timbre.
    pub num_timbre_encoder_hidden_layers: usize,
    /// Layers that draw five frames into a token, and as many that spread one again.
    pub num_attention_pooler_hidden_layers: usize,
    /// Frames a token.
    pub pool_window_size: usize,
    /// Width of what is quantised; that of a state.
    pub fsq_dim: usize,
    /// Levels of each quantised value.
    pub fsq_input_levels: Vec<usize>,
    /// Quantisers one behind the other; 1.
    pub fsq_input_num_quantizers: usize,
}

/// Shape of the layers, which all networks here share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerShape {
    pub(crate) width: usize,
    pub(crate) inner: usize,
    pub(crate) heads: Heads,
    pub(crate) eps: f32,
}

impl LayerShape {
    pub(crate) fn queries(&self) -> usize {
        self.heads.queries * self.heads.dim
    }

    pub(crate) fn keys(&self) -> usize {
        self.heads.keys * self.heads.dim
    }

    fn check(&self) -> Result<()> {
        let Heads { queries, keys, dim } = self.heads;
        if keys == 0 || !queries.is_multiple_of(keys) || !dim.is_multiple_of(2) {
            bail!(
                "{queries} heads of queries, {keys} of keys, each {dim} wide: queries have to share keys evenly, and a head to have an even width"
            )
        }
        Ok(())
    }
}

impl Qwen3Config {
    /// Whether the numbers fit each other.
    ///
    /// # Errors
    /// In words, which do not.
    pub fn check(&self) -> Result<()> {
        self.layer().check()
    }

    pub(crate) fn layer(&self) -> LayerShape {
        LayerShape {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: Heads {
                queries: self.num_attention_heads,
                keys: self.num_key_value_heads,
                dim: self.head_dim,
            },
            eps: self.rms_norm_eps as f32,
        }
    }
}

impl ConditionerConfig {
    /// Whether the numbers fit each other and what is built here.
    ///
    /// # Errors
    /// In words, which do not.
    pub fn check(&self) -> Result<()> {
        if self.fsq_dim != self.hidden_size {
            bail!(
                "fsq_dim is {} and hidden_size {}; they have to be one",
                self.fsq_dim,
                self.hidden_size
            )
        }
        if self.fsq_input_num_quantizers != 1 {
            bail!(
                "fsq_input_num_quantizers is {}; only 1 is known",
                self.fsq_input_num_quantizers
            )
        }
        if self.fsq_input_levels.is_empty() || self.fsq_input_levels.iter().any(|levels| *levels < 2) {
            bail!(
                "fsq_input_levels is {:?}; each has to be 2 or more",
                self.fsq_input_levels
            )
        }
        if self.pool_window_size == 0 {
            bail!("pool_window_size is 0")
        }
        self.layer().check()
    }

    pub(crate) fn layer(&self) -> LayerShape {
        LayerShape {
            width: self.hidden_size,
            inner: self.intermediate_size,
            heads: Heads {
                queries: self.num_attention_heads,
                keys: self.num_key_value_heads,
                dim: self.head_dim,
            },
            eps: self.rms_norm_eps as f32,
        }
    }

    /// How far a layer of any of the encoders looks: every other one, the first included, no farther than the window.
    pub(crate) fn mask(&self, layer: usize) -> Mask {
        if layer.is_multiple_of(2) {
            Mask::Window(self.sliding_window)
        } else {
            Mask::None
        }
    }
}
