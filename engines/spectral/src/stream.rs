//! A live stream: generations are sets of controls, and a window of any generation is computed when it is asked for.
//!
//! A window depends on nothing but the source, the generations' controls and its place: not on the windows asked for before it.
//! Windows that meet therefore fit, and a replaced source leaves nothing behind.
//!
//! In walk mode the part of the source that is generated is a source of its own: beyond its ends there is silence, its attacks are its own,
//! and entering another part forgets all earlier generations.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_generator::{Conditioning, GenerateError, Knobs, LiveStream, PreparedSource, StreamSettings, Tick, Walk};
use greenroom_sync::CancelFlag;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex32};

use crate::{
    controls::Controls,
    layer::{Layer, mix_feedback},
    source::Attacks,
    spectrum::{BINS, Bands, FRAME, HOP, bin_gains, window},
    texture::PromptTexture,
};

/// Generations that feedback can reach back to (the knob's own range).
const HISTORY_MAX: usize = 8;
/// Generations that feedback goes through in one window; what lies deeper is the untouched source.
const CHAIN_MAX: usize = 3;
/// Depth range of the wire; generations here are finished at once, so that depth has nothing to act on.
pub(crate) const DEPTH_MAX: u32 = 8;

pub(crate) struct SpectralStream {
    audio: Arc<Pcm>,
    /// Of the source, or of the part that is generated.
    attacks: Arc<Attacks>,
    walk: Option<Walk>,
    /// The part that is generated; none where the source is, and in walk mode before the first tick.
    part: Option<Range<u64>>,
    prompt: PromptTexture,
    blend: f32,
    knobs: Knobs,
    sde: bool,
    /// The newest generation first; never empty.
    history: VecDeque<Layer>,
    bands: Bands,
    window: Vec<f32>,
    transform: Transform,
}

struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    forward_scratch: Vec<Complex32>,
    inverse_scratch: Vec<Complex32>,
}

impl SpectralStream {
    pub(crate) fn new(
        audio: Arc<Pcm>,
        attacks: Arc<Attacks>,
        prompt: PromptTexture,
        settings: &StreamSettings,
    ) -> Self {
        let mut stream = Self {
            audio,
            attacks,
            walk: settings.walk,
            part: None,
            prompt,
            blend: 0.0,
            knobs: Knobs::new(),
            sde: settings.sde,
            history: VecDeque::new(),
            bands: Bands::new(),
            window: window(),
            transform: Transform::new(),
        };
        stream.restart();
        stream
    }

    fn generation(&self) -> Layer {
        let controls = Controls::read(&self.knobs, self.sde, self.prompt.at_blend(self.blend));
        Layer::new(controls, self.audio.seconds() as f32, &self.bands)
    }

    /// In walk mode, comes into the part of a frame.
    fn enter(&mut self, frame: u64, cancel: &CancelFlag) -> Result<(), GenerateError> {
        let part = self.walk.and_then(|walk| walk.part(frame, self.audio.frames() as u64));
        if let Some(part) = part.filter(|part| self.part.as_ref() != Some(part)) {
            self.attacks = Arc::new(Attacks::within(&self.audio, part.clone(), cancel)?);
            self.part = Some(part);
            self.restart();
        }
        Ok(())
    }

    /// Forgets all earlier generations.
    fn restart(&mut self) {
        self.history.clear();
        let generation = self.generation();
        self.history.push_front(generation);
    }

    /// Places in the history of the generations that the newest one is made of, oldest first.
    fn chain(&self) -> Vec<usize> {
        let mut chain = vec![0];
        let mut place = 0;
        while chain.len() < CHAIN_MAX && self.history[place].controls.feedback > 0.0 {
            place += self.history[place].controls.feedback_depth;
            if place >= self.history.len() {
                break;
            }
            chain.push(place);
        }
        chain.reverse();
        chain
    }

    /// A stretch of one channel, from a frame that may lie before the start or beyond the end.
    fn stretch(&self, channel: usize, start: i64, frames: usize) -> Vec<f32> {
        let channels = usize::from(self.audio.channels());
        let sample = |frame: u64| self.audio.samples()[frame as usize * channels + channel];
        let Some(part) = &self.part else {
            return self.places(start, frames).map(sample).collect();
        };
        let within = |frame: i64| u64::try_from(frame).ok().filter(|frame| part.contains(frame));
        (start..start + frames as i64)
            .map(|frame| within(frame).map_or(0.0, sample))
            .collect()
    }

    fn places(&self, start: i64, frames: usize) -> impl Iterator<Item = u64> + use<> {
        let length = self.audio.frames() as u64;
        let first = start.rem_euclid(length as i64) as u64;
        (0..frames as u64).map(move |offset| (first + offset) % length)
    }

    fn source_window(&self, start: i64, frames: usize) -> Vec<f32> {
        let channels = usize::from(self.audio.channels());
        let samples = self.audio.samples();
        self.places(start, frames)
            .flat_map(|frame| &samples[frame as usize * channels..][..channels])
            .copied()
            .collect()
    }

    fn resynthesise(
        &mut self,
        start: i64,
        frames: usize,
        chain: &[usize],
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>, GenerateError> {
        let channels = usize::from(self.audio.channels());
        let first = (start - FRAME as i64).div_euclid(HOP as i64) + 1;
        let last = (start + frames as i64 - 1).div_euclid(HOP as i64);
        let count = (last - first + 1) as usize;
        let (origin, reach) = (first * HOP as i64, (count - 1) * HOP + FRAME);
        let sources = (0..channels)
            .map(|channel| self.stretch(channel, origin, reach))
            .collect::<Vec<_>>();
        let noises = self.noises(chain, origin, reach);
        let gains = bin_gains(&self.history[0].controls.gains);
        let steps = (self.audio.frames() / HOP) as i64;
        let mut sums = vec![vec![0.0_f32; reach]; channels];
        let (mut spectrum, mut noise, mut result) = (
            vec![Complex32::default(); BINS],
            vec![Complex32::default(); BINS],
            vec![Complex32::default(); BINS],
        );
        for step in 0..count {
            if cancel.is_raised() {
                return Err(GenerateError::Cancelled);
            }
            let part = (first + step as i64).rem_euclid(steps) as f64 / steps as f64;
            let changes = chain
                .iter()
                .map(|place| self.history[*place].seek(part))
                .collect::<Vec<_>>();
            let makeup = self.history[0].makeup();
            let range = step * HOP..step * HOP + FRAME;
            for channel in 0..channels {
                self.transform
                    .analyse(&sources[channel][range.clone()], &self.window, &mut spectrum);
                for (level, place) in chain.iter().enumerate() {
                    let layer = &mut self.history[*place];
                    if level == 0 {
                        result.copy_from_slice(&spectrum);
                    } else {
                        let earlier = std::mem::replace(&mut result, spectrum.clone());
                        mix_feedback(&mut result, &earlier, layer.controls.feedback);
                    }
                    if changes[level] {
                        self.transform
                            .analyse(&noises[level][channel][range.clone()], &self.window, &mut noise);
                        layer.apply(&self.bands, &mut result, &noise);
                    }
                }
                for (value, gain) in result.iter_mut().zip(&gains) {
                    *value *= *gain * makeup;
                }
                self.transform
                    .synthesise(&mut result, &self.window, &mut sums[channel][range.clone()]);
            }
        }
        let skip = (start - origin) as usize;
        Ok((skip..skip + frames)
            .flat_map(|frame| sums.iter().map(move |sum| sum[frame]))
            .collect())
    }

    /// Noise of every generation of the chain, for every channel.
    fn noises(&self, chain: &[usize], origin: i64, reach: usize) -> Vec<Vec<Vec<f32>>> {
        let of_layer = |place: &usize| {
            let layer = &self.history[*place];
            (0..usize::from(self.audio.channels()))
                .map(|channel| layer.noise(&self.attacks, channel, self.places(origin, reach)))
                .collect()
        };
        chain.iter().map(of_layer).collect()
    }
}

impl LiveStream for SpectralStream {
    fn set_knobs(&mut self, knobs: &Knobs) {
        self.knobs.clone_from(knobs);
    }

    fn set_conditioning(&mut self, conditioning: Conditioning) {
        self.prompt = prompt_of(&conditioning);
    }

    fn set_prompt_blend(&mut self, blend: f64) {
        self.blend = blend as f32;
    }

    /// No effect: there is no timbre but the source's.
    fn set_timbre_strength(&mut self, _strength: f64) {}

    /// Accepted within the range, of no effect.
    fn set_depth(&mut self, depth: u32) -> u32 {
        depth.clamp(1, DEPTH_MAX)
    }

    fn swap_source(&mut self, source: PreparedSource, conditioning: Conditioning) {
        self.attacks = attacks_of(&source);
        self.audio = source.audio;
        self.part = None;
        self.prompt = prompt_of(&conditioning);
        self.restart();
    }

    fn tick(&mut self, target_frame: u64, cancel: &CancelFlag) -> Result<Tick, GenerateError> {
        if cancel.is_raised() {
            return Err(GenerateError::Cancelled);
        }
        self.enter(target_frame, cancel)?;
        let generation = self.generation();
        self.history.push_front(generation);
        // A depth of 8 reaches back eight generations from the newest.
        self.history.truncate(HISTORY_MAX + 1);
        Ok(Tick { finished: 1 })
    }

    fn decode(&mut self, start_frame: u64, frames: usize, cancel: &CancelFlag) -> Result<Vec<f32>, GenerateError> {
        let start = (start_frame % self.audio.frames() as u64) as i64;
        let chain = self.chain();
        let plain = self.history[0].controls.gains.iter().all(|gain| *gain == 1.0);
        if frames == 0 || (plain && chain.iter().all(|place| self.history[*place].controls.keeps_source())) {
            return Ok(self.source_window(start, frames));
        }
        self.resynthesise(start, frames, &chain, cancel)
    }
}

/// The prompt inside a conditioning.
///
/// # Panics
/// If another generator made it: a bug of the caller, who pairs them.
pub(crate) fn prompt_of(conditioning: &Conditioning) -> PromptTexture {
    *conditioning
        .0
        .downcast_ref::<PromptTexture>()
        .expect("a conditioning goes back to the generator that made it")
}

/// The attacks inside a prepared source.
///
/// # Panics
/// If another generator made it: a bug of the caller, who pairs them.
pub(crate) fn attacks_of(source: &PreparedSource) -> Arc<Attacks> {
    Arc::clone(&source.encoded)
        .downcast::<Attacks>()
        .expect("a source goes back to the generator that prepared it")
}

impl Transform {
    fn new() -> Self {
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, inverse) = (planner.plan_fft_forward(FRAME), planner.plan_fft_inverse(FRAME));
        let (forward_scratch, inverse_scratch) = (forward.make_scratch_vec(), inverse.make_scratch_vec());
        Self {
            forward,
            inverse,
            time: vec![0.0; FRAME],
            forward_scratch,
            inverse_scratch,
        }
    }

    /// Spectrum of a windowed frame, its phases counted from the frame's middle.
    fn analyse(&mut self, frame: &[f32], window: &[f32], spectrum: &mut [Complex32]) {
        for (index, (sample, weight)) in frame.iter().zip(window).enumerate() {
            self.time[(index + FRAME / 2) % FRAME] = sample * weight;
        }
        self.forward
            .process_with_scratch(&mut self.time, spectrum, &mut self.forward_scratch)
            .expect("buffers were made for this transform");
    }

    /// Adds the windowed frame of a spectrum (which is used up) to `sums`.
    fn synthesise(&mut self, spectrum: &mut [Complex32], window: &[f32], sums: &mut [f32]) {
        // Both ends of a real frame's spectrum are real.
        spectrum[0].im = 0.0;
        spectrum[BINS - 1].im = 0.0;
        self.inverse
            .process_with_scratch(spectrum, &mut self.time, &mut self.inverse_scratch)
            .expect("buffers were made for this transform, and the ends are real");
        // The transform's own scale, and the sum of the overlapping windows.
        let scale = 1.0 / FRAME as f32 / (FRAME / HOP / 2) as f32;
        for (index, (sum, weight)) in sums.iter_mut().zip(window).enumerate() {
            *sum += self.time[(index + FRAME / 2) % FRAME] * weight * scale;
        }
    }
}

/// Sample rate that the grid's constants were chosen for.
const _: () = assert!(SAMPLE_RATE == 48_000);
