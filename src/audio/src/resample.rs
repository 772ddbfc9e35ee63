//! Sample-rate conversion of whole clips: delay-compensated, to an exact length.

use rayon::prelude::*;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::{Pcm, level::first_bad_sample};

/// Lowest and highest sample rate that is converted, in hertz.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Length of the anti-aliasing filter, at least, in samples of the lower rate: passes up to about 0.98 of its Nyquist
/// frequency, rejects by more than 100 dB above, and is long before it is slow.
const FILTER_SAMPLES_MIN: usize = 4096;

/// Why a clip could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ResampleError {
    /// A rate outside 1 to 768 kHz.
    #[error("cannot convert {from} Hz to {to} Hz: both rates must be 1000 to 768000 Hz")]
    Rate {
        /// The clip's rate.
        from: u32,
        /// The wanted rate.
        to: u32,
    },
    /// NaN, infinity or a value beyond ±65504 among the samples, which would spread over its surroundings.
    #[error(
        "sample {index} is {value}, which is no sound: check samples that come from outside before converting them"
    )]
    BadSample {
        /// Position in the channel.
        index: usize,
        /// The value found there.
        value: f32,
    },
    /// The resampler refused.
    #[error("converting {from} Hz to {to} Hz failed ({reason}): this is a fault of greenroom, please report it")]
    Internal {
        /// The clip's rate.
        from: u32,
        /// The wanted rate.
        to: u32,
        /// What the library said.
        reason: String,
    },
}

/// The clip at another sample rate, `round(frames · to / from)` frames long; channels are converted in parallel.
///
/// # Errors
/// [`ResampleError::Rate`] for rates outside 1 to 768 kHz, [`ResampleError::BadSample`] for NaN, infinity and absurd values.
pub fn resample(pcm: &Pcm, rate: u32) -> Result<Pcm, ResampleError> {
    if rate == pcm.sample_rate() {
        return Ok(pcm.clone());
    }
    let channels = (0..pcm.channels())
        .into_par_iter()
        .map(|index| resample_channel(&pcm.channel(index), pcm.sample_rate(), rate))
        .collect::<Result<Vec<_>, _>>()?;
    let samples = match channels.as_slice() {
        [left, right] => left
            .iter()
            .zip(right)
            .flat_map(|(left, right)| [*left, *right])
            .collect(),
        _ => channels.into_iter().next().unwrap_or_default(),
    };
    Ok(Pcm::new(rate, pcm.channels(), samples))
}

/// One channel at another sample rate, `round(samples · to / from)` long.
///
/// # Errors
/// [`ResampleError::Rate`] for rates outside 1 to 768 kHz, [`ResampleError::BadSample`] for NaN, infinity and absurd values.
pub fn resample_channel(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, ResampleError> {
    if !RATES.contains(&from) || !RATES.contains(&to) {
        return Err(ResampleError::Rate { from, to });
    }
    if let Some((index, value)) = first_bad_sample(samples) {
        return Err(ResampleError::BadSample { index, value });
    }
    if from == to {
        return Ok(samples.to_vec());
    }
    let length = frames_at(samples.len(), from, to);
    let internal = |reason: String| ResampleError::Internal { from, to, reason };
    let mut resampler = Fft::<f32>::new_custom(
        from as usize,
        to as usize,
        block_samples(from, to),
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Input,
    )
    .map_err(|error| internal(error.to_string()))?;
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|error| internal(error.to_string()))?;
    let output = resampler
        .process_all(&input, samples.len(), None)
        .map_err(|error| internal(error.to_string()))?;
    let mut output = output.take_data();
    output.resize(length, 0.0);
    Ok(output)
}

/// Frames that `frames` at `from` hertz become at `to` hertz: the nearest whole number.
#[must_use]
pub fn frames_at(frames: usize, from: u32, to: u32) -> usize {
    let scaled = (frames as u128 * u128::from(to) * 2 + u128::from(from)) / (u128::from(from) * 2);
    usize::try_from(scaled).unwrap_or(usize::MAX)
}

/// Input samples per FFT block: an even number of the smallest block that both rates share. Odd ones would put the
/// filter's centre between two samples and shift the result by half a sample.
fn block_samples(from: u32, to: u32) -> usize {
    let shared = greatest_common_divisor(from, to);
    let (smallest_in, smallest_out) = ((from / shared) as usize, (to / shared) as usize);
    FILTER_SAMPLES_MIN
        .div_ceil(smallest_in.min(smallest_out))
        .next_multiple_of(2)
        * smallest_in
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
