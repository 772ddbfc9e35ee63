//! Parts of the generator by themselves, for measurements. The groups that a part works with have to be resident.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use candle_core::{Device, Tensor};
use greenroom_audio::Pcm;
use greenroom_diffusion::Sides;
use greenroom_generator::{Conditioning, GenerateError, LiveStream, PreparedSource, StreamSettings};
use greenroom_weights::uniform;

use crate::{
    checkpoint::{FRAME_SAMPLES, LATENT_CHANNELS},
    generator::Acestep,
    prompt::{Prompted, prompted},
    source::{Encoded, compute},
    stream::{AcestepStream, Forwards},
};

/// A part that is timed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The autoencoder over so many latent frames of sound.
    Encode(usize),
    /// The hints of so many latent frames.
    Hints(usize),
    /// The text encoder over so many tokens.
    Text(usize),
}

impl Acestep {
    /// How long a part takes, until its result is there.
    ///
    /// # Errors
    /// `NotResident`, `Compute`.
    pub fn time(&self, part: Part) -> Result<Duration, GenerateError> {
        match part {
            Part::Encode(frames) => {
                let sound = uniform("sound", 1, 2 * frames * FRAME_SAMPLES);
                let vae = self.groups().vae.lease()?;
                timed(vae.work.device(), || vae.work.encode(&sound, &mut || Ok(())))
            }
            Part::Hints(frames) => {
                let conditioner = self.groups().conditioner.lease()?;
                let vae = self.groups().vae.lease()?;
                let device = vae.work.device();
                let latents = random("latents", frames, LATENT_CHANNELS, device).map_err(|error| compute(&error))?;
                timed(device, || conditioner.work.semantic.hints(&latents))
            }
            Part::Text(tokens) => {
                let text = self.groups().text_encoder.lease()?;
                let known = self.configs().text_encoder.vocab_size as u32;
                let ids: Vec<u32> = (0..tokens as u32).map(|place| place * 7919 % known).collect();
                timed(self.live_device(), || text.encode(&ids))
            }
        }
    }

    /// A source of random latents, of so many frames.
    ///
    /// # Errors
    /// `Compute`.
    pub fn random_source(&self, frames: usize) -> Result<PreparedSource, GenerateError> {
        let host = |name| random(name, frames, LATENT_CHANNELS, &Device::Cpu).map_err(|error| compute(&error));
        let encoded = Encoded {
            latents: host("latents")?,
            hints: host("hints")?,
        };
        let audio = Pcm::new(48_000, 2, uniform("sound", 1, 2 * frames * FRAME_SAMPLES));
        encoded.prepared(Arc::new(audio), "random")
    }

    /// Random encoder states, so many of each prompt.
    ///
    /// # Errors
    /// `Compute`.
    pub fn random_conditioning(&self, states: usize) -> Result<Conditioning, GenerateError> {
        let width = self.configs().dit.hidden_size;
        let states = |name| random(name, states, width, self.live_device()).map_err(|error| compute(&error));
        Ok(Conditioning(Arc::new(Prompted(greenroom_diffusion::Conditioning {
            a: Sides {
                silence: states("silence")?,
                full: states("full")?,
            },
            b: None,
            negative: states("negative")?,
        }))))
    }

    /// A stream as [`open`](greenroom_generator::Generator::open) opens it, but with nothing recorded: each forward is given to the device
    /// operation by operation.
    ///
    /// # Errors
    /// `Compute`.
    pub fn open_eager(
        &self,
        source: PreparedSource,
        conditioning: &Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        Ok(Box::new(AcestepStream::new(
            self.shared_groups(),
            self.silence(),
            self.live_device().clone(),
            Forwards::default(),
            source,
            &*prompted(conditioning)?,
            settings,
        )?))
    }
}

fn timed<T>(device: &Device, work: impl FnOnce() -> candle_core::Result<T>) -> Result<Duration, GenerateError> {
    let run = || {
        device.synchronize()?;
        let started = Instant::now();
        let result = work()?;
        device.synchronize()?;
        let took = started.elapsed();
        drop(result);
        Ok(took)
    };
    run().map_err(|error: candle_core::Error| compute(&error))
}

fn random(name: &str, rows: usize, columns: usize, device: &Device) -> candle_core::Result<Tensor> {
    Tensor::from_vec(uniform(name, 3, rows * columns), (rows, columns), device)
}
