//! The network as a stream drives it: what one forward can reuse of the last.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use greenroom_diffusion::{Batch, Denoiser};

use crate::{
    network::{Dit, Inputs, Memories, Memory},
    time,
};

/// What a stream keeps between forwards. It holds no weights: these may be parked meanwhile.
#[derive(Default)]
pub struct Runner {
    /// The prompts of the last forward, and their memories side by side.
    assembled: Option<(Vec<Arc<Memory>>, Memories)>,
}

/// A runner with the network's weights at hand.
pub struct Running<'a> {
    network: &'a Dit,
    runner: &'a mut Runner,
}

impl Runner {
    /// Runs on these weights, for as long as the caller leases them.
    pub fn on<'a>(&'a mut self, network: &'a Dit) -> Running<'a> {
        Running { network, runner: self }
    }
}

impl Running<'_> {
    /// The prompts' memories side by side; as they were, while the prompts are the same.
    fn assemble(&mut self, prompts: &[Arc<Memory>]) -> Result<()> {
        let same = |known: &[Arc<Memory>]| {
            known.len() == prompts.len()
                && known
                    .iter()
                    .zip(prompts)
                    .all(|(known, prompt)| Arc::ptr_eq(known, prompt))
        };
        if self.runner.assembled.as_ref().is_some_and(|(known, _)| same(known)) {
            return Ok(());
        }
        let lengths = prompts
            .iter()
            .map(|prompt| prompt.values.dim(1))
            .collect::<Result<Vec<_>>>()?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let padded = prompts
            .iter()
            .zip(&lengths)
            .map(|(prompt, length)| prompt.values.pad_with_zeros(1, 0, longest - length))
            .collect::<Result<Vec<_>>>()?;
        let lengths: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
        let memories = Memories {
            values: Tensor::stack(&padded, 1)?.contiguous()?,
            lengths: Tensor::new(lengths, self.network.device())?,
        };
        self.runner.assembled = Some((prompts.to_vec(), memories));
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
        let Some((_, memories)) = &self.runner.assembled else {
            candle_core::bail!("a forward without prompts")
        };
        self.network.forward(&Inputs {
            latents: batch.latents,
            context: batch.context,
            times: &times,
            memories,
        })
    }
}
