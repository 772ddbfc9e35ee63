//! The embedded default generator: a seeded spectral resynthesis of the source. It has no model and needs no checkpoint.
//!
//! A window of the result is a function of the source, the generations' controls and the place alone. What each knob does:
//!
//! | knob | effect |
//! |---|---|
//! | `denoise` (`sde_amp` in an `sde` session) | 0 = the source bit for bit; 1 = its band energies and rhythm with new phases and partials |
//! | `seed` | which variation: phases, which partials stand out, noise |
//! | `hint_strength` | 1 = the source's partials are kept; 0 = only envelope and rhythm are left, filled with noise |
//! | `feedback`, `feedback_depth` | share of the result of that many generations ago in the source of the next (up to two such steps deep) |
//! | `x0_target`, `x0_target_curve` | pulls the result back to the source |
//! | `sde_denoise_curve` | scales the amount along the source |
//! | `guidance_scale` | strength of the prompt's colour, 0 = none, full from 2 on |
//! | `ch_g0` … `ch_g7`, `ch13` … | gain of eight bands (borders at 120, 250, 500, 1000, 2000, 4000, 8000 Hz), and of an eighth of one |
//!
//! Accepted and of no effect, since they speak of a diffusion's steps: `shift`, `periodicity`, `steps_override`, `rcfg_mode`, `cfg_rescale`,
//! `dcw_…`, `velocity_scale_curve`, `initial_noise_curve`, `lora_str_…`, depth and timbre strength. Every knob takes effect with the next tick.
//!
//! A prompt is not understood: each tag's spelling picks a colour (tilt, weight of octave, twelfth and breath, grain), so that the same
//! tags always sound the same, different ones different, and `prompt_b` with the blend goes from one colour to the other.
#![forbid(unsafe_code)]

mod controls;
mod layer;
mod random;
mod source;
mod spectrum;
mod stream;
mod texture;

use std::sync::Arc;

use greenroom_audio::Pcm;
use greenroom_generator::{
    Conditioning, Description, GenerateError, Generator, LiveStream, PreparedSource, Prompt, StreamSettings, Work,
    no_references,
};
use greenroom_sync::CancelFlag;

use crate::{source::Attacks, stream::SpectralStream, texture::PromptTexture};

/// The generator without a checkpoint.
#[derive(Debug)]
pub struct Spectral {
    description: Description,
}

impl Spectral {
    /// Ready at once: there is nothing to load.
    #[must_use]
    pub fn new() -> Self {
        let description = Description {
            name: "spectral",
            checkpoint: "none (spectral resynthesis, no model)".to_owned(),
            checkpoint_scale: None,
            seconds_max: source::SECONDS_MAX,
            depth_max: stream::DEPTH_MAX,
            keeps_sources: false,
            takes_references: false,
        };
        Self { description }
    }

    fn prepared(audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError> {
        let attacks = Attacks::of(&audio, cancel)?;
        Ok(PreparedSource {
            audio,
            encoded: Arc::new(attacks),
            sidecar: Arc::default(),
        })
    }
}

impl Default for Spectral {
    fn default() -> Self {
        Self::new()
    }
}

impl Generator for Spectral {
    fn description(&self) -> &Description {
        &self.description
    }

    /// None for any work: there are no weights.
    fn groups(&self, _work: Work) -> &[&'static str] {
        &[]
    }

    /// Finds the source's attacks; the sidecar stays empty, since this is quicker than reading one.
    fn prepare_source(&self, audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError> {
        Self::prepared(audio, cancel)
    }

    fn restore_source(&self, audio: Arc<Pcm>, sidecar: &[u8]) -> Result<PreparedSource, GenerateError> {
        if !sidecar.is_empty() {
            return Err(GenerateError::Unsuitable(
                "its sidecar was written by another generator; prepare it anew".into(),
            ));
        }
        Self::prepared(audio, &CancelFlag::new())
    }

    fn encode_prompt(
        &self,
        prompt: &Prompt,
        _source: &PreparedSource,
        timbre: Option<&PreparedSource>,
        _cancel: &CancelFlag,
    ) -> Result<Conditioning, GenerateError> {
        if timbre.is_some() {
            return Err(no_references(self.description.name));
        }
        Ok(Conditioning(Arc::new(PromptTexture::of(prompt))))
    }

    fn open(
        &self,
        source: PreparedSource,
        conditioning: Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        let (attacks, prompt) = (stream::attacks_of(&source), stream::prompt_of(&conditioning));
        Ok(Box::new(SpectralStream::new(source.audio, attacks, prompt, settings)))
    }
}
