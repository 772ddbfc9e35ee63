//! The worlds that are walked to their end. Each leaves out what the others have, so that it has an end.

use greenroom_director::{
    Component, Components, Engine, EngineId, Engines, Failure, Found, Group, Groups, Intent, Limits, Mode, Need, Plan,
    Policy, Task, Times, Uploads,
};

/// A world: a pod, who comes to it, and what can go wrong.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    pub(super) plan: Plan,
    /// What the disk has at boot.
    pub(super) found: Vec<Found>,
    /// What serves each of them.
    pub(super) measured: Vec<Engines>,
    /// Connections at a time; any number after one another.
    pub(super) connections: usize,
    /// Tracks at a time.
    pub(super) tracks: usize,
    pub(super) intents: Vec<Intent>,
    /// Who asks for sessions: `client_id`s, and none.
    pub(super) clients: Vec<Option<u64>>,
    pub(super) modes: Vec<Mode>,
    /// Whether sessions and swaps bring audio of their own.
    pub(super) sends_source: bool,
    /// Swaps under way at a time.
    pub(super) swaps: usize,
    /// Timbres that wait at a time.
    pub(super) references: usize,
    pub(super) prompts: bool,
    pub(super) plays: bool,
    pub(super) stalls: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) hangs: bool,
    pub(super) device_lost: bool,
    pub(super) shutdown: bool,
    /// Memory that other processes take.
    pub(super) foreign_bytes: Vec<u64>,
    /// Ends of jobs that are long gone.
    pub(super) stale: bool,
}

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Moves of weights run out of memory.
    Move,
    /// Computations run out of memory or fail.
    Compute,
    /// The disk is full or broken.
    Disk,
}

/// How large the worlds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For every run of the tests.
    Usual,
    /// By hand: hangs on the stage, and two tracks beside each other. The other worlds stay as they are: with a second track "wipe × rip"
    /// alone outgrows 8 GB.
    Large,
}

const OUT_OF_MEMORY: &[Failure] = &[Failure::OutOfMemory];
const FAILS: &[Failure] = &[Failure::OutOfMemory, Failure::StemExtractFailed];
const LOAD_FAILS: &[Failure] = &[Failure::OutOfMemory, Failure::NullContext];
const BREAKS: &[Failure] = &[Failure::Internal];
const DISK_FULL: &[Failure] = &[Failure::DiskFull];

impl Setting {
    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// How a job may fail here.
    pub(super) fn failures(&self, task: Task) -> &'static [Failure] {
        match task {
            Task::Restore { .. } | Task::Park { .. } if self.has(Fault::Move) => OUT_OF_MEMORY,
            Task::LoadEngine { .. } if self.has(Fault::Move) => LOAD_FAILS,
            Task::UnloadEngine { .. } if self.has(Fault::Move) => BREAKS,
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } if self.has(Fault::Disk) => DISK_FULL,
            Task::Rip { .. } | Task::Encode { .. } if self.has(Fault::Compute) => FAILS,
            Task::EncodeStems { .. }
            | Task::OpenStream { .. }
            | Task::SwapSource { .. }
            | Task::EncodePrompt { .. }
            | Task::Reference { .. }
                if self.has(Fault::Compute) =>
            {
                OUT_OF_MEMORY
            }
            _ => &[],
        }
    }

    fn nothing(name: &'static str, about: &'static str, plan: Plan) -> Self {
        Self {
            name,
            about,
            plan,
            found: Vec::new(),
            measured: Vec::new(),
            connections: 1,
            tracks: 1,
            intents: vec![Intent::Session],
            clients: vec![Some(1)],
            modes: vec![Mode::Full],
            sends_source: false,
            swaps: 0,
            references: 0,
            prompts: false,
            plays: false,
            stalls: false,
            faults: Vec::new(),
            hangs: false,
            device_lost: false,
            shutdown: false,
            foreign_bytes: Vec::new(),
            stale: false,
        }
    }
}

/// The worlds, smaller ones first.
#[must_use]
pub fn settings(size: Size) -> Vec<Setting> {
    let large = size == Size::Large;
    let both = vec![Intent::Session, Intent::Upload];
    vec![
        Setting {
            connections: 1,
            clients: vec![Some(1)],
            found: vec![Found::Fixture],
            modes: vec![Mode::Full, Mode::Vocals],
            swaps: 1,
            prompts: true,
            plays: true,
            faults: vec![Fault::Move, Fault::Compute],
            hangs: large,
            device_lost: true,
            stale: true,
            ..Setting::nothing(
                "stage × leases × out of memory",
                "groups come and go under ticks, prompts, swaps and a rip, and moves fail",
                weighted(Policy::Always, 60),
            )
        },
        Setting {
            found: vec![Found::Fixture],
            measured: vec![engines([Some((1, 4)), None, None])],
            modes: vec![Mode::Full, Mode::Vocals],
            swaps: 1,
            plays: true,
            faults: vec![Fault::Move, Fault::Compute],
            foreign_bytes: vec![0, 3],
            ..Setting::nothing(
                "engines × rip",
                "an engine that helps, and leaves for a rip",
                compiled([None, None, None, None, Some(5)], 9, &[]),
            )
        },
        Setting {
            connections: 2,
            clients: vec![Some(1), Some(2)],
            found: vec![Found::Fixture, Found::Fixture],
            measured: vec![
                engines([Some((1, 10)), None, Some((3, 2))]),
                engines([Some((2, 16)), None, Some((4, 3))]),
            ],
            modes: vec![Mode::Plain],
            swaps: 2,
            faults: vec![Fault::Move, Fault::Compute],
            device_lost: true,
            ..Setting::nothing(
                "engines",
                "swaps between engines that fit beside each other, or do not, and loads that fail",
                compiled([None; 5], 24, &[Component::Decoder, Component::VaeDecode]),
            )
        },
        Setting {
            connections: 2,
            tracks: if large { 2 } else { 1 },
            intents: both.clone(),
            clients: vec![Some(1)],
            modes: if large {
                vec![Mode::Instruments]
            } else {
                vec![Mode::Full, Mode::Instruments]
            },
            swaps: if large { 1 } else { 2 },
            faults: if large { Vec::new() } else { vec![Fault::Compute] },
            ..Setting::nothing(
                "seat × stems",
                "uploads, swaps that wait for stems, preemption in mid-rip",
                spectral(),
            )
        },
        Setting {
            connections: 1,
            found: vec![Found::Fixture],
            modes: vec![Mode::Full, Mode::Vocals],
            prompts: true,
            plays: true,
            faults: vec![Fault::Move],
            foreign_bytes: vec![0, 30],
            ..Setting::nothing(
                "placement by room",
                "the separator comes beside eager groups where there is room, and another process takes it away",
                weighted(Policy::Auto { reserve_bytes: 8 }, 70),
            )
        },
        Setting {
            connections: 2,
            intents: both.clone(),
            clients: vec![Some(1), Some(2)],
            shutdown: true,
            stalls: true,
            faults: vec![Fault::Compute, Fault::Disk],
            ..Setting::nothing(
                "wipe × rip",
                "lineages end in mid-rip, and the disk fails at every write",
                spectral(),
            )
        },
        Setting {
            connections: 2,
            tracks: 1,
            intents: both,
            clients: vec![Some(1), Some(2)],
            modes: vec![Mode::Full, Mode::Instruments],
            swaps: 1,
            plays: true,
            faults: vec![Fault::Move, Fault::Compute, Fault::Disk],
            ..Setting::nothing(
                "two connections, one track, everything",
                "all rooms together, as small as they get",
                one_group(),
            )
        },
        Setting {
            found: vec![Found::Fixture],
            modes: vec![Mode::Plain],
            sends_source: true,
            tracks: 2,
            references: 1,
            prompts: true,
            swaps: 1,
            faults: vec![Fault::Move, Fault::Compute],
            ..Setting::nothing(
                "references",
                "timbres of a track and of audio that was sent, beside swaps and prompts, and phase 1 fails",
                one_group(),
            )
        },
        Setting {
            connections: 3,
            clients: vec![Some(1), None],
            found: vec![Found::Fixture],
            ..Setting::nothing(
                "seat",
                "who has the pod: preemption, forced closes, holds, shutdown",
                spectral(),
            )
        },
    ]
}

/// A pod whose generator has no weights to move.
fn spectral() -> Plan {
    plan([None, None, None, None, Some(5)], 40, Policy::Always)
}

/// A pod with two eager groups; the budget holds them, or the separator.
fn weighted(policy: Policy, budget_bytes: u64) -> Plan {
    plan([Some(30), None, None, Some(20), Some(9)], budget_bytes, policy)
}

/// A pod with one eager group, which also encodes stems.
fn one_group() -> Plan {
    Plan {
        keeps_stems: true,
        ..plan([None, None, None, Some(20), Some(9)], 30, Policy::Always)
    }
}

/// A pod that has no eager modules for these components.
fn compiled(weights_bytes: [Option<u64>; 5], budget_bytes: u64, engines_only: &[Component]) -> Plan {
    Plan {
        engines_only: Components::of(engines_only),
        ..plan(weights_bytes, budget_bytes, Policy::Always)
    }
}

/// Engines of these numbers and sizes.
fn engines(engines: [Option<(u32, u64)>; 3]) -> Engines {
    Engines(engines.map(|engine| {
        engine.map(|(id, bytes)| Engine {
            id: EngineId(id),
            weights_bytes: bytes - 1,
            workspace_bytes: 1,
        })
    }))
}

fn plan(weights_bytes: [Option<u64>; 5], budget_bytes: u64, policy: Policy) -> Plan {
    let need = |groups: &[Group]| {
        let there = groups
            .iter()
            .copied()
            .filter(|group| weights_bytes[*group as usize].is_some());
        Need {
            groups: Groups::of(&there.collect::<Vec<_>>()),
            workspace_bytes: 1,
        }
    };
    Plan {
        weights_bytes,
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            need(&[Group::Separator]),
        ],
        engines_only: Components::NONE,
        budget_bytes,
        keeps_stems: false,
        policy,
        uploads: Uploads::Wipe,
        limits: Limits {
            overtakes: 1,
            ..Limits::default()
        },
        times: Times::default(),
    }
}
