//! Between sound and spectra: windows, then a discrete Fourier transform of each.
//!
//! The CPU transforms by FFT. A device multiplies by the transform's matrix: 2048 × 2050 numbers that lie with the weights, and a fraction
//! of a millisecond a piece, where an FFT would need a library.

use std::{f64::consts::TAU, sync::Arc};

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::{frame, linear, overlap_add};
use greenroom_weights::{BuildError, ImageBuilder, WeightSource};
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex32};

use super::{config::MelbandConfig, error::MelbandError};

/// Sound to spectra and back, on one device.
pub(crate) struct Fourier {
    /// Periodic Hann.
    window: Tensor,
    hop: usize,
    bins: usize,
    transform: Transform,
}

enum Transform {
    Fast {
        forward: Arc<dyn RealToComplex<f32>>,
        inverse: Arc<dyn ComplexToReal<f32>>,
    },
    /// `[2 · bins, window]` and `[window, 2 · bins]`.
    Matrix { forward: Tensor, inverse: Tensor },
}

impl Fourier {
    pub(crate) fn new(config: &MelbandConfig, weights: &dyn WeightSource) -> std::result::Result<Self, MelbandError> {
        let (length, values) = (config.window, 2 * config.bins());
        let (window, transform) = if weights.device().is_cpu() {
            let window = Tensor::from_vec(hann(length), length, &Device::Cpu)?;
            let mut planner = RealFftPlanner::new();
            let forward = planner.plan_fft_forward(length);
            let inverse = planner.plan_fft_inverse(length);
            (window, Transform::Fast { forward, inverse })
        } else {
            let forward = weights.tensor("fourier.forward", &[values, length])?;
            let inverse = weights.tensor("fourier.inverse", &[length, values])?;
            let window = weights.tensor("fourier.window", &[length])?;
            (window, Transform::Matrix { forward, inverse })
        };
        Ok(Self {
            window,
            hop: config.hop,
            bins: config.bins(),
            transform,
        })
    }

    /// Samples from one window to the next.
    pub(crate) fn hop(&self) -> usize {
        self.hop
    }

    /// `[batch, channels, samples]` to `[batch, channels, frames, bins, 2]`, single precision; frames are centred, the sound is reflected at
    /// its ends.
    pub(crate) fn spectra(&self, sound: &Tensor) -> Result<Tensor> {
        let frames = frame(sound, &self.window, self.hop)?;
        let (batch, channels, count, length) = frames.dims4()?;
        let values = match &self.transform {
            Transform::Matrix { forward, .. } => linear(&frames.reshape(((), length))?, forward)?,
            Transform::Fast { forward, .. } => {
                let mut frames = frames.flatten_all()?.to_vec1::<f32>()?;
                let mut spectra = vec![0.0; frames.len() / length * 2 * self.bins];
                frames
                    .par_chunks_exact_mut(length)
                    .zip(spectra.par_chunks_exact_mut(2 * self.bins))
                    .try_for_each_init(
                        || (forward.make_output_vec(), forward.make_scratch_vec()),
                        |(bins, scratch), (frame, spectrum)| {
                            forward.process_with_scratch(frame, bins, scratch).map_err(refused)?;
                            for (pair, bin) in spectrum.chunks_exact_mut(2).zip(bins) {
                                pair.copy_from_slice(&[bin.re, bin.im]);
                            }
                            Ok::<_, candle_core::Error>(())
                        },
                    )?;
                Tensor::from_vec(spectra, batch * channels * count * 2 * self.bins, &Device::Cpu)?
            }
        };
        values.reshape((batch, channels, count, self.bins, 2))
    }

    /// The way back: `[batch, channels, samples]` of spectra as [`spectra`](Self::spectra) gives them.
    pub(crate) fn sound(&self, spectra: &Tensor, samples: usize) -> Result<Tensor> {
        let (batch, channels, count, ..) = spectra.dims5()?;
        let length = self.window.elem_count();
        let frames = match &self.transform {
            Transform::Matrix { inverse, .. } => linear(&spectra.reshape(((), 2 * self.bins))?, inverse)?,
            Transform::Fast { inverse, .. } => {
                let spectra = spectra.flatten_all()?.to_vec1::<f32>()?;
                let mut frames = vec![0.0; batch * channels * count * length];
                frames
                    .par_chunks_exact_mut(length)
                    .zip(spectra.par_chunks_exact(2 * self.bins))
                    .try_for_each_init(
                        || (inverse.make_input_vec(), inverse.make_scratch_vec()),
                        |(bins, scratch), (frame, spectrum)| {
                            for (bin, pair) in bins.iter_mut().zip(spectrum.chunks_exact(2)) {
                                *bin = Complex32::new(pair[0], pair[1]);
                            }
                            // A real sound's are real; what a mask makes of them cannot be heard.
                            bins[0].im = 0.0;
                            bins[self.bins - 1].im = 0.0;
                            inverse.process_with_scratch(bins, frame, scratch).map_err(refused)?;
                            frame.iter_mut().for_each(|sample| *sample /= length as f32);
                            Ok::<_, candle_core::Error>(())
                        },
                    )?;
                Tensor::from_vec(frames, batch * channels * count * length, &Device::Cpu)?
            }
        };
        let frames = frames.reshape((batch, channels, count, length))?;
        overlap_add(&frames, &self.window, self.hop, samples)
    }
}

fn refused(error: realfft::FftError) -> candle_core::Error {
    candle_core::Error::Msg(format!("the Fourier transform refused its buffers: {error}"))
}

/// Puts the transform's matrices and the window into an image.
pub(crate) fn pack_tables(
    config: &MelbandConfig,
    builder: &mut ImageBuilder<'_>,
) -> std::result::Result<(), BuildError> {
    let (length, bins) = (config.window, config.bins());
    // One period, looked up: every angle is a multiple of a step.
    let circle: Vec<(f64, f64)> = (0..length)
        .map(|step| (TAU * step as f64 / length as f64).sin_cos())
        .collect();
    let (mut forward, mut inverse) = (vec![0.0; 2 * bins * length], vec![0.0; 2 * bins * length]);
    for bin in 0..bins {
        // Every bin but the first and the last stands for two.
        let (share, turning) = if bin == 0 || bin + 1 == bins {
            (1.0, 0.0)
        } else {
            (2.0, 1.0)
        };
        let share = share / length as f64;
        for sample in 0..length {
            let (sine, cosine) = circle[bin * sample % length];
            forward[2 * bin * length + sample] = cosine as f32;
            forward[(2 * bin + 1) * length + sample] = (-sine * turning) as f32;
            inverse[sample * 2 * bins + 2 * bin] = (share * cosine) as f32;
            inverse[sample * 2 * bins + 2 * bin + 1] = (-share * sine * turning) as f32;
        }
    }
    builder.tensor("fourier.forward", &[2 * bins, length], DType::F32, &forward)?;
    builder.tensor("fourier.inverse", &[length, 2 * bins], DType::F32, &inverse)?;
    builder.tensor("fourier.window", &[length], DType::F32, &hann(length))?;
    Ok(())
}

/// Periodic Hann.
fn hann(length: usize) -> Vec<f32> {
    (0..length)
        .map(|sample| (0.5 - 0.5 * (TAU * sample as f64 / length as f64).cos()) as f32)
        .collect()
}
