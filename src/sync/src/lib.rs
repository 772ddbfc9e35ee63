//! The few things that cross threads, each small enough for a model checker.
//!
//! Nothing here knows tokio or any other room; under `--cfg loom` the primitives are loom's.
#![forbid(unsafe_code)]

mod cancel;
mod gate;
mod heartbeat;
mod latest;
mod mailbox;
mod slices;

pub use cancel::CancelFlag;
pub use gate::{LeaseGate, Pass, Waited};
pub use heartbeat::Heartbeat;
pub use latest::Latest;
pub use mailbox::{Mailbox, ReceiveError, SendError, mailbox};
pub use slices::{Region, SliceBuffer};

/// The primitives that everything here is built on: the standard library's, or loom's under its own cfg.
pub(crate) mod primitives {
    #[cfg(not(loom))]
    pub(crate) use std::sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    #[cfg(loom)]
    pub(crate) use loom::sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    /// Locks; a panic elsewhere while it was locked does not spread, since every critical section here leaves its data whole.
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
