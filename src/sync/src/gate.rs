//! The standing lease of the live thread: it spans many ticks and is revoked through the gate, not asked for per tick.

use crate::{
    cancel::CancelFlag,
    platform::{Arc, Mutex, lock},
};

#[derive(Debug)]
enum Door {
    Open,
    /// The closing of that number waits for the passes that are out.
    Closing(u64),
    Closed,
}

#[derive(Debug)]
struct State {
    door: Door,
    passes: u32,
    /// Gives up the tick under way; each opening has its own.
    give_up: CancelFlag,
}

/// The gate. While it is open, a tick may enter; once it is closed, no tick begins, and when the last pass is back the closing
/// counts as drained: told exactly once, with the closing's number, so that a stale notice is recognised.
#[derive(Clone, Debug)]
pub struct LeaseGate(Arc<Mutex<State>>);

/// The right to run one tick; hold it while weights are in use.
#[derive(Debug)]
#[must_use = "a pass is held while weights are in use"]
pub struct Pass<'a> {
    gate: &'a LeaseGate,
    give_up: CancelFlag,
    /// Whether it went back with [`leave`](Pass::leave).
    left: bool,
}

impl LeaseGate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            door: Door::Closed,
            passes: 0,
            give_up: CancelFlag::new(),
        })))
    }

    /// Lets ticks in. Whoever waits for it is woken by whoever opens, afterwards: the gate itself has nobody waiting.
    pub fn open(&self) {
        let mut state = lock(&self.0);
        state.door = Door::Open;
        state.give_up = CancelFlag::new();
    }

    /// Lets no further tick in; `give_up` asks the one under way to end early. Gives the closing's number back if it is drained
    /// already: nobody else will tell it then.
    #[must_use = "a closing that is drained at once is told by whoever closed"]
    pub fn close(&self, closing: u64, give_up: bool) -> Option<u64> {
        let mut state = lock(&self.0);
        if give_up {
            state.give_up.raise();
        }
        if state.passes == 0 {
            state.door = Door::Closed;
            return Some(closing);
        }
        state.door = Door::Closing(closing);
        None
    }

    /// Enters, if the gate is open.
    #[must_use]
    pub fn enter(&self) -> Option<Pass<'_>> {
        let mut state = lock(&self.0);
        if !matches!(state.door, Door::Open) {
            return None;
        }
        state.passes += 1;
        Some(Pass {
            gate: self,
            give_up: state.give_up.clone(),
            left: false,
        })
    }
}

impl Default for LeaseGate {
    fn default() -> Self {
        Self::new()
    }
}

impl Pass<'_> {
    /// Raised when the gate closes in a hurry: a tick looks at it between its steps.
    #[must_use]
    pub fn give_up(&self) -> &CancelFlag {
        &self.give_up
    }

    /// Gives the pass back. A number means that this was the last pass of that closing: the caller tells it.
    #[must_use = "a drained closing must be told"]
    pub fn leave(mut self) -> Option<u64> {
        self.left = true;
        let mut state = lock(&self.gate.0);
        state.passes -= 1;
        match state.door {
            Door::Closing(closing) if state.passes == 0 => {
                state.door = Door::Closed;
                Some(closing)
            }
            _ => None,
        }
    }
}

impl Drop for Pass<'_> {
    /// A thread that unwinds out of a tick gives its pass back, but tells nobody: that its closing never drains is how the director
    /// learns that the thread is gone.
    fn drop(&mut self) {
        if !self.left {
            lock(&self.gate.0).passes -= 1;
        }
    }
}
