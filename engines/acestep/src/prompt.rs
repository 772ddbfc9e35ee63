//! A prompt's encoder states: with the timbre of silence and with that of the timbre source, for both prompts, and of nothing at all.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use greenroom_conditioning::{TextEncoder, TextTokenizer, lyric_text, prompt_text};
use greenroom_generator::{Conditioning, GenerateError, Prompt};
use greenroom_sync::CancelFlag;

use crate::{groups, source::compute};

/// Where nobody says; the reference's own fallbacks.
const KEY: &str = "G# minor";
const TIME_SIGNATURE: &str = "4";
/// What is sung.
const LYRICS: &str = "[Instrumental]";
const LANGUAGE: &str = "en";
/// Frames of silence that stand for no timbre: 30 s.
pub(crate) const SILENCE_TIMBRE_FRAMES: usize = 750;

/// Encoder states of a session's prompts, [states, width] f32 on the live lane's device.
pub(crate) struct Prompted(pub(crate) greenroom_diffusion::Conditioning);

/// What prompts are encoded with; the caller leases it.
pub(crate) struct Encoders<'a> {
    pub(crate) tokenizer: &'a TextTokenizer,
    pub(crate) text: &'a TextEncoder,
    pub(crate) conditioner: &'a groups::Conditioning,
    pub(crate) device: &'a Device,
}

/// Timbres, [frames, 64] f32.
pub(crate) struct Timbres<'a> {
    pub(crate) silence: &'a Tensor,
    pub(crate) full: &'a Tensor,
}

impl Encoders<'_> {
    /// Encodes both prompts and the negative one.
    pub(crate) fn encode(
        &self,
        prompt: &Prompt,
        seconds: f64,
        timbres: &Timbres<'_>,
        cancel: &CancelFlag,
    ) -> Result<Prompted, GenerateError> {
        let upload = |timbre: &Tensor| timbre.to_device(self.device).map_err(|error| compute(&error));
        let (silence, full) = (upload(timbres.silence)?, upload(timbres.full)?);
        let states = |tags: &str, lyrics: &str, timbre: &Tensor| {
            if cancel.is_raised() {
                return Err(GenerateError::Cancelled);
            }
            self.states(prompt, (tags, lyrics), seconds, timbre)
        };
        let sides = |tags: &str| {
            Ok::<_, GenerateError>(greenroom_diffusion::Sides {
                silence: states(tags, LYRICS, &silence)?,
                full: states(tags, LYRICS, &full)?,
            })
        };
        Ok(Prompted(greenroom_diffusion::Conditioning {
            a: sides(&prompt.tags)?,
            b: prompt.tags_b.as_deref().map(sides).transpose()?,
            negative: states("", "", &silence)?,
        }))
    }

    fn states(
        &self,
        prompt: &Prompt,
        (tags, lyrics): (&str, &str),
        seconds: f64,
        timbre: &Tensor,
    ) -> Result<Tensor, GenerateError> {
        let key = prompt.key.as_deref().unwrap_or(KEY);
        let time_signature = prompt.time_signature.as_deref().unwrap_or(TIME_SIGNATURE);
        let ids = |text: &str| self.tokenizer.ids(text).map_err(|error| compute(&error));
        let text = ids(&prompt_text(tags, prompt.bpm, time_signature, key, seconds))?;
        let lyrics = ids(&lyric_text(LANGUAGE, lyrics))?;
        let states = || {
            let text = self.text.encode(&text)?;
            let lyrics = self.text.embed(&lyrics)?;
            self.conditioner.encoder.states(&text, &lyrics, timbre)
        };
        states().map_err(|error: candle_core::Error| compute(&error))
    }
}

/// The states of a conditioning.
///
/// # Errors
/// `Unsuitable` if another generator encoded it.
pub(crate) fn prompted(conditioning: &Conditioning) -> Result<Arc<Prompted>, GenerateError> {
    Arc::clone(&conditioning.0)
        .downcast()
        .map_err(|_| GenerateError::Unsuitable("another generator encoded this prompt".into()))
}
