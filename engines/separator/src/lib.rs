//! Stem separators: one trait, the embedded default (Spleeter) and production's (Mel-Band RoFormer).

#![deny(unsafe_code)]

pub mod checkpoint;
mod melband;
mod spleeter;

use std::sync::Arc;

use greenroom_audio::{Pcm, SAMPLE_RATE, first_bad_sample};
use greenroom_sync::CancelFlag;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointState, FetchStep, KNOWN_MODELS, SPLEETER, Verified};
#[cfg(feature = "cuda")]
pub use melband::conformance as melband_conformance;
pub use melband::{Melband, MelbandConfig, MelbandError, MelbandOptions, noise, write_random_checkpoint};
pub use spleeter::{Spleeter, SpleeterNets, SpleeterOptions, WeightsError};

/// The two stems of a track, in this order everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Stems {
    /// The singing.
    pub vocals: Pcm,
    /// Everything else.
    pub instruments: Pcm,
}

/// What became of one batch of a rip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// The batch is in the accumulators.
    Done,
    /// The cancel flag was seen; the accumulators are as they were before the batch.
    Abandoned,
}

/// Separates whole tracks, batch by batch, so that a rip can give way between (and within) batches.
///
/// Weights are one weight group of the stage; the modules are reached only while the group is resident.
pub trait Separator: Send + Sync {
    /// Short name for telemetry and `doctor`.
    fn name(&self) -> &'static str;

    /// Device memory that a batch needs beside the weights, in bytes; a rip's accumulators are in host memory and do not count.
    fn workspace_bytes(&self) -> u64;

    /// Begins a rip: fixes the batch plan, so that the stems are bit-identical however often the rip gives way.
    ///
    /// The track is 48 kHz, mono or stereo. Accumulators live in host memory.
    ///
    /// # Errors
    /// If the audio cannot be separated (empty, wrong rate).
    fn begin(&self, track: Arc<Pcm>) -> Result<Box<dyn Rip>, SeparateError>;
}

/// A rip under way. It survives its separator leaving the device.
pub trait Rip: Send {
    /// Batches done so far and in all.
    fn progress(&self) -> (u32, u32);

    /// Runs the next batch; needs the separator's group to be resident.
    ///
    /// # Errors
    /// `NotResident` if the weights are parked, `NotFinite` if the network's output is unusable.
    fn run_batch(&mut self, cancel: &CancelFlag) -> Result<BatchOutcome, SeparateError>;

    /// Turns the accumulators into stems of the track's own rate, channels and length. All batches must be done.
    ///
    /// # Errors
    /// If batches are missing.
    fn finish(self: Box<Self>) -> Result<Stems, SeparateError>;
}

/// Why a separation failed.
#[derive(Debug, thiserror::Error)]
pub enum SeparateError {
    /// Work was asked of a parked group: a bug of whoever granted the lease.
    #[error("the separator's weights are not resident")]
    NotResident,
    /// The network produced NaN or infinity.
    #[error("the separator produced values that are not finite (batch {batch})")]
    NotFinite {
        /// The batch, from 0.
        batch: u32,
    },
    /// The track cannot be separated.
    #[error("this track cannot be separated: {0}")]
    Unsuitable(String),
    /// The stems were asked for before the last batch was done: a bug of whoever asked.
    #[error("the stems are not there yet: {done} of {total} batches are done")]
    Unfinished {
        /// Batches done.
        done: u32,
        /// Batches in all.
        total: u32,
    },
    /// The device's memory did not suffice; nothing else is wrong, and the batch can be tried again.
    #[error("the device has not enough memory for the separator's work: {0}")]
    OutOfMemory(String),
    /// Everything on the device is gone.
    #[error("the device was lost while the separator worked: {0}")]
    DeviceLost(String),
    /// A step of the computation failed.
    #[error("the separator's computation failed: {0}")]
    Compute(String),
}

/// What every separator asks of a track.
fn check_track(track: &Pcm) -> Result<(), SeparateError> {
    let unsuitable = |reason: String| Err(SeparateError::Unsuitable(reason));
    if track.sample_rate() != SAMPLE_RATE {
        let rate = track.sample_rate();
        return unsuitable(format!("it has {rate} Hz, and rips are made at {SAMPLE_RATE} Hz"));
    }
    if track.frames() == 0 {
        return unsuitable("it is empty".into());
    }
    if let Some((index, value)) = first_bad_sample(track.samples()) {
        return unsuitable(format!("sample {index} is {value}, which is no sound"));
    }
    Ok(())
}
