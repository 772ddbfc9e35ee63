//! Generations in a ring: each tick one forward moves all of them a step.

use std::{collections::VecDeque, ops::Range};

use candle_core::{DType, Device, Result, Tensor};
use greenroom_generator::{Knobs, StreamSettings};

use crate::{
    conditioning::{Conditioning, Prompts},
    controls::Controls,
    correction::quadrature,
    denoiser::{Batch, Denoiser},
    guidance::Guidance,
    noise::Noise,
    slot::{Beginning, Slot, StepControls, part_of},
};

/// Finished generations that feedback can reach back to.
const HISTORY_MAX: usize = 8;

/// A source, both [frames, channels] f32 on the denoiser's device.
#[derive(Clone, Debug)]
pub struct SourceLatents {
    /// What it sounds like.
    pub latents: Tensor,
    /// What a generation has to follow of it.
    pub hints: Tensor,
}

/// A finished generation.
#[derive(Clone, Debug)]
pub struct Finished {
    /// [frames, channels] f32.
    pub latents: Tensor,
    /// Which frames of the source it stands for.
    pub part: Range<usize>,
}

/// A live stream over networks that keep prompts as `P`.
///
/// A new generation takes the newest knobs, prompt and source; what is in flight keeps those it was born with, except for what the wire
/// calls `next tick`. A generation that is finished after a younger one is not published: turning a knob never sounds back and forth.
pub struct Stream<P> {
    source: SourceLatents,
    /// Hints of another track, in place of the source's own.
    structure: Option<Tensor>,
    /// [frames, channels], repeated where a source is longer.
    silence: Tensor,
    prompts: Prompts<P>,
    controls: Controls,
    sde: bool,
    steps: usize,
    depth: usize,
    depth_max: usize,
    /// The frames that are generated.
    part: Range<usize>,
    slots: VecDeque<Slot<P>>,
    /// Slots born so far.
    births: u64,
    noise: Noise,
    /// The newest first.
    history: VecDeque<Tensor>,
    latest: Option<(u64, Finished)>,
    /// Made when a fader first asks for it, for bands of one length.
    quadrature: Option<Tensor>,
}

impl<P> Stream<P> {
    /// A stream with nothing in flight.
    ///
    /// # Errors
    /// If the source's tensors are not of one shape.
    pub fn new(
        source: SourceLatents,
        silence: Tensor,
        conditioning: Conditioning,
        settings: &StreamSettings,
        depth_max: u32,
    ) -> Result<Self> {
        let frames = source.frames()?;
        let mut stream = Self {
            source,
            structure: None,
            silence,
            prompts: Prompts::new(conditioning),
            controls: Controls::default(),
            sde: settings.sde,
            steps: (settings.steps as usize).max(1),
            depth: 1,
            depth_max: depth_max.max(1) as usize,
            part: 0..frames,
            slots: VecDeque::new(),
            births: 0,
            noise: Noise::default(),
            history: VecDeque::new(),
            latest: None,
            quadrature: None,
        };
        stream.set_depth(settings.depth);
        Ok(stream)
    }

    /// Takes effect as the wire says for each knob.
    pub fn set_knobs(&mut self, knobs: &Knobs) {
        let before = self.steps();
        self.controls = Controls::new(knobs);
        if self.steps() != before {
            self.slots.clear();
        }
    }

    /// Other encoder states from the next generation on; the blends stay.
    pub fn set_conditioning(&mut self, conditioning: Conditioning) {
        self.prompts.replace(conditioning);
    }

    /// From prompt A (0) to prompt B (1).
    pub fn set_prompt_blend(&mut self, blend: f64) {
        self.prompts.set_prompt_blend(blend);
    }

    /// From the timbre of silence (0) to that of the timbre source (1).
    pub fn set_timbre_strength(&mut self, strength: f64) {
        self.prompts.set_timbre_strength(strength);
    }

    /// Hints of another track, repeated or cut to the source's length; none for the source's own.
    pub fn set_structure(&mut self, hints: Option<Tensor>) {
        self.structure = hints;
    }

    /// Slots in flight from now on, 1 to the most; the oldest stay.
    pub fn set_depth(&mut self, depth: u32) -> u32 {
        self.depth = (depth as usize).clamp(1, self.depth_max);
        self.slots.truncate(self.depth);
        self.depth as u32
    }

    /// Another source; nothing that was in flight for the old one is ever published.
    ///
    /// # Errors
    /// If the source's tensors are not of one shape.
    pub fn swap_source(&mut self, source: SourceLatents, conditioning: Conditioning) -> Result<()> {
        let frames = source.frames()?;
        self.source = source;
        self.prompts.replace(conditioning);
        self.part = 0..frames;
        self.restart();
        Ok(())
    }

    /// The network's weights have changed: prompts are prepared anew, and what was kept of a negative one in flight is not.
    pub fn weights_changed(&mut self) {
        self.prompts.forget();
    }

    /// The newest generation that is finished, of the part that is generated.
    #[must_use]
    pub fn latest(&self) -> Option<&Finished> {
        self.latest.as_ref().map(|(_, finished)| finished)
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &SourceLatents {
        &self.source
    }

    /// The frames that are generated: all, or the part that was last ticked for.
    #[must_use]
    pub fn part(&self) -> Range<usize> {
        self.part.clone()
    }

    /// Begins a generation if there is room, moves all that are in flight by one step, and gives how many were finished and published.
    /// In walk mode only `part` of the source's frames is generated; entering another one drops what is in flight.
    ///
    /// # Errors
    /// If the device fails; what is in flight is then dropped, since some of it may have moved.
    pub fn tick<D: Denoiser<Prompt = P>>(&mut self, denoiser: &mut D, part: Option<Range<usize>>) -> Result<u32> {
        let frames = self.source.frames()?;
        let part = part.unwrap_or(0..frames);
        if part != self.part {
            self.part = part;
            self.restart();
        }
        let ticked = self.step(denoiser);
        if ticked.is_err() {
            self.slots.clear();
        }
        ticked
    }

    fn step<D: Denoiser<Prompt = P>>(&mut self, denoiser: &mut D) -> Result<u32> {
        if self.slots.len() < self.depth {
            let slot = self.begin(denoiser)?;
            self.slots.push_back(slot);
        }
        let (velocities, negatives) = self.velocities(denoiser)?;
        let controls = self.step_controls(denoiser.device())?;
        for ((slot, velocity), negative) in self.slots.iter_mut().zip(&velocities).zip(&negatives) {
            slot.advance(velocity, negative.as_ref(), &controls)?;
        }
        Ok(self.publish())
    }

    /// Forgets every generation.
    fn restart(&mut self) {
        self.slots.clear();
        self.history.clear();
        self.latest = None;
    }

    fn steps(&self) -> usize {
        self.controls.steps().unwrap_or(self.steps)
    }

    fn begin<D: Denoiser<Prompt = P>>(&mut self, denoiser: &mut D) -> Result<Slot<P>> {
        let (device, birth) = (denoiser.device().clone(), self.controls.birth(self.sde));
        let source = self.fed_back(birth.feedback, birth.feedback_depth)?;
        let needs_negative =
            Slot::<P>::is_guided(&birth) && matches!(birth.guidance, Guidance::Initialize | Guidance::Full);
        let negative_prompt = needs_negative.then(|| self.prompts.negative(denoiser)).transpose()?;
        let shape = source.dims2()?;
        self.births += 1;
        Slot::begin(Beginning {
            born: self.births,
            birth: &birth,
            steps: self.steps(),
            noise: self.noise.of(birth.seed, shape, &device)?,
            noise_curve: self.curve("initial_noise_curve", &device)?,
            context: self.context(birth.hint_strength)?,
            prompt: self.prompts.positive(denoiser)?,
            negative_prompt,
            source,
        })
    }

    /// The source's part, with a share of an earlier generation.
    fn fed_back(&self, share: f64, depth: usize) -> Result<Tensor> {
        let source = part_of(&self.source.latents, &self.part)?;
        match self.history.get(depth.saturating_sub(1)) {
            Some(earlier) if share > 0.0 => (source * (1.0 - share))? + (earlier * share)?,
            _ => Ok(source),
        }
    }

    /// Hints, of their strength between silence and the source's, and a mask of ones: [frames, 2 · channels].
    fn context(&self, strength: f64) -> Result<Tensor> {
        let frames = self.source.frames()?;
        let hints = match &self.structure {
            Some(hints) => part_of(&repeated(hints, frames)?, &self.part)?,
            None => part_of(&self.source.hints, &self.part)?,
        };
        let hints = if strength < 1.0 {
            let silence = repeated(&self.silence, self.part.len())?;
            ((silence * (1.0 - strength))? + (hints * strength)?)?
        } else {
            hints
        };
        Tensor::cat(&[&hints, &hints.ones_like()?], 1)
    }

    fn curve(&self, name: &str, device: &Device) -> Result<Option<Tensor>> {
        self.controls.curve(name, self.source.frames()?, &self.part, device)
    }

    fn step_controls(&mut self, device: &Device) -> Result<StepControls> {
        let shared = self.controls.shared();
        let sde = if self.sde {
            Some(match self.curve("sde_denoise_curve", device)? {
                Some(curve) => curve,
                None => shared.sde_curve(&self.part, device)?,
            })
        } else {
            None
        };
        let bands = shared
            .correction
            .and_then(|correction| correction.analytic_length(self.part.len()));
        let quadrature = bands.map(|length| self.quadrature(length, device)).transpose()?;
        Ok(StepControls {
            quadrature,
            shared,
            velocity_scale: self.curve("velocity_scale_curve", device)?,
            x0_target: self.curve("x0_target_curve", device)?,
            sde,
        })
    }

    fn quadrature(&mut self, length: usize, device: &Device) -> Result<Tensor> {
        let made = match self.quadrature.take() {
            Some(made) if made.dim(0)? == length => made,
            _ => quadrature(length, device)?,
        };
        Ok(self.quadrature.insert(made).clone())
    }

    /// Of every slot, and of its negative prompt where that is asked for: in one forward.
    fn velocities<D: Denoiser<Prompt = P>>(&self, denoiser: &mut D) -> Result<(Vec<Tensor>, Vec<Option<Tensor>>)> {
        let rows: Vec<_> = self
            .slots
            .iter()
            .map(|slot| (slot, &slot.prompt))
            .chain(
                self.slots
                    .iter()
                    .filter_map(|slot| slot.negative_prompt.as_ref().map(|prompt| (slot, prompt))),
            )
            .collect();
        let latents: Vec<&Tensor> = rows.iter().map(|(slot, _)| &slot.latents).collect();
        let mut latents = Tensor::stack(&latents, 0)?;
        let channels = latents.dim(2)?;
        if let Some(gains) = self.controls.gains(channels) {
            latents = latents.broadcast_mul(&Tensor::from_vec(gains, channels, denoiser.device())?)?;
        }
        let contexts: Vec<&Tensor> = rows.iter().map(|(slot, _)| &slot.context).collect();
        let times: Vec<f32> = rows.iter().map(|(slot, _)| slot.time() as f32).collect();
        let prompts: Vec<_> = rows.iter().map(|(_, prompt)| std::sync::Arc::clone(prompt)).collect();
        let all = denoiser.velocity(&Batch {
            latents: &latents,
            times: &times,
            context: &Tensor::stack(&contexts, 0)?,
            prompts: &prompts,
        })?;
        let velocities = (0..self.slots.len()).map(|row| all.get(row)).collect::<Result<_>>()?;
        let mut next = self.slots.len();
        let negatives = self
            .slots
            .iter()
            .map(|slot| {
                slot.negative_prompt.as_ref().map_or(Ok(None), |_| {
                    next += 1;
                    all.get(next - 1).map(Some)
                })
            })
            .collect::<Result<_>>()?;
        Ok((velocities, negatives))
    }

    /// Takes finished slots out; those that are newer than what was last published are published.
    fn publish(&mut self) -> u32 {
        let mut published = 0;
        for slot in std::mem::take(&mut self.slots) {
            if !slot.is_finished() {
                self.slots.push_back(slot);
                continue;
            }
            if self.latest.as_ref().is_some_and(|(born, _)| *born > slot.born) {
                continue;
            }
            self.history.push_front(slot.latents.clone());
            self.history.truncate(HISTORY_MAX);
            let finished = Finished {
                latents: slot.latents,
                part: self.part.clone(),
            };
            self.latest = Some((slot.born, finished));
            published += 1;
        }
        published
    }
}

impl SourceLatents {
    fn frames(&self) -> Result<usize> {
        if self.latents.dims() != self.hints.dims() || self.latents.dtype() != DType::F32 {
            candle_core::bail!(
                "a source's latents are {:?} and its hints {:?}: they have to be [frames, channels] f32 both",
                self.latents.shape(),
                self.hints.shape()
            )
        }
        Ok(self.latents.dims2()?.0)
    }
}

/// So many frames of a sequence that begins again where it ends.
fn repeated(sequence: &Tensor, frames: usize) -> Result<Tensor> {
    let own = sequence.dim(0)?;
    let times = frames.div_ceil(own.max(1));
    let whole = if times > 1 {
        sequence.repeat((times, 1))?
    } else {
        sequence.clone()
    };
    whole.narrow(0, 0, frames)?.contiguous()
}
