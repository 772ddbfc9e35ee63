//! Parts of the generator by themselves, for measurements. The groups that a part works with have to be resident.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use greenroom_audio::Pcm;
use greenroom_diffusion::Sides;
use greenroom_dit::Runner;
use greenroom_generator::{GenerateError, LiveStream, PreparedSource, StreamSettings};
use greenroom_weights::uniform;

use crate::{
    checkpoint::{FRAME_SAMPLES, LATENT_CHANNELS},
    generator::Acestep,
    prompt::Prompted,
    source::{Encoded, compute},
    stream::AcestepStream,
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

    /// A stream on random latents and encoder states: of so many latent frames, and so many states; with its forwards recorded, or each
    /// given to the device operation by operation.
    ///
    /// # Errors
    /// `Compute`.
    pub fn open_random(
        &self,
        frames: usize,
        states: usize,
        settings: &StreamSettings,
        recorded: bool,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        let open = || -> Result<_, GenerateError> {
            let host = |name, rows| random(name, rows, LATENT_CHANNELS, &Device::Cpu).map_err(|error| compute(&error));
            let encoded = Encoded {
                latents: host("latents", frames)?,
                hints: host("hints", frames)?,
            };
            let audio = Pcm::new(48_000, 2, uniform("sound", 1, 2 * frames * FRAME_SAMPLES));
            let source: PreparedSource = encoded.prepared(std::sync::Arc::new(audio), "random")?;
            let width = self.configs().dit.hidden_size;
            let states = |name| random(name, states, width, self.live_device()).map_err(|error| compute(&error));
            let prompted = Prompted(greenroom_diffusion::Conditioning {
                a: Sides {
                    silence: states("silence")?,
                    full: states("full")?,
                },
                b: None,
                negative: states("negative")?,
            });
            let silence = self.silence();
            AcestepStream::new(
                self.shared_groups(),
                silence,
                self.live_device().clone(),
                if recorded { self.runner() } else { Runner::default() },
                source,
                &prompted,
                settings,
            )
        };
        Ok(Box::new(open()?))
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
