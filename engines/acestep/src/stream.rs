//! One live session's stream.

use std::{ops::Range, sync::Arc};

use candle_core::{Device, Tensor};
use greenroom_audio::Pcm;
use greenroom_diffusion::{SourceLatents, Stream};
use greenroom_dit::{LoraSet, Memory, Runner};
use greenroom_generator::{
    Conditioning, GenerateError, Knobs, LiveStream, LoadedLora, PreparedSource, StreamSettings, Tick, Walk,
};
use greenroom_oobleck::Windows;
use greenroom_sync::CancelFlag;
use greenroom_weights::DeviceLane;

use crate::{
    checkpoint::FRAME_SAMPLES,
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
}

impl Forwards {
    /// Recorded where the lane can.
    pub(crate) fn recording(lane: &Arc<dyn DeviceLane>) -> Self {
        Self {
            dit: Runner::recording(Arc::clone(lane)),
            vae: Windows::recording(Arc::clone(lane)),
        }
    }
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
        let vae = self.groups.vae.lease()?;
        let sound = self
            .forwards
            .vae
            .decode(&vae.live, &finished.latents, first - finished.part.start, count, cyclic)
            .map_err(|error| compute(&error))?;
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
        let dit = self.groups.dit.lease()?;
        let part = self.part(target_frame);
        let ticked = self.stream.tick(&mut self.forwards.dit.on(&dit), part);
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
