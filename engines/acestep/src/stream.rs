//! One live session's stream.

use std::{ops::Range, sync::Arc};

use candle_core::{Device, Tensor};
use greenroom_audio::Pcm;
use greenroom_compiled::{Component, Shapes};
use greenroom_diffusion::{SourceLatents, Stream};
use greenroom_dit::{DitConfig, ForwardShape, LoraSet, Memory, Runner};
use greenroom_generator::{
    Conditioning, GenerateError, Knobs, Lent, LiveStream, LoadedLora, PreparedSource, StreamSettings, Tick, Walk,
};
use greenroom_oobleck::{OobleckConfig, WINDOW_MARGIN, WindowShape, Windows};
use greenroom_sync::CancelFlag;
use greenroom_weights::DeviceLane;

use crate::{
    checkpoint::{Configs, FRAME_SAMPLES},
    engines::{Host, Loaded, Networks},
    generator::DEPTH_MAX,
    groups::Groups,
    loras::lora_set,
    prompt::{Prompted, prompted},
    source::{compute, encoded},
};

/// Channels of what is decoded.
const CHANNELS: usize = 2;

/// What a stream keeps of its networks' forwards.
#[derive(Default)]
pub(crate) struct Forwards {
    dit: Runner,
    vae: Windows,
    engines: Option<Arc<Host>>,
}

impl Forwards {
    /// By engines where some are lent, else recorded where the lane can; what is recorded is known to the host.
    pub(crate) fn new(lane: Option<&Arc<dyn DeviceLane>>, host: &Arc<Host>, configs: &Configs) -> Self {
        let mut forwards = Self {
            engines: Some(Arc::clone(host)),
            ..Self::default()
        };
        if let Some(lane) = lane {
            let (dit, vae) = (configs.dit.clone(), configs.vae.clone());
            let graphs = host.register(Component::Decoder, move |shape| of_forward(&dit, shape));
            forwards.dit = Runner::recording(Arc::clone(lane)).registering(graphs);
            let graphs = host.register(Component::VaeDecode, move |shape| of_window(&vae, shape));
            forwards.vae = Windows::recording(Arc::clone(lane)).registering(graphs);
        }
        forwards
    }

    fn lent(&self, component: Component, lent: Lent) -> Option<Arc<Loaded>> {
        self.engines.as_ref()?.lent(component, lent)
    }
}

/// What a recorded forward takes, and the bytes that lie between its steps.
fn of_forward(config: &DitConfig, shape: &ForwardShape) -> (Shapes, u64) {
    let ForwardShape {
        slots, frames, states, ..
    } = *shape;
    let width = config.hidden_size as u64;
    (
        Shapes::decoder_of_width(slots as u64, frames as u64, states as u64, width),
        greenroom_dit::workspace_bytes(config, slots, frames),
    )
}

/// The same of a window.
fn of_window(config: &OobleckConfig, shape: &WindowShape) -> (Shapes, u64) {
    let kept = shape.frames.saturating_sub(2 * WINDOW_MARGIN);
    (
        Shapes::vae_decode(shape.frames as u64),
        greenroom_oobleck::window_workspace_bytes(config, kept),
    )
}

pub(crate) struct AcestepStream {
    groups: Arc<Groups>,
    device: Device,
    audio: Arc<Pcm>,
    walk: Option<Walk>,
    stream: Stream<Memory>,
    forwards: Forwards,
    /// The LoRAs that this stream is heard with.
    loras: LoraSet,
    /// The engines that it may run.
    lent: Lent,
}

impl AcestepStream {
    pub(crate) fn new(
        groups: Arc<Groups>,
        silence: &Tensor,
        device: Device,
        forwards: Forwards,
        source: PreparedSource,
        conditioning: &Prompted,
        settings: &StreamSettings,
    ) -> Result<Self, GenerateError> {
        let open = || {
            let silence = silence.to_device(&device)?;
            let latents = on_device(&source, &device)?;
            Ok::<_, Error>(Stream::new(
                latents,
                silence,
                conditioning.0.clone(),
                settings,
                DEPTH_MAX,
            )?)
        };
        Ok(Self {
            stream: open()?,
            groups,
            device,
            audio: source.audio,
            walk: settings.walk,
            forwards,
            loras: LoraSet::default(),
            lent: Lent::NONE,
        })
    }

    /// The latent frames that the sound at a frame is generated from; none where all of them are.
    fn part(&self, frame: u64) -> Option<Range<usize>> {
        let part = self.walk?.part(frame, self.audio.frames() as u64)?;
        Some(part.start as usize / FRAME_SAMPLES..part.end as usize / FRAME_SAMPLES)
    }

    /// The source itself: what is heard before anything is generated.
    fn unchanged(&self, start: usize, frames: usize) -> Vec<f32> {
        let (channels, length) = (usize::from(self.audio.channels()), self.audio.frames());
        let samples = self.audio.samples();
        (start..start + frames)
            .flat_map(|frame| &samples[frame % length * channels..][..channels])
            .copied()
            .collect()
    }

    /// Decodes a window of the newest generation: interleaved stereo.
    fn decoded(&mut self, start: usize, frames: usize) -> Result<Option<Vec<f32>>, GenerateError> {
        let Some(finished) = self.stream.latest() else {
            return Ok(None);
        };
        let first = start / FRAME_SAMPLES;
        let count = (start + frames).div_ceil(FRAME_SAMPLES) - first;
        let cyclic = finished.part.len() == self.audio.frames() / FRAME_SAMPLES;
        if !cyclic && (first < finished.part.start || first + count > finished.part.end) {
            return Err(GenerateError::Compute(format!(
                "frames {first}..{} are asked for, and {:?} were generated",
                first + count,
                finished.part
            )));
        }
        let engine = self.forwards.lent(Component::VaeDecode, self.lent);
        let vae = self.groups.vae.lease()?;
        let place = first - finished.part.start;
        let window = vae.live.window(&finished.latents, place..place + count, cyclic);
        let window = window.map_err(|error| compute(&error))?;
        let sound = match engine
            .as_ref()
            .and_then(|engine| engine.window_decoder(window.frames()))
        {
            Some(decoder) => decoder.decode(&window),
            None => self.forwards.vae.decode(&vae.live, &window),
        };
        let sound = sound.map_err(|error| compute(&error))?;
        let skipped = (start - first * FRAME_SAMPLES) * CHANNELS;
        Ok(Some(sound[skipped..skipped + frames * CHANNELS].to_vec()))
    }
}

impl LiveStream for AcestepStream {
    fn set_knobs(&mut self, knobs: &Knobs) {
        self.stream.set_knobs(knobs);
    }

    fn set_conditioning(&mut self, conditioning: Conditioning) {
        match prompted(&conditioning) {
            Ok(prompted) => self.stream.set_conditioning(prompted.0.clone()),
            Err(error) => tracing::error!(%error, "a prompt is not put in force"),
        }
    }

    fn set_prompt_blend(&mut self, blend: f64) {
        self.stream.set_prompt_blend(blend);
    }

    fn set_timbre_strength(&mut self, strength: f64) {
        self.stream.set_timbre_strength(strength);
    }

    fn set_depth(&mut self, depth: u32) -> u32 {
        self.stream.set_depth(depth)
    }

    fn set_loras(&mut self, loras: &[(LoadedLora, f64)]) -> Result<(), GenerateError> {
        // The next tick puts them into the weights, under its lease.
        self.loras = lora_set(loras)?;
        Ok(())
    }

    fn lend(&mut self, engines: Lent) {
        self.lent = engines;
    }

    fn set_structure(&mut self, structure: Option<&PreparedSource>) -> Result<(), GenerateError> {
        let hints = structure.map(|source| Ok::<_, Error>(encoded(source)?.hints.to_device(&self.device)?));
        self.stream.set_structure(hints.transpose()?);
        Ok(())
    }

    fn swap_source(&mut self, source: PreparedSource, conditioning: Conditioning) {
        let mut swap = || {
            let latents = on_device(&source, &self.device)?;
            Ok::<_, Error>(self.stream.swap_source(latents, prompted(&conditioning)?.0.clone())?)
        };
        match swap() {
            Ok(()) => self.audio = source.audio,
            Err(error) => tracing::error!(%error, "a source is not swapped"),
        }
    }

    fn tick(&mut self, target_frame: u64, cancel: &CancelFlag) -> Result<Tick, GenerateError> {
        if cancel.is_raised() {
            return Err(GenerateError::Cancelled);
        }
        // Another stream may have left its LoRAs in the weights.
        if self.groups.dit.wear(&self.loras).map_err(GenerateError::Compute)? {
            self.stream.weights_changed();
        }
        let engine = self.forwards.lent(Component::Decoder, self.lent);
        // One that cannot have the stream's LoRAs leaves the tick to the modules, which can.
        let engine = engine.filter(|engine| {
            let worn = engine.transformer().map(|decoder| decoder.wear(&self.loras));
            worn.is_some_and(|worn| worn.inspect_err(|error| tracing::debug!(error, "modules tick")).is_ok())
        });
        let dit = self.groups.dit.lease()?;
        let part = self.part(target_frame);
        let mut networks = Networks {
            engine: engine.as_deref(),
            modules: self.forwards.dit.on(&dit),
        };
        let ticked = self.stream.tick(&mut networks, part);
        // Work that is only queued belongs to the lease as well.
        let finished = ticked
            .and_then(|finished| self.device.synchronize().map(|()| finished))
            .map_err(|error| compute(&error))?;
        Ok(Tick { finished })
    }

    fn decode(&mut self, start_frame: u64, frames: usize, cancel: &CancelFlag) -> Result<Vec<f32>, GenerateError> {
        if cancel.is_raised() {
            return Err(GenerateError::Cancelled);
        }
        let start = (start_frame % self.audio.frames() as u64) as usize;
        let Some(stereo) = self.decoded(start, frames)? else {
            return Ok(self.unchanged(start, frames));
        };
        if self.audio.channels() == 1 {
            return Ok(stereo
                .chunks_exact(CHANNELS)
                .map(|pair| 0.5 * (pair[0] + pair[1]))
                .collect());
        }
        Ok(stereo)
    }
}

/// What can go wrong on a device, or with what was handed in.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Compute(#[from] candle_core::Error),
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl From<Error> for GenerateError {
    fn from(error: Error) -> Self {
        match error {
            Error::Compute(error) => compute(&error),
            Error::Generate(error) => error,
        }
    }
}

/// A source's tensors where the stream computes.
fn on_device(source: &PreparedSource, device: &Device) -> Result<SourceLatents, Error> {
    let encoded = encoded(source)?;
    Ok(SourceLatents {
        latents: encoded.latents.to_device(device)?,
        hints: encoded.hints.to_device(device)?,
    })
}
