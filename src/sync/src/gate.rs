//! The standing lease of the live thread: it spans many ticks and is revoked through the gate, not asked for per tick.

use std::time::Duration;

use crate::primitives::{Arc, Condvar, Mutex, MutexGuard, lock};

/// Waits on a condition variable with a patience; loom has no time, so under it waiting ends only by notice.
pub(crate) fn wait<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: Duration,
) -> (MutexGuard<'a, T>, bool) {
    #[cfg(not(loom))]
    {
        let (guard, result) = condition
            .wait_timeout(guard, patience)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (guard, result.timed_out())
    }
    #[cfg(loom)]
    {
        let _ = patience;
        (
            condition.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner),
            false,
        )
    }
}

#[derive(Debug)]
struct State {
    open: bool,
    passes: u32,
    /// The closing whose draining has not been told yet.
    undrained: Option<u64>,
    woken: bool,
}

/// The gate. While it is open, a tick may enter; once it is closed, no tick begins, and when the last pass is back the closing
/// counts as drained: told exactly once, with the closing's number, so that a stale notice is recognised.
#[derive(Clone, Debug)]
pub struct LeaseGate(Arc<(Mutex<State>, Condvar)>);

/// The right to run one tick; hold it while weights are in use.
#[derive(Debug)]
#[must_use = "a pass is held while weights are in use"]
pub struct Pass<'a> {
    gate: &'a LeaseGate,
}

/// Why a waiter came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The gate is open.
    Open,
    /// Somebody woke it.
    Woken,
    /// Neither, in that time.
    TimedOut,
}

impl LeaseGate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new((
            Mutex::new(State {
                open: false,
                passes: 0,
                undrained: None,
                woken: false,
            }),
            Condvar::new(),
        )))
    }

    /// Lets ticks in.
    pub fn open(&self) {
        let (mutex, changed) = &*self.0;
        let mut state = lock(mutex);
        state.open = true;
        state.undrained = None;
        changed.notify_all();
    }

    /// Lets no further tick in. Gives the closing's number back if it is drained already: nobody else will tell it then.
    #[must_use = "a closing that is drained at once is told by whoever closed"]
    pub fn close(&self, closing: u64) -> Option<u64> {
        let (mutex, changed) = &*self.0;
        let mut state = lock(mutex);
        state.open = false;
        changed.notify_all();
        if state.passes == 0 {
            state.undrained = None;
            return Some(closing);
        }
        state.undrained = Some(closing);
        None
    }

    /// Enters, if the gate is open.
    #[must_use]
    pub fn enter(&self) -> Option<Pass<'_>> {
        let mut state = lock(&self.0.0);
        if !state.open {
            return None;
        }
        state.passes += 1;
        Some(Pass { gate: self })
    }

    /// Waits until the gate is open, somebody wakes, or `patience` is over.
    #[must_use]
    pub fn wait_open(&self, patience: Duration) -> Waited {
        let (mutex, changed) = &*self.0;
        let mut state = lock(mutex);
        loop {
            if std::mem::take(&mut state.woken) {
                return Waited::Woken;
            }
            if state.open {
                return Waited::Open;
            }
            let (next, timed_out) = wait(changed, state, patience);
            state = next;
            if timed_out && !state.open && !state.woken {
                return Waited::TimedOut;
            }
        }
    }

    /// Wakes whoever waits, or the next one who would.
    pub fn wake(&self) {
        let (mutex, changed) = &*self.0;
        lock(mutex).woken = true;
        changed.notify_all();
    }

    /// The closing that is drained though nobody has told it, because its last pass was dropped in a panic: once.
    #[must_use]
    pub fn take_drained(&self) -> Option<u64> {
        let mut state = lock(&self.0.0);
        if state.passes == 0 && !state.open {
            state.undrained.take()
        } else {
            None
        }
    }

    /// Gives a pass back; the number of the closing that this drained, if it did.
    fn leave(&self) -> Option<u64> {
        let mut state = lock(&self.0.0);
        state.passes -= 1;
        if state.passes == 0 && !state.open {
            state.undrained.take()
        } else {
            None
        }
    }
}

impl Default for LeaseGate {
    fn default() -> Self {
        Self::new()
    }
}

impl Pass<'_> {
    /// Gives the pass back. A number means that this was the last pass of that closing: the caller tells it.
    #[must_use = "a drained closing must be told"]
    pub fn leave(self) -> Option<u64> {
        let gate = self.gate;
        std::mem::forget(self);
        gate.leave()
    }
}

impl Drop for Pass<'_> {
    /// A tick that panicked gives its pass back too; whoever catches the panic asks `take_drained`.
    fn drop(&mut self) {
        if let Some(closing) = self.gate.leave() {
            // Nobody hears a number from a drop: it stays, to be asked for.
            lock(&self.gate.0.0).undrained = Some(closing);
        }
    }
}
