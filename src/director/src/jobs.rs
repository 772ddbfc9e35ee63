//! Jobs: what is under way, on which lane, with which leases, until when.

use crate::{
    alarms::Alarm,
    director::Director,
    effect::{Effect, Effects, Task, Urgency},
    engine::Caller,
    event::Outcome,
    fork::{Fork, Rename, fork_fields, fork_plain},
    ids::{JobId, TrackId},
    moment::Span,
    placement::Lease,
    plan::{Groups, Need, Work},
    slot::Call,
};

/// Where a job runs: at most one at a time on each lane but the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// The live thread, between its ticks.
    Live,
    /// The work thread.
    Work,
    /// The stage thread.
    Stage,
    /// The disk: one job a track.
    Disk,
}

/// A job under way.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    pub(crate) task: Task,
    leases: Vec<Lease>,
    calls: Vec<Call>,
    workspace: u64,
    pub(crate) cancelled: Option<Urgency>,
    /// Past its deadline and told to end.
    overdue: bool,
}

fork_plain!(Urgency);
fork_fields!(Job {
    task,
    leases,
    calls,
    workspace,
    cancelled,
    overdue
});

impl Fork for Task {
    fn fork(&self, rename: &Rename) -> Self {
        let mut task = *self;
        match &mut task {
            Self::Encode { track, connection, .. } => {
                (*track, *connection) = (track.fork(rename), connection.fork(rename))
            }
            Self::OpenStream { connection, track, .. } | Self::SwapSource { connection, track, .. } => {
                (*track, *connection) = (track.fork(rename), connection.fork(rename));
            }
            Self::Reference { connection, track, .. } => {
                (*track, *connection) = (track.fork(rename), connection.fork(rename));
            }
            Self::Save { track }
            | Self::Rip { track }
            | Self::EncodeStems { track }
            | Self::SaveStems { track }
            | Self::Wipe { track } => *track = track.fork(rename),
            Self::EncodePrompt { connection } | Self::CloseStream { connection } => {
                *connection = connection.fork(rename)
            }
            Self::Restore { .. } | Self::Park { .. } | Self::LoadEngine { .. } | Self::UnloadEngine { .. } => {}
        }
        task
    }
}

impl Task {
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Self::Encode { .. } | Self::Rip { .. } | Self::EncodeStems { .. } => Lane::Work,
            Self::OpenStream { .. }
            | Self::SwapSource { .. }
            | Self::EncodePrompt { .. }
            | Self::Reference { .. }
            | Self::CloseStream { .. } => Lane::Live,
            Self::Restore { .. } | Self::Park { .. } | Self::LoadEngine { .. } | Self::UnloadEngine { .. } => {
                Lane::Stage
            }
            Self::Save { .. } | Self::SaveStems { .. } | Self::Wipe { .. } => Lane::Disk,
        }
    }

    /// The track whose files or phases it works on.
    pub(crate) fn track(&self) -> Option<TrackId> {
        match self {
            Self::Encode { track, .. }
            | Self::Save { track }
            | Self::Rip { track }
            | Self::EncodeStems { track }
            | Self::SaveStems { track }
            | Self::Wipe { track } => Some(*track),
            // Reading a track keeps it from being removed under the reader.
            Self::OpenStream { track, .. } | Self::SwapSource { track, .. } => Some(*track),
            Self::Reference { track, .. } => *track,
            _ => None,
        }
    }

    /// The track whose engines it may call. What lends its timbre or structure is not played: nobody loads engines of its length.
    fn engines_of(&self) -> Option<TrackId> {
        match self {
            Self::Reference { .. } => None,
            _ => self.track(),
        }
    }
}

impl Job {
    pub(crate) fn is_on_disk(&self) -> bool {
        self.task.lane() == Lane::Disk
    }

    pub(crate) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn workspace(&self) -> u64 {
        self.workspace
    }
}

impl Director {
    pub(crate) fn is_lane_free(&self, lane: Lane) -> bool {
        !self.jobs.values().any(|job| job.task.lane() == lane)
    }

    /// Whether `work` could start now: its groups are resident and its workspace fits.
    pub(crate) fn may_start(&self, work: Work) -> bool {
        self.is_met(self.plan.need(work))
    }

    /// Starts a job of the live lane if the lane is free, what it needs is there, and no rip comes first.
    pub(crate) fn start_live(&mut self, task: Task, work: Work, effects: &mut Effects) -> Option<JobId> {
        let may = self.is_running()
            && self.is_lane_free(Lane::Live)
            && self.may_start(work)
            && !self.must_let_by(work)
            && self.has_engines(work, task.engines_of());
        may.then(|| {
            self.overtake(work);
            self.start(task, Some(work), effects)
        })
    }

    /// Starts a job; `work` names the groups it leases, which must be resident, and the engines it may call, where they are loaded.
    pub(crate) fn start(&mut self, task: Task, work: Option<Work>, effects: &mut Effects) -> JobId {
        let need = work.map_or(Need::default(), |work| self.plan.need(work));
        let leases = self.lease(need.groups);
        let calls = work.map_or(Vec::new(), |work| self.call_engines(work, task.engines_of()));
        self.ledger.workspace += need.workspace_bytes;
        self.jobs_begun += 1;
        let id = JobId(self.jobs_begun);
        effects.lend(Caller::Job(id), &calls);
        self.jobs.insert(
            id,
            Job {
                task,
                leases,
                calls,
                workspace: need.workspace_bytes,
                cancelled: None,
                overdue: false,
            },
        );
        self.alarms.set(Alarm::Job(id), self.now + self.time_for(task));
        effects.start(id, task);
        id
    }

    /// Leases on all of `groups`, which must all be resident.
    pub(crate) fn lease(&mut self, groups: Groups) -> Vec<Lease> {
        groups
            .iter()
            .map(|group| self.placements[group as usize].get_mut().lease(group))
            .collect()
    }

    pub(crate) fn give_back(&mut self, leases: Vec<Lease>) {
        for lease in leases {
            self.placements[lease.group() as usize].get_mut().give_back(lease);
        }
    }

    fn time_for(&self, task: Task) -> Span {
        let times = &self.plan.times;
        match (task, task.lane()) {
            (Task::Rip { .. }, _) => times.job_rip,
            (_, Lane::Live | Lane::Work) => times.job_compute,
            (_, Lane::Stage) => times.job_move,
            (_, Lane::Disk) => times.job_disk,
        }
    }

    pub(crate) fn cancel(&mut self, id: JobId, urgency: Urgency, effects: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.cancelled.is_none_or(|before| urgency < before) {
            job.cancelled = Some(urgency);
            effects.push(Effect::Cancel { job: id, urgency });
        }
    }

    /// Work for a track that goes is given up; what touches the disk runs to its end, and the wipe comes after it.
    pub(crate) fn cancel_jobs_of(&mut self, track: TrackId, effects: &mut Effects) {
        self.cancel_where(effects, |task| task.lane() != Lane::Disk && task.track() == Some(track));
    }

    pub(crate) fn cancel_live_jobs(&mut self, effects: &mut Effects) {
        self.cancel_where(effects, |task| {
            task.lane() == Lane::Live && !matches!(task, Task::CloseStream { .. })
        });
    }

    pub(crate) fn cancel_work(&mut self, effects: &mut Effects) {
        self.cancel_where(effects, |task| task.lane() == Lane::Work);
    }

    fn cancel_where(&mut self, effects: &mut Effects, which: impl Fn(&Task) -> bool) {
        for id in self
            .jobs
            .iter()
            .filter(|(_, job)| which(&job.task))
            .map(|(id, _)| *id)
            .collect::<Vec<_>>()
        {
            self.cancel(id, Urgency::Now, effects);
        }
    }

    /// A job is past its deadline: it is told to end; if it does not, whatever runs it is stuck for good.
    pub(crate) fn job_overdue(&mut self, id: JobId, effects: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let stuck = std::mem::replace(&mut job.overdue, true);
        self.alarms.set(Alarm::Job(id), self.now + self.plan.times.job_hang);
        if stuck {
            self.device_lost(effects);
        } else {
            self.cancel(id, Urgency::Now, effects);
        }
    }

    pub(crate) fn job_ended(&mut self, id: JobId, outcome: Outcome, effects: &mut Effects) {
        let Some(job) = self.jobs.remove(&id) else {
            return self.stale();
        };
        self.alarms.clear(Alarm::Job(id));
        self.give_back(job.leases);
        self.give_calls_back(job.calls);
        self.ledger.workspace -= job.workspace;
        match job.task {
            Task::Encode { track, .. } => self.encoded(track, outcome, effects),
            Task::Save { track } => self.saved(track, outcome, effects),
            Task::Rip { track } => self.rip_ended(track, id, outcome, effects),
            Task::EncodeStems { track } => self.stems_encoded(track, outcome),
            Task::SaveStems { track } => self.stems_saved(track, outcome),
            Task::Wipe { track } => self.wiped(track, outcome),
            Task::OpenStream { .. } => self.stream_opened(id, outcome, effects),
            Task::SwapSource { .. } => self.source_swapped(id, outcome, effects),
            Task::EncodePrompt { .. } => self.prompt_encoded(id, outcome, effects),
            Task::Reference {
                connection,
                kind,
                track,
            } => self.reference_changed(connection, kind, track, outcome, effects),
            Task::CloseStream { .. } => self.stream_closed(id),
            Task::Restore { group } => self.restore_ended(group, outcome, effects),
            Task::Park { group } => self.park_ended(group, outcome, effects),
            Task::LoadEngine { slot, engine } => self.load_ended(slot, engine, outcome),
            Task::UnloadEngine { slot, .. } => self.unload_ended(slot, outcome, effects),
        }
        self.note_outcome(outcome, effects);
    }
}
