//! One generation in flight, and its steps.

use std::{ops::Range, sync::Arc};

use candle_core::{Result, Tensor};

use crate::{
    controls::{Birth, Shared},
    guidance::{Guidance, guided},
    noise,
    schedule::schedule,
};

/// Nearer to 1 than this, guidance changes nothing.
const GUIDANCE_MIN: f64 = 1e-6;

/// A generation: its latents so far, and what it was born with. All tensors are [frames, channels] f32 on the denoiser's device.
pub(crate) struct Slot<P> {
    /// Tells older from newer.
    pub(crate) born: u64,
    pub(crate) latents: Tensor,
    /// Hints and mask, [frames, 2 · channels].
    pub(crate) context: Tensor,
    pub(crate) prompt: Arc<P>,
    /// Of the negative prompt, while its velocity is still asked for.
    pub(crate) negative_prompt: Option<Arc<P>>,
    source: Tensor,
    noise: Tensor,
    seed: u64,
    times: Vec<f64>,
    step: usize,
    guidance: Guidance,
    guidance_scale: f64,
    negative: Option<Tensor>,
    momentum: Option<Tensor>,
}

/// What a slot begins with.
pub(crate) struct Beginning<'a, P> {
    pub(crate) born: u64,
    pub(crate) birth: &'a Birth,
    pub(crate) steps: usize,
    pub(crate) source: Tensor,
    pub(crate) noise: Tensor,
    /// How much of the noise, and not of the source, each frame begins with, [frames, 1]; none leaves it to the first time.
    pub(crate) noise_curve: Option<Tensor>,
    pub(crate) context: Tensor,
    pub(crate) prompt: Arc<P>,
    pub(crate) negative_prompt: Option<Arc<P>>,
}

/// What all slots take at a step, with curves of the part that is generated, [frames, 1].
pub(crate) struct StepControls {
    pub(crate) shared: Shared,
    pub(crate) velocity_scale: Option<Tensor>,
    pub(crate) x0_target: Option<Tensor>,
    /// Of a stochastic session.
    pub(crate) sde: Option<Tensor>,
    /// What the correction's faders take of the bands' analytic signals.
    pub(crate) quadrature: Option<Tensor>,
}

impl<P> Slot<P> {
    pub(crate) fn begin(beginning: Beginning<'_, P>) -> Result<Self> {
        let Beginning {
            birth, source, noise, ..
        } = beginning;
        let times = schedule(beginning.steps, birth.denoise, birth.shift);
        let latents = match &beginning.noise_curve {
            Some(share) => (&source + (&noise - &source)?.broadcast_mul(share)?)?,
            None => mixed(&source, &noise, times[0])?,
        };
        Ok(Self {
            born: beginning.born,
            latents,
            context: beginning.context,
            prompt: beginning.prompt,
            negative_prompt: beginning.negative_prompt,
            source,
            noise,
            seed: birth.seed,
            times,
            step: 0,
            guidance: birth.guidance,
            guidance_scale: birth.guidance_scale,
            negative: None,
            momentum: None,
        })
    }

    /// Where it is now.
    pub(crate) fn time(&self) -> f64 {
        self.times[self.step]
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.step + 1 >= self.times.len()
    }

    /// Whether guidance changes anything that was born so.
    pub(crate) fn is_guided(birth: &Birth) -> bool {
        birth.guidance != Guidance::Off && (birth.guidance_scale - 1.0).abs() > GUIDANCE_MIN
    }

    /// Takes a step along a velocity; `negative` is the negative prompt's, where it was asked for.
    pub(crate) fn advance(
        &mut self,
        velocity: &Tensor,
        negative: Option<&Tensor>,
        controls: &StepControls,
    ) -> Result<()> {
        let (now, then) = (self.time(), self.times[self.step + 1]);
        let velocity = self.guide(velocity, negative, controls.shared.cfg_rescale)?;
        let estimate = (&self.latents - (&velocity * now)?)?;
        let moved = match &controls.sde {
            Some(amplitude) => self.stochastic(&estimate, then, amplitude)?,
            None => self.straight(&velocity, &estimate, controls)?,
        };
        self.latents = match controls.shared.correction {
            Some(correction) => correction.apply(&moved, &estimate, now, controls.quadrature.as_ref())?,
            None => moved,
        };
        self.step += 1;
        Ok(())
    }

    fn guide(&mut self, velocity: &Tensor, negative: Option<&Tensor>, rescale: f64) -> Result<Tensor> {
        let negative = match (self.guidance, negative) {
            (Guidance::SelfNegative, _) if (self.guidance_scale - 1.0).abs() > GUIDANCE_MIN => self.noise.clone(),
            (Guidance::Initialize, Some(negative)) => {
                self.negative = Some(negative.clone());
                self.negative_prompt = None;
                negative.clone()
            }
            (Guidance::Full, Some(negative)) => negative.clone(),
            _ => match &self.negative {
                Some(kept) => kept.clone(),
                None => return Ok(velocity.clone()),
            },
        };
        guided(velocity, &negative, &mut self.momentum, self.guidance_scale, rescale)
    }

    /// Euler's step; in the second half of a generation pulled towards the source, where that is asked for.
    fn straight(&self, velocity: &Tensor, estimate: &Tensor, controls: &StepControls) -> Result<Tensor> {
        let (now, then) = (self.time(), self.times[self.step + 1]);
        let mut velocity = velocity.clone();
        let steps = self.times.len() - 1;
        if now > 0.0 && self.step >= steps / 2 {
            let towards = ((&self.source - estimate)? / now)?;
            if let Some(share) = &controls.x0_target {
                velocity = (velocity - towards.broadcast_mul(share)?)?;
            } else if controls.shared.x0_target > 0.0 {
                velocity = (velocity - (towards * controls.shared.x0_target)?)?;
            }
        }
        if let Some(scale) = &controls.velocity_scale {
            velocity = velocity.broadcast_mul(scale)?;
        }
        &self.latents + (velocity * (then - now))?
    }

    /// Starts again from the estimate, and from the source where the amplitude is small, with fresh noise.
    fn stochastic(&self, estimate: &Tensor, then: f64, amplitude: &Tensor) -> Result<Tensor> {
        let aim = (&self.source + (estimate - &self.source)?.broadcast_mul(amplitude)?)?;
        if then <= 0.0 {
            return Ok(aim);
        }
        let fresh = noise::normal(self.seed, self.step as u64 + 1, aim.dims2()?, aim.device())?;
        mixed(&aim, &fresh, then)
    }
}

/// Source and noise at a time.
fn mixed(source: &Tensor, noise: &Tensor, time: f64) -> Result<Tensor> {
    if time >= 1.0 {
        return Ok(noise.clone());
    }
    (noise * time)? + (source * (1.0 - time))?
}

/// Latents of a part.
pub(crate) fn part_of(latents: &Tensor, part: &Range<usize>) -> Result<Tensor> {
    latents.narrow(0, part.start, part.len())?.contiguous()
}
