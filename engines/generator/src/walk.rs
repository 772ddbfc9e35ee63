//! Walk mode: of a long source only a part around the playhead is generated at a time, and nothing reaches over its ends.

use std::ops::Range;

use greenroom_audio::{POOL_FRAMES, SAMPLE_RATE};

/// Shortest part in seconds: what the shortest window of a model takes.
const SECONDS_MIN: f64 = 5.0;
/// Longest part in seconds: the longest source that any generator serves.
const SECONDS_MAX: f64 = 240.0;

/// How long the parts are. A source that is no longer than one is generated whole, as without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    frames: u64,
}

impl Walk {
    /// Parts of so many seconds, cut to 5 to 240 and to whole pools; what is no number is 60.
    #[must_use]
    pub fn new(seconds: f64) -> Self {
        let seconds = if seconds.is_finite() { seconds } else { 60.0 };
        let frames = (seconds.clamp(SECONDS_MIN, SECONDS_MAX) * f64::from(SAMPLE_RATE)) as u64;
        let pool = POOL_FRAMES as u64;
        Self {
            frames: frames / pool * pool,
        }
    }

    /// The part that the sound at `frame` is generated from, in frames; none where the source is generated whole. All parts are equally
    /// long: the last reaches back into the one before it.
    #[must_use]
    pub fn part(&self, frame: u64, source_frames: u64) -> Option<Range<u64>> {
        if source_frames <= self.frames {
            return None;
        }
        let start = (frame / self.frames * self.frames).min(source_frames - self.frames);
        Some(start..start + self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_part_and_all_are_equally_long() {
        let walk = Walk::new(60.0);
        let (source, second) = (150 * 48_000, 48_000);
        let part = |frame: u64| {
            walk.part(frame, source)
                .map(|part| (part.start / second, part.end / second))
        };
        assert_eq!(part(0), Some((0, 60)));
        assert_eq!(part(60 * second - 1), Some((0, 60)));
        assert_eq!(part(60 * second), Some((60, 120)));
        assert_eq!(part(120 * second), Some((90, 150)));
        assert_eq!(part(source - 1), Some((90, 150)));
    }

    #[test]
    fn a_source_no_longer_than_a_part_is_whole() {
        assert_eq!(Walk::new(60.0).part(0, 60 * 48_000), None);
        assert_eq!(Walk::new(60.0).part(0, 9_600), None);
    }

    #[test]
    fn no_number_makes_a_part_that_cannot_be_played() {
        for (seconds, frames) in [
            (f64::NAN, 60 * 48_000),
            (f64::INFINITY, 60 * 48_000),
            (-3.0, 5 * 48_000),
            (1e300, 240 * 48_000),
            (7.3, 345_600),
        ] {
            assert_eq!(Walk::new(seconds), Walk { frames }, "{seconds}");
        }
    }
}
