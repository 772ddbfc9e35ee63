//! Spectra of windowed frames of audio, and frames of spectra: the two transforms of a short-time Fourier transform.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use realfft::{FftError, RealFftPlanner, num_complex::Complex32};

use crate::{
    args::{parameter_values, values, width},
    frames::{Extent, frame_count, window_length, with_tail},
};

/// Cuts audio into frames centred on every hop, beyond its ends mirrored (the end sample itself not twice), and transforms each frame
/// times the window.
///
/// audio: [.., samples] f32; window: [n] f32, n even. Returns [.., frames, n/2 + 1, 2] f32, the last dimension real and imaginary parts.
///
/// # Errors
/// If the audio is not longer than half a window (there would be nothing to mirror). CUDA transforms powers of two from 8 to 4096.
pub fn spectra(audio: &Tensor, window: &Tensor, hop: usize) -> Result<Tensor> {
    audio.apply_op1_no_bwd(&Spectra {
        window: window.clone(),
        hop,
    })
}

/// The way back: real frames of spectra.
///
/// spectra: [.., n/2 + 1, 2] f32. Returns [.., n] f32. The imaginary parts of the first and the last bin count for nothing: no real
/// frame has them.
///
/// # Errors
/// If the shape is another. CUDA transforms powers of two from 8 to 4096.
pub fn frames(spectra: &Tensor) -> Result<Tensor> {
    spectra.apply_op1_no_bwd(&Frames)
}

fn refused(error: FftError) -> candle_core::Error {
    candle_core::Error::Msg(format!("the Fourier transform refused its buffers: {error}"))
}

pub(crate) struct Spectra {
    pub(crate) window: Tensor,
    pub(crate) hop: usize,
}

impl Spectra {
    pub(crate) const NAME: &str = "spectra";

    pub(crate) fn extent(&self, layout: &Layout) -> Result<(Extent, Shape)> {
        let samples = width(Self::NAME, layout)?;
        let window = window_length(Self::NAME, &self.window, self.hop)?;
        if samples <= window / 2 {
            bail!("{}: {samples} samples cannot be mirrored by {}", Self::NAME, window / 2)
        }
        let frames = frame_count(samples, self.hop);
        let leading = &layout.dims()[..layout.dims().len() - 1];
        let extent = Extent {
            samples,
            frames,
            window,
        };
        Ok((extent, with_tail(leading, &[frames, window / 2 + 1, 2])))
    }
}

/// The sample that stands at a position before 0 or beyond the end.
fn mirrored(position: isize, samples: usize) -> usize {
    let last = samples as isize - 1;
    let position = position.abs();
    (if position > last { 2 * last - position } else { position }) as usize
}

impl CustomOp1 for Spectra {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (extent, shape) = self.extent(layout)?;
        let audio = values(Self::NAME, storage, layout)?;
        let window = parameter_values(&self.window)?;
        let transform = RealFftPlanner::new().plan_fft_forward(extent.window);
        let mut out = vec![0f32; shape.elem_count()];
        out.par_chunks_mut(extent.window + 2).enumerate().try_for_each_init(
            || {
                let frame = transform.make_input_vec();
                (frame, transform.make_output_vec(), transform.make_scratch_vec())
            },
            |(frame, bins, scratch), (i, out)| {
                let signal = &audio[i / extent.frames * extent.samples..][..extent.samples];
                let start = (i % extent.frames * self.hop) as isize - (extent.window / 2) as isize;
                for (k, (value, window)) in frame.iter_mut().zip(&window).enumerate() {
                    *value = signal[mirrored(start + k as isize, extent.samples)] * window;
                }
                transform.process_with_scratch(frame, bins, scratch).map_err(refused)?;
                for (pair, bin) in out.chunks_exact_mut(2).zip(bins) {
                    pair.copy_from_slice(&[bin.re, bin.im]);
                }
                Ok::<_, candle_core::Error>(())
            },
        )?;
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::spectra(self, storage, layout)
    }
}

pub(crate) struct Frames;

impl Frames {
    pub(crate) const NAME: &str = "frames";

    /// Samples of a frame, and the result's shape.
    pub(crate) fn extent(layout: &Layout) -> Result<(usize, Shape)> {
        let &[ref leading @ .., bins, 2] = layout.dims() else {
            bail!("{}: {:?} is not [.., bins, 2]", Self::NAME, layout.shape())
        };
        if bins < 2 {
            bail!(
                "{}: spectra of {bins} bins are of no even number of samples",
                Self::NAME
            )
        }
        let samples = 2 * (bins - 1);
        Ok((samples, with_tail(leading, &[samples])))
    }
}

impl CustomOp1 for Frames {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (samples, shape) = Self::extent(layout)?;
        let spectra = values(Self::NAME, storage, layout)?;
        let transform = RealFftPlanner::new().plan_fft_inverse(samples);
        let mut out = vec![0f32; shape.elem_count()];
        out.par_chunks_mut(samples)
            .zip(spectra.par_chunks(samples + 2))
            .try_for_each_init(
                || (transform.make_input_vec(), transform.make_scratch_vec()),
                |(bins, scratch), (frame, spectrum)| {
                    for (bin, pair) in bins.iter_mut().zip(spectrum.chunks_exact(2)) {
                        *bin = Complex32::new(pair[0], pair[1]);
                    }
                    bins[0].im = 0.0;
                    bins[samples / 2].im = 0.0;
                    transform.process_with_scratch(bins, frame, scratch).map_err(refused)?;
                    frame.iter_mut().for_each(|sample| *sample /= samples as f32);
                    Ok::<_, candle_core::Error>(())
                },
            )?;
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::frames(storage, layout)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use candle_core::{D, Device};

    use super::*;
    use crate::{
        args::testing::{assert_near, random},
        overlap_add,
    };

    const N: usize = 16;
    const HOP: usize = 5;

    fn hann() -> Tensor {
        let window: Vec<f32> = (0..N)
            .map(|i| (std::f32::consts::PI * i as f32 / N as f32).sin().powi(2))
            .collect();
        Tensor::from_vec(window, N, &Device::Cpu).unwrap()
    }

    /// Slices of the mirrored audio times the window: [signals, frames, N].
    fn cut(audio: &Tensor) -> Tensor {
        let samples = audio.dim(1).unwrap();
        let mirror: Vec<u32> = (1..=N / 2)
            .rev()
            .chain(0..samples)
            .chain((samples - 1 - N / 2..samples - 1).rev())
            .map(|i| i as u32)
            .collect();
        let padded = audio
            .index_select(&Tensor::from_vec(mirror, samples + N, &Device::Cpu).unwrap(), 1)
            .unwrap();
        let frames: Vec<Tensor> = (0..frame_count(samples, HOP))
            .map(|i| padded.narrow(1, i * HOP, N).unwrap())
            .collect();
        Tensor::stack(&frames, 1).unwrap().broadcast_mul(&hann()).unwrap()
    }

    #[test]
    fn spectra_are_sums_of_turns_over_slices_of_the_mirrored_audio() {
        let audio = random(&[2, 37], 1);
        let frames = cut(&audio);
        let list = frames.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut expected = Vec::new();
        for frame in list.chunks(N) {
            for bin in 0..=N / 2 {
                let turns = frame.iter().enumerate().map(|(k, &value)| {
                    let (sine, cosine) = (TAU * (bin * k % N) as f64 / N as f64).sin_cos();
                    (f64::from(value) * cosine, f64::from(value) * -sine)
                });
                let (re, im) = turns.fold((0.0, 0.0), |sum, turn| (sum.0 + turn.0, sum.1 + turn.1));
                expected.extend([re as f32, im as f32]);
            }
        }
        let count = frames.dim(1).unwrap();
        let expected = Tensor::from_vec(expected, (2, count, N / 2 + 1, 2), &Device::Cpu).unwrap();
        assert_near(&spectra(&audio, &hann(), HOP).unwrap(), &expected, 1e-6);
    }

    #[test]
    fn frames_come_back_from_spectra_and_add_up_to_the_audio_they_were_cut_from() {
        let audio = random(&[3, 41], 1);
        let back = frames(&spectra(&audio, &hann(), HOP).unwrap()).unwrap();
        assert_near(&back, &cut(&audio), 1e-6);
        assert_near(&overlap_add(&back, &hann(), HOP, 41).unwrap(), &audio, 1e-6);
    }

    #[test]
    fn what_is_imaginary_at_the_ends_of_a_spectrum_counts_for_nothing() {
        let real = spectra(&random(&[1, 41], 1), &hann(), HOP).unwrap();
        let ends: Vec<f32> = (0..2 * (N / 2 + 1))
            .map(|i| if i == 1 || i == N + 1 { 3.0 } else { 0.0 })
            .collect();
        let ends = Tensor::from_vec(ends, (N / 2 + 1, 2), &Device::Cpu).unwrap();
        let complex = real.broadcast_add(&ends).unwrap();
        assert!(
            complex
                .narrow(D::Minus1, 1, 1)
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
                > 1.0
        );
        assert_near(&frames(&complex).unwrap(), &frames(&real).unwrap(), 1e-6);
    }

    #[test]
    fn audio_shorter_than_its_mirror_is_refused() {
        assert!(
            spectra(&random(&[1, N / 2], 1), &hann(), HOP)
                .unwrap_err()
                .to_string()
                .contains("mirrored")
        );
    }
}
