//! How heavy the weighted generator is.

/// Sizes and artificial work. The default is 24 MiB of weights, and work that costs a few milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedConfig {
    /// Seed of all weights: the same seed gives the same weights.
    pub seed: u64,
    /// Bytes of each group's weights; rounded up to whole chains of four layers, 1 MiB, at least one.
    pub bytes: GroupBytes,
    /// How often each kind of work runs its modules; 0 counts as 1.
    pub repetitions: Repetitions,
}

/// Bytes of weights for each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBytes {
    /// Of the group `dit`.
    pub dit: u64,
    /// Of the group `conditioner`.
    pub conditioner: u64,
    /// Of the group `text_encoder`.
    pub text_encoder: u64,
    /// Of the group `vae`.
    pub vae: u64,
}

/// Runs of the modules for each kind of work; the cancel flag is seen before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetitions {
    /// Of `vae` and `conditioner` for a source.
    pub encode_source: u32,
    /// Of `text_encoder` and `conditioner` for a prompt.
    pub encode_prompt: u32,
    /// Of `dit` for a tick.
    pub tick: u32,
    /// Of `vae` for a window.
    pub decode: u32,
}

impl Default for WeightedConfig {
    fn default() -> Self {
        const MEBIBYTE: u64 = 1 << 20;
        Self {
            seed: 1,
            bytes: GroupBytes {
                dit: 12 * MEBIBYTE,
                conditioner: 4 * MEBIBYTE,
                text_encoder: 4 * MEBIBYTE,
                vae: 4 * MEBIBYTE,
            },
            repetitions: Repetitions {
                encode_source: 4,
                encode_prompt: 4,
                tick: 1,
                decode: 1,
            },
        }
    }
}
