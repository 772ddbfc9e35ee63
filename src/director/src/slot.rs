//! What is in one component's slot for a compiled engine: at most one serves, and while engines change, two may lie on the device.

use crate::{
    engine::{Component, Engine},
    fork::{Fork, Rename},
    ids::JobId,
    machine::machine,
};

/// The right to call the engine in a slot: it does not leave while one is out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Call {
    component: Component,
    engine: Engine,
}

impl Call {
    pub(crate) fn component(&self) -> Component {
        self.component
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }
}

impl Fork for Call {
    fn fork(&self, _rename: &Rename) -> Self {
        Self {
            component: self.component,
            engine: self.engine,
        }
    }
}

machine! {
    /// The slot of one component.
    machine Slot {
        /// Nothing is loaded.
        Empty {}
        /// An engine comes, beside the old one where both fit; calls of the old one go on, and nobody begins another.
        Loading { engine: Engine, old: Option<Engine>, calls: u8, claimed: u64, job: JobId }
        /// Work may call it.
        Loaded { engine: Engine, calls: u8 }
        /// An engine goes: when its last call has ended. The one that took its place, if any, is there already.
        Unloading { engine: Engine, stays: Option<Engine>, calls: u8, tries: u8, claimed: u64, job: Option<JobId> }
    }
    transitions {
        /// `claimed` is what the one that was there before needs to come back, beyond what this one takes.
        Empty: load(engine: Engine, claimed: u64, job: JobId) => Loading |_| {
            Loading { engine, old: None, calls: 0, claimed, job }
        };
        /// Both fit: the old one stays until the new one is there.
        Loaded: load_beside(engine: Engine, job: JobId) => Loading |from| {
            Loading { engine, old: Some(from.engine), calls: from.calls, claimed: 0, job }
        };
        /// It is there, and was alone.
        Loading: loaded() => Loaded |from| {
            assert!(from.old.is_none(), "an engine that still lies there is not forgotten");
            Loaded { engine: from.engine, calls: 0 }
        };
        /// It is there, and the old one goes.
        Loading: take_over(old: Engine) => Unloading |from| {
            Unloading { engine: old, stays: Some(from.engine), calls: from.calls, tries: 0, claimed: 0, job: None }
        };
        /// Nothing of it came, and there was nothing before.
        Loading: load_failed() => Empty |from| {
            assert!(from.old.is_none(), "an engine that still lies there is not forgotten");
            Empty {}
        };
        /// Nothing of it came, and the old one was never away.
        Loading: keep(old: Engine) => Loaded |from| Loaded { engine: old, calls: from.calls };
        /// Only while nobody calls it. `claimed` is what the next one needs beyond what this one frees.
        Loaded: unload(claimed: u64, job: JobId) => Unloading |from| {
            assert!(from.calls == 0, "an engine that is called does not leave");
            Unloading { engine: from.engine, stays: None, calls: 0, tries: 0, claimed, job: Some(job) }
        };
        /// Its last call has ended, or it would not go before.
        Unloading: begin(job: JobId) => Unloading |from| {
            assert!(from.calls == 0, "an engine that is called does not leave");
            Unloading { job: Some(job), ..from }
        };
        /// It would not go.
        Unloading: unload_failed() => Unloading |from| Unloading { job: None, tries: from.tries.saturating_add(1), ..from };
        /// Its memory is free, and the slot.
        Unloading: unloaded() => Empty |_| Empty {};
        /// Its memory is free, and the new one serves.
        Unloading: make_way(stays: Engine) => Loaded |_| Loaded { engine: stays, calls: 0 };
    }
}

impl Loaded {
    /// Lets work call the engine that is there.
    pub fn call(&mut self, component: Component) -> Call {
        self.calls += 1;
        Call {
            component,
            engine: self.engine,
        }
    }
}

impl Slot {
    /// A slot as it is at boot.
    pub(crate) fn at_boot() -> Self {
        Empty {}.into()
    }

    /// The engine that work may begin to call.
    pub(crate) fn loaded(&self) -> Option<Engine> {
        match self {
            Self::Loaded(state) => Some(state.engine),
            _ => None,
        }
    }

    /// The engine that may be called, or that calls may go on with.
    pub(crate) fn serving(&self) -> Option<Engine> {
        match self {
            Self::Loaded(state) => Some(state.engine),
            Self::Loading(state) => state.old,
            _ => None,
        }
    }

    /// The engine whose calls are counted here.
    pub(crate) fn called(&self) -> Option<Engine> {
        match self {
            Self::Unloading(state) => Some(state.engine),
            other => other.serving(),
        }
    }

    /// Whether an engine waits here until nobody calls it.
    pub(crate) fn awaits_last_call(&self) -> bool {
        matches!(self, Self::Unloading(Unloading { job: None, .. }))
    }

    pub(crate) fn calls(&self) -> u8 {
        match self {
            Self::Empty(_) => 0,
            Self::Loading(state) => state.calls,
            Self::Loaded(state) => state.calls,
            Self::Unloading(state) => state.calls,
        }
    }

    /// Takes a call back.
    pub(crate) fn give_back(&mut self, call: Call) {
        match self {
            Self::Loading(state) => state.calls -= 1,
            Self::Loaded(state) => state.calls -= 1,
            Self::Unloading(state) => state.calls -= 1,
            Self::Empty(_) => unreachable!("an engine that is called does not leave, and {call:?} is out"),
        }
    }

    /// What it holds of the device; engines in transit at full size.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Empty(_) => 0,
            Self::Loading(state) => state.engine.bytes() + state.old.map_or(0, Engine::bytes),
            Self::Loaded(state) => state.engine.bytes(),
            Self::Unloading(state) => state.engine.bytes() + state.stays.map_or(0, Engine::bytes),
        }
    }

    /// What must stay free beyond that, so that a change that was begun can end.
    pub(crate) fn claimed(&self) -> u64 {
        match self {
            Self::Loading(state) => state.claimed,
            Self::Unloading(state) => state.claimed,
            Self::Empty(_) | Self::Loaded(_) => 0,
        }
    }

    /// The job that moves an engine here.
    pub(crate) fn job(&self) -> Option<JobId> {
        match self {
            Self::Loading(state) => Some(state.job),
            Self::Unloading(state) => state.job,
            Self::Empty(_) | Self::Loaded(_) => None,
        }
    }

    /// It came: alone, or in the place of another, which goes.
    pub(crate) fn arrived(self) -> Self {
        match self {
            Self::Loading(state) => match state.old {
                Some(old) => state.take_over(old).into(),
                None => state.loaded().into(),
            },
            other => other,
        }
    }

    /// It did not come: what was there stays.
    pub(crate) fn missed(self) -> Self {
        match self {
            Self::Loading(state) => match state.old {
                Some(old) => state.keep(old).into(),
                None => state.load_failed().into(),
            },
            other => other,
        }
    }

    /// It went.
    pub(crate) fn left(self) -> Self {
        match self {
            Self::Unloading(state) => match state.stays {
                Some(stays) => state.make_way(stays).into(),
                None => state.unloaded().into(),
            },
            other => other,
        }
    }

    /// It would not go; how often by now.
    pub(crate) fn stayed(self) -> (Self, u8) {
        match self {
            Self::Unloading(state) => {
                let state = state.unload_failed();
                let tries = state.tries;
                (state.into(), tries)
            }
            other => (other, 0),
        }
    }
}
