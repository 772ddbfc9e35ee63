//! Sample-rate conversion of one stretch of a track, so that no step of a rip takes as long as the whole track would.

use std::ops::Range;

use greenroom_audio::{SAMPLE_RATE, resample_channel};
use greenroom_sync::CancelFlag;

use super::interruption::Interruption;
use crate::SeparateError;

/// Rate at which the networks were trained, in hertz.
pub(crate) const NETWORK_RATE: u32 = 44_100;
/// Samples at 48 kHz and at 44.1 kHz that last equally long.
const SHARED: (usize, usize) = (160, 147);
/// Shared lengths on either side of a stretch that its edges can be heard in: the converter's filter is some 4,500 samples long.
const GUARD: usize = 64;

/// Samples that are converted between two looks at the flag: about 3 s.
const PIECE: usize = 1 << 17;

/// From one rate to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    ToNetwork,
    FromNetwork,
}

impl Direction {
    fn units(self) -> (usize, usize) {
        match self {
            Self::ToNetwork => SHARED,
            Self::FromNetwork => (SHARED.1, SHARED.0),
        }
    }

    /// The samples that have to be there for samples `wanted` of the output, of a clip of `length` samples.
    pub(crate) fn needed(self, wanted: &Range<usize>, length: usize) -> Range<usize> {
        let (from, to) = self.units();
        let start = (wanted.start / to).saturating_sub(GUARD) * from;
        let end = (wanted.end.div_ceil(to) + GUARD) * from;
        start.min(length)..end.min(length)
    }

    /// How many samples of output are final when so many samples of input are there and more will come.
    pub(crate) fn settled(self, input: usize) -> usize {
        let (from, to) = self.units();
        (input / from).saturating_sub(GUARD) * to
    }

    /// Samples `wanted` of the output. `input` begins at sample `start` of the clip, a start that [`needed`](Self::needed) gave.
    /// Beyond what the input reaches there is silence.
    pub(crate) fn convert(
        self,
        input: &[f32],
        start: usize,
        wanted: &Range<usize>,
        cancel: &CancelFlag,
    ) -> Result<Vec<f32>, Interruption> {
        let mut output = Vec::with_capacity(wanted.len());
        for first in wanted.clone().step_by(PIECE) {
            if cancel.is_raised() {
                return Err(Interruption::Cancelled);
            }
            let piece = first..wanted.end.min(first + PIECE);
            let needed = self.needed(&piece, start + input.len());
            output.extend(self.convert_piece(
                &input[needed.start - start..needed.end - start],
                needed.start,
                &piece,
            )?);
        }
        Ok(output)
    }

    fn convert_piece(self, input: &[f32], start: usize, wanted: &Range<usize>) -> Result<Vec<f32>, SeparateError> {
        let (from, to) = self.units();
        let (rate_in, rate_out) = match self {
            Self::ToNetwork => (SAMPLE_RATE, NETWORK_RATE),
            Self::FromNetwork => (NETWORK_RATE, SAMPLE_RATE),
        };
        let output =
            resample_channel(input, rate_in, rate_out).map_err(|error| SeparateError::Compute(error.to_string()))?;
        let skipped = wanted.start - start / from * to;
        let mut output: Vec<f32> = output.into_iter().skip(skipped).take(wanted.len()).collect();
        output.resize(wanted.len(), 0.0);
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_to_the_whole() {
        let clip: Vec<f32> = (0..500_003)
            .map(|n| (n as f32 * 0.05 + (n as f32 * 1e-4).powi(2)).sin() * 0.7)
            .collect();
        for direction in [Direction::ToNetwork, Direction::FromNetwork] {
            let (from, to) = direction.units();
            let length = (clip.len() * to * 2 + from) / (from * 2);
            let whole = direction.convert_piece(&clip, 0, &(0..length)).unwrap();
            let mut joined = Vec::new();
            for start in (0..length).step_by(150_011) {
                let wanted = start..length.min(start + 150_011);
                let needed = direction.needed(&wanted, clip.len());
                let input = &clip[needed.clone()];
                joined.extend(
                    direction
                        .convert(input, needed.start, &wanted, &CancelFlag::new())
                        .unwrap(),
                );
            }
            assert_eq!(joined.len(), whole.len());
            assert!(greenroom_audio::sdr_db(&whole, &joined) > 100.0, "{direction:?}");
        }
    }
}
