//! What a generation is conditioned with: encoder states, blended between timbres and between prompts.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::denoiser::Denoiser;

/// Nearer than this to an end is the end: most of the time nothing is blended.
const END: f64 = 1e-3;

/// Encoder states of one prompt, [states, width] f32 on the denoiser's device.
#[derive(Clone, Debug)]
pub struct Sides {
    /// With the timbre of silence.
    pub silence: Tensor,
    /// With that of the timbre source.
    pub full: Tensor,
}

/// Encoder states of a session.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// Prompt A.
    pub a: Sides,
    /// Prompt B, where there is one.
    pub b: Option<Sides>,
    /// Of no prompt at all: what guidance leads away from.
    pub negative: Tensor,
}

/// How far a blend has gone.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    timbre: f64,
    prompt: f64,
}

/// A conditioning, and what the network made of it.
pub(crate) struct Prompts<P> {
    conditioning: Conditioning,
    place: Place,
    positive: Option<(Place, Arc<P>)>,
    negative: Option<Arc<P>>,
}

impl<P> Prompts<P> {
    pub(crate) fn new(conditioning: Conditioning) -> Self {
        Self {
            conditioning,
            place: Place {
                timbre: 1.0,
                prompt: 0.0,
            },
            positive: None,
            negative: None,
        }
    }

    /// Others from here on; the blends stay.
    pub(crate) fn replace(&mut self, conditioning: Conditioning) {
        self.conditioning = conditioning;
        self.forget();
    }

    /// What the network made of them is no longer right: its weights have changed.
    pub(crate) fn forget(&mut self) {
        self.positive = None;
        self.negative = None;
    }

    pub(crate) fn set_timbre_strength(&mut self, strength: f64) {
        self.place.timbre = strength;
    }

    pub(crate) fn set_prompt_blend(&mut self, blend: f64) {
        self.place.prompt = blend;
    }

    pub(crate) fn positive<D: Denoiser<Prompt = P>>(&mut self, denoiser: &D) -> Result<Arc<P>> {
        let mut place = self.place;
        if self.conditioning.b.is_none() {
            place.prompt = 0.0;
        }
        if let Some((known, prompt)) = &self.positive
            && *known == place
        {
            return Ok(Arc::clone(prompt));
        }
        let prompt = denoiser.prompt(&self.conditioning.at(place)?)?;
        self.positive = Some((place, Arc::clone(&prompt)));
        Ok(prompt)
    }

    pub(crate) fn negative<D: Denoiser<Prompt = P>>(&mut self, denoiser: &D) -> Result<Arc<P>> {
        if let Some(prompt) = &self.negative {
            return Ok(Arc::clone(prompt));
        }
        let prompt = denoiser.prompt(&self.conditioning.negative)?;
        self.negative = Some(Arc::clone(&prompt));
        Ok(prompt)
    }
}

impl Conditioning {
    fn at(&self, place: Place) -> Result<Tensor> {
        let side = |sides: &Sides| blended(&sides.silence, &sides.full, place.timbre);
        let a = side(&self.a)?;
        match &self.b {
            Some(b) => blended(&a, &side(b)?, place.prompt),
            None => Ok(a),
        }
    }
}

/// From one to the other; the shorter of two ends in zeros, as in the reference.
fn blended(from: &Tensor, to: &Tensor, share: f64) -> Result<Tensor> {
    if share <= END {
        return Ok(from.clone());
    }
    if share >= 1.0 - END {
        return Ok(to.clone());
    }
    let states = from.dim(0)?.max(to.dim(0)?);
    let padded = |side: &Tensor| side.pad_with_zeros(0, 0, states - side.dim(0)?);
    (padded(from)? * (1.0 - share))? + (padded(to)? * share)?
}
