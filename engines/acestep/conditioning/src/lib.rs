//! What conditions ACE-Step 1.5: text encoder with its tokenizer, condition encoder, and the semantic tokenizer that hints come from.
//!
//! All are the same transformer layer, many times. They make two weight groups: the text encoder (Qwen3-Embedding-0.6B), and the rest.
#![forbid(unsafe_code)]

mod conditioner;
mod config;
mod layer;
mod layout;
mod pack;
mod semantic;
#[cfg(test)]
mod tests;
mod text;
mod tokenizer;
mod workspace;

pub use conditioner::Conditioner;
pub use config::{ConditionerConfig, Qwen3Config};
pub use layer::ConditioningError;
pub use layout::{conditioner_keys, text_encoder_keys};
pub use pack::{LAYOUT_VERSION, pack_conditioner, pack_text_encoder};
pub use semantic::Semantic;
pub use text::TextEncoder;
pub use tokenizer::{TextTokenizer, TokenizerError, lyric_text, prompt_text, write_tiny_tokenizer};
pub use workspace::{hints_workspace_bytes, prompt_workspace_bytes};
