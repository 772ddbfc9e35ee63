//! What a lane repeats by itself: one recording for each shape, of shapes that come again.

use std::{fmt::Debug, sync::Arc};

use candle_core::Result;

use crate::source::DeviceLane;

/// Times that a shape comes in a row before it is recorded: one that is passed through is not worth it.
const RUNS_BEFORE: u32 = 2;
/// Recordings that are kept; the one that was not used for longest goes. A session plays at a few depths, guided or not.
const KEPT_MAX: usize = 8;

/// What is recorded of some work on a lane: `R` for each shape `S`.
///
/// A shape tells everything apart that makes another recording necessary, whose weights are read included.
pub struct Recorder<S, R> {
    lane: Arc<dyn DeviceLane>,
    /// The newest last.
    kept: Vec<(S, R)>,
    /// The last shape, and how often it came in a row.
    repeated: Option<(S, u32)>,
    /// Whether the lane records nothing, or failed to.
    eager: bool,
}

/// Work that a [`Recorder`] may repeat.
pub trait Recordable<S, R> {
    /// What it gives.
    type Output;

    /// What tells this work from others.
    ///
    /// # Errors
    /// If its inputs have no shape that it could have.
    fn shape(&self) -> Result<S>;

    /// Does it.
    ///
    /// # Errors
    /// If the device fails.
    fn run(&self) -> Result<Self::Output>;

    /// Does it by a recording of the same shape.
    ///
    /// # Errors
    /// If the device fails.
    fn repeat(&self, recorded: &mut R) -> Result<Self::Output>;

    /// Records it; none where the lane records nothing.
    ///
    /// # Errors
    /// As [`DeviceLane::record`].
    fn record(&self, lane: &dyn DeviceLane) -> Result<Option<R>>;
}

impl<S: Copy + PartialEq + Debug, R> Recorder<S, R> {
    /// Nothing is recorded yet.
    #[must_use]
    pub fn new(lane: Arc<dyn DeviceLane>) -> Self {
        Self {
            lane,
            kept: Vec::new(),
            repeated: None,
            eager: false,
        }
    }

    /// Does the work: by a recording where there is one of its shape. A recording that cannot be made is no error: the work goes on without.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run<W: Recordable<S, R>>(&mut self, work: &W) -> Result<W::Output> {
        let shape = work.shape()?;
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == shape) {
            let (shape, mut recorded) = self.kept.remove(place);
            let output = work.repeat(&mut recorded);
            self.kept.push((shape, recorded));
            return output;
        }
        let output = work.run()?;
        if self.is_due(shape) {
            self.record(work, shape);
        }
        Ok(output)
    }

    fn is_due(&mut self, shape: S) -> bool {
        let runs = match self.repeated {
            Some((last, runs)) if last == shape => runs + 1,
            _ => 1,
        };
        self.repeated = Some((shape, runs));
        !self.eager && runs > RUNS_BEFORE
    }

    fn record<W: Recordable<S, R>>(&mut self, work: &W, shape: S) {
        match work.record(&*self.lane) {
            Ok(Some(recorded)) => {
                tracing::info!(?shape, "work is recorded");
                self.kept.push((shape, recorded));
                let surplus = self.kept.len().saturating_sub(KEPT_MAX);
                self.kept.drain(..surplus);
            }
            Ok(None) => self.eager = true,
            Err(error) => {
                tracing::warn!(%error, ?shape, "work cannot be recorded: this session goes on without recordings of it");
                self.eager = true;
            }
        }
    }
}
