//! A forward that the device repeats by itself: one recording for each shape, over inputs and outputs that stay where they are.

use std::sync::{Arc, Weak};

use candle_core::{DType, Result, Tensor};
use greenroom_weights::{DeviceLane, Recordable, Recording};

use crate::{
    network::{Dit, Inputs, Memories, Memory},
    runner::Assembled,
};

/// What a recorded forward is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardShape {
    /// Slots that step at once.
    pub slots: usize,
    /// Frames of each.
    pub frames: usize,
    /// Rows of the memories that lie side by side.
    pub states: usize,
    /// Where the network lies whose weights are read.
    network: usize,
}

/// One recording, and what it reads and writes.
pub(crate) struct Recorded {
    /// While this is there, no other network can lie where it lay.
    _network: Weak<Dit>,
    latents: Tensor,
    context: Tensor,
    times: Tensor,
    memories: Memories,
    /// Whose memories lie there.
    prompts: Vec<Arc<Memory>>,
    velocities: Tensor,
    recording: Box<dyn Recording>,
}

/// A forward's inputs and the prompts that its memories are of.
pub(crate) struct Forward<'a> {
    pub(crate) network: &'a Arc<Dit>,
    pub(crate) latents: &'a Tensor,
    pub(crate) context: &'a Tensor,
    pub(crate) times: &'a Tensor,
    pub(crate) assembled: &'a Assembled,
}

impl Recordable<ForwardShape, Recorded> for Forward<'_> {
    type Output = Tensor;

    fn shape(&self) -> Result<ForwardShape> {
        let (slots, frames, _) = self.latents.dims3()?;
        Ok(ForwardShape {
            slots,
            frames,
            states: self.assembled.memories.values.dim(2)?,
            network: Arc::as_ptr(self.network).addr(),
        })
    }

    fn run(&self) -> Result<Tensor> {
        self.network.forward(&Inputs {
            latents: self.latents,
            context: self.context,
            times: self.times,
            memories: &self.assembled.memories,
        })
    }

    fn repeat(&self, recorded: &mut Recorded) -> Result<Tensor> {
        recorded.latents.slice_set(&self.latents.contiguous()?, 0, 0)?;
        recorded.context.slice_set(&self.context.contiguous()?, 0, 0)?;
        recorded.times.slice_set(self.times, 0, 0)?;
        let Assembled { prompts, memories } = self.assembled;
        if !crate::runner::same(&recorded.prompts, prompts) {
            recorded.memories.values.slice_set(&memories.values, 0, 0)?;
            recorded.memories.lengths.slice_set(&memories.lengths, 0, 0)?;
            recorded.prompts.clone_from(prompts);
        }
        recorded.recording.repeat()?;
        // The next repetition overwrites it.
        recorded.velocities.copy()
    }

    fn record(&self, lane: &dyn DeviceLane) -> Result<Option<Recorded>> {
        // Copies: what was handed in is the caller's.
        let (latents, context) = (self.latents.copy()?, self.context.copy()?);
        let times = self.times.copy()?;
        let memories = Memories {
            values: self.assembled.memories.values.copy()?,
            lengths: self.assembled.memories.lengths.copy()?,
        };
        let velocities = Tensor::zeros(latents.dims(), DType::F32, self.network.device())?;
        let work = {
            let (network, memories) = (Arc::clone(self.network), memories.clone());
            let (latents, context, times) = (latents.clone(), context.clone(), times.clone());
            let velocities = velocities.clone();
            move || {
                let inputs = Inputs {
                    latents: &latents,
                    context: &context,
                    times: &times,
                    memories: &memories,
                };
                velocities.slice_set(&network.forward(&inputs)?, 0, 0)
            }
        };
        let recording = lane.record(Box::new(work))?;
        Ok(recording.map(|recording| Recorded {
            _network: Arc::downgrade(self.network),
            latents,
            context,
            times,
            memories,
            prompts: self.assembled.prompts.clone(),
            velocities,
            recording,
        }))
    }
}
