//! Short-time Fourier transform of one channel, there and back.

use std::sync::Arc;

use greenroom_sync::CancelFlag;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex32};

use super::network::Cancelled;

/// Samples under one window.
pub(crate) const WINDOW: usize = 4096;
/// Samples from one window to the next.
pub(crate) const HOP: usize = 1024;
/// Bins of a spectrum.
pub(crate) const BINS: usize = WINDOW / 2 + 1;
/// Samples of a window before (and after) its centre. Frame `t` is centred on sample `t · HOP`.
pub(crate) const REACH: usize = WINDOW / 2;

/// The transform's tables.
pub(crate) struct Fourier {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Periodic Hann.
    window: Vec<f32>,
}

impl Fourier {
    pub(crate) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let step = std::f64::consts::TAU / WINDOW as f64;
        Self {
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
            window: (0..WINDOW)
                .map(|index| (0.5 - 0.5 * (index as f64 * step).cos()) as f32)
                .collect(),
        }
    }

    /// The spectra of `frames` windows, the first at the start of `samples`: `[frames][BINS]`.
    pub(crate) fn analyse(
        &self,
        samples: &[f32],
        frames: usize,
        cancel: &CancelFlag,
    ) -> Result<Vec<Complex32>, Cancelled> {
        let mut spectra = vec![Complex32::ZERO; frames * BINS];
        spectra.par_chunks_exact_mut(BINS).enumerate().try_for_each_init(
            || (self.forward.make_input_vec(), self.forward.make_scratch_vec()),
            |(input, scratch), (frame, spectrum)| {
                if cancel.is_raised() {
                    return Err(Cancelled);
                }
                let samples = &samples[frame * HOP..][..WINDOW];
                for ((input, sample), weight) in input.iter_mut().zip(samples).zip(&self.window) {
                    *input = sample * weight;
                }
                self.forward
                    .process_with_scratch(input, spectrum, scratch)
                    .expect("the buffers have the lengths that the plan was made for");
                Ok(())
            },
        )?;
        Ok(spectra)
    }

    /// The sound of spectra, windows overlapped and added: `(frames − 1) · HOP + WINDOW` samples, still to be divided by
    /// [`overlap`](Self::overlap). The spectra are used up.
    pub(crate) fn synthesise(&self, spectra: &mut [Complex32], cancel: &CancelFlag) -> Result<Vec<f32>, Cancelled> {
        let frames = spectra.len() / BINS;
        let mut windows = vec![0.0; frames * WINDOW];
        windows
            .par_chunks_exact_mut(WINDOW)
            .zip(spectra.par_chunks_exact_mut(BINS))
            .try_for_each_init(
                || self.inverse.make_scratch_vec(),
                |scratch, (window, spectrum)| {
                    if cancel.is_raised() {
                        return Err(Cancelled);
                    }
                    // Real by nature; a mask leaves them so, rounding does not always.
                    spectrum[0].im = 0.0;
                    spectrum[BINS - 1].im = 0.0;
                    self.inverse
                        .process_with_scratch(spectrum, window, scratch)
                        .expect("the buffers have the lengths that the plan was made for");
                    for (sample, weight) in window.iter_mut().zip(&self.window) {
                        *sample *= weight / WINDOW as f32;
                    }
                    Ok(())
                },
            )?;
        let mut sound = vec![0.0; (frames - 1) * HOP + WINDOW];
        for (frame, window) in windows.chunks_exact(WINDOW).enumerate() {
            for (sum, sample) in sound[frame * HOP..].iter_mut().zip(window) {
                *sum += sample;
            }
        }
        Ok(sound)
    }

    /// Sum of the squared windows over sample `sample` of a clip of `frames` frames: 1.5 but near its ends.
    pub(crate) fn overlap(&self, sample: usize, frames: usize) -> f32 {
        let first = (sample + REACH + 1).saturating_sub(WINDOW).div_ceil(HOP);
        let last = ((sample + REACH) / HOP).min(frames - 1);
        (first..=last)
            .map(|frame| self.window[sample + REACH - frame * HOP].powi(2))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_sound() {
        let fourier = Fourier::new();
        let flag = CancelFlag::new();
        for length in [1, 1023, 1024, 5000, 40_001] {
            let sound: Vec<f32> = (0..length).map(|n| ((n * n % 977) as f32 / 488.0) - 1.0).collect();
            let frames = 1 + length / HOP;
            let mut padded = vec![0.0; (frames - 1) * HOP + WINDOW];
            let copied = length.min(padded.len() - REACH);
            padded[REACH..REACH + copied].copy_from_slice(&sound[..copied]);
            let mut spectra = fourier.analyse(&padded, frames, &flag).unwrap();
            let back = fourier.synthesise(&mut spectra, &flag).unwrap();
            for (n, sample) in sound.iter().enumerate() {
                let error = back[REACH + n] / fourier.overlap(n, frames) - sample;
                assert!(error.abs() < 1e-5, "sample {n} of {length}: {error}");
            }
        }
    }

    #[test]
    fn windows_overlap_evenly_inside() {
        let fourier = Fourier::new();
        for sample in 4096..6000 {
            assert!((fourier.overlap(sample, 100) - 1.5).abs() < 1e-5);
        }
        assert!(fourier.overlap(0, 100) < 1.5);
    }
}
