//! One job between two events: it ends exactly once, also when it panics.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use greenroom_audio::{DecodeError, UploadError};
use greenroom_director::{Event, Failure, JobId, Outcome};
use greenroom_generator::{GenerateError, Lent};
use greenroom_library::LibraryError;
use greenroom_separator::SeparateError;
use greenroom_sync::CancelFlag;

use super::{events::EventSender, handle::refusal_of, outbox::Refusal};

/// A job that the director started, and how it is asked to end early.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// Raised for [`Urgency::Now`](greenroom_director::Urgency::Now).
    pub(super) cancel: CancelFlag,
    /// Raised for [`Urgency::AfterBatch`](greenroom_director::Urgency::AfterBatch).
    pub(super) after_batch: CancelFlag,
    /// The engines that it may run.
    pub(super) lent: Lent,
}

/// Why a job did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JobError {
    /// The flag was seen.
    Cancelled,
    /// It failed, with words for whoever waits.
    Failed(Refusal),
}

impl JobError {
    pub(super) fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self::Failed(Refusal::new(failure, message))
    }
}

impl Job {
    pub(super) fn new(id: JobId) -> Self {
        Self {
            id,
            cancel: CancelFlag::new(),
            after_batch: CancelFlag::new(),
            lent: Lent::NONE,
        }
    }

    /// The same, with engines lent to it.
    pub(super) fn with_engines(self, lent: Lent) -> Self {
        Self { lent, ..self }
    }

    /// Runs the job's work and tells how it ended; `explain` keeps the words of a failure before the director hears of it.
    pub(super) fn run(
        &self,
        events: &EventSender,
        work: impl FnOnce() -> Result<Outcome, JobError>,
        explain: impl FnOnce(&Refusal),
    ) {
        let outcome = match guarded(work) {
            Ok(outcome) => outcome,
            Err(JobError::Cancelled) => Outcome::Cancelled,
            Err(JobError::Failed(refusal)) => {
                tracing::warn!(job = self.id.0, code = ?refusal.code(), message = %refusal.message, "a job failed");
                explain(&refusal);
                Outcome::Failed(refusal.failure)
            }
        };
        if outcome == Outcome::Failed(Failure::DeviceLost) {
            events.tell_blocking(Event::DeviceLost);
        }
        events.tell_blocking(Event::JobEnded { job: self.id, outcome });
    }
}

/// Turns a panic into a failure: one job's bug must not take the pod with it.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, JobError>) -> Result<T, JobError> {
    // What the work borrows is either whole at every step or dropped with it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_message(&*panic), "a job panicked");
        Err(JobError::Failed(Refusal::plain(Failure::Internal)))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

impl From<GenerateError> for JobError {
    fn from(error: GenerateError) -> Self {
        let message = error.to_string();
        match error {
            GenerateError::Cancelled => Self::Cancelled,
            GenerateError::Unsuitable(_) => Self::new(Failure::BadAudio, message),
            GenerateError::OutOfMemory(_) => Self::new(Failure::OutOfMemory, message),
            _ => Self::new(Failure::Internal, message),
        }
    }
}

impl From<SeparateError> for JobError {
    fn from(error: SeparateError) -> Self {
        let message = error.to_string();
        match error {
            SeparateError::NotResident => Self::new(Failure::Internal, message),
            SeparateError::OutOfMemory(_) => Self::new(Failure::OutOfMemory, message),
            SeparateError::DeviceLost(_) => Self::new(Failure::DeviceLost, message),
            _ => Self::new(Failure::StemExtractFailed, message),
        }
    }
}

impl From<UploadError> for JobError {
    fn from(error: UploadError) -> Self {
        Self::Failed(refusal_of(&error))
    }
}

impl From<DecodeError> for JobError {
    fn from(error: DecodeError) -> Self {
        let message = error.to_string();
        match error {
            DecodeError::Cancelled => Self::Cancelled,
            DecodeError::TooLong { .. } => Self::new(Failure::TooLong, message),
            _ => Self::new(Failure::BadAudio, message),
        }
    }
}

impl From<LibraryError> for JobError {
    fn from(error: LibraryError) -> Self {
        let message = error.to_string();
        match error {
            LibraryError::LimitReached { .. } | LibraryError::DiskFull { .. } | LibraryError::ReadOnly { .. } => {
                Self::new(Failure::DiskFull, message)
            }
            LibraryError::Damaged { .. } | LibraryError::Audio { .. } => Self::new(Failure::BadAudio, message),
            _ => Self::new(Failure::Internal, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::events;

    fn ends_of(work: impl FnOnce() -> Result<Outcome, JobError>) -> Vec<Event> {
        let (sender, mut receiver) = events::channel();
        Job::new(JobId(7)).run(&sender, work, |_| {});
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    fn ended(outcome: Outcome) -> Event {
        Event::JobEnded { job: JobId(7), outcome }
    }

    #[test]
    fn every_job_ends_exactly_once() {
        assert_eq!(ends_of(|| Ok(Outcome::Done)), [ended(Outcome::Done)]);
        assert_eq!(ends_of(|| Err(JobError::Cancelled)), [ended(Outcome::Cancelled)]);
        let full = LibraryError::DiskFull {
            doing: "writing".into(),
        };
        assert_eq!(
            ends_of(|| Err(full.into())),
            [ended(Outcome::Failed(Failure::DiskFull))]
        );
    }

    #[test]
    fn a_panic_is_a_failure_told_once() {
        assert_eq!(ends_of(|| panic!("a bug")), [ended(Outcome::Failed(Failure::Internal))]);
    }

    #[test]
    fn a_lost_device_is_told_before_the_jobs_end() {
        let lost = || Err(JobError::Failed(Refusal::plain(Failure::DeviceLost)));
        assert_eq!(
            ends_of(lost),
            [Event::DeviceLost, ended(Outcome::Failed(Failure::DeviceLost))]
        );
    }

    #[test]
    fn the_words_of_a_failure_are_kept_before_its_end_is_told() {
        let (sender, mut receiver) = events::channel();
        let mut kept = None;
        let refuse = || Err(JobError::new(Failure::TooShort, "0.4 s"));
        Job::new(JobId(1)).run(&sender, refuse, |refusal| kept = Some(refusal.message.clone()));
        assert_eq!(kept.as_deref(), Some("0.4 s"));
        assert!(receiver.try_recv().is_ok());
    }
}
