//! Which engine serves a shape.

use std::fmt;

use crate::{
    component::Component,
    profile::{PUBLIC_WIDTH, Shapes},
    registry::Engine,
    standard::Target,
};

/// The device's ledger as a choice sees it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What residents and workspaces may fill together.
    pub budget_bytes: u64,
    /// What they fill, the resident engine and all captured graphs included.
    pub used_bytes: u64,
}

impl Room {
    fn free_bytes(self) -> u64 {
        self.budget_bytes.saturating_sub(self.used_bytes)
    }
}

/// Whether the pod has the component's eager modules, here or parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eager {
    /// It has: the placement machine restores their group when it is asked.
    There,
    /// It has not: the pod was started on compiled engines alone.
    Absent,
}

/// The engine in the component's slot, if one is loaded.
pub type Resident<'a> = Option<&'a Engine>;

/// What must happen before a chosen engine can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing: it is on the device.
    Held,
    /// It is loaded while whatever is in the slot stays, which is dropped when the new one is there.
    Beside,
    /// Old and new do not fit together: the old one goes first, and comes back if the new one fails.
    Instead,
}

/// How to get an engine that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildCommand {
    /// Which component.
    pub component: Component,
    /// The smallest that covers what was asked for.
    pub target: Target,
}

impl fmt::Display for BuildCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (component, target) = (self.component.option(), self.target);
        write!(
            formatter,
            "greenroom engines build --component {component} --duration {target}"
        )
    }
}

/// What serves a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// This engine, loaded this way. It covers the shape.
    Engine {
        /// Which.
        engine: &'a Engine,
        /// What to do first.
        load: Load,
    },
    /// The eager module, for there is no engine that covers the shape and finds room.
    Eager,
    /// Nothing: no engine covers the shape, and there is no eager module.
    NotBuilt {
        /// What would build one; none where no profile that is built covers the shape.
        command: Option<BuildCommand>,
    },
    /// Nothing: engines cover the shape and none finds room, and there is no eager module. To build another would not help.
    NoRoom {
        /// The one that asks for least.
        engine: &'a Engine,
        /// Bytes that can be had for it, the slot's own included.
        available_bytes: u64,
    },
}

/// Chooses what serves `shapes`: the smallest profile that covers them and finds room. One that is on the device is preferred only among
/// equally small ones; a larger one that is there serves only where no smaller one finds room. What does not cover is never chosen, resident
/// or not. Outside every profile it is the eager module.
///
/// `built` may hold engines of every component, in any order; a `resident` that is not among them (its file was built anew since) is not
/// chosen, and its memory counts as the slot's own.
#[must_use]
pub fn choose<'a>(
    component: Component,
    shapes: &Shapes,
    built: &'a [Engine],
    resident: Resident<'_>,
    room: Room,
    eager: Eager,
) -> Choice<'a> {
    // What lies in another component's slot is of no use here and gives no room.
    let resident = resident.filter(|engine| engine.component == component);
    let held = |engine: &Engine| engine.is_captured() || resident == Some(engine);
    // A graph runs over the eager modules' weights: without them it is nothing.
    let usable = |engine: &&Engine| {
        engine.component == component
            && engine.profile.covers(shapes)
            && (eager == Eager::There || !engine.is_captured())
    };
    let mut covering: Vec<&Engine> = built.iter().filter(usable).collect();
    covering.sort_by_cached_key(|engine| {
        (
            engine.profile.reach(),
            !held(engine),
            engine.device_bytes(),
            engine.name.clone(),
        )
    });
    let slot_bytes = resident.map_or(0, Engine::device_bytes);
    let available_bytes = room.free_bytes().saturating_add(slot_bytes);
    let load = |engine: &Engine| match engine.device_bytes() {
        _ if held(engine) => Some(Load::Held),
        needed if needed <= room.free_bytes() => Some(Load::Beside),
        needed if needed <= available_bytes => Some(Load::Instead),
        _ => None,
    };
    let chosen = covering
        .iter()
        .find_map(|engine| load(engine).map(|load| Choice::Engine { engine, load }));
    if let Some(chosen) = chosen {
        return chosen;
    }
    match (eager, covering.iter().min_by_key(|engine| engine.device_bytes())) {
        (Eager::There, _) => Choice::Eager,
        (Eager::Absent, Some(engine)) => Choice::NoRoom {
            engine,
            available_bytes,
        },
        (Eager::Absent, None) => Choice::NotBuilt {
            command: build_command(component, shapes),
        },
    }
}

/// What builds the smallest engine that covers `shapes`.
fn build_command(component: Component, shapes: &Shapes) -> Option<BuildCommand> {
    let profile = |target: &Target| target.profile(component, PUBLIC_WIDTH);
    let covers = |target: &Target| profile(target).is_some_and(|profile| profile.covers(shapes));
    let target = Target::ALL.into_iter().find(covers)?;
    Some(BuildCommand { component, target })
}
