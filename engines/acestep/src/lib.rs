//! ACE-Step 1.5 as the live generator: checkpoint, weight groups, sources, prompts and streams.
//!
//! The networks are crates of their own; here they are put together. What is kept of a source lies in system RAM and crosses from the lane
//! that encoded it to the one that plays it; encoder states stay on the lane that both encodes prompts and plays.
#![forbid(unsafe_code)]

mod checkpoint;
mod engines;
mod error;
mod generator;
mod group;
mod groups;
mod loras;
mod measure;
mod prompt;
mod random;
mod silence;
mod source;
mod stream;
mod worn;

pub use checkpoint::{Configs, WeightFiles, transformer_width};
pub use engines::{Decode, Decoder, Encode, EngineLibrary, Module, Plan, Plans, RefitError};
#[cfg(feature = "module-engines")]
pub use engines::{ModuleLibrary, Outcome, write_module_engine};
pub use error::AcestepError;
pub use generator::{Acestep, AcestepOptions};
pub use group::Lanes;
pub use measure::Part;
pub use random::{Size, write_random, write_random_lora};
