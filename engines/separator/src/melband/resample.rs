//! Conversion between the tracks' rate and the network's: a windowed sinc, with torchaudio's parameters, since the network was trained
//! and is judged on what that makes (`functional.resample` with its defaults: width 6, rolloff 0.99, Hann).

use std::f64::consts::PI;

use rayon::prelude::*;

/// Zero crossings of the sinc on either side.
const WIDTH: f64 = 6.0;
/// Cut-off, as a part of the lower rate's half.
const ROLLOFF: f64 = 0.99;
/// Values of a filter that are not 0, with room to round up: 2 · 6 / 0.99 · (the rates' ratio, if it falls).
const TAPS: usize = 16;
/// Periods of the conversion that are one task: some 10,000 samples.
const PERIODS: usize = 64;

/// What gives a stretch of the input: (channel, first sample, where to put them). Stretches lie within 0..length.
pub(crate) trait Input: Sync {
    /// Samples of a channel.
    fn length(&self) -> usize;
    /// Copies samples `start..start + out.len()` of a channel.
    fn read(&self, channel: usize, start: usize, out: &mut [f32]);
}

/// Converts by the ratio `to / from`, both without a common factor.
pub(crate) struct Resampler {
    from: usize,
    to: usize,
    /// For each sample of a period of the output: its filter's first sample, relative to the period's, and the filter.
    phases: Vec<(isize, [f32; TAPS])>,
}

impl Resampler {
    /// For rates in hertz.
    pub(crate) fn new(rate_in: u32, rate_out: u32) -> Self {
        let divisor = greatest_common_divisor(rate_in, rate_out);
        let (from, to) = ((rate_in / divisor) as usize, (rate_out / divisor) as usize);
        let cut_off = from.min(to) as f64 * ROLLOFF;
        let phases = (0..to).map(|phase| filter(phase, from, to, cut_off)).collect();
        Self { from, to, phases }
    }

    /// How many samples so many become.
    pub(crate) fn output_length(&self, input: usize) -> usize {
        (input * self.to).div_ceil(self.from)
    }

    /// Fills `output`: `channels` interleaved, beginning with the clip's first sample. It may be shorter or longer than
    /// [`output_length`](Self::output_length); what is longer is silence.
    pub(crate) fn interleaved(&self, input: &impl Input, channels: usize, output: &mut [f32]) {
        let made = self.output_length(input.length());
        output
            .par_chunks_mut(self.to * PERIODS * channels)
            .enumerate()
            .for_each_init(Vec::new, |stretch, (block, output)| {
                let first = block * self.to * PERIODS;
                let wanted = (output.len() / channels).min(made.saturating_sub(first));
                for channel in 0..channels {
                    self.read_under(input, channel, block, stretch);
                    let frames = output[..wanted * channels].chunks_exact_mut(channels);
                    let filters = (0..PERIODS).flat_map(|period| self.phases.iter().map(move |phase| (period, phase)));
                    for (frame, (period, (offset, filter))) in frames.zip(filters) {
                        let start = (period * self.from + TAPS).wrapping_add_signed(*offset);
                        frame[channel] = filtered(&stretch[start..start + TAPS], filter);
                    }
                }
            });
    }

    /// Fills a whole channel, as [`interleaved`](Self::interleaved) does with one.
    pub(crate) fn channel(&self, input: &impl Input, channel: usize, output: &mut [f32]) {
        struct One<'a, I>(&'a I, usize);
        impl<I: Input> Input for One<'_, I> {
            fn length(&self) -> usize {
                self.0.length()
            }
            fn read(&self, _: usize, start: usize, out: &mut [f32]) {
                self.0.read(self.1, start, out);
            }
        }
        self.interleaved(&One(input, channel), 1, output);
    }

    /// What the filters of a block reach, with silence beyond the clip.
    fn read_under(&self, input: &impl Input, channel: usize, block: usize, stretch: &mut Vec<f32>) {
        let start = (block * PERIODS * self.from) as isize - TAPS as isize;
        stretch.clear();
        stretch.resize(PERIODS * self.from + 2 * TAPS, 0.0);
        let end = start + stretch.len() as isize;
        let (from, to) = (start.max(0), end.min(input.length() as isize));
        if from < to {
            let place = (from - start) as usize;
            input.read(
                channel,
                from as usize,
                &mut stretch[place..place + (to - from) as usize],
            );
        }
    }
}

/// The sum of samples times their weights.
fn filtered(samples: &[f32], filter: &[f32; TAPS]) -> f32 {
    let mut lanes = [0.0; 4];
    for (samples, filter) in samples.as_chunks::<4>().0.iter().zip(filter.as_chunks::<4>().0) {
        for ((lane, sample), weight) in lanes.iter_mut().zip(samples).zip(filter) {
            *lane += sample * weight;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// The filter of one sample of a period, and where it begins.
fn filter(phase: usize, from: usize, to: usize, cut_off: f64) -> (isize, [f32; TAPS]) {
    // In units of a period; the filter lives where |time · cut_off| < WIDTH.
    let centre = phase as f64 / to as f64;
    let first = ((centre - WIDTH / cut_off) * from as f64).ceil() as isize;
    let mut taps = [0.0; TAPS];
    for (index, tap) in taps.iter_mut().enumerate() {
        let time = ((first + index as isize) as f64 / from as f64 - centre) * cut_off;
        if time.abs() < WIDTH {
            let window = (time * PI / WIDTH / 2.0).cos().powi(2);
            let sinc = if time == 0.0 {
                1.0
            } else {
                (time * PI).sin() / (time * PI)
            };
            *tap = (sinc * window * cut_off / from as f64) as f32;
        }
    }
    (first, taps)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tone(usize, f64);

    impl Input for Tone {
        fn length(&self) -> usize {
            self.0
        }

        fn read(&self, _: usize, start: usize, out: &mut [f32]) {
            assert!(start + out.len() <= self.0);
            for (n, sample) in out.iter_mut().enumerate() {
                *sample = ((start + n) as f64 * self.1).sin() as f32;
            }
        }
    }

    #[test]
    fn a_tone_stays_the_tone_at_either_rate() {
        for (rate_in, rate_out) in [(48_000, 44_100), (44_100, 48_000)] {
            let resampler = Resampler::new(rate_in, rate_out);
            let step = 997.0 * 2.0 * PI;
            let tone = Tone(50_021, step / f64::from(rate_in));
            let mut output = vec![0.0; resampler.output_length(tone.0)];
            resampler.channel(&tone, 0, &mut output);
            let ends = 2 * TAPS;
            for (n, sample) in output.iter().enumerate().skip(ends).take(output.len() - 2 * ends) {
                let expected = (n as f64 * step / f64::from(rate_out)).sin() as f32;
                assert!((sample - expected).abs() < 2e-3, "sample {n}: {sample} for {expected}");
            }
        }
    }

    #[test]
    fn no_filter_is_longer_than_its_room() {
        for (rate_in, rate_out) in [(48_000, 44_100), (44_100, 48_000)] {
            for (_, taps) in &Resampler::new(rate_in, rate_out).phases {
                assert!(taps[TAPS - 1] == 0.0, "{taps:?}");
                assert!((taps.iter().sum::<f32>() - 1.0).abs() < 0.01);
            }
        }
    }
}
