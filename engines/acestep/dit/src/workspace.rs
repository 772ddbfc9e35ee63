//! What a device needs beside the weights.

use crate::config::{DitConfig, MODULATIONS, PATCH};

/// Bytes of a forward of so many slots of so many frames, in a type of two bytes: its widest layer, and what goes in and comes out.
#[must_use]
pub fn workspace_bytes(config: &DitConfig, slots: usize, frames: usize) -> u64 {
    let rows = slots * frames.div_ceil(PATCH);
    let attention = 4 * config.hidden_size + 2 * (config.queries() + 2 * config.keys());
    let forward = 4 * config.hidden_size + 3 * config.intermediate_size;
    let ends = 2 * slots * frames * (config.in_channels + 2 * config.audio_acoustic_hidden_dim);
    let modulations = 2 * config.num_hidden_layers * slots * MODULATIONS * config.hidden_size;
    (2 * rows * attention.max(forward) + size_of::<f32>() * (ends + modulations)) as u64
}
