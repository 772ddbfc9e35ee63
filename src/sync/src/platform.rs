//! What everything here is built on: the standard library's primitives, or those of a checker that runs every schedule (loom) or many
//! (shuttle). The cfgs are our own: dependencies react to one that is called `loom`, and would then not be what production runs.

#[cfg(greenroom_loom)]
pub(crate) use loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(greenroom_shuttle)]
pub(crate) use shuttle::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::{sync::PoisonError, time::Duration};

/// Locks; a panic elsewhere while it was locked does not spread, since every critical section here leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notice, at most `patience`; also says whether that time is over.
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
pub(crate) fn wait<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: Duration,
) -> (MutexGuard<'a, T>, bool) {
    let (guard, result) = condition
        .wait_timeout(guard, patience)
        .unwrap_or_else(PoisonError::into_inner);
    (guard, result.timed_out())
}

/// Checkers have no time: no patience is over at once, any other never. So a wake-up that patience would make good is a deadlock here.
#[cfg(any(greenroom_loom, greenroom_shuttle))]
pub(crate) fn wait<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: Duration,
) -> (MutexGuard<'a, T>, bool) {
    if patience.is_zero() {
        return (guard, true);
    }
    (condition.wait(guard).unwrap_or_else(PoisonError::into_inner), false)
}
