//! Between sound and spectra: windows, each with its Fourier transform, and back.

use std::f64::consts::TAU;

use candle_core::{DType, Result, Tensor};
use greenroom_kernels::{frames, overlap_add, spectra};
use greenroom_weights::{BuildError, ImageBuilder, WeightSource};

use super::{config::MelbandConfig, error::MelbandError};

/// Sound to spectra and back, on one device.
pub(crate) struct Fourier {
    /// Periodic Hann.
    window: Tensor,
    hop: usize,
}

impl Fourier {
    pub(crate) fn new(config: &MelbandConfig, weights: &dyn WeightSource) -> std::result::Result<Self, MelbandError> {
        Ok(Self {
            window: weights.tensor("fourier.window", &[config.window])?,
            hop: config.hop,
        })
    }

    /// Samples from one window to the next.
    pub(crate) fn hop(&self) -> usize {
        self.hop
    }

    /// `[batch, channels, samples]` to `[batch, channels, frames, bins, 2]`, single precision; frames are centred, the sound is reflected at
    /// its ends.
    pub(crate) fn spectra(&self, sound: &Tensor) -> Result<Tensor> {
        spectra(sound, &self.window, self.hop)
    }

    /// The way back: `[batch, channels, samples]` of spectra as [`spectra`](Self::spectra) gives them. What a mask makes of the imaginary
    /// parts of the first and last bins, which a real sound does not have, is left out.
    pub(crate) fn sound(&self, spectra: &Tensor, samples: usize) -> Result<Tensor> {
        overlap_add(&frames(spectra)?, &self.window, self.hop, samples)
    }
}

/// Puts the window into an image: a periodic Hann.
pub(crate) fn pack_window(
    config: &MelbandConfig,
    builder: &mut ImageBuilder<'_>,
) -> std::result::Result<(), BuildError> {
    let length = config.window;
    let window: Vec<f32> = (0..length)
        .map(|sample| (0.5 - 0.5 * (TAU * sample as f64 / length as f64).cos()) as f32)
        .collect();
    builder.tensor("fourier.window", &[length], DType::F32, &window)?;
    Ok(())
}
