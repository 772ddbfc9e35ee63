//! Plans of pods that are as small as a model needs.

use greenroom_director::{Group, Groups, Limits, Need, Plan, Policy, Span, Times, Uploads};

/// A pod whose one eager group and whose separator have room only one after the other.
#[must_use]
pub fn crowded() -> Plan {
    let need = |group: Group| Need {
        groups: Groups::of(&[group]),
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [Some(6), None, None, None, Some(5)],
        needs: [
            Need::default(),
            Need::default(),
            Need::default(),
            need(Group::Dit),
            need(Group::Separator),
        ],
        engines_only: greenroom_director::Components::NONE,
        budget_bytes: 10,
        ..without_weights()
    }
}

/// A pod whose generator has no weights, and that never rips.
#[must_use]
pub fn without_weights() -> Plan {
    Plan {
        weights_bytes: [None; 5],
        needs: [Need::default(); 5],
        engines_only: greenroom_director::Components::NONE,
        budget_bytes: 0,
        keeps_stems: false,
        policy: Policy::Always,
        uploads: Uploads::Wipe,
        limits: Limits::default(),
        times: Times {
            rip_turn: Span::milliseconds(20),
            live_turn: Span::milliseconds(20),
            ..Times::default()
        },
    }
}
