//! The network as a stream drives it: what one forward can reuse of the last.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_weights::{DeviceLane, Recordable, Recorder, Register};

use crate::{
    network::{Dit, Memories, Memory},
    recorded::{Forward, ForwardShape, Recorded},
    time,
};

/// Memories are as long as the longest, rounded up to this many rows: another prompt is seldom another shape. Nobody looks beyond its own.
const STATES_STEP: usize = 32;

/// What a stream keeps between forwards. It holds no weights: these may be parked meanwhile.
#[derive(Default)]
pub struct Runner {
    /// Those of the last forward.
    assembled: Option<Assembled>,
    recorder: Option<Recorder<ForwardShape, Recorded>>,
}

/// Prompts, and their memories side by side.
pub(crate) struct Assembled {
    pub(crate) prompts: Vec<Arc<Memory>>,
    pub(crate) memories: Memories,
}

/// A runner with the network's weights at hand.
pub struct Running<'a> {
    network: &'a Arc<Dit>,
    runner: &'a mut Runner,
}

impl Runner {
    /// A runner on a lane, which records forwards where the lane can.
    #[must_use]
    pub fn recording(lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            assembled: None,
            recorder: Some(Recorder::new(lane)),
        }
    }

    /// Makes every recording known.
    #[must_use]
    pub fn registering(self, register: Register<ForwardShape>) -> Self {
        Self {
            recorder: self.recorder.map(|recorder| recorder.registering(register)),
            ..self
        }
    }

    /// Runs on these weights, for as long as the caller leases them.
    pub fn on<'a>(&'a mut self, network: &'a Arc<Dit>) -> Running<'a> {
        Running { network, runner: self }
    }
}

/// Whether they are the same prompts, not others of the same values.
pub(crate) fn same(known: &[Arc<Memory>], prompts: &[Arc<Memory>]) -> bool {
    known.len() == prompts.len()
        && known
            .iter()
            .zip(prompts)
            .all(|(known, prompt)| Arc::ptr_eq(known, prompt))
}

impl Running<'_> {
    /// The prompts' memories side by side; as they were, while the prompts are the same.
    fn assemble(&mut self, prompts: &[Arc<Memory>]) -> Result<()> {
        if self
            .runner
            .assembled
            .as_ref()
            .is_some_and(|assembled| same(&assembled.prompts, prompts))
        {
            return Ok(());
        }
        let lengths = prompts
            .iter()
            .map(|prompt| prompt.values.dim(1))
            .collect::<Result<Vec<_>>>()?;
        let rows = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(STATES_STEP);
        let padded = prompts
            .iter()
            .zip(&lengths)
            .map(|(prompt, length)| prompt.values.pad_with_zeros(1, 0, rows - length))
            .collect::<Result<Vec<_>>>()?;
        let lengths: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
        let memories = Memories {
            values: Tensor::stack(&padded, 1)?.contiguous()?,
            lengths: Tensor::new(lengths, self.network.device())?,
        };
        self.runner.assembled = Some(Assembled {
            prompts: prompts.to_vec(),
            memories,
        });
        Ok(())
    }
}

impl Denoiser for Running<'_> {
    type Prompt = Memory;

    fn device(&self) -> &Device {
        self.network.device()
    }

    fn prompt(&self, states: &Tensor) -> Result<Arc<Memory>> {
        self.network.memory(states)
    }

    fn velocity(&mut self, batch: &Batch<'_, Memory>) -> Result<Tensor> {
        self.assemble(batch.prompts)?;
        let times = time::features(batch.times, self.network.device())?;
        let Runner { assembled, recorder } = &mut *self.runner;
        let Some(assembled) = assembled else {
            candle_core::bail!("a forward without prompts")
        };
        let forward = Forward {
            network: self.network,
            latents: batch.latents,
            context: batch.context,
            times: &times,
            assembled,
        };
        match recorder {
            Some(recorder) => recorder.run(&forward),
            None => forward.run(),
        }
    }
}
