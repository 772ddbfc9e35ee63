//! A forward that the device repeats by itself: one recording for each shape, over inputs and outputs that stay where they are.

use std::sync::{Arc, Weak};

use candle_core::{DType, Result, Tensor};
use greenroom_weights::{DeviceLane, Recording};

use crate::{
    network::{Dit, Inputs, Memories, Memory},
    runner::Assembled,
};

/// Forwards of one shape in a row before it is recorded: a shape that is passed through is not worth it.
const FORWARDS_BEFORE: u32 = 2;
/// Recordings that are kept; the one that was not used for longest goes. A session plays at a few depths, guided or not.
const KEPT_MAX: usize = 8;

/// What a recording is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    slots: usize,
    frames: usize,
    /// Rows of the memories that lie side by side.
    states: usize,
}

/// What is recorded of a network on a lane.
pub(crate) struct Recorder {
    lane: Arc<dyn DeviceLane>,
    /// The newest last.
    kept: Vec<Recorded>,
    /// The shape of the last forwards, and how many they were.
    repeated: Option<(Shape, u32)>,
    /// Whether the lane records nothing, or failed to.
    eager: bool,
}

/// One recording, and what it reads and writes.
struct Recorded {
    shape: Shape,
    /// Its addresses are of this network's weights.
    network: Weak<Dit>,
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
    pub(crate) latents: &'a Tensor,
    pub(crate) context: &'a Tensor,
    pub(crate) times: &'a Tensor,
    pub(crate) assembled: &'a Assembled,
}

impl Forward<'_> {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            latents: self.latents,
            context: self.context,
            times: self.times,
            memories: &self.assembled.memories,
        }
    }

    fn shape(&self) -> Result<Shape> {
        let (slots, frames, _) = self.latents.dims3()?;
        let states = self.assembled.memories.values.dim(2)?;
        Ok(Shape { slots, frames, states })
    }
}

impl Recorder {
    pub(crate) fn new(lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            lane,
            kept: Vec::new(),
            repeated: None,
            eager: false,
        }
    }

    /// Velocities, by a recording where there is one of this shape. Where there is none yet, the forward is run as it is.
    pub(crate) fn forward(&mut self, network: &Arc<Dit>, forward: &Forward<'_>) -> Result<Tensor> {
        let shape = forward.shape()?;
        if let Some(place) = self.kept.iter().position(|kept| kept.is_of(shape, network)) {
            let mut recorded = self.kept.remove(place);
            let velocities = recorded.repeat(forward);
            self.kept.push(recorded);
            return velocities;
        }
        let velocities = network.forward(&forward.inputs())?;
        if self.is_due(shape) {
            self.record(network, forward, shape);
        }
        Ok(velocities)
    }

    fn is_due(&mut self, shape: Shape) -> bool {
        let forwards = match self.repeated {
            Some((last, forwards)) if last == shape => forwards + 1,
            _ => 1,
        };
        self.repeated = Some((shape, forwards));
        !self.eager && forwards > FORWARDS_BEFORE
    }

    fn record(&mut self, network: &Arc<Dit>, forward: &Forward<'_>, shape: Shape) {
        self.kept.retain(|kept| kept.network.strong_count() > 0);
        match Recorded::new(&*self.lane, network, forward, shape) {
            Ok(Some(recorded)) => {
                tracing::info!(?shape, "a forward is recorded");
                self.kept.push(recorded);
                let surplus = self.kept.len().saturating_sub(KEPT_MAX);
                self.kept.drain(..surplus);
            }
            Ok(None) => self.eager = true,
            Err(error) => {
                tracing::warn!(%error, ?shape, "a forward cannot be recorded: this session goes on without recordings");
                self.eager = true;
            }
        }
    }
}

impl Recorded {
    fn new(lane: &dyn DeviceLane, network: &Arc<Dit>, forward: &Forward<'_>, shape: Shape) -> Result<Option<Self>> {
        // Copies: what was handed in is the caller's.
        let (latents, context) = (forward.latents.copy()?, forward.context.copy()?);
        let times = forward.times.copy()?;
        let memories = Memories {
            values: forward.assembled.memories.values.copy()?,
            lengths: forward.assembled.memories.lengths.copy()?,
        };
        let velocities = Tensor::zeros(latents.dims(), DType::F32, network.device())?;
        let work = {
            let (network, memories) = (Arc::clone(network), memories.clone());
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
        Ok(recording.map(|recording| Self {
            shape,
            network: Arc::downgrade(network),
            latents,
            context,
            times,
            memories,
            prompts: forward.assembled.prompts.clone(),
            velocities,
            recording,
        }))
    }

    fn is_of(&self, shape: Shape, network: &Arc<Dit>) -> bool {
        self.shape == shape && std::ptr::eq(self.network.as_ptr(), Arc::as_ptr(network))
    }

    fn repeat(&mut self, forward: &Forward<'_>) -> Result<Tensor> {
        self.latents.slice_set(&forward.latents.contiguous()?, 0, 0)?;
        self.context.slice_set(&forward.context.contiguous()?, 0, 0)?;
        self.times.slice_set(forward.times, 0, 0)?;
        let Assembled { prompts, memories } = forward.assembled;
        if !crate::runner::same(&self.prompts, prompts) {
            self.memories.values.slice_set(&memories.values, 0, 0)?;
            self.memories.lengths.slice_set(&memories.lengths, 0, 0)?;
            self.prompts.clone_from(prompts);
        }
        self.recording.repeat()?;
        // The next repetition overwrites it.
        self.velocities.copy()
    }
}
