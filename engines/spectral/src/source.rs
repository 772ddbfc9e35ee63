//! What is kept of a source: where its attacks are.

use std::ops::Range;

use greenroom_audio::{POOL_FRAMES, Pcm, SAMPLE_RATE};
use greenroom_generator::GenerateError;
use greenroom_sync::CancelFlag;

/// Longest source served, in seconds.
pub(crate) const SECONDS_MAX: u32 = 240;
/// Frames a value of the attack curve stands for: 2 ms.
const BLOCK: usize = 96;
/// Blocks on either side that the slow envelope looks at: a spectrum's own length.
const SLOW_BLOCKS: usize = 10;
/// Most that an attack may stand out: beyond it single clicks would rule a whole frame's noise.
const ATTACK_MAX: f32 = 4.0;

/// The source's rhythm, finer than its spectra can show it.
#[derive(Debug)]
pub(crate) struct Attacks {
    /// The frame of the source that they begin at.
    start: u64,
    /// Short-time level over longer-time level, one value a block, around the loop.
    ratios: Vec<f32>,
}

impl Attacks {
    /// Listens to a source.
    ///
    /// # Errors
    /// `Unsuitable` if the source is not what the trait promises; `Cancelled`.
    pub(crate) fn of(audio: &Pcm, cancel: &CancelFlag) -> Result<Self, GenerateError> {
        check(audio)?;
        Self::within(audio, 0..audio.frames() as u64, cancel)
    }

    /// Listens to a part of a source that was checked, as if there were no more of it.
    ///
    /// # Errors
    /// `Unsuitable` for samples that are no numbers; `Cancelled`.
    pub(crate) fn within(audio: &Pcm, part: Range<u64>, cancel: &CancelFlag) -> Result<Self, GenerateError> {
        let channels = usize::from(audio.channels());
        let block_samples = BLOCK * channels;
        let samples = &audio.samples()[part.start as usize * channels..part.end as usize * channels];
        let mut levels = Vec::with_capacity(samples.len() / block_samples);
        for (index, block) in samples.chunks_exact(block_samples).enumerate() {
            if index % 1_024 == 0 && cancel.is_raised() {
                return Err(GenerateError::Cancelled);
            }
            // Of the differences: an attack is told by its highs, which a steady bass would hide.
            let steps = block[channels..].iter().zip(block).map(|(next, sample)| next - sample);
            levels.push((steps.map(|step| step * step).sum::<f32>() / block_samples as f32).sqrt());
        }
        if levels.iter().any(|level| !level.is_finite()) {
            return Err(GenerateError::Unsuitable(
                "it holds NaN, infinite or absurdly loud samples; send finite PCM".into(),
            ));
        }
        Ok(Self {
            start: part.start,
            ratios: ratios(&levels),
        })
    }

    /// How far the level at a frame (around the loop) stands over its surroundings: 1 where nothing happens.
    pub(crate) fn at(&self, frame: u64) -> f32 {
        let count = self.ratios.len() as u64;
        // Values stand at the middle of their blocks.
        let around = count * BLOCK as u64;
        let shifted = frame + 2 * around - self.start % around - (BLOCK / 2) as u64;
        let way = (shifted % BLOCK as u64) as f32 / BLOCK as f32;
        let left = (shifted / BLOCK as u64 % count) as usize;
        let right = (left + 1) % self.ratios.len();
        self.ratios[left] * (1.0 - way) + self.ratios[right] * way
    }
}

fn check(audio: &Pcm) -> Result<(), GenerateError> {
    let refuse = |why: String| Err(GenerateError::Unsuitable(why));
    if audio.sample_rate() != SAMPLE_RATE {
        return refuse(format!(
            "its sample rate is {} Hz, the generator plays at {SAMPLE_RATE} Hz; resample it first",
            audio.sample_rate()
        ));
    }
    if audio.frames() == 0 || !audio.frames().is_multiple_of(POOL_FRAMES) {
        return refuse(format!(
            "its {} frames are not a whole number of pools of {POOL_FRAMES}; trim it first",
            audio.frames()
        ));
    }
    if audio.seconds() > f64::from(SECONDS_MAX) {
        return refuse(format!(
            "it lasts {:.1} s, at most {SECONDS_MAX} s are served; trim it first",
            audio.seconds()
        ));
    }
    Ok(())
}

fn ratios(levels: &[f32]) -> Vec<f32> {
    let count = levels.len();
    let reach = SLOW_BLOCKS.min(count / 2);
    let width = 2 * reach + 1;
    let at = |index: usize| f64::from(levels[index % count]);
    let mut sum: f64 = (0..width).map(|step| at(count - reach + step)).sum();
    let mut ratios = Vec::with_capacity(count);
    for (index, level) in levels.iter().enumerate() {
        let slow = (sum / width as f64) as f32;
        // A running sum of levels that fell to nothing may keep a crumb of rounding.
        ratios.push(if slow > 1e-9 {
            (level / slow).min(ATTACK_MAX)
        } else {
            1.0
        });
        sum += at(index + reach + 1) - at(count + index - reach);
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_stands_out_where_it_is() {
        let level = |frame: usize| if (4_800..5_000).contains(&frame) { 0.8 } else { 0.01 };
        let alternating = |frame: usize| {
            if frame.is_multiple_of(2) {
                level(frame)
            } else {
                -level(frame)
            }
        };
        let samples = (0..POOL_FRAMES).map(alternating).collect();
        let attacks = Attacks::of(&Pcm::new(SAMPLE_RATE, 1, samples), &CancelFlag::new()).unwrap();
        assert!(attacks.at(4_850) > 3.0);
        assert!(attacks.at(4_500) < 0.2);
        assert!((attacks.at(100) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn unsuitable_sources_are_refused_with_a_reason() {
        let flag = CancelFlag::new();
        let refusal = |audio: Pcm| Attacks::of(&audio, &flag).unwrap_err().to_string();
        assert!(refusal(Pcm::new(44_100, 1, vec![0.0; POOL_FRAMES])).contains("44100"));
        assert!(refusal(Pcm::new(SAMPLE_RATE, 1, vec![0.0; POOL_FRAMES + 1])).contains("9601"));
        assert!(refusal(Pcm::new(SAMPLE_RATE, 1, Vec::new())).contains("0 frames"));
        assert!(refusal(Pcm::new(SAMPLE_RATE, 1, vec![f32::NAN; POOL_FRAMES])).contains("NaN"));
        assert!(refusal(Pcm::new(SAMPLE_RATE, 1, vec![0.0; 241 * 48_000])).contains("241"));
    }

    #[test]
    fn a_raised_flag_cancels() {
        let flag = CancelFlag::new();
        flag.raise();
        assert!(matches!(
            Attacks::of(&Pcm::new(SAMPLE_RATE, 1, vec![0.0; POOL_FRAMES]), &flag),
            Err(GenerateError::Cancelled)
        ));
    }
}
