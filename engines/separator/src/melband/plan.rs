//! How a track is cut into overlapping pieces, and how they are joined again.

use rayon::prelude::*;

use super::config::MelbandConfig;

/// Samples that are one task.
const BLOCK: usize = 1 << 14;

/// The pieces of one track at the network's rate. Fixed when a rip begins.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Samples of the track.
    length: usize,
    /// Samples that are reflected before and after the track.
    border: usize,
    chunk: usize,
    step: usize,
    /// How much each sample of the first, of a later and of the last piece counts.
    windows: [Vec<f32>; 3],
}

impl Plan {
    pub(crate) fn new(config: &MelbandConfig, length: usize) -> Self {
        let step = config.chunk / 2;
        // A short track is not reflected.
        let border = if length > 2 * step { step } else { 0 };
        let alone = length + 2 * border <= step;
        Self {
            length,
            border,
            chunk: config.chunk,
            step,
            windows: [(false, !alone), (true, true), (true, false)]
                .map(|(fades_in, fades_out)| window(config.chunk, fades_in, fades_out)),
        }
    }

    /// Samples of the track with its borders.
    fn total(&self) -> usize {
        self.length + 2 * self.border
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> usize {
        self.total().div_ceil(self.step)
    }

    /// Samples of a piece that are the track's or a border's; what is missing to a chunk is filled up.
    fn covered(&self, piece: usize) -> usize {
        self.chunk.min(self.total() - piece * self.step)
    }

    /// Writes what the network hears of a channel as piece number `piece`.
    pub(crate) fn cut(&self, piece: usize, channel: &[f32], out: &mut [f32]) {
        let start = piece * self.step;
        if start >= self.border && start + self.chunk <= self.border + self.length {
            out.copy_from_slice(&channel[start - self.border..][..self.chunk]);
            return;
        }
        let covered = self.covered(piece);
        let reflected = covered > self.chunk / 2 + 1;
        for (index, sample) in out.iter_mut().enumerate() {
            let within = if index < covered {
                index
            } else if reflected {
                2 * (covered - 1) - index
            } else {
                *sample = 0.0;
                continue;
            };
            *sample = channel[self.unreflected(start + within)];
        }
    }

    /// Which sample of the track is heard at a place of the track with its borders.
    fn unreflected(&self, place: usize) -> usize {
        if place < self.border {
            self.border - place
        } else if place < self.border + self.length {
            place - self.border
        } else {
            2 * (self.length - 1) - (place - self.border)
        }
    }

    /// How much each sample of a piece counts where pieces overlap.
    fn window(&self, piece: usize) -> &[f32] {
        let [first, later, last] = &self.windows;
        match piece {
            0 => first,
            _ if piece + 1 == self.pieces() => last,
            _ => later,
        }
    }

    /// Adds a channel of what the network made of a piece to the sum over all pieces, which is as long as the track.
    pub(crate) fn add(&self, piece: usize, out: &[f32], sum: &mut [f32]) {
        let start = piece * self.step;
        let first = self.border.saturating_sub(start);
        let end = self
            .covered(piece)
            .min((self.border + self.length).saturating_sub(start));
        if first >= end {
            return;
        }
        let sum = &mut sum[start + first - self.border..start + end - self.border];
        let (out, window) = (&out[first..end], &self.window(piece)[first..end]);
        (
            sum.par_chunks_mut(BLOCK),
            out.par_chunks(BLOCK),
            window.par_chunks(BLOCK),
        )
            .into_par_iter()
            .for_each(|(sum, out, window)| {
                for ((sum, out), weight) in sum.iter_mut().zip(out).zip(window) {
                    *sum += out * weight;
                }
            });
    }

    /// Turns the sum over all pieces into their average.
    pub(crate) fn divide(&self, sum: &mut [f32]) {
        // A track's first sample is the first of a step, reflected or not. In each step two pieces overlap, but for the first of all.
        sum.par_chunks_mut(self.step).enumerate().for_each(|(index, sum)| {
            let piece = index + self.border / self.step;
            let starting = &self.window(piece)[..self.step];
            match piece.checked_sub(1).map(|before| &self.window(before)[self.step..]) {
                None => sum.iter_mut().zip(starting).for_each(|(sum, weight)| *sum /= weight),
                Some(ending) => {
                    for ((sum, starting), ending) in sum.iter_mut().zip(starting).zip(ending) {
                        *sum /= starting + ending;
                    }
                }
            }
        });
    }
}

/// A piece's weights: linear fades where it overlaps with another, but not at the track's ends.
fn window(chunk: usize, fades_in: bool, fades_out: bool) -> Vec<f32> {
    let fade = chunk / 10;
    let mut window = vec![1.0; chunk];
    for place in 0..fade {
        let weight = place as f32 / (fade - 1) as f32;
        if fades_in {
            window[place] = weight;
        }
        if fades_out {
            window[chunk - 1 - place] = weight;
        }
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MelbandConfig {
        MelbandConfig {
            window: 64,
            hop: 10,
            chunk: 100,
            ..MelbandConfig::PUBLIC
        }
    }

    /// Lengths around every change of procedure.
    const LENGTHS: [usize; 14] = [1, 2, 49, 50, 51, 52, 53, 99, 100, 101, 102, 149, 151, 1234];

    #[test]
    fn pieces_that_go_through_unchanged_join_to_the_track() {
        for length in LENGTHS {
            let plan = Plan::new(&config(), length);
            let track: Vec<f32> = (0..length).map(|n| (n * n % 89) as f32 - 44.0).collect();
            let (mut sum, mut piece) = (vec![0.0; length], vec![0.0; 100]);
            for number in 0..plan.pieces() {
                plan.cut(number, &track, &mut piece);
                plan.add(number, &piece, &mut sum);
            }
            plan.divide(&mut sum);
            for (n, sample) in sum.iter().enumerate() {
                assert!(
                    (sample - track[n]).abs() < 1e-4,
                    "sample {n} of {length}: {sample} for {}",
                    track[n]
                );
            }
        }
    }

    #[test]
    fn a_long_track_begins_and_ends_in_its_reflection() {
        let plan = Plan::new(&config(), 101);
        assert_eq!(plan.pieces(), 5);
        let track: Vec<f32> = (0..101).map(|n| n as f32).collect();
        let mut piece = vec![0.0; 100];
        plan.cut(0, &track, &mut piece);
        assert_eq!((piece[0], piece[49], piece[50], piece[99]), (50.0, 1.0, 0.0, 49.0));
        // 200..201 of 201: one sample is left, too little to be reflected.
        plan.cut(4, &track, &mut piece);
        assert_eq!((piece[0], piece[1]), (50.0, 0.0));
    }

    #[test]
    fn a_piece_that_is_short_is_reflected_if_more_than_half_is_there() {
        let track: Vec<f32> = (0..52).map(|n| n as f32).collect();
        let mut piece = vec![0.0; 100];
        Plan::new(&config(), 52).cut(0, &track, &mut piece);
        assert_eq!((piece[51], piece[52], piece[99]), (51.0, 50.0, 3.0));
        Plan::new(&config(), 51).cut(0, &track[..51], &mut piece);
        assert_eq!((piece[50], piece[51], piece[99]), (50.0, 0.0, 0.0));
    }
}
