//! What a device needs beside the weights.

use crate::config::{ConditionerConfig, LayerShape, Qwen3Config};

/// Values that live at once in a layer: states and their norms, projections and their inputs, what attention makes of them.
fn layer_values(shape: &LayerShape, rows: usize) -> u64 {
    let attention = 3 * shape.width + 2 * (shape.queries() + 2 * shape.keys());
    let forward = 3 * shape.width + 3 * shape.inner;
    (rows * attention.max(forward)) as u64
}

/// Bytes for the hints of a source of so many latent frames, in a type of two bytes.
#[must_use]
pub fn hints_workspace_bytes(config: &ConditionerConfig, frames: usize) -> u64 {
    let tokens = frames.div_ceil(config.pool_window_size);
    2 * layer_values(&config.layer(), tokens * (config.pool_window_size + 1))
}

/// Bytes for a prompt whose timbre is a source of so many latent frames, in a type of two bytes.
#[must_use]
pub fn prompt_workspace_bytes(text: &Qwen3Config, config: &ConditionerConfig, frames: usize) -> u64 {
    // Texts are a few hundred tokens; a timbre is as long as its source.
    const TOKENS: usize = 1024;
    2 * layer_values(&config.layer(), frames).max(layer_values(&text.layer(), TOKENS))
}
