//! End to end: the real program on real sockets. Here is what the tests and the bench share: the program, a client, music.

#![forbid(unsafe_code)]

mod client;
#[cfg(feature = "engines")]
mod engines;
mod files;
mod music;
mod program;
pub mod storm;
mod throttle;

pub use client::{Client, Incoming, Refused, post_track, upload};
#[cfg(feature = "engines")]
pub use engines::module_engine;
pub use files::{FORMATS, encoded, wav, with_flips};
pub use music::song;
pub use program::{Program, binary, tiny_checkpoint, tiny_lora, weights_are_there};
pub use throttle::Throttle;

/// Options for each generator that moves through the pod: the embedded one, and one whose weights make room for the separator.
pub const GENERATORS: [&[&str]; 2] = [&[], &["--generator", "weighted"]];

/// Options for a pod that finds no separator's weights: it plays and takes uploads, and no rip runs beside what is tested.
pub const WITHOUT_STEMS: [&str; 2] = ["--models-dir", "/nowhere"];
