//! Pods of every kind: with and without eager groups, roomy and tight, every policy.

use greenroom_director::{Group, Groups, Limits, Need, Plan, Policy, Times, Uploads};

use crate::chance::Chance;

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
        engines_only: greenroom_director::Components::NONE,
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
