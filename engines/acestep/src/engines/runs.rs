//! How a batch goes through an engine, which knows no masks: it looks at all of a prompt that it is given, and at all slots' equally.

use std::collections::BTreeMap;

use greenroom_compiled::Shapes;
use greenroom_diffusion::Batch;
use greenroom_dit::Memory;

/// Slots of one run: their prompts are equally long, so that none looks beyond its own end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// States of each prompt.
    pub(super) tokens: usize,
    /// Places in the batch, rising.
    pub(super) slots: Vec<usize>,
}

/// The fewest runs that slots of these prompts' lengths take, the shortest prompts first.
pub(super) fn runs(lengths: impl IntoIterator<Item = usize>) -> Vec<Run> {
    let mut alike: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (slot, tokens) in lengths.into_iter().enumerate() {
        alike.entry(tokens).or_default().push(slot);
    }
    let run = |(tokens, slots)| Run { tokens, slots };
    alike.into_iter().map(run).collect()
}

/// Lengths of a batch's prompts.
pub(super) fn lengths(batch: &Batch<'_, Memory>) -> impl Iterator<Item = usize> {
    batch.prompts.iter().map(|prompt| prompt.states().dims()[0])
}

/// What each run of a batch asks of an engine.
pub(super) fn shapes(batch: &Batch<'_, Memory>) -> candle_core::Result<Vec<Shapes>> {
    let (_, frames, _) = batch.latents.dims3()?;
    let width = batch.prompts.first().map_or(0, |prompt| prompt.states().dims()[1]);
    let of_run = |run: Run| {
        let [slots, frames, tokens, width] = [run.slots.len(), frames, run.tokens, width].map(|size| size as u64);
        Shapes::decoder_of_width(slots, frames, tokens, width)
    };
    Ok(runs(lengths(batch)).into_iter().map(of_run).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_that_are_equally_long_go_together() {
        let run = |tokens, slots: &[usize]| Run {
            tokens,
            slots: slots.to_vec(),
        };
        assert_eq!(runs([80, 80, 80]), [run(80, &[0, 1, 2])]);
        assert_eq!(
            runs([80, 1, 80, 75, 1]),
            [run(1, &[1, 4]), run(75, &[3]), run(80, &[0, 2])]
        );
        assert_eq!(runs([]), []);
    }
}
