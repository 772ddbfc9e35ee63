//! Levels, lengths and comparisons of clips.

use crate::Pcm;

/// Loudest sample that is still sound: the largest half float, in which samples travel to the client (wire §1).
pub const AMPLITUDE_MAX: f32 = 65_504.0;

/// The first sample that is no sound (NaN, infinity, or beyond ±[`AMPLITUDE_MAX`]), with its index.
#[must_use]
pub fn first_bad_sample(samples: &[f32]) -> Option<(usize, f32)> {
    let index = samples.iter().position(|sample| !is_sound(*sample))?;
    Some((index, samples[index]))
}

fn is_sound(sample: f32) -> bool {
    // False for NaN as well.
    sample.abs() <= AMPLITUDE_MAX
}

/// The clip with two channels: mono is heard from both.
#[must_use]
pub fn to_stereo(pcm: Pcm) -> Pcm {
    if pcm.channels() == 2 {
        return pcm;
    }
    let samples = pcm.samples().iter().flat_map(|sample| [*sample, *sample]).collect();
    Pcm::new(pcm.sample_rate(), 2, samples)
}

/// The clip cut or filled with silence at its end to `frames` frames.
#[must_use]
pub fn fit_length(pcm: Pcm, frames: usize) -> Pcm {
    let (rate, channels) = (pcm.sample_rate(), pcm.channels());
    let mut samples = pcm.into_samples();
    samples.resize(frames * usize::from(channels), 0.0);
    Pcm::new(rate, channels, samples)
}

/// The mean of the channels, `frames()` long.
#[must_use]
pub fn to_mono(pcm: &Pcm) -> Vec<f32> {
    match pcm.channels() {
        1 => pcm.samples().to_vec(),
        _ => pcm
            .samples()
            .chunks_exact(2)
            .map(|frame| 0.5 * (frame[0] + frame[1]))
            .collect(),
    }
}

/// The greatest absolute sample; 0 for none.
#[must_use]
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| sample.abs().max(peak))
}

/// Root mean square; 0 for no samples.
#[must_use]
pub fn rms(samples: &[f32]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    (energy(samples) / samples.len() as f64).sqrt()
}

/// Source-to-distortion ratio in decibels: energy of `reference` over energy of `reference − estimate`, over the length
/// that both have. +∞ for an exact estimate, −∞ for any estimate of silence.
#[must_use]
pub fn sdr_db(reference: &[f32], estimate: &[f32]) -> f64 {
    let length = reference.len().min(estimate.len());
    let distortion: f64 = reference
        .iter()
        .zip(estimate)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    if distortion == 0.0 {
        return f64::INFINITY;
    }
    10.0 * (energy(&reference[..length]) / distortion).log10()
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}
