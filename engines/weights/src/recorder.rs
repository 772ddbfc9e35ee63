//! What a lane repeats by itself: one recording for each shape, of shapes that come again.

use std::{fmt::Debug, sync::Arc};

use candle_core::Result;

use crate::source::DeviceLane;

/// Times that a shape comes in a row before it is recorded: one that is passed through is not worth it.
const RUNS_BEFORE: u32 = 2;
/// Recordings that are kept; the one that was not used for longest goes. A session plays at a few depths, guided or not.
const KEPT_MAX: usize = 8;

/// Makes a recording known, by the shape of the work. What it gives is kept as long as the recording and dropped after it.
pub type Register<S> = Box<dyn Fn(&S) -> Registration + Send>;

/// A recording is known for as long as this is there.
pub type Registration = Box<dyn Send>;

/// What is recorded of some work on a lane: `R` for each shape `S`.
///
/// A shape tells everything apart that makes another recording necessary, whose weights are read included.
pub struct Recorder<S, R> {
    lane: Arc<dyn DeviceLane>,
    register: Option<Register<S>>,
    /// The newest last.
    kept: Vec<Kept<S, R>>,
    /// The last shape, and how often it came in a row.
    repeated: Option<(S, u32)>,
    /// Whether the lane records nothing, or failed to.
    eager: bool,
}

/// A recording; its fields are dropped in this order.
struct Kept<S, R> {
    shape: S,
    recorded: R,
    _registration: Option<Registration>,
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
            register: None,
            kept: Vec::new(),
            repeated: None,
            eager: false,
        }
    }

    /// Makes every recording known.
    #[must_use]
    pub fn registering(self, register: Register<S>) -> Self {
        Self {
            register: Some(register),
            ..self
        }
    }

    /// Does the work: by a recording where there is one of its shape. A recording that cannot be made is no error: the work goes on without.
    ///
    /// # Errors
    /// If the device fails.
    pub fn run<W: Recordable<S, R>>(&mut self, work: &W) -> Result<W::Output> {
        let shape = work.shape()?;
        if let Some(place) = self.kept.iter().position(|kept| kept.shape == shape) {
            let mut kept = self.kept.remove(place);
            let output = work.repeat(&mut kept.recorded);
            self.kept.push(kept);
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
                tracing::debug!(?shape, "work is recorded");
                self.kept.push(Kept {
                    _registration: self.register.as_ref().map(|register| register(&shape)),
                    shape,
                    recorded,
                });
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use candle_core::Device;

    use super::*;
    use crate::{image::PackedImage, source::WeightSource};

    struct Lane;

    impl DeviceLane for Lane {
        fn device(&self) -> &Device {
            &Device::Cpu
        }

        fn weights<'a>(
            &'a self,
            _: &'a PackedImage,
            _: u64,
        ) -> std::result::Result<Box<dyn WeightSource + 'a>, String> {
            Err("there is no device".into())
        }
    }

    /// Work of this shape, which always can be recorded.
    struct Work(usize);

    impl Recordable<usize, ()> for Work {
        type Output = ();

        fn shape(&self) -> Result<usize> {
            Ok(self.0)
        }

        fn run(&self) -> Result<()> {
            Ok(())
        }

        fn repeat(&self, (): &mut ()) -> Result<()> {
            Ok(())
        }

        fn record(&self, _: &dyn DeviceLane) -> Result<Option<()>> {
            Ok(Some(()))
        }
    }

    /// The shapes that are known.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<Vec<usize>>>);

    struct Entry(Book, usize);

    impl Book {
        fn lines(&self) -> MutexGuard<'_, Vec<usize>> {
            self.0.lock().unwrap()
        }
    }

    impl Drop for Entry {
        fn drop(&mut self) {
            self.0.lines().retain(|shape| *shape != self.1);
        }
    }

    #[test]
    fn what_is_recorded_is_known_until_it_makes_room_or_everything_goes() {
        let book = Book::default();
        let register = {
            let book = book.clone();
            move |shape: &usize| {
                book.lines().push(*shape);
                Box::new(Entry(book.clone(), *shape)) as Registration
            }
        };
        let mut recorder = Recorder::new(Arc::new(Lane)).registering(Box::new(register));
        let mut work = |shape, times| (0..times).for_each(|_| recorder.run(&Work(shape)).unwrap());
        work(0, 2);
        assert!(book.lines().is_empty(), "one that is passed through is not recorded");
        for shape in 0..KEPT_MAX {
            work(shape, 3);
        }
        work(0, 1);
        work(100, 3);
        let expected = [0].into_iter().chain(2..KEPT_MAX).chain([100]).collect::<Vec<_>>();
        assert_eq!(
            *book.lines(),
            expected,
            "the one that was not used for longest has gone"
        );
        drop(recorder);
        assert!(book.lines().is_empty());
    }
}
