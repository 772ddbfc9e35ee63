//! What an operator sees: where weights are, and what has been counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use greenroom_director::{Counters, Group, Outcome, Phase, Plan, Task};
use greenroom_stage::Reading;

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, without the program's prefix; counters end in `_total`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: f64,
}

impl Metric {
    pub(super) fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            is_counter: false,
            labels: Vec::new(),
            value,
        }
    }

    pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            is_counter: true,
            labels: Vec::new(),
            value: value as f64,
        }
    }

    pub(super) fn labelled(self, labels: &[(&'static str, &str)]) -> Self {
        Self {
            labels: labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            ..self
        }
    }
}

/// Where a rip's turn on the stage stands (`stems_vram`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VramPhase {
    /// A rip is asked for; the eager groups are still there.
    Before,
    /// Every eager group is parked.
    Parked,
    /// The separator is there.
    Loaded,
    /// The rip's turn is over.
    Separated,
    /// The separator is parked.
    Released,
    /// The eager groups are back.
    Restored,
}

impl VramPhase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Parked => "parked",
            Self::Loaded => "loaded",
            Self::Separated => "separated",
            Self::Released => "released",
            Self::Restored => "restored",
        }
    }
}

/// How a source came to be as the generator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceFrom {
    /// Encoded anew.
    Audio,
    /// Read from what an earlier encoding left beside the track.
    Sidecar,
}

/// Counts and follows.
pub(super) struct Telemetry {
    state: Mutex<State>,
}

struct State {
    /// The groups that this pod has.
    groups: Vec<Group>,
    phases: BTreeMap<Group, Phase>,
    vram: Option<VramPhase>,
    director: Counters,
    started: BTreeMap<&'static str, u64>,
    ended: BTreeMap<(&'static str, &'static str), u64>,
    sources: BTreeMap<SourceFrom, u64>,
    live: bool,
    /// Times that ticks were kept away, by a rip or by moves of weights, and the longest of the newest session's.
    pauses: u64,
    longest_pause: Duration,
}

impl Telemetry {
    pub(super) fn new(plan: &Plan) -> Self {
        let groups: Vec<Group> = Group::ALL.into_iter().filter(|group| plan.has(*group)).collect();
        let phases = groups.iter().map(|group| (*group, Phase::Parked)).collect();
        let state = State {
            groups,
            phases,
            vram: None,
            director: Counters::default(),
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
            sources: BTreeMap::new(),
            live: false,
            pauses: 0,
            longest_pause: Duration::ZERO,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    pub(super) fn set_director(&self, counters: Counters) {
        self.lock().director = counters;
    }

    pub(super) fn set_live(&self, live: bool) {
        let mut state = self.lock();
        state.live = live;
        if live {
            state.longest_pause = Duration::ZERO;
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.lock().live
    }

    /// A session plays again, so long after it was first kept from it.
    pub(super) fn let_in_again(&self, after: Duration) {
        let mut state = self.lock();
        state.pauses += 1;
        state.longest_pause = state.longest_pause.max(after);
    }

    /// Whether weights of the generator are on their way to the device.
    pub(super) fn is_restoring(&self) -> bool {
        let state = self.lock();
        state
            .eager()
            .any(|group| state.phases.get(&group) == Some(&Phase::Restoring))
    }

    pub(super) fn job_started(&self, task: Task) {
        *self.lock().started.entry(task_name(task)).or_default() += 1;
    }

    /// A source, or a stem, is as the generator wants it.
    pub(super) fn source_made(&self, from: SourceFrom) {
        *self.lock().sources.entry(from).or_default() += 1;
    }

    /// Counts; the end of a rip's turn is a phase of its own.
    pub(super) fn job_ended(&self, task: Task, outcome: Outcome, reading: impl FnOnce() -> Reading) {
        let mut state = self.lock();
        *state.ended.entry((task_name(task), outcome_name(outcome))).or_default() += 1;
        if matches!(task, Task::Rip { .. }) {
            state.vram = Some(VramPhase::Separated);
            tell(VramPhase::Separated, &reading());
        }
    }

    /// Notes where a group is, and tells of the phases that this brings about.
    pub(super) fn placed(&self, group: Group, phase: Phase, reading: &Reading) {
        let mut state = self.lock();
        state.phases.insert(group, phase);
        for vram in state.phases_reached(group, phase) {
            state.vram = Some(vram);
            tell(vram, reading);
        }
    }

    /// Where every group of the pod is.
    pub(super) fn phases(&self) -> Vec<(Group, Phase)> {
        self.lock()
            .phases
            .iter()
            .map(|(group, phase)| (*group, *phase))
            .collect()
    }

    /// The newest phase of a rip's turn, if there was one.
    pub(super) fn vram_phase(&self) -> Option<VramPhase> {
        self.lock().vram
    }

    /// What has been counted.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let state = self.lock();
        let mut metrics = vec![
            Metric::counter(
                "director_events_total",
                "Events that the director handled.",
                state.director.events,
            ),
            Metric::counter(
                "director_stale_events_total",
                "Events about something that was gone.",
                state.director.stale,
            ),
            Metric::gauge(
                "session_live",
                "Whether a session has the seat.",
                f64::from(u8::from(state.live)),
            ),
            Metric::counter(
                "tick_pauses_total",
                "Times that ticks were kept away, by a rip or by moves of weights.",
                state.pauses,
            ),
            Metric::gauge(
                "tick_pause_longest_seconds",
                "The longest time that the newest session's ticks were kept away.",
                state.longest_pause.as_secs_f64(),
            ),
        ];
        for (task, count) in &state.started {
            metrics.push(Metric::counter("jobs_started_total", "Jobs started.", *count).labelled(&[("task", task)]));
        }
        for ((task, outcome), count) in &state.ended {
            let ended = Metric::counter("jobs_ended_total", "Jobs ended.", *count);
            metrics.push(ended.labelled(&[("task", task), ("outcome", outcome)]));
        }
        for (from, count) in &state.sources {
            let from = match from {
                SourceFrom::Audio => "audio",
                SourceFrom::Sidecar => "sidecar",
            };
            let made = Metric::counter(
                "sources_total",
                "Sources and stems made ready to be played upon.",
                *count,
            );
            metrics.push(made.labelled(&[("from", from)]));
        }
        for (group, phase) in &state.phases {
            let resident = f64::from(u8::from(*phase == Phase::Resident));
            let metric = Metric::gauge("group_resident", "Whether a weight group is on the device.", resident);
            metrics.push(metric.labelled(&[("group", group.name())]));
        }
        metrics
    }

    /// Every change is whole before anything can panic, so a poisoned lock guards whole data.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The phases of a rip's turn that this move of a group brings about.
    fn phases_reached(&self, group: Group, phase: Phase) -> Vec<VramPhase> {
        // The next turn may begin before everything of the last is back.
        let between = matches!(self.vram, None | Some(VramPhase::Released | VramPhase::Restored));
        match (group, phase) {
            (Group::Separator, Phase::Restoring) if between => vec![VramPhase::Before],
            (Group::Separator, Phase::Resident) => vec![VramPhase::Loaded],
            // Without eager groups there is nothing to bring back.
            (Group::Separator, Phase::Parked) if self.eager().next().is_none() => {
                vec![VramPhase::Released, VramPhase::Restored]
            }
            (Group::Separator, Phase::Parked) => vec![VramPhase::Released],
            (Group::Separator, _) => Vec::new(),
            (_, Phase::Parking) if between => vec![VramPhase::Before],
            (_, Phase::Parked) if self.vram == Some(VramPhase::Before) && self.eager_are(Phase::Parked) => {
                vec![VramPhase::Parked]
            }
            // Groups that made room for each other come back without a rip in between: that, too, ends a turn.
            (_, Phase::Resident)
                if !matches!(self.vram, None | Some(VramPhase::Restored)) && self.eager_are(Phase::Resident) =>
            {
                vec![VramPhase::Restored]
            }
            _ => Vec::new(),
        }
    }

    fn eager(&self) -> impl Iterator<Item = Group> {
        self.groups.iter().copied().filter(|group| *group != Group::Separator)
    }

    fn eager_are(&self, phase: Phase) -> bool {
        self.eager().all(|group| self.phases.get(&group) == Some(&phase))
    }
}

/// Tells the log of a phase, with what the device holds.
fn tell(phase: VramPhase, reading: &Reading) {
    let resident: u64 = reading.resident.values().sum();
    tracing::info!(
        target: "stems_vram",
        phase = phase.name(),
        resident_bytes = resident,
        workspace_bytes = reading.workspace,
        free_bytes = reading.free,
        capacity_bytes = reading.capacity,
    );
}

/// The name of a phase of a group.
pub(super) const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Parked => "parked",
        Phase::Restoring => "restoring",
        Phase::Resident => "resident",
        Phase::Parking => "parking",
    }
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::Encode { .. } => "encode",
        Task::Save { .. } => "save",
        Task::Rip { .. } => "rip",
        Task::EncodeStems { .. } => "encode_stems",
        Task::SaveStems { .. } => "save_stems",
        Task::Wipe { .. } => "wipe",
        Task::OpenStream { .. } => "open_stream",
        Task::SwapSource { .. } => "swap_source",
        Task::EncodePrompt { .. } => "encode_prompt",
        Task::Reference { .. } => "reference",
        Task::CloseStream { .. } => "close_stream",
        Task::Restore { .. } => "restore",
        Task::Park { .. } => "park",
        Task::LoadEngine { .. } => "load_engine",
        Task::UnloadEngine { .. } => "unload_engine",
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Yielded { abandoned: false } => "yielded",
        Outcome::Yielded { abandoned: true } => "yielded_mid_batch",
        Outcome::Cancelled => "cancelled",
        Outcome::Failed(_) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greenroom_director::{Need, Policy, Times, Uploads};

    fn plan(groups: &[Group]) -> Plan {
        let mut weights_bytes = [None; 5];
        for group in groups {
            weights_bytes[*group as usize] = Some(1);
        }
        Plan {
            weights_bytes,
            needs: [Need::default(); 5],
            engines_only: greenroom_director::Components::NONE,
            budget_bytes: 10,
            keeps_stems: false,
            policy: Policy::Always,
            uploads: Uploads::Wipe,
            limits: greenroom_director::Limits::default(),
            times: Times::default(),
        }
    }

    fn walk(telemetry: &Telemetry, moves: &[(Group, Phase)]) -> Vec<VramPhase> {
        let mut seen = Vec::new();
        for (group, phase) in moves {
            let before = telemetry.vram_phase();
            telemetry.placed(*group, *phase, &Reading::default());
            let after = telemetry.vram_phase();
            if before != after {
                seen.extend(after);
            }
        }
        seen
    }

    #[test]
    fn a_rips_turn_is_told_phase_by_phase() {
        let telemetry = Telemetry::new(&plan(&[Group::Dit, Group::Vae, Group::Separator]));
        let (dit, vae, separator) = (Group::Dit, Group::Vae, Group::Separator);
        walk(&telemetry, &[(dit, Phase::Resident), (vae, Phase::Resident)]);
        let coming = [
            (dit, Phase::Parking),
            (dit, Phase::Parked),
            (vae, Phase::Parking),
            (vae, Phase::Parked),
            (separator, Phase::Restoring),
            (separator, Phase::Resident),
        ];
        assert_eq!(
            walk(&telemetry, &coming),
            [VramPhase::Before, VramPhase::Parked, VramPhase::Loaded]
        );
        let rip = Task::Rip {
            track: greenroom_director::TrackId(1),
        };
        telemetry.job_ended(rip, Outcome::Done, Reading::default);
        assert_eq!(telemetry.vram_phase(), Some(VramPhase::Separated));
        let going = [
            (separator, Phase::Parking),
            (separator, Phase::Parked),
            (dit, Phase::Restoring),
            (dit, Phase::Resident),
            (vae, Phase::Restoring),
            (vae, Phase::Resident),
        ];
        assert_eq!(walk(&telemetry, &going), [VramPhase::Released, VramPhase::Restored]);
    }

    #[test]
    fn booting_is_no_turn_of_a_rip() {
        let telemetry = Telemetry::new(&plan(&[Group::Dit, Group::Separator]));
        assert_eq!(
            walk(
                &telemetry,
                &[(Group::Dit, Phase::Restoring), (Group::Dit, Phase::Resident)]
            ),
            []
        );
    }
}
