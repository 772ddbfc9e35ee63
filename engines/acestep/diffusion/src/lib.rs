//! The live diffusion stream: generations in a ring that take a step each tick, of any network that gives velocities.
//!
//! A tick is one forward over all generations in flight, however far each of them is; what a generation becomes does not depend on the
//! others. Everything stays on the network's device, in single precision, and nothing here waits for it.
#![forbid(unsafe_code)]

mod conditioning;
mod controls;
mod correction;
mod denoiser;
mod guidance;
mod noise;
mod schedule;
mod slot;
mod stream;
#[cfg(test)]
mod tests;
mod wavelet;

pub use conditioning::{Conditioning, Sides};
pub use denoiser::{Batch, Denoiser};
pub use schedule::schedule;
pub use stream::{Finished, SourceLatents, Stream};
