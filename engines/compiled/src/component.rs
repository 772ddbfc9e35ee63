//! What a compiled engine stands in for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the generator that can be compiled. What goes in and comes out is in single precision, whatever is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The diffusion transformer: `hidden_states[batch, frames, 64]`, `timestep[batch]`, `encoder_hidden_states[batch, tokens, 2048]`,
    /// `context_latents[batch, frames, 128]` → `velocity[batch, frames, 64]`. Frames are even: the caller pads.
    Decoder,
    /// The autoencoder's way in: `audio[1, 2, samples at 48 kHz]` → `moments[1, 128, frames]`.
    VaeEncode,
    /// The autoencoder's way out: `latents[1, 64, frames]` → `audio[1, 2, 1920 · frames]`.
    VaeDecode,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Decoder, Self::VaeEncode, Self::VaeDecode];

    /// Its name in metadata and telemetry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::VaeEncode => "vae_encode",
            Self::VaeDecode => "vae_decode",
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::VaeEncode => "vae-encode",
            Self::VaeDecode => "vae-decode",
        }
    }

    /// Names of its inputs, and how many dimensions each has.
    #[must_use]
    pub const fn inputs(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Decoder => &[
                ("context_latents", 3),
                ("encoder_hidden_states", 3),
                ("hidden_states", 3),
                ("timestep", 1),
            ],
            Self::VaeEncode => &[("audio", 3)],
            Self::VaeDecode => &[("latents", 3)],
        }
    }

    /// The name of its output, and how many dimensions that has.
    #[must_use]
    pub const fn output(self) -> (&'static str, usize) {
        match self {
            Self::Decoder => ("velocity", 3),
            Self::VaeEncode => ("moments", 3),
            Self::VaeDecode => ("audio", 3),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
