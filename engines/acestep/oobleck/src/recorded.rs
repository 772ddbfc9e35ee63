//! Windows that the device decodes by itself: one recording for each shape, over latents and sound that stay where they are.

use std::sync::{Arc, Weak};

use candle_core::{DType, Result, Tensor};
use greenroom_weights::{DeviceLane, Recordable, Recorder, Recording, Register};

use crate::{Oobleck, Window};

/// What a stream keeps between windows. It holds no weights: these may be parked meanwhile.
#[derive(Default)]
pub struct Windows {
    recorder: Option<Recorder<WindowShape, Recorded>>,
}

/// What a recorded window is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShape {
    /// Frames that are decoded.
    pub frames: usize,
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

struct Decoding<'a> {
    network: &'a Arc<Oobleck>,
    window: &'a Window,
}

impl Windows {
    /// Decodes on a lane, which records windows where the lane can.
    #[must_use]
    pub fn recording(lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            recorder: Some(Recorder::new(lane)),
        }
    }

    /// Makes every recording known.
    #[must_use]
    pub fn registering(self, register: Register<WindowShape>) -> Self {
        Self {
            recorder: self.recorder.map(|recorder| recorder.registering(register)),
        }
    }

    /// As [`Oobleck::decode_this`], while the caller leases the network's weights.
    ///
    /// # Errors
    /// If the device fails or has no room.
    pub fn decode(&mut self, network: &Arc<Oobleck>, window: &Window) -> Result<Vec<f32>> {
        match &mut self.recorder {
            Some(recorder) => recorder.run(&Decoding { network, window })?.flatten_all()?.to_vec1(),
            None => network.decode_this(window),
        }
    }
}

impl Recordable<WindowShape, Recorded> for Decoding<'_> {
    /// [samples, 2] f32, valid until the next repetition.
    type Output = Tensor;

    fn shape(&self) -> Result<WindowShape> {
        Ok(WindowShape {
            frames: self.window.frames(),
            kept: (self.window.kept.start, self.window.kept.len()),
            network: Arc::as_ptr(self.network).addr(),
        })
    }

    fn run(&self) -> Result<Tensor> {
        self.network.decode_on_device(self.window)
    }

    fn repeat(&self, recorded: &mut Recorded) -> Result<Tensor> {
        recorded.latents.slice_set(&self.window.latents.contiguous()?, 0, 0)?;
        recorded.recording.repeat()?;
        Ok(recorded.sound.clone())
    }

    fn record(&self, lane: &dyn DeviceLane) -> Result<Option<Recorded>> {
        let window = Window {
            latents: self.window.latents.copy()?,
            kept: self.window.kept.clone(),
        };
        let latents = window.latents.clone();
        let config = self.network.config();
        let samples = window.kept.len() * config.frame_samples();
        let sound = Tensor::zeros((samples, config.audio_channels), DType::F32, self.network.device())?;
        let work = {
            let (network, sound) = (Arc::clone(self.network), sound.clone());
            move || sound.slice_set(&network.decode_on_device(&window)?.contiguous()?, 0, 0)
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
