//! Where the client is playing, as far as the server can know.

use std::time::Duration;

use greenroom_audio::SAMPLE_RATE;

/// The way that a playhead takes through a buffer: around all of it, or around a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lap {
    /// First frame of the lap.
    pub(crate) start: u64,
    /// Frame after its last, from which playing goes on at `start`.
    pub(crate) end: u64,
}

impl Lap {
    pub(crate) fn frames(self) -> u64 {
        self.end - self.start
    }

    /// Where a playhead is that has run to `position`: before the lap's end it is just there (also before its start, on the way in).
    pub(crate) fn wrap(self, position: f64) -> f64 {
        let (start, end) = (self.start as f64, self.end as f64);
        if position < end {
            return position.max(0.0);
        }
        start + (position - start) % (end - start)
    }

    /// How far `to` lies before (+) or behind (−) `from`, the shorter way around.
    fn distance(self, from: f64, to: f64) -> f64 {
        let within = |position: f64| (self.start as f64..self.end as f64).contains(&position);
        let straight = to - from;
        if !(within(from) && within(to)) {
            return straight;
        }
        let lap = self.frames() as f64;
        straight - lap * (straight / lap).round()
    }
}

/// A playhead that runs by itself between the client's reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Playhead {
    /// Frame that is being heard at `at`.
    position: f64,
    at: Duration,
    reported_at: Duration,
}

impl Playhead {
    /// Reports further off than this are seeks, not jitter.
    const JUMP_FRAMES: f64 = 0.15 * SAMPLE_RATE as f64;
    /// How long it takes to believe reports that lag behind: most of them are only late.
    const PATIENCE_S: f64 = 0.5;

    pub(crate) fn new(now: Duration) -> Self {
        Self {
            position: 0.0,
            at: now,
            reported_at: now,
        }
    }

    pub(crate) fn position(&self) -> f64 {
        self.position
    }

    /// Runs on to a moment; returns the frames passed. A moment before the last one changes nothing.
    pub(crate) fn run(&mut self, now: Duration, lap: Lap) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64() * f64::from(SAMPLE_RATE);
        self.at = self.at.max(now);
        self.position = lap.wrap(self.position + passed);
        passed
    }

    /// Comes onto another lap, as the client does at once if it is past its end.
    pub(crate) fn enter(&mut self, lap: Lap) {
        self.position = lap.wrap(self.position);
    }

    /// Takes a report of the position at the moment last run to; returns the frames by which the playhead was moved.
    ///
    /// A report that is ahead of the estimate is believed at once, for no report can come early. One that is behind may have
    /// been held up on its way and is believed little by little; one far off is a seek.
    pub(crate) fn report(&mut self, position: f64, lap: Lap) -> f64 {
        let error = lap.distance(self.position, lap.wrap(position));
        let waited_s = (self.at - self.reported_at).as_secs_f64();
        self.reported_at = self.at;
        let late = (-Self::JUMP_FRAMES..0.0).contains(&error);
        let moved = if late {
            error * (waited_s / Self::PATIENCE_S).min(1.0)
        } else {
            error
        };
        // Going back over the lap's start lands before its end.
        let target = self.position + moved;
        let start = lap.start as f64;
        self.position = if target < start && self.position >= start && late {
            target + lap.frames() as f64
        } else if target >= 0.0 {
            lap.wrap(target)
        } else {
            lap.wrap(target + lap.frames() as f64)
        };
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAP: Lap = Lap { start: 0, end: 480_000 };

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn runs_by_itself_and_wraps() {
        let mut playhead = Playhead::new(at(0));
        assert_eq!(playhead.run(at(1_000), LAP), 48_000.0);
        playhead.run(at(11_000), LAP);
        assert_eq!(playhead.position(), 48_000.0);
        assert_eq!(playhead.run(at(10_000), LAP), 0.0, "time never runs back");
    }

    #[test]
    fn reports_ahead_are_believed_at_once_and_late_ones_slowly() {
        let mut playhead = Playhead::new(at(0));
        playhead.run(at(1_000), LAP);
        assert_eq!(playhead.report(50_000.0, LAP), 2_000.0);
        playhead.run(at(1_008), LAP);
        let before = playhead.position();
        let moved = playhead.report(before - 3_000.0, LAP);
        assert!(moved < 0.0 && moved > -100.0);
    }

    #[test]
    fn a_seek_is_followed_at_once_in_both_directions() {
        for target in [0.0, 300_000.0] {
            let mut playhead = Playhead::new(at(0));
            playhead.run(at(3_000), LAP);
            playhead.report(target, LAP);
            assert_eq!(playhead.position(), target);
        }
    }

    #[test]
    fn the_seam_is_no_seek() {
        let mut playhead = Playhead::new(at(0));
        playhead.run(at(9_999), LAP);
        assert!((playhead.report(100.0, LAP) - 148.0).abs() < 1e-6);
        assert!((playhead.position() - 100.0).abs() < 1e-6);
        playhead.run(at(10_000), LAP);
        let moved = playhead.report(479_900.0, LAP);
        assert!(moved <= 0.0 && moved > -1_000.0);
        assert!((0.0..480_000.0).contains(&playhead.position()));
    }

    #[test]
    fn a_band_is_entered_and_then_kept() {
        let band = Lap {
            start: 96_000,
            end: 144_000,
        };
        let mut playhead = Playhead::new(at(0));
        playhead.run(at(1_000), band);
        assert_eq!(playhead.position(), 48_000.0);
        playhead.run(at(3_500), band);
        assert_eq!(playhead.position(), 120_000.0);
    }
}
