//! The live diffusion stream: slots in a ring that take a step each tick, of any network that gives velocities.
#![forbid(unsafe_code)]

mod denoiser;

pub use denoiser::{Batch, Denoiser};
