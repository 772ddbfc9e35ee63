//! The diffusion transformer of ACE-Step 1.5: which way a latent is to move, given hints, a prompt and the time.
//!
//! Layers take turns in looking at a window of the sound and at all of it; each looks at the prompt as well, through keys and values that
//! are made once a prompt. Every slot of a batch is computed as if it were alone.
#![forbid(unsafe_code)]

mod adapted;
mod config;
#[cfg(feature = "cuda")]
mod conformance;
mod layout;
mod lora;
mod network;
mod pack;
mod recorded;
mod refit;
mod runner;
#[cfg(test)]
mod tests;
mod time;
mod workspace;

pub use adapted::{Adaptation, AdaptedWeights, LoraSet};
pub use config::DitConfig;
#[cfg(feature = "cuda")]
pub use conformance::conformance;
pub use layout::keys;
pub use lora::{Lora, LoraError, LoraProblem, write_random_lora};
pub use network::{Dit, DitError, Memory};
pub use pack::{LAYOUT_VERSION, pack};
pub use recorded::ForwardShape;
pub use refit::{Matrix, refit_matrices};
pub use runner::{Runner, Running};
pub use workspace::workspace_bytes;
