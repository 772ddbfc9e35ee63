//! A running estimate of how long something takes.

use std::time::Duration;

/// Mean and mean deviation of a duration, the newest measurements counting most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    mean_s: f64,
    deviation_s: f64,
    /// Nothing was measured yet.
    is_guess: bool,
}

impl Estimate {
    /// Share of a new measurement in the mean and in the deviation.
    const WEIGHT: f64 = 0.3;
    /// Deviations over the mean that hold all but outliers.
    const DEVIATIONS: f64 = 3.0;

    /// A first guess, to be corrected by measurements.
    pub(crate) fn guess(mean: Duration) -> Self {
        Self {
            mean_s: mean.as_secs_f64(),
            deviation_s: mean.as_secs_f64() / 2.0,
            is_guess: true,
        }
    }

    pub(crate) fn record(&mut self, measured: Duration) {
        if self.is_guess {
            *self = Self {
                is_guess: false,
                ..Self::guess(measured)
            };
        }
        let error = measured.as_secs_f64() - self.mean_s;
        self.mean_s += Self::WEIGHT * error;
        self.deviation_s += Self::WEIGHT * (error.abs() - self.deviation_s);
    }

    /// Seconds that it takes at most, outliers aside.
    pub(crate) fn upper_s(&self) -> f64 {
        self.mean_s + Self::DEVIATIONS * self.deviation_s
    }
}
