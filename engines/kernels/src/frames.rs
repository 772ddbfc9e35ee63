//! Windowed frames added up to audio again.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, values};

/// Squared windows that sum to less than this give no way back to the audio under them.
const LEAST_ENVELOPE: f32 = 1e-11;

/// How many frames so many samples have, a hop apart: frames are centred on 0, hop, 2 · hop, …
pub fn frame_count(samples: usize, hop: usize) -> usize {
    1 + samples / hop
}

/// Audio of which these are windowed frames, as [`spectra`](crate::spectra) cuts them: `Σ frame · window / Σ window²`, without the half
/// window before the first sample.
///
/// frames: [.., frames, n] f32; window: [n] f32. Returns [.., samples] f32; samples that no window covers are zero.
///
/// # Errors
/// If shapes do not match.
pub fn overlap_add(frames: &Tensor, window: &Tensor, hop: usize, samples: usize) -> Result<Tensor> {
    frames.apply_op1_no_bwd(&OverlapAdd {
        window: window.clone(),
        hop,
        samples,
    })
}

/// Checks a window and gives its length.
pub(crate) fn window_length(op: &str, window: &Tensor, hop: usize) -> Result<usize> {
    let length = window.elem_count();
    parameter(op, "window", window, length)?;
    if length == 0 || !length.is_multiple_of(2) || hop == 0 {
        bail!("{op}: a window of {length} every {hop} samples; it has to be even and the hop not 0")
    }
    Ok(length)
}

/// The same leading dimensions, then others.
pub(crate) fn with_tail(leading: &[usize], tail: &[usize]) -> Shape {
    Shape::from([leading, tail].concat())
}

/// Sizes of each signal and its frames.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) samples: usize,
    pub(crate) frames: usize,
    pub(crate) window: usize,
}

pub(crate) struct OverlapAdd {
    pub(crate) window: Tensor,
    pub(crate) hop: usize,
    pub(crate) samples: usize,
}

impl OverlapAdd {
    pub(crate) const NAME: &str = "overlap_add";

    pub(crate) fn extent(&self, layout: &Layout) -> Result<(Extent, Shape)> {
        let window = window_length(Self::NAME, &self.window, self.hop)?;
        let &[ref leading @ .., frames, length] = layout.dims() else {
            bail!("{}: {:?} is not [.., frames, n]", Self::NAME, layout.shape())
        };
        if length != window {
            bail!("{}: frames of {length} and a window of {window}", Self::NAME)
        }
        let extent = Extent {
            samples: self.samples,
            frames,
            window,
        };
        Ok((extent, with_tail(leading, &[self.samples])))
    }
}

impl CustomOp1 for OverlapAdd {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (extent, shape) = self.extent(layout)?;
        let frames = values(Self::NAME, storage, layout)?;
        let window = parameter_values(&self.window)?;
        let mut out = vec![0f32; shape.elem_count()];
        let block = extent.frames * extent.window;
        out.par_iter_mut().enumerate().for_each(|(i, out)| {
            let frames = &frames[i / extent.samples * block..][..block];
            let position = i % extent.samples + extent.window / 2;
            let first = (position + 1).saturating_sub(extent.window).div_ceil(self.hop);
            let (mut sum, mut envelope) = (0.0, 0.0);
            for frame in first..=(position / self.hop).min(extent.frames.saturating_sub(1)) {
                let k = position - frame * self.hop;
                sum += frames[frame * extent.window + k] * window[k];
                envelope += window[k] * window[k];
            }
            *out = if envelope > LEAST_ENVELOPE { sum / envelope } else { 0.0 };
        });
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::overlap_add(self, storage, layout)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::args::testing::{assert_near, random};

    const N: usize = 16;
    const HOP: usize = 5;

    fn hann() -> Tensor {
        let window: Vec<f32> = (0..N)
            .map(|i| (std::f32::consts::PI * i as f32 / N as f32).sin().powi(2))
            .collect();
        Tensor::from_vec(window, N, &Device::Cpu).unwrap()
    }

    #[test]
    fn frames_that_fit_no_audio_are_weighted_by_their_windows() {
        let (count, samples) = (7, 30);
        let frames = random(&[1, count, N], 2);
        let window = hann();
        let (mut sum, mut envelope) = (vec![0f32; samples + 2 * N], vec![0f32; samples + 2 * N]);
        let list = frames.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let window_list = window.to_vec1::<f32>().unwrap();
        for (i, value) in list.iter().enumerate() {
            sum[i / N * HOP + i % N] += value * window_list[i % N];
            envelope[i / N * HOP + i % N] += window_list[i % N] * window_list[i % N];
        }
        let expected: Vec<f32> = (N / 2..N / 2 + samples).map(|i| sum[i] / envelope[i]).collect();
        let expected = Tensor::from_vec(expected, (1, samples), &Device::Cpu).unwrap();
        assert_near(&overlap_add(&frames, &window, HOP, samples).unwrap(), &expected, 1e-6);
    }
}
