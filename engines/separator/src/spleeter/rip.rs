//! A track on its way through the networks, block by block.

use std::{ops::Range, sync::Arc};

use greenroom_audio::{Pcm, frames_at};
use greenroom_sync::CancelFlag;
use rayon::prelude::*;
use realfft::num_complex::Complex32;

use super::{
    core::Core,
    interruption::Interruption,
    network::{Activations, CHANNELS},
    plane::{Plane, channel_of},
    spectrum::{BINS, HOP, REACH, WINDOW},
    stretch::{Direction, NETWORK_RATE},
    weights::SpleeterNets,
};
use crate::{BatchOutcome, Rip, SeparateError, Stems};

/// Spectra that go through the networks together.
pub(crate) const BLOCK_FRAMES: usize = 512;
/// The lowest bins, which the networks look at: up to 11 kHz.
pub(crate) const NETWORK_BINS: usize = 1024;
/// Keeps the ratio of two silences at one half.
const EPSILON: f32 = 1e-10;

/// Buffers that one batch hands to the next.
#[derive(Debug)]
struct Room {
    activations: Activations,
    vocals: Plane,
    accompaniment: Plane,
}

/// Singing at the networks' rate that is not yet at the track's: its last windows still lack what the next block adds.
#[derive(Clone, Debug, Default)]
struct Tail {
    /// Where in the clip it begins.
    start: usize,
    samples: Vec<f32>,
}

/// A rip of one track. One batch is one block of about 12 s through both networks.
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
    /// Given up when the rip gives way.
    room: Option<Box<Room>>,
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
        let batches = u32::try_from(frames.div_ceil(BLOCK_FRAMES))
            .map_err(|_| SeparateError::Unsuitable("it is longer than 4 billion blocks of 12 s".into()))?;
        Ok(Self {
            core,
            length,
            frames,
            batches_done: 0,
            batches,
            vocals: Vec::with_capacity(track.samples().len()),
            tails: vec![Tail::default(); usize::from(track.channels())],
            track,
            room: None,
        })
    }

    /// The spectra of the block that is next.
    fn block(&self) -> Range<usize> {
        let first = self.batches_done as usize * BLOCK_FRAMES;
        first..self.frames.min(first + BLOCK_FRAMES)
    }

    fn separate(&self, nets: &SpleeterNets, room: &mut Room, cancel: &CancelFlag) -> Result<Addition, Interruption> {
        let block = self.block();
        let mut spectra = (0..self.track.channels())
            .into_par_iter()
            .map(|channel| {
                let samples = self.samples_under(&block, channel, cancel)?;
                Ok(self.core.fourier.analyse(&samples, block.len(), cancel)?)
            })
            .collect::<Result<Vec<_>, Interruption>>()?;
        write_magnitudes(&spectra, room.activations.input());
        nets.vocals.run(&mut room.activations, &mut room.vocals, cancel)?;
        nets.accompaniment
            .run(&mut room.activations, &mut room.accompaniment, cancel)?;
        let room = &*room;
        let tails = spectra
            .par_iter_mut()
            .enumerate()
            .map(|(channel, spectra)| {
                // Mono went to both sides of the networks and comes back from both.
                let sides = match self.track.channels() {
                    1 => 0..CHANNELS,
                    _ => channel..channel + 1,
                };
                if !apply_mask(spectra, room, sides) {
                    let batch = self.batches_done;
                    return Err(Interruption::Failed(SeparateError::NotFinite { batch }));
                }
                let sound = self.core.fourier.synthesise(spectra, cancel)?;
                Ok(self.longer_tail(channel, &block, &sound))
            })
            .collect::<Result<Vec<_>, Interruption>>()?;
        self.addition(tails, &block, cancel)
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
        let mut room = self.room.take().unwrap_or_else(|| Box::new(Room::of(&nets)));
        let core = Arc::clone(&self.core);
        match core.pool.install(|| self.separate(&nets, &mut room, cancel)) {
            Ok(addition) => {
                self.vocals.extend(addition.vocals);
                self.tails = addition.tails;
                self.room = Some(room);
                self.batches_done += 1;
                if self.batches_done == self.batches {
                    self.room = None;
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

impl Room {
    fn of(nets: &SpleeterNets) -> Self {
        Self {
            activations: nets.vocals.activations(BLOCK_FRAMES, NETWORK_BINS),
            vocals: Plane::new(BLOCK_FRAMES, CHANNELS, NETWORK_BINS),
            accompaniment: Plane::new(BLOCK_FRAMES, CHANNELS, NETWORK_BINS),
        }
    }
}

/// Bytes that a batch needs beside the weights and the rip's accumulators: activations, masks, and the block's sound and spectra.
pub(super) fn workspace_bytes(nets: &SpleeterNets) -> u64 {
    let room = Room::of(nets);
    let spectra = CHANNELS * BLOCK_FRAMES * BINS * size_of::<Complex32>();
    let sound = (CHANNELS + 1) * BLOCK_FRAMES * (WINDOW + 4 * HOP) * size_of::<f32>();
    room.activations.bytes() + room.vocals.bytes() + room.accompaniment.bytes() + (spectra + sound) as u64
}

/// Writes the networks' input: magnitudes, even bins apart from odd ones, silence where the block is not full. Mono goes to both sides.
fn write_magnitudes(spectra: &[Vec<Complex32>], input: &mut Plane) {
    let half = input.width();
    let bands: Vec<&mut [f32]> = input.bands_mut().collect();
    bands.into_par_iter().enumerate().for_each(|(frame, band)| {
        for side in 0..CHANNELS {
            let spectra = &spectra[side.min(spectra.len() - 1)];
            let spectrum = spectra.get(frame * BINS..(frame + 1) * BINS);
            for parity in 0..2 {
                let row = channel_of(band, 2 * side + parity, half);
                match spectrum {
                    Some(spectrum) => row
                        .iter_mut()
                        .zip(spectrum.chunks_exact(2))
                        .for_each(|(value, pair)| *value = pair[parity].norm_sqr().sqrt()),
                    None => row.fill(0.0),
                }
            }
        }
    });
}

/// Leaves the singing in a channel's spectra: its share of the squared masks of both networks. Gives `false` if a mask is not finite.
///
/// Above the networks' bins everything stays with the instruments. The other usual choice, to go on with the mean share of the lower bins,
/// scored 0.001 dB worse in both stems of the test song.
fn apply_mask(spectra: &mut [Complex32], room: &Room, sides: Range<usize>) -> bool {
    let apply = |(frame, spectrum): (usize, &mut [Complex32])| {
        let mut shares = [0.0_f32; NETWORK_BINS];
        for side in sides.clone() {
            let masks = room.vocals.row(frame, side).iter();
            let masks = masks.zip(room.accompaniment.row(frame, side));
            for (share, (vocals, accompaniment)) in shares.iter_mut().zip(masks) {
                let (vocals, accompaniment) = (vocals * vocals, accompaniment * accompaniment);
                *share += (vocals + EPSILON / 2.0) / (vocals + accompaniment + EPSILON) / sides.len() as f32;
            }
        }
        let (seen, above) = spectrum.split_at_mut(NETWORK_BINS);
        for (bin, share) in seen.iter_mut().zip(&shares) {
            *bin *= *share;
        }
        above.fill(Complex32::ZERO);
        shares.iter().all(|share| share.is_finite())
    };
    spectra
        .par_chunks_exact_mut(BINS)
        .enumerate()
        .map(apply)
        .reduce(|| true, |all, this| all && this)
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
