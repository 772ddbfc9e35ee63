//! The weighted test generator: the sound of `spectral`, made with real weights in every group.
//!
//! Its purpose is placement: each group has a host image and modules (random candle layers): on the CPU they are dropped when it is
//! parked and rebuilt when it is restored, on a GPU memory comes and goes behind them. Every kind of work runs the modules of its groups
//! under a lease and fails with `NotResident` without them. The modules' answers scale the sound by exactly 1 if every weight is right,
//! and by something else if one is not: weights that were restored wrongly are heard, and seen in [`Weighted::report`].
#![forbid(unsafe_code)]

mod config;
mod group;

use std::sync::Arc;

use greenroom_audio::Pcm;
use greenroom_generator::{
    Conditioning, Description, GenerateError, Generator, Knobs, LiveStream, PreparedSource, Prompt, StreamSettings,
    Tick, Work, no_references,
};
use greenroom_spectral::Spectral;
use greenroom_stage::Tenant;
use greenroom_sync::CancelFlag;
use greenroom_weights::DeviceLane;

pub use config::{GroupBytes, Repetitions, WeightedConfig};
pub use group::GroupReport;

use group::Group;

/// The generator; give its [`tenants`](Self::tenants) to the stage before any work.
pub struct Weighted {
    description: Description,
    spectral: Spectral,
    groups: Arc<Groups>,
}

struct Groups {
    dit: Arc<Group>,
    conditioner: Arc<Group>,
    text_encoder: Arc<Group>,
    vae: Arc<Group>,
    repetitions: Repetitions,
}

/// What is kept of a source.
struct Encoded {
    inner: PreparedSource,
    factor: f32,
}

/// What is kept of a prompt.
struct Prompted {
    inner: Conditioning,
    factor: f32,
}

impl Weighted {
    /// Makes the weights in system RAM; every group begins parked. With a `lane` they are for the stage of its device, else for the CPU's.
    ///
    /// # Errors
    /// `OutOfMemory` for sizes that cannot be addressed, `Compute` if the layers cannot be run.
    pub fn new(config: &WeightedConfig, lane: Option<Arc<dyn DeviceLane>>) -> Result<Self, GenerateError> {
        let spectral = Spectral::new();
        let bytes = config.bytes;
        let group = |name, bytes, place| {
            let seed = config.seed.wrapping_mul(4).wrapping_add(place);
            Group::new(name, bytes, seed, lane.clone()).map(Arc::new)
        };
        let groups = Groups {
            dit: group("dit", bytes.dit, 0)?,
            conditioner: group("conditioner", bytes.conditioner, 1)?,
            text_encoder: group("text_encoder", bytes.text_encoder, 2)?,
            vae: group("vae", bytes.vae, 3)?,
            repetitions: config.repetitions,
        };
        let description = Description {
            name: "weighted",
            checkpoint: format!("random test weights, seed {}", config.seed),
            keeps_sources: true,
            ..spectral.description().clone()
        };
        Ok(Self {
            description,
            spectral,
            groups: Arc::new(groups),
        })
    }

    /// The groups as the stage wants them.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<dyn Tenant>> {
        self.groups.all().map(|group| group as Arc<dyn Tenant>).into()
    }

    /// What each group has done so far.
    #[must_use]
    pub fn report(&self) -> Vec<GroupReport> {
        self.groups.all().iter().map(|group| group.report()).collect()
    }

    /// Sixteen bytes that tell whose vae and conditioner encoded a source, and which.
    fn sidecar(&self, audio: &Pcm) -> Vec<u8> {
        let weights = [self.groups.vae.fingerprint(), self.groups.conditioner.fingerprint()];
        [weights.concat(), fingerprint(audio).to_le_bytes().into()].concat()
    }

    fn prepared(&self, inner: PreparedSource, factor: f32, sidecar: Vec<u8>) -> PreparedSource {
        PreparedSource {
            audio: Arc::clone(&inner.audio),
            encoded: Arc::new(Encoded { inner, factor }),
            sidecar: Arc::new(sidecar),
        }
    }
}

impl Groups {
    fn all(&self) -> [Arc<Group>; 4] {
        [&self.dit, &self.conditioner, &self.text_encoder, &self.vae].map(Arc::clone)
    }
}

impl Generator for Weighted {
    fn description(&self) -> &Description {
        &self.description
    }

    fn groups(&self, work: Work) -> &[&'static str] {
        match work {
            Work::EncodeSource => &["vae", "conditioner"],
            Work::EncodePrompt => &["text_encoder", "conditioner"],
            Work::Tick => &["dit"],
            Work::Decode => &["vae"],
        }
    }

    fn workspace_bytes(&self, work: Work) -> u64 {
        let groups = self.groups.all();
        let needed = groups.iter().filter(|group| self.groups(work).contains(&group.name()));
        needed.map(|group| group.workspace_bytes()).max().unwrap_or(0)
    }

    fn prepare_source(&self, audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError> {
        let repetitions = self.groups.repetitions.encode_source;
        let factor = self.groups.vae.run(repetitions, cancel)? * self.groups.conditioner.run(repetitions, cancel)?;
        let sidecar = self.sidecar(&audio);
        Ok(self.prepared(self.spectral.prepare_source(audio, cancel)?, factor, sidecar))
    }

    /// Needs no group: the sidecar says that these weights have encoded the source before.
    fn restore_source(&self, audio: Arc<Pcm>, sidecar: &[u8]) -> Result<PreparedSource, GenerateError> {
        let expected = self.sidecar(&audio);
        if sidecar != expected {
            return Err(GenerateError::Unsuitable(
                "its sidecar was written with other weights, or of other audio; prepare it anew".into(),
            ));
        }
        Ok(self.prepared(self.spectral.restore_source(audio, &[])?, 1.0, expected))
    }

    fn encode_prompt(
        &self,
        prompt: &Prompt,
        source: &PreparedSource,
        timbre: Option<&PreparedSource>,
        cancel: &CancelFlag,
    ) -> Result<Conditioning, GenerateError> {
        if timbre.is_some() {
            return Err(no_references(self.description.name));
        }
        let repetitions = self.groups.repetitions.encode_prompt;
        let factor =
            self.groups.text_encoder.run(repetitions, cancel)? * self.groups.conditioner.run(repetitions, cancel)?;
        let inner = self
            .spectral
            .encode_prompt(prompt, &encoded(source).inner, None, cancel)?;
        Ok(Conditioning(Arc::new(Prompted { inner, factor })))
    }

    fn open(
        &self,
        source: PreparedSource,
        conditioning: Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        let (source, prompt) = (encoded(&source), prompted(&conditioning));
        let inner = self
            .spectral
            .open(source.inner.clone(), prompt.inner.clone(), settings)?;
        Ok(Box::new(WeightedStream {
            inner,
            groups: Arc::clone(&self.groups),
            source_factor: source.factor,
            prompt_factor: prompt.factor,
            tick_factor: 1.0,
        }))
    }
}

/// Tells audio apart (FNV-1a over the samples' bits).
fn fingerprint(audio: &Pcm) -> u64 {
    let bits = audio.samples().iter().map(|sample| u64::from(sample.to_bits()));
    bits.fold(0xcbf2_9ce4_8422_2325, |hash, bits| {
        (hash ^ bits).wrapping_mul(0x0100_0000_01b3)
    })
}

struct WeightedStream {
    inner: Box<dyn LiveStream>,
    groups: Arc<Groups>,
    source_factor: f32,
    prompt_factor: f32,
    tick_factor: f32,
}

impl LiveStream for WeightedStream {
    fn set_knobs(&mut self, knobs: &Knobs) {
        self.inner.set_knobs(knobs);
    }

    fn set_conditioning(&mut self, conditioning: Conditioning) {
        let prompt = prompted(&conditioning);
        self.prompt_factor = prompt.factor;
        self.inner.set_conditioning(prompt.inner.clone());
    }

    fn set_prompt_blend(&mut self, blend: f64) {
        self.inner.set_prompt_blend(blend);
    }

    fn set_timbre_strength(&mut self, strength: f64) {
        self.inner.set_timbre_strength(strength);
    }

    fn set_depth(&mut self, depth: u32) -> u32 {
        self.inner.set_depth(depth)
    }

    fn swap_source(&mut self, source: PreparedSource, conditioning: Conditioning) {
        let (source, prompt) = (encoded(&source), prompted(&conditioning));
        self.source_factor = source.factor;
        self.prompt_factor = prompt.factor;
        self.tick_factor = 1.0;
        self.inner.swap_source(source.inner.clone(), prompt.inner.clone());
    }

    fn tick(&mut self, target_frame: u64, cancel: &CancelFlag) -> Result<Tick, GenerateError> {
        let factor = self.groups.dit.run(self.groups.repetitions.tick, cancel)?;
        let tick = self.inner.tick(target_frame, cancel)?;
        self.tick_factor = factor;
        Ok(tick)
    }

    fn decode(&mut self, start_frame: u64, frames: usize, cancel: &CancelFlag) -> Result<Vec<f32>, GenerateError> {
        let decode_factor = self.groups.vae.run(self.groups.repetitions.decode, cancel)?;
        let mut samples = self.inner.decode(start_frame, frames, cancel)?;
        let factor = decode_factor * self.tick_factor * self.source_factor * self.prompt_factor;
        for sample in &mut samples {
            *sample *= factor;
        }
        Ok(samples)
    }
}

/// # Panics
/// If another generator prepared the source: a bug of the caller, who pairs them.
fn encoded(source: &PreparedSource) -> &Encoded {
    source
        .encoded
        .downcast_ref()
        .expect("a source goes back to the generator that prepared it")
}

/// # Panics
/// If another generator made the conditioning: a bug of the caller, who pairs them.
fn prompted(conditioning: &Conditioning) -> &Prompted {
    conditioning
        .0
        .downcast_ref()
        .expect("a conditioning goes back to the generator that made it")
}
