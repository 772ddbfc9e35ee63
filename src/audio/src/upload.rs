//! What an uploaded clip becomes before anything else sees it (wire §2).

use crate::level::first_bad_sample;
use crate::{POOL_FRAMES, Pcm, ResampleError, SAMPLE_RATE, resample};

/// Longest source by default, in seconds (wire §2).
pub const SOURCE_SECONDS_MAX: f64 = 240.0;

/// Why a clip cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Less than a second.
    #[error("the audio is {seconds:.2} s long, a source needs at least one second: send a longer clip")]
    TooShort {
        /// Its length in seconds.
        seconds: f64,
    },
    /// NaN, infinity or a value beyond ±65504 among the samples.
    #[error("sample {index} is {value}, which is no sound: export the audio again")]
    BadSample {
        /// Position in the interleaved samples.
        index: usize,
        /// The value found there.
        value: f32,
    },
    /// A sample rate that cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

impl UploadError {
    /// The wire's error code (wire §3).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::Resample(ResampleError::Internal { .. }) => "internal",
            Self::BadSample { .. } | Self::Resample(_) => "bad_audio",
        }
    }
}

/// The clip as a source: 48 kHz, at most `limit_seconds` long, a multiple of [`POOL_FRAMES`]; its channels stay as they are.
///
/// # Errors
/// [`UploadError::TooShort`] under one second, [`UploadError::BadSample`] for NaN, infinity and absurd values.
pub fn prepare_upload(pcm: Pcm, limit_seconds: f64) -> Result<Pcm, UploadError> {
    if let Some((index, value)) = first_bad_sample(pcm.samples()) {
        return Err(UploadError::BadSample { index, value });
    }
    let seconds = pcm.seconds();
    let pcm = if pcm.sample_rate() == SAMPLE_RATE {
        pcm
    } else {
        // A tenth of a second more than needed, so that the converter's edge lies beyond the cut.
        let frames = ((limit_seconds + 0.1) * f64::from(pcm.sample_rate())) as usize;
        resample(&truncated(pcm, frames), SAMPLE_RATE)?
    };
    let frames_max = (limit_seconds * f64::from(SAMPLE_RATE)) as usize;
    let frames = pcm.frames().min(frames_max) / POOL_FRAMES * POOL_FRAMES;
    if frames < SAMPLE_RATE as usize {
        return Err(UploadError::TooShort { seconds });
    }
    Ok(truncated(pcm, frames))
}

fn truncated(pcm: Pcm, frames: usize) -> Pcm {
    let (rate, channels) = (pcm.sample_rate(), pcm.channels());
    let mut samples = pcm.into_samples();
    samples.truncate(frames.saturating_mul(usize::from(channels)));
    Pcm::new(rate, channels, samples)
}
