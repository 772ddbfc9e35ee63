//! Pods of every kind: with and without eager groups, roomy and tight, every policy.

use greenroom_director::{
    Component, Components, Engine, EngineId, Engines, Group, Groups, Limits, Need, Plan, Policy, Times, Uploads,
};

use crate::chance::Chance;

/// The engines of a pod: for each component one for short sources and one for long ones, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Built([[Option<Engine>; 2]; 3]);

impl Built {
    /// What serves a source of this number: every third is long.
    pub(crate) fn serving(&self, track: u64) -> Engines {
        Engines(self.0.map(|sizes| sizes[usize::from(track.is_multiple_of(3))]))
    }

    /// Every engine and its slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Component, Engine)> + '_ {
        let slots = Component::ALL.into_iter().zip(&self.0);
        slots.flat_map(|(slot, sizes)| sizes.iter().flatten().map(move |engine| (slot, *engine)))
    }
}

/// What a pod has of engines, of its own chance: pods without any are what they were. Where there is no eager module, there is room for what
/// its work needs and for a separator beside it.
pub(crate) fn build(plan: &mut Plan, chance: &mut Chance) -> Built {
    if !chance.permille(350) {
        return Built::default();
    }
    let alone = chance.permille(400);
    let mut engine = |slot: Component, size: u32| {
        let bytes = chance.between(2, 9) + u64::from(size) * chance.between(0, 8);
        let built = alone || chance.permille(700);
        built.then_some(Engine {
            id: EngineId(2 * slot as u32 + size),
            weights_bytes: bytes,
            workspace_bytes: 1,
        })
    };
    let built = Built(Component::ALL.map(|slot| [engine(slot, 0), engine(slot, 1)]));
    if alone {
        plan.engines_only = match chance.between(0, 2) {
            0 => Components::ALL,
            1 => Components::of(&[Component::Decoder]),
            _ => Components::of(&[Component::Decoder, Component::VaeDecode]),
        };
        let largest = |sizes: &[Option<Engine>; 2]| sizes.iter().flatten().map(|engine| engine.bytes()).max();
        let engines: u64 = built.0.iter().filter_map(largest).sum();
        let groups: u64 = Group::ALL.into_iter().map(|group| plan.weights(group)).sum();
        plan.budget_bytes = engines + groups + chance.between(5, 20);
    }
    built
}

/// A pod; bytes are in units of about 100 MB of the real groups.
pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let eager = chance.permille(750);
    let need = |groups: &[Group]| {
        let groups = if eager { Groups::of(groups) } else { Groups::NONE };
        Need {
            groups,
            workspace_bytes: u64::from(eager),
        }
    };
    let weights = |bytes: u64| eager.then_some(bytes);
    let separator = chance.permille(900).then_some(5);
    let rip = Need {
        groups: separator.map_or(Groups::NONE, |_| Groups::of(&[Group::Separator])),
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [weights(30), weights(16), weights(11), weights(3), separator],
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            rip,
        ],
        engines_only: Components::NONE,
        budget_bytes: chance.between(40, 90),
        keeps_stems: chance.permille(600),
        policy: match chance.between(0, 4) {
            0 => Policy::Never,
            1 => Policy::Auto {
                reserve_bytes: chance.between(1, 30),
            },
            _ => Policy::Always,
        },
        uploads: if chance.permille(300) {
            Uploads::Keep
        } else {
            Uploads::Wipe
        },
        limits: Limits {
            handshakes: if chance.permille(300) { 3 } else { 8 },
            tracks: 6,
            overtakes: if chance.permille(500) { 1 } else { 4 },
            ..Limits::default()
        },
        times: Times::default(),
    }
}
