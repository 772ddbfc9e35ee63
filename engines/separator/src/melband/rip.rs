//! A track on its way through the network, piece by piece.

use std::sync::Arc;

use greenroom_audio::Pcm;
use greenroom_sync::CancelFlag;
use rayon::prelude::*;

use super::{
    Core,
    config::CHANNELS,
    interruption::{Interruption, Look},
    network::Network,
    plan::Plan,
    resample::{Input, Resampler},
};
use crate::{BatchOutcome, Rip, SeparateError, Stems};

/// Samples that are looked at as one task.
const BLOCK: usize = 1 << 14;

/// A rip of one track.
pub(crate) struct MelbandRip {
    core: Arc<Core>,
    track: Arc<Pcm>,
    plan: Plan,
    /// The track's channels at the network's rate.
    sound: Vec<Vec<f32>>,
    /// The sum of all pieces of singing so far, of each channel of the track, weighted where pieces overlap.
    singing: Vec<Vec<f32>>,
    batches_done: u32,
    batches: u32,
}

impl MelbandRip {
    pub(super) fn new(core: Arc<Core>, track: Arc<Pcm>) -> Result<Self, SeparateError> {
        let resampler = Resampler::new(track.sample_rate(), core.config.sample_rate);
        let length = resampler.output_length(track.frames());
        let plan = Plan::new(&core.config, length);
        let batches = u32::try_from(plan.pieces().div_ceil(core.pieces_a_batch))
            .map_err(|_| SeparateError::Unsuitable("it has more than 4 billion pieces of 8 s".into()))?;
        let channels = usize::from(track.channels());
        let sound = core.pool.install(|| {
            (0..channels)
                .map(|channel| {
                    let mut sound = vec![0.0; length];
                    resampler.channel(&Interleaved(&track), channel, &mut sound);
                    sound
                })
                .collect()
        });
        Ok(Self {
            plan,
            sound,
            singing: vec![vec![0.0; length]; channels],
            batches_done: 0,
            batches,
            core,
            track,
        })
    }

    /// The pieces of the next batch.
    fn pieces(&self) -> std::ops::Range<usize> {
        let first = self.batches_done as usize * self.core.pieces_a_batch;
        first..self.plan.pieces().min(first + self.core.pieces_a_batch)
    }

    /// Runs the next batch; `look` is called now and then, and abandons it by an error.
    pub(super) fn run(&mut self, look: Look<'_>) -> Result<BatchOutcome, SeparateError> {
        if self.batches_done == self.batches {
            return Ok(BatchOutcome::Done);
        }
        let core = Arc::clone(&self.core);
        let network = core.slot.lease().map_err(|_| SeparateError::NotResident)?;
        let outcome = core.pool.install(|| self.separate(&network, look));
        match outcome {
            Ok(()) => {
                self.batches_done += 1;
                Ok(BatchOutcome::Done)
            }
            Err(Interruption::Cancelled) => Ok(BatchOutcome::Abandoned),
            Err(Interruption::Failed(error)) => Err(error),
        }
    }

    /// Adds what the network makes of the next batch to the sums, or leaves them as they are.
    fn separate(&mut self, network: &Network, look: Look<'_>) -> Result<(), Interruption> {
        look()?;
        let (pieces, chunk) = (self.pieces(), self.core.config.chunk);
        let heard = network.bridge().send((pieces.len(), CHANNELS, chunk), |heard| {
            heard.par_chunks_exact_mut(chunk).enumerate().for_each(|(index, out)| {
                let (piece, channel) = (pieces.start + index / CHANNELS, index % CHANNELS);
                // A mono track is heard in both channels.
                self.plan
                    .cut(piece, &self.sound[channel.min(self.sound.len() - 1)], out);
            });
        })?;
        let singing = network.separate(&heard, look)?;
        drop(heard);
        network.bridge().fetch(&singing, |singing| self.add(singing))?
    }

    /// Adds a batch to the sums, if it is sound. A mono track is what the first channel hears.
    fn add(&mut self, batch: &[f32]) -> Result<(), Interruption> {
        if !batch.par_iter().with_min_len(BLOCK).all(|sample| sample.is_finite()) {
            let batch = self.batches_done;
            return Err(SeparateError::NotFinite { batch }.into());
        }
        let (pieces, chunk, plan) = (self.pieces(), self.core.config.chunk, &self.plan);
        for (piece, sounds) in pieces.zip(batch.chunks_exact(CHANNELS * chunk)) {
            for (sum, out) in self.singing.iter_mut().zip(sounds.chunks_exact(chunk)) {
                plan.add(piece, out, sum);
            }
        }
        Ok(())
    }

    fn stem(&self, resampler: &Resampler, input: &impl Input) -> Pcm {
        let channels = usize::from(self.track.channels());
        let mut samples = vec![0.0; self.track.samples().len()];
        resampler.interleaved(input, channels, &mut samples);
        Pcm::new(self.track.sample_rate(), self.track.channels(), samples)
    }
}

impl Rip for MelbandRip {
    fn progress(&self) -> (u32, u32) {
        (self.batches_done, self.batches)
    }

    fn run_batch(&mut self, cancel: &CancelFlag) -> Result<BatchOutcome, SeparateError> {
        self.run(&mut || {
            if cancel.is_raised() {
                return Err(Interruption::Cancelled);
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> Result<Stems, SeparateError> {
        if self.batches_done < self.batches {
            return Err(SeparateError::Unfinished {
                done: self.batches_done,
                total: self.batches,
            });
        }
        let core = Arc::clone(&self.core);
        core.pool.install(|| {
            for sum in &mut self.singing {
                self.plan.divide(sum);
            }
            let resampler = Resampler::new(core.config.sample_rate, self.track.sample_rate());
            let vocals = self.stem(&resampler, &Planar(&self.singing));
            let rest = Difference {
                all: &self.sound,
                part: &self.singing,
            };
            let instruments = self.stem(&resampler, &rest);
            Ok(Stems { vocals, instruments })
        })
    }
}

/// The track.
struct Interleaved<'a>(&'a Pcm);

impl Input for Interleaved<'_> {
    fn length(&self) -> usize {
        self.0.frames()
    }

    fn read(&self, channel: usize, start: usize, out: &mut [f32]) {
        let channels = usize::from(self.0.channels());
        let frames = self.0.samples()[start * channels..].chunks_exact(channels);
        for (out, frame) in out.iter_mut().zip(frames) {
            *out = frame[channel];
        }
    }
}

/// Channels one after another.
struct Planar<'a>(&'a [Vec<f32>]);

impl Input for Planar<'_> {
    fn length(&self) -> usize {
        self.0[0].len()
    }

    fn read(&self, channel: usize, start: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.0[channel][start..][..out.len()]);
    }
}

/// What is left of all channels without a part.
struct Difference<'a> {
    all: &'a [Vec<f32>],
    part: &'a [Vec<f32>],
}

impl Input for Difference<'_> {
    fn length(&self) -> usize {
        self.all[0].len()
    }

    fn read(&self, channel: usize, start: usize, out: &mut [f32]) {
        let (all, part) = (&self.all[channel][start..], &self.part[channel][start..]);
        for (out, (all, part)) in out.iter_mut().zip(all.iter().zip(part)) {
            *out = all - part;
        }
    }
}
