//! A track on its way through the networks, block by block.

use std::{ops::Range, sync::Arc};

use greenroom_audio::{Pcm, frames_at};
use greenroom_sync::CancelFlag;
use rayon::prelude::*;
use realfft::num_complex::Complex32;

use super::{
    block::{BLOCK_FRAMES, Block, Step},
    core::Core,
    interruption::Interruption,
    spectrum::{HOP, REACH, WINDOW},
    stretch::{Direction, NETWORK_RATE},
    weights::SpleeterNets,
};
use crate::{BatchOutcome, Rip, SeparateError, Stems};

/// Singing at the networks' rate that is not yet at the track's: its last windows still lack what the next block adds.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Where in the clip it begins.
    start: usize,
    samples: Vec<f32>,
}

/// A rip of one track. A block of about 12 s goes through both networks in [`Block::STEPS`] batches, so that giving way after a batch takes a
/// quarter of a block's time.
pub(crate) struct SpleeterRip {
    core: Arc<Core>,
    track: Arc<Pcm>,
    /// Length of a channel at the networks' rate.
    length: usize,
    /// Spectra of the whole track.
    frames: usize,
    batches_done: u32,
    batches: u32,
    /// Interleaved, at the track's rate, as far as it is final.
    vocals: Vec<f32>,
    tails: Vec<Tail>,
    /// The block under way. It survives giving way, as the accumulators do.
    block: Option<Box<Block>>,
}

/// What a batch adds to the rip.
struct Addition {
    tails: Vec<Tail>,
    /// Interleaved.
    vocals: Vec<f32>,
}

impl SpleeterRip {
    pub(super) fn new(core: Arc<Core>, track: Arc<Pcm>) -> Result<Self, SeparateError> {
        let length = frames_at(track.frames(), track.sample_rate(), NETWORK_RATE);
        let frames = 1 + length / HOP;
        let batches = u32::try_from(frames.div_ceil(BLOCK_FRAMES) * Block::STEPS.len())
            .map_err(|_| SeparateError::Unsuitable("it is longer than 4 billion batches of 3 s".into()))?;
        Ok(Self {
            core,
            length,
            frames,
            batches_done: 0,
            batches,
            vocals: Vec::with_capacity(track.samples().len()),
            tails: vec![Tail::default(); usize::from(track.channels())],
            track,
            block: None,
        })
    }

    /// Which block the next batch is of, and which step.
    fn place(&self) -> (Range<usize>, Step) {
        let steps = Block::STEPS.len();
        let batch = self.batches_done as usize;
        let first = batch / steps * BLOCK_FRAMES;
        (
            first..self.frames.min(first + BLOCK_FRAMES),
            Block::STEPS[batch % steps],
        )
    }

    fn analyse(&self, frames: &Range<usize>, cancel: &CancelFlag) -> Result<Vec<Vec<Complex32>>, Interruption> {
        (0..self.track.channels())
            .into_par_iter()
            .map(|channel| {
                let samples = self.samples_under(frames, channel, cancel)?;
                Ok(self.core.fourier.analyse(&samples, frames.len(), cancel)?)
            })
            .collect()
    }

    /// The next batch: a step of its block, and what the last step adds to the rip.
    fn separate(
        &self,
        nets: &SpleeterNets,
        block: &mut Block,
        cancel: &CancelFlag,
    ) -> Result<Option<Addition>, Interruption> {
        let (frames, step) = self.place();
        if step == Block::STEPS[0] {
            block.begin(self.analyse(&frames, cancel)?);
        }
        block.run(nets, step, cancel)?;
        if Block::STEPS.last() != Some(&step) {
            return Ok(None);
        }
        let tails = (0..usize::from(self.track.channels()))
            .into_par_iter()
            .map(|channel| {
                let Some(mut singing) = block.singing(channel) else {
                    let batch = self.batches_done;
                    return Err(Interruption::Failed(SeparateError::NotFinite { batch }));
                };
                let sound = self.core.fourier.synthesise(&mut singing, cancel)?;
                Ok(self.longer_tail(channel, &frames, &sound))
            })
            .collect::<Result<Vec<_>, Interruption>>()?;
        self.addition(tails, &frames, cancel).map(Some)
    }

    /// What the windows of a block lie over, at the networks' rate, with silence beyond the clip.
    fn samples_under(&self, block: &Range<usize>, channel: u16, cancel: &CancelFlag) -> Result<Vec<f32>, Interruption> {
        let start = (block.start * HOP).saturating_sub(REACH);
        let end = self.length.min((block.end - 1) * HOP + REACH);
        let wanted = start..end;
        let needed = Direction::ToNetwork.needed(&wanted, self.track.frames());
        let channels = usize::from(self.track.channels());
        let input: Vec<f32> = self.track.samples()[needed.start * channels..needed.end * channels]
            .chunks_exact(channels)
            .map(|frame| frame[usize::from(channel)])
            .collect();
        let samples = Direction::ToNetwork.convert(&input, needed.start, &wanted, cancel)?;
        let mut padded = vec![0.0; (block.len() - 1) * HOP + WINDOW];
        let lead = start + REACH - block.start * HOP;
        padded[lead..lead + samples.len()].copy_from_slice(&samples);
        Ok(padded)
    }

    /// The channel's tail with a block's sound added.
    fn longer_tail(&self, channel: usize, block: &Range<usize>, sound: &[f32]) -> Tail {
        let Tail { start, mut samples } = self.tails[channel].clone();
        // The first block's first half window lies before the clip, and the last one's last half window after it.
        let lead = REACH.saturating_sub(block.start * HOP);
        let first = block.start * HOP + lead - REACH;
        let sound = &sound[lead..];
        let end = self.length.min(first + sound.len());
        samples.resize(end - start, 0.0);
        for (offset, (sum, sample)) in samples[first - start..].iter_mut().zip(sound).enumerate() {
            *sum += sample / self.core.fourier.overlap(first + offset, self.frames);
        }
        Tail { start, samples }
    }

    /// Brings what is final of the tails to the track's rate, and cuts them.
    fn addition(
        &self,
        mut tails: Vec<Tail>,
        block: &Range<usize>,
        cancel: &CancelFlag,
    ) -> Result<Addition, Interruption> {
        let is_last = block.end == self.frames;
        let emitted = self.vocals.len() / usize::from(self.track.channels());
        let (complete, end) = if is_last {
            (self.length, self.track.frames())
        } else {
            let complete = block.end * HOP - REACH;
            (complete, Direction::FromNetwork.settled(complete).max(emitted))
        };
        let wanted = emitted..end;
        let next_start = Direction::FromNetwork.needed(&(end..end), self.length).start;
        let converted = tails
            .par_iter_mut()
            .map(|tail| {
                let samples = &tail.samples[..complete - tail.start];
                let converted = Direction::FromNetwork.convert(samples, tail.start, &wanted, cancel)?;
                tail.samples.drain(..(next_start - tail.start).min(tail.samples.len()));
                tail.start = next_start;
                Ok(converted)
            })
            .collect::<Result<Vec<_>, Interruption>>()?;
        Ok(Addition {
            tails,
            vocals: interleaved(converted),
        })
    }
}

impl Rip for SpleeterRip {
    fn progress(&self) -> (u32, u32) {
        (self.batches_done, self.batches)
    }

    fn run_batch(&mut self, cancel: &CancelFlag) -> Result<BatchOutcome, SeparateError> {
        if self.batches_done == self.batches {
            return Ok(BatchOutcome::Done);
        }
        let nets = self.core.slot.lease().map_err(|_| SeparateError::NotResident)?;
        let mut block = self.block.take().unwrap_or_else(|| Box::new(Block::of(&nets)));
        let core = Arc::clone(&self.core);
        let outcome = core.pool.install(|| self.separate(&nets, &mut block, cancel));
        self.block = Some(block);
        match outcome {
            Ok(addition) => {
                if let Some(addition) = addition {
                    self.vocals.extend(addition.vocals);
                    self.tails = addition.tails;
                }
                self.batches_done += 1;
                if self.batches_done == self.batches {
                    self.block = None;
                }
                Ok(BatchOutcome::Done)
            }
            Err(Interruption::Cancelled) => Ok(BatchOutcome::Abandoned),
            Err(Interruption::Failed(error)) => Err(error),
        }
    }

    fn finish(self: Box<Self>) -> Result<Stems, SeparateError> {
        if self.batches_done < self.batches {
            return Err(SeparateError::Unfinished {
                done: self.batches_done,
                total: self.batches,
            });
        }
        let (rate, channels) = (self.track.sample_rate(), self.track.channels());
        // The masks of both networks add up to one, so everything else is the track without the singing; this way nothing is lost above
        // the networks' rate, and both stems together are the track.
        let instruments = self
            .track
            .samples()
            .iter()
            .zip(&self.vocals)
            .map(|(all, vocals)| all - vocals)
            .collect();
        Ok(Stems {
            vocals: Pcm::new(rate, channels, self.vocals),
            instruments: Pcm::new(rate, channels, instruments),
        })
    }
}

fn interleaved(mut channels: Vec<Vec<f32>>) -> Vec<f32> {
    match channels.as_slice() {
        [left, right] => left
            .iter()
            .zip(right)
            .flat_map(|(left, right)| [*left, *right])
            .collect(),
        _ => channels.pop().unwrap_or_default(),
    }
}
