//! The generator: opened once, shared by the live session and the upload lane.

use std::{path::Path, sync::Arc};

use candle_core::{DType, Device, Tensor};
use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_compiled::{Component, ComputeCapability};
use greenroom_conditioning::TextTokenizer;
use greenroom_generator::{
    CompiledEngines, Conditioning, Description, GenerateError, Generator, Lent, LiveStream, LoadedLora, LoraCatalogue,
    PreparedSource, Prompt, SLICE_FRAMES, StreamSettings, Work,
};
use greenroom_stage::Tenant;
use greenroom_sync::CancelFlag;
use greenroom_weights::{DeviceLane, RandomTensors};

use crate::{
    checkpoint::{ACESTEP, Checkpoint, Configs, FRAME_SAMPLES, LATENT_CHANNELS, Values, WeightFiles},
    engines::{EngineLibrary, Host, Place, PlanLibrary, Plans},
    error::{AcestepError, io_error},
    group::{Lanes, device},
    groups::{Groups, Images},
    loras,
    prompt::{Encoders, SILENCE_TIMBRE_FRAMES, Timbres, prompted},
    random::Size,
    source::{Encoded, compute, encoded},
    stream::{AcestepStream, Forwards},
};

/// Longest source: what the reference's largest profile takes.
const SECONDS_MAX: u32 = 240;
/// Frames of the longest window that is decoded.
pub(crate) const WINDOW_FRAMES: usize = SLICE_FRAMES / FRAME_SAMPLES;
/// Slots in flight that a stream may have.
pub(crate) const DEPTH_MAX: u32 = 8;

/// ACE-Step 1.5; give its [`tenants`](Self::tenants) to the stage before any work.
pub struct Acestep {
    description: Description,
    configs: Configs,
    groups: Arc<Groups>,
    loras: LoraCatalogue,
    tokenizer: TextTokenizer,
    /// The latent of silence, [frames, 64] f32 on the CPU.
    silence: Tensor,
    stamp: String,
    /// Where prompts are encoded, and where the stream computes.
    live: Device,
    live_lane: Option<Arc<dyn DeviceLane>>,
    on_device: bool,
    dtype: DType,
    engines: Arc<Host>,
}

/// How it computes.
#[derive(Clone)]
pub struct AcestepOptions {
    /// Type of weights and activations: `BF16` on a GPU, `F32` on the CPU.
    pub dtype: DType,
    /// The ways to a GPU; none for the CPU.
    pub lanes: Option<Lanes>,
}

impl Acestep {
    /// Opens a checkpoint folder in the public layout. The first start packs its weights into `cache`, which takes as long as copying them.
    ///
    /// # Errors
    /// Any [`AcestepError`]; each says what is wrong with which file.
    pub fn open(folder: &Path, cache: &Path, options: AcestepOptions) -> Result<Self, AcestepError> {
        let checkpoint = Checkpoint::open(folder)?;
        let images = Images::Kept {
            folder: cache,
            stamp: &checkpoint.stamp,
        };
        let tokenizer = open_tokenizer(&checkpoint.tokenizer)?;
        let groups = Groups::open(
            &checkpoint.configs,
            &checkpoint.values,
            &images,
            options.dtype,
            options.lanes.as_ref(),
        )?;
        Self::assemble(
            checkpoint.configs,
            groups,
            tokenizer,
            checkpoint.silence,
            (checkpoint.stamp, ACESTEP.into()),
            options,
        )
    }

    /// One of random weights that no disk keeps, to be measured.
    ///
    /// # Errors
    /// `Image` if memory is short.
    pub fn random(size: Size, seed: u64, options: AcestepOptions) -> Result<Self, AcestepError> {
        let (configs, random) = (size.configs()?, RandomTensors { seed });
        let values = Values::random(random);
        let groups = Groups::open(
            &configs,
            &values,
            &Images::InMemory,
            options.dtype,
            options.lanes.as_ref(),
        )?;
        let folder = tempfile::tempdir().map_err(|error| io_error(&std::env::temp_dir(), error))?;
        let path = folder.path().join("tokenizer.json");
        greenroom_conditioning::write_tiny_tokenizer(&path, configs.text_encoder.vocab_size)
            .map_err(|error| AcestepError::Tokenizer(error.to_string()))?;
        let tokenizer = open_tokenizer(&path)?;
        let name = format!("random weights, seed {seed}");
        let silence = size.silence(random);
        Self::assemble(configs, groups, tokenizer, silence, (name.clone(), name), options)
    }

    fn assemble(
        configs: Configs,
        groups: Groups,
        tokenizer: TextTokenizer,
        silence: Vec<f32>,
        (stamp, checkpoint): (String, String),
        options: AcestepOptions,
    ) -> Result<Self, AcestepError> {
        let frames = silence.len() / LATENT_CHANNELS;
        let silence = Tensor::from_vec(silence, (frames, LATENT_CHANNELS), &Device::Cpu).map_err(|error| {
            AcestepError::Silence {
                path: "silence_latent.pt".into(),
                reason: error.to_string(),
            }
        })?;
        let engines = Arc::new(Host::new(&configs, options.dtype, None));
        Ok(Self {
            description: Description {
                name: "acestep",
                checkpoint,
                checkpoint_scale: Some("2B".into()),
                seconds_max: SECONDS_MAX,
                depth_max: DEPTH_MAX,
                keeps_sources: true,
                takes_references: true,
            },
            configs,
            groups: Arc::new(groups),
            loras: LoraCatalogue::default(),
            tokenizer,
            silence,
            stamp,
            live: device(options.lanes.as_ref().map(|lanes| &lanes.live)),
            live_lane: options.lanes.as_ref().map(|lanes| Arc::clone(&lanes.live)),
            on_device: options.lanes.is_some(),
            dtype: options.dtype,
            engines,
        })
    }

    /// Finds the LoRAs of a folder: files that end in `.safetensors`, and folders as PEFT writes them. Each is read once, so that what is
    /// wrong with it is known now.
    ///
    /// # Errors
    /// `Io` if the folder cannot be read. A LoRA that cannot be used is no error: the catalogue says why.
    pub fn with_loras(mut self, folder: &Path) -> Result<Self, AcestepError> {
        self.loras = loras::find(folder, &self.configs.dit).map_err(|error| io_error(folder, error))?;
        Ok(self)
    }

    /// Finds compiled engines in a folder: those that were built from these weights by one of the libraries, for this GPU. The others are
    /// told in the log with the reason.
    ///
    /// # Errors
    /// `Engines` if the folder cannot be read, `Io` if the weights cannot.
    pub fn with_engines(
        self,
        folder: &Path,
        libraries: &[Arc<dyn EngineLibrary>],
        compute_capability: Option<ComputeCapability>,
        weights: &WeightFiles,
    ) -> Result<Self, AcestepError> {
        let acestep = self.with_engines_to_come(folder, libraries, compute_capability, weights);
        acestep.engines.scan()?;
        Ok(acestep)
    }

    /// The same of a folder that need not be there yet: it is looked at when somebody asks for it.
    #[must_use]
    pub fn with_engines_to_come(
        mut self,
        folder: &Path,
        libraries: &[Arc<dyn EngineLibrary>],
        compute_capability: Option<ComputeCapability>,
        weights: &WeightFiles,
    ) -> Self {
        let place = Place::new(folder.into(), libraries.to_vec(), compute_capability, weights.clone());
        self.engines = Arc::new(Host::new(&self.configs, self.dtype, Some(place)));
        self
    }

    /// A library whose engines are this generator's modules.
    #[cfg(feature = "module-engines")]
    #[must_use]
    pub fn module_library(&self) -> Arc<dyn EngineLibrary> {
        Arc::new(crate::engines::ModuleLibrary::new(&self.configs, &self.groups))
    }

    /// Streams run on this lane of the CPU: to see what they record without a GPU.
    #[cfg(feature = "module-engines")]
    #[must_use]
    pub fn with_live_lane(self, lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            live_lane: Some(lane),
            ..self
        }
    }

    /// A library whose engines are plans over these weights.
    #[must_use]
    pub fn plan_library(&self, plans: Arc<dyn Plans>) -> Arc<dyn EngineLibrary> {
        Arc::new(PlanLibrary::new(plans, &self.configs.dit, self.groups.dit.packed()))
    }

    /// The groups as the stage wants them.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<dyn Tenant>> {
        self.groups.tenants()
    }

    /// Shapes of the networks.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn shared_groups(&self) -> Arc<Groups> {
        Arc::clone(&self.groups)
    }

    /// A stream's way to its networks: recorded where the live lane can.
    pub(crate) fn forwards(&self) -> Forwards {
        Forwards::new(self.live_lane.as_ref(), &self.engines, &self.configs)
    }

    pub(crate) fn live_device(&self) -> &Device {
        &self.live
    }

    pub(crate) fn silence(&self) -> &Tensor {
        &self.silence
    }

    /// Frames of a longest source.
    pub(crate) fn frames_max() -> usize {
        SECONDS_MAX as usize * SAMPLE_RATE as usize / FRAME_SAMPLES
    }
}

fn open_tokenizer(path: &Path) -> Result<TextTokenizer, AcestepError> {
    TextTokenizer::open(path).map_err(|error| AcestepError::Tokenizer(error.to_string()))
}

impl Generator for Acestep {
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
        if !self.on_device {
            return 0;
        }
        let frames = Self::frames_max();
        match work {
            Work::EncodeSource => greenroom_oobleck::encode_workspace_bytes(&self.configs.vae).max(
                greenroom_conditioning::hints_workspace_bytes(&self.configs.conditioner, frames),
            ),
            Work::EncodePrompt => greenroom_conditioning::prompt_workspace_bytes(
                &self.configs.text_encoder,
                &self.configs.conditioner,
                frames,
            ),
            Work::Tick => greenroom_dit::workspace_bytes(&self.configs.dit, DEPTH_MAX as usize, frames),
            // A window that does not begin with a frame needs one more than its length.
            Work::Decode => greenroom_oobleck::window_workspace_bytes(&self.configs.vae, WINDOW_FRAMES + 1),
        }
    }

    fn prepare_source(&self, audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError> {
        self.prepare_source_by(audio, Lent::NONE, cancel)
    }

    fn prepare_source_by(
        &self,
        audio: Arc<Pcm>,
        engines: Lent,
        cancel: &CancelFlag,
    ) -> Result<PreparedSource, GenerateError> {
        let (vae, conditioner) = (self.groups.vae.lease()?, self.groups.conditioner.lease()?);
        let lent = self.engines.lent(Component::VaeEncode, engines);
        let latents = match lent.as_ref().and_then(|engine| engine.encoder(audio.frames())) {
            Some(encoder) => encoder.encode(&stereo(&audio), cancel)?,
            None => vae.work.encode::<Interruption>(&stereo(&audio), &mut || look(cancel))?,
        };
        if cancel.is_raised() {
            return Err(GenerateError::Cancelled);
        }
        let encoded = conditioner
            .work
            .semantic
            .hints(&latents)
            .and_then(|hints| Encoded::from_device(&latents, &hints))
            .map_err(|error| compute(&error))?;
        encoded.prepared(audio, &self.stamp)
    }

    fn restore_source(&self, audio: Arc<Pcm>, sidecar: &[u8]) -> Result<PreparedSource, GenerateError> {
        Encoded::from_sidecar(sidecar, &audio, &self.stamp)?.prepared(audio, &self.stamp)
    }

    fn encode_prompt(
        &self,
        prompt: &Prompt,
        source: &PreparedSource,
        timbre: Option<&PreparedSource>,
        cancel: &CancelFlag,
    ) -> Result<Conditioning, GenerateError> {
        let (text, conditioner) = (self.groups.text_encoder.lease()?, self.groups.conditioner.lease()?);
        let timbre = encoded(timbre.unwrap_or(source))?;
        let frames = self.silence.dims()[0].min(SILENCE_TIMBRE_FRAMES);
        let silence = self.silence.narrow(0, 0, frames).map_err(|error| compute(&error))?;
        let encoders = Encoders {
            tokenizer: &self.tokenizer,
            text: &text,
            conditioner: &conditioner.live,
            device: &self.live,
        };
        let timbres = Timbres {
            silence: &silence,
            full: &timbre.latents,
        };
        let seconds = source.audio.seconds();
        Ok(Conditioning(Arc::new(
            encoders.encode(prompt, seconds, &timbres, cancel)?,
        )))
    }

    fn open(
        &self,
        source: PreparedSource,
        conditioning: Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        let stream = AcestepStream::new(
            Arc::clone(&self.groups),
            &self.silence,
            self.live.clone(),
            self.forwards(),
            source,
            &*prompted(&conditioning)?,
            settings,
        )?;
        Ok(Box::new(stream))
    }

    fn engines(&self) -> Option<&dyn CompiledEngines> {
        Some(&*self.engines)
    }

    fn loras(&self) -> &LoraCatalogue {
        &self.loras
    }

    fn load_lora(&self, id: &str) -> Result<LoadedLora, GenerateError> {
        loras::load(&self.loras, id, &self.configs.dit)
    }
}

/// What ends an encoding before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interruption {
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
}

impl From<Interruption> for GenerateError {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Cancelled => Self::Cancelled,
            Interruption::Compute(error) => compute(&error),
        }
    }
}

pub(crate) fn look(cancel: &CancelFlag) -> Result<(), Interruption> {
    if cancel.is_raised() {
        return Err(Interruption::Cancelled);
    }
    Ok(())
}

/// Both channels, interleaved; a single one is heard on both sides.
fn stereo(audio: &Pcm) -> std::borrow::Cow<'_, [f32]> {
    if audio.channels() == 2 {
        audio.samples().into()
    } else {
        audio.samples().iter().flat_map(|sample| [*sample; 2]).collect()
    }
}
