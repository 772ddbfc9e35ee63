//! The autoencoder's two plans. They take channels outside of samples and frames, where the pod has them inside.

use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};
use greenroom_compiled::Component;
use greenroom_generator::GenerateError;
use greenroom_oobleck::Window;
use greenroom_sync::CancelFlag;

use super::Plan;
use crate::{
    checkpoint::{FRAME_SAMPLES, LATENT_CHANNELS},
    engines::{Decode, Encode},
    generator::{Interruption, look},
};

/// Channels of sound.
const STEREO: usize = 2;

/// The way in, all of a sound at once.
// The director lends an engine to one lane at a time, so nobody ever waits for the lock: it is what tells the compiler so.
pub(super) struct PlannedEncoder(Mutex<Box<dyn Plan>>);

impl PlannedEncoder {
    pub(super) fn new(plan: Box<dyn Plan>) -> Self {
        Self(Mutex::new(plan))
    }

    fn means(&self, sound: &[f32]) -> Result<Tensor> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = sound.len() / STEREO;
        let frames = samples / FRAME_SAMPLES;
        let sound = Tensor::from_slice(sound, (samples, STEREO), plan.device())?;
        let audio = sound.t()?.contiguous()?.unsqueeze(0)?;
        let moments = plan.run(
            &[("audio", &audio)],
            Component::VaeEncode.output().0,
            &[1, 2 * LATENT_CHANNELS, frames],
        )?;
        // Means, then scales: the same sound has the same latents.
        let means = moments.get(0)?.narrow(0, 0, LATENT_CHANNELS)?.t()?.contiguous()?;
        plan.device().synchronize()?;
        Ok(means)
    }
}

impl Encode for PlannedEncoder {
    fn encode(&self, sound: &[f32], cancel: &CancelFlag) -> std::result::Result<Tensor, GenerateError> {
        look(cancel)?;
        let means = self.means(sound).map_err(Interruption::from)?;
        look(cancel)?;
        Ok(means)
    }
}

/// The way out, a window at a time.
// The lock as in the encoder.
pub(super) struct PlannedDecoder(Mutex<Box<dyn Plan>>);

impl PlannedDecoder {
    pub(super) fn new(plan: Box<dyn Plan>) -> Self {
        Self(Mutex::new(plan))
    }
}

impl Decode for PlannedDecoder {
    fn decode(&self, window: &Window) -> Result<Vec<f32>> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latents = window.latents.t()?.contiguous()?.unsqueeze(0)?;
        let audio = plan.run(
            &[("latents", &latents)],
            Component::VaeDecode.output().0,
            &[1, STEREO, FRAME_SAMPLES * window.frames()],
        )?;
        let (first, samples) = (window.kept.start * FRAME_SAMPLES, window.kept.len() * FRAME_SAMPLES);
        audio.get(0)?.narrow(1, first, samples)?.t()?.flatten_all()?.to_vec1()
    }
}
