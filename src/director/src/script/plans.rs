//! Pods of every kind.

use crate::engine::{Component, Components, Engine, EngineId, Engines};
use crate::plan::{Group, Groups, Limits, Need, Plan, Policy, Times, Uploads};

/// How many plans there are.
pub const PLANS: u8 = 96;

/// One of [`PLANS`]; higher numbers begin anew. Bytes are in units of about 100 MB of the real groups.
#[must_use]
pub fn plan(number: u8) -> Plan {
    let (kind, policy, rest) = (number % 4, number / 4 % 3, number / 12 % 4);
    let engines_only = number / 48 % 2 == 1;
    let (eager, separator) = (kind < 3, kind != 1);
    let weights = |bytes: u64| eager.then_some(bytes);
    let need = |groups: &[Group]| match eager {
        true => Need {
            groups: Groups::of(groups),
            workspace_bytes: 1,
        },
        false => Need::default(),
    };
    Plan {
        weights_bytes: [
            weights(30),
            weights(16),
            weights(11),
            weights(3),
            separator.then_some(5),
        ],
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            Need {
                groups: if separator {
                    Groups::of(&[Group::Separator])
                } else {
                    Groups::NONE
                },
                workspace_bytes: 1,
            },
        ],
        // The later half has no eager decoder, and those without groups no eager module at all.
        engines_only: match (engines_only, kind) {
            (false, _) => Components::NONE,
            (true, 1) => Components::ALL,
            (true, _) => Components::of(&[Component::Decoder]),
        },
        // The third kind has no room for everybody at once.
        budget_bytes: if kind == 2 { 45 } else { 80 },
        keeps_stems: kind != 0,
        policy: match policy {
            0 => Policy::Always,
            1 => Policy::Auto { reserve_bytes: 10 },
            _ => Policy::Never,
        },
        uploads: if rest % 2 == 0 { Uploads::Wipe } else { Uploads::Keep },
        limits: match rest / 2 {
            0 => Limits::default(),
            _ => Limits {
                handshakes: 3,
                handshake_bytes: 256 << 20,
                uploads: 2,
                tracks: 3,
                overtakes: 1,
            },
        },
        times: Times::default(),
    }
}

/// What serves a source: each slot has none, a small engine or a large one, by the digits of `number` to the base of three.
#[must_use]
pub fn engines(number: u8) -> Engines {
    let engine = |slot: Component, size: u8| {
        let (id, weights_bytes) = match size {
            0 => return None,
            1 => (1, 4),
            _ => (2, 9),
        };
        Some(Engine {
            id: EngineId(id + 10 * slot as u32),
            weights_bytes,
            workspace_bytes: 1,
        })
    };
    let digit = |place: u8| number / place % 3;
    let digits = Component::ALL.into_iter().zip([1, 3, 9]);
    let mut engines = Engines::NONE;
    digits.for_each(|(slot, place)| engines.0[slot as usize] = engine(slot, digit(place)));
    engines
}
