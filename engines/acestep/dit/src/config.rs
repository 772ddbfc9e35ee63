//! Shape of the network.

use candle_core::{Result, bail};
use greenroom_kernels::{Heads, Mask};
use serde::Deserialize;

/// Frames that one token stands for.
pub(crate) const PATCH: usize = 2;
/// Cosines and sines of a time.
pub(crate) const TIME_FEATURES: usize = 256;
/// Vectors that a time gives every layer: shift, scale and gate of its attention and of its feed-forward.
pub(crate) const MODULATIONS: usize = 6;

/// What of `acestep-v15-turbo/config.json` says how the diffusion transformer is shaped.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DitConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside a feed-forward.
    pub intermediate_size: usize,
    /// Layers; every other one, the first included, looks no farther than the window.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Context and latent channels together.
    pub in_channels: usize,
    /// Latent channels.
    pub audio_acoustic_hidden_dim: usize,
    /// Frames a token; 2.
    pub patch_size: usize,
    /// Tokens to either side that a layer with a window looks at.
    pub sliding_window: usize,
    /// Base of the rotary positions.
    pub rope_theta: f64,
    /// Keeps norms of silence finite.
    pub rms_norm_eps: f64,
}

impl DitConfig {
    /// Whether the numbers fit each other and what is built here.
    ///
    /// # Errors
    /// In words, which does not.
    pub fn check(&self) -> Result<()> {
        if self.patch_size != PATCH {
            bail!("patch_size is {}; only {PATCH} is known", self.patch_size)
        }
        if self.in_channels != 3 * self.audio_acoustic_hidden_dim {
            bail!(
                "in_channels is {} and not three times audio_acoustic_hidden_dim {}: hints, mask and latent",
                self.in_channels,
                self.audio_acoustic_hidden_dim
            )
        }
        let heads = self.num_key_value_heads;
        if heads == 0 || !self.num_attention_heads.is_multiple_of(heads) || !self.head_dim.is_multiple_of(2) {
            bail!(
                "{} heads of queries, {heads} of keys, each {} wide: queries have to share keys evenly, and a head to have an even width",
                self.num_attention_heads,
                self.head_dim
            )
        }
        if self.num_hidden_layers == 0 {
            bail!("num_hidden_layers is 0")
        }
        Ok(())
    }

    /// Heads of an attention.
    #[must_use]
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.num_attention_heads,
            keys: self.num_key_value_heads,
            dim: self.head_dim,
        }
    }

    /// Width of all queries.
    pub(crate) fn queries(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all keys, and of all values.
    pub(crate) fn keys(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// How far a layer looks.
    pub(crate) fn mask(&self, layer: usize) -> Mask {
        if layer.is_multiple_of(2) {
            Mask::Window(self.sliding_window)
        } else {
            Mask::None
        }
    }

    pub(crate) fn eps(&self) -> f32 {
        self.rms_norm_eps as f32
    }
}
