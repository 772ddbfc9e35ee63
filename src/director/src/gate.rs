//! Who may tick: the gate of the standing lease, and the turns between ticks and a rip.

use crate::{
    alarms::Alarm,
    canary::Bug,
    director::Director,
    effect::{Effect, Effects},
    engine::Caller,
    fork::{Fork, Rename, fork_plain},
    ids::ConnectionId,
    placement::Lease,
    plan::Work,
    slot::Call,
};

/// The standing lease of the live thread.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Gate {
    /// No tick runs.
    Closed,
    /// Ticks run.
    Open {
        connection: ConnectionId,
        leases: Vec<Lease>,
        calls: Vec<Call>,
    },
    /// The last tick may still run; `number` tells this closing from others.
    Closing {
        number: u64,
        leases: Vec<Lease>,
        calls: Vec<Call>,
    },
}

impl Fork for Gate {
    fn fork(&self, rename: &Rename) -> Self {
        match self {
            Self::Closed => Self::Closed,
            Self::Open {
                connection,
                leases,
                calls,
            } => Self::Open {
                connection: connection.fork(rename),
                leases: leases.fork(rename),
                calls: calls.fork(rename),
            },
            // There is one closing at a time: its number only tells it from earlier ones.
            Self::Closing { number, leases, calls } => Self::Closing {
                number: if rename.is_ranking() { 0 } else { *number },
                leases: leases.fork(rename),
                calls: calls.fork(rename),
            },
        }
    }
}

impl Gate {
    /// The engines that ticks may call, or may still.
    pub(crate) fn calls(&self) -> &[Call] {
        match self {
            Self::Closed => &[],
            Self::Open { calls, .. } | Self::Closing { calls, .. } => calls,
        }
    }
}

/// Who has the device while ticks and a rip both want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// The rip, for at most `rip_turn`.
    Rip,
    /// Ticks, for at most `live_turn`.
    Live,
}

fork_plain!(Turn);

impl Turn {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Rip => Self::Live,
            Self::Live => Self::Rip,
        }
    }
}

impl Director {
    /// Whether ticks and a rip want the device at the same time.
    pub(crate) fn is_contested(&self) -> bool {
        let wanted = self.live_session().is_some_and(|(_, session)| session.wanted);
        wanted && self.keeps_apart() && !self.plan.need(Work::Play).groups.is_empty() && self.next_rip().is_some()
    }

    pub(crate) fn gate_is_closed(&self) -> bool {
        self.gate == Gate::Closed
    }

    /// One step of the gate and of the turns.
    pub(crate) fn step_gate(&mut self, effects: &mut Effects) -> bool {
        self.step_turn();
        match &self.gate {
            Gate::Open { connection, .. } => {
                let connection = *connection;
                let live = self.live_session().is_some_and(|(live, _)| live == connection);
                let make_room =
                    self.keeps_apart() && self.wants_separator() && !self.plan.need(Work::Play).groups.is_empty();
                if live && !make_room && !self.must_change_engines() {
                    return false;
                }
                self.close_gate(connection, !live, effects);
                true
            }
            Gate::Closed => {
                let Some((connection, session)) = self.live_session() else {
                    return false;
                };
                let track = session.track;
                let groups = self.plan.need(Work::Play).groups;
                let allowed = groups.is_empty() || !self.keeps_apart() || !self.wants_separator();
                if !allowed || !self.may_start(Work::Play) || !self.has_engines(Work::Play, Some(track)) {
                    return false;
                }
                let leases = self.lease(groups);
                let calls = self.call_engines(Work::Play, Some(track));
                effects.lend(Caller::Ticks(connection), &calls);
                self.ledger.workspace += self.plan.need(Work::Play).workspace_bytes;
                self.gate = Gate::Open {
                    connection,
                    leases,
                    calls,
                };
                effects.push(Effect::GateOpen { connection });
                true
            }
            Gate::Closing { .. } => false,
        }
    }

    fn close_gate(&mut self, connection: ConnectionId, abort: bool, effects: &mut Effects) {
        self.gate_closings += 1;
        let number = self.gate_closings;
        if let Gate::Open { leases, calls, .. } = std::mem::replace(&mut self.gate, Gate::Closed) {
            self.gate = Gate::Closing { number, leases, calls };
        }
        self.alarms.set(Alarm::Drain, self.now + self.plan.times.job_compute);
        effects.push(Effect::GateClose {
            connection,
            closing: number,
            abort,
        });
    }

    pub(crate) fn gate_drained(&mut self, closing: u64) {
        match std::mem::replace(&mut self.gate, Gate::Closed) {
            Gate::Closing { number, leases, calls }
                if number == closing || Bug::StaleGenerationAccepted.is_active() =>
            {
                self.give_back(leases);
                self.give_calls_back(calls);
                self.ledger.workspace -= self.plan.need(Work::Play).workspace_bytes;
                self.alarms.clear(Alarm::Drain);
            }
            other => {
                self.gate = other;
                self.stale();
            }
        }
    }

    /// The stage changes hands; but a rip that has not begun yet, because groups are still on their way, keeps its turn: otherwise slow
    /// moves would eat up every turn and the rip would never get on.
    pub(crate) fn turn_over(&mut self) {
        if self.turn == Turn::Live || self.running_rip().is_some() || Bug::TurnsEatenByMoves.is_active() {
            self.turn = self.turn.other();
        }
    }

    /// Ticks stay away for at most `rip_turn`, counted from the gate's closing (longer where the moves of groups alone take longer), and then
    /// have at most `live_turn`.
    fn step_turn(&mut self) {
        let open = matches!(self.gate, Gate::Open { .. });
        if !self.is_contested() {
            self.turn = Turn::Rip;
            self.alarms.clear(Alarm::Turn);
        } else if !self.alarms.is_set(Alarm::Turn) {
            match self.turn {
                Turn::Rip if !open => self.alarms.set(Alarm::Turn, self.now + self.plan.times.rip_turn),
                Turn::Live if open => self.alarms.set(Alarm::Turn, self.now + self.plan.times.live_turn),
                _ => {}
            }
        } else if self.turn == Turn::Rip && open {
            // Interactive work brought the ticks back; they stay away anew from the next closing.
            self.alarms.clear(Alarm::Turn);
        }
    }
}
