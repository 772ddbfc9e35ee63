//! Windows that the device decodes by itself: one recording for each shape, over latents and sound that stay where they are.

use std::{
    ops::Range,
    sync::{Arc, Weak},
};

use candle_core::{DType, Result, Tensor};
use greenroom_weights::{DeviceLane, Recordable, Recorder, Recording};

use crate::Oobleck;

/// What a stream keeps between windows. It holds no weights: these may be parked meanwhile.
#[derive(Default)]
pub struct Windows {
    recorder: Option<Recorder<Shape, Recorded>>,
}

/// What a recording is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    frames: usize,
    /// The first frame that is kept, and how many are.
    kept: (usize, usize),
    /// Where the network lies whose weights are read.
    network: usize,
}

/// One recording, and what it reads and writes.
struct Recorded {
    /// While this is there, no other network can lie where it lay.
    _network: Weak<Oobleck>,
    latents: Tensor,
    sound: Tensor,
    recording: Box<dyn Recording>,
}

/// Latents [frames, channels] of a window, and which of them are kept.
struct Decoding<'a> {
    network: &'a Arc<Oobleck>,
    latents: Tensor,
    kept: Range<usize>,
}

impl Windows {
    /// Decodes on a lane, which records windows where the lane can.
    #[must_use]
    pub fn recording(lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            recorder: Some(Recorder::new(lane)),
        }
    }

    /// As [`Oobleck::decode_window`], while the caller leases the network's weights.
    ///
    /// # Errors
    /// As [`Oobleck::decode_window`].
    pub fn decode(
        &mut self,
        network: &Arc<Oobleck>,
        latents: &Tensor,
        first_frame: usize,
        frames: usize,
        cyclic: bool,
    ) -> Result<Vec<f32>> {
        let Some(recorder) = &mut self.recorder else {
            return network.decode_window(latents, first_frame, frames, cyclic);
        };
        let (latents, kept) = network.window(latents, first_frame..first_frame + frames, cyclic)?;
        let sound = recorder.run(&Decoding { network, latents, kept })?;
        sound.flatten_all()?.to_vec1()
    }
}

impl Recordable<Shape, Recorded> for Decoding<'_> {
    /// [samples, 2] f32, valid until the next repetition.
    type Output = Tensor;

    fn shape(&self) -> Result<Shape> {
        Ok(Shape {
            frames: self.latents.dim(0)?,
            kept: (self.kept.start, self.kept.len()),
            network: Arc::as_ptr(self.network).addr(),
        })
    }

    fn run(&self) -> Result<Tensor> {
        self.network.decoder.forward(&self.latents, &self.kept)
    }

    fn repeat(&self, recorded: &mut Recorded) -> Result<Tensor> {
        recorded.latents.slice_set(&self.latents.contiguous()?, 0, 0)?;
        recorded.recording.repeat()?;
        Ok(recorded.sound.clone())
    }

    fn record(&self, lane: &dyn DeviceLane) -> Result<Option<Recorded>> {
        let latents = self.latents.copy()?;
        let config = self.network.config();
        let samples = self.kept.len() * config.frame_samples();
        let sound = Tensor::zeros((samples, config.audio_channels), DType::F32, self.network.device())?;
        let work = {
            let (network, latents, sound) = (Arc::clone(self.network), latents.clone(), sound.clone());
            let kept = self.kept.clone();
            move || sound.slice_set(&network.decoder.forward(&latents, &kept)?.contiguous()?, 0, 0)
        };
        let recording = lane.record(Box::new(work))?;
        Ok(recording.map(|recording| Recorded {
            _network: Arc::downgrade(self.network),
            latents,
            sound,
            recording,
        }))
    }
}
