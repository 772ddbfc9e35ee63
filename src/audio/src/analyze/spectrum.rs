//! Short-time magnitude spectra.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// Magnitude spectra of overlapping, Hann-windowed frames.
pub(super) struct Spectra<'a> {
    samples: &'a [f32],
    hop: usize,
    window: Vec<f32>,
    transform: Arc<dyn RealToComplex<f32>>,
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl<'a> Spectra<'a> {
    /// Frames of `length` samples, one every `hop` samples; the last ones are filled up with silence.
    pub(super) fn new(samples: &'a [f32], length: usize, hop: usize) -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(length);
        let window = (0..length)
            .map(|n| 0.5 - 0.5 * (TAU * n as f32 / length as f32).cos())
            .collect();
        Self {
            samples,
            hop,
            window,
            frame: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            transform,
        }
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.samples.len().div_ceil(self.hop)
    }

    /// Writes the magnitudes of frame `index` for the first `magnitudes.len()` bins; a full-scale sine reads about 0.5.
    pub(super) fn magnitudes(&mut self, index: usize, magnitudes: &mut [f32]) {
        let samples = &self.samples[(index * self.hop).min(self.samples.len())..];
        let used = samples.len().min(self.window.len());
        for ((out, sample), weight) in self.frame.iter_mut().zip(samples).zip(&self.window) {
            *out = sample * weight;
        }
        self.frame[used..].fill(0.0);
        self.transform
            .process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch)
            .expect("the buffers were made by this very transform");
        let scale = 2.0 / self.window.len() as f32;
        for (magnitude, bin) in magnitudes.iter_mut().zip(&self.spectrum) {
            *magnitude = bin.norm() * scale;
        }
    }
}

/// The power spectrum of a real signal, filled up with silence to `length` (even): `length / 2 + 1` values.
pub(super) fn power_spectrum(signal: &[f32], length: usize) -> Vec<f32> {
    let transform = RealFftPlanner::new().plan_fft_forward(length);
    let mut input = signal.to_vec();
    input.resize(length, 0.0);
    let mut spectrum = transform.make_output_vec();
    transform
        .process(&mut input, &mut spectrum)
        .expect("the buffers were made for this very transform");
    spectrum.iter().map(Complex32::norm_sqr).collect()
}

/// The cosine transform of a symmetric real spectrum given by its first half: `2 · (half.len() − 1)` real values,
/// unscaled.
pub(super) fn inverse_of_real(half: &[f32]) -> Vec<f32> {
    let transform = RealFftPlanner::new().plan_fft_inverse(2 * (half.len() - 1));
    let mut spectrum: Vec<Complex32> = half.iter().map(|value| Complex32::new(*value, 0.0)).collect();
    let mut output = transform.make_output_vec();
    transform
        .process(&mut spectrum, &mut output)
        .expect("a real spectrum has no imaginary ends");
    output
}
