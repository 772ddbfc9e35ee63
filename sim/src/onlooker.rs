//! Notices rare situations from what is told and what is asked for, never from inside the director.

mod engines;

use greenroom_director::{
    ClientKey, Close, ConnectionId, Effect, Event, Failure, Group, JobId, Mode, Moment, Outcome, Plan, Policy, Source,
    Span, Task, TrackId, Urgency,
};

use crate::marks::{Mark, Marks};

/// A job under way, as seen from outside.
#[derive(Clone, Copy, Debug)]
struct Seen {
    job: JobId,
    task: Task,
    cancelled: bool,
}

/// What a connection was last seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Body,
    Uploading,
    /// A candidate, or being created.
    Asked,
    Live,
    Closing {
        preempted: bool,
        was_live: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Known {
    connection: ConnectionId,
    client: Option<ClientKey>,
    phase: Phase,
}

/// The onlooker of one process.
#[derive(Debug, Default)]
pub(crate) struct Onlooker {
    jobs: Vec<Seen>,
    connections: Vec<Known>,
    /// The swap that was asked for and not answered, if it waits for stems.
    swap: Option<TrackId>,
    gate_open: bool,
    forced_out: Vec<ClientKey>,
    /// Clients preempted, newest last.
    preempted: Vec<ClientKey>,
    asked_at: Vec<Moment>,
    uploads_acked: Vec<TrackId>,
    owed_at_boot: Vec<TrackId>,
    last_client: Option<ClientKey>,
    wipes_failed: Vec<TrackId>,
    /// Tracks whose rip ran out of memory.
    ripped_short: Vec<TrackId>,
    shutdowns: u32,
    /// The group that left the device last, if none came since.
    left_last: Option<Group>,
    /// Whether an upload and a session both wanted the device then.
    left_between_two: bool,
    engines: engines::Engines,
}

impl Onlooker {
    fn known(&mut self, connection: ConnectionId) -> Option<&mut Known> {
        self.connections.iter_mut().find(|known| known.connection == connection)
    }

    fn phase(&self, connection: ConnectionId) -> Option<Phase> {
        self.connections
            .iter()
            .find(|known| known.connection == connection)
            .map(|known| known.phase)
    }

    fn set(&mut self, connection: ConnectionId, phase: Phase) {
        if let Some(known) = self.known(connection) {
            known.phase = phase;
        }
    }

    fn live(&self) -> Option<&Known> {
        self.connections.iter().find(|known| known.phase == Phase::Live)
    }

    fn runs(&self, which: impl Fn(&Task) -> bool) -> bool {
        self.jobs.iter().any(|seen| which(&seen.task))
    }

    fn rip(&self) -> Option<TrackId> {
        self.jobs.iter().find_map(|seen| match seen.task {
            Task::Rip { track } => Some(track),
            _ => None,
        })
    }

    fn is_creating(&self) -> bool {
        self.runs(|task| matches!(task, Task::OpenStream { .. }))
    }

    /// An event is about to be told.
    pub(crate) fn event(&mut self, now: Moment, plan: &Plan, event: &Event, marks: &mut Marks) {
        match event {
            Event::HandshakeOpened { connection } if self.phase(*connection).is_none() => {
                self.connections.push(Known {
                    connection: *connection,
                    client: None,
                    phase: Phase::Greeting,
                });
            }
            Event::HandshakeDeclared { connection, .. } if self.phase(*connection) == Some(Phase::Greeting) => {
                self.set(*connection, Phase::Body);
            }
            Event::SessionAsked {
                connection,
                client,
                source,
                ..
            } if self.phase(*connection) == Some(Phase::Body) => {
                self.session_asked(now, (*connection, *client, *source), marks);
            }
            Event::UploadAsked { connection, .. } if self.phase(*connection) == Some(Phase::Body) => {
                self.set(*connection, Phase::Uploading);
                if self.is_creating() {
                    marks.hit(Mark::UploadDuringCreation);
                }
            }
            Event::ConnectionGone { connection } => self.gone(*connection, marks),
            Event::SwapAsked {
                connection,
                source,
                mode,
            } if self.phase(*connection) == Some(Phase::Live) => {
                let track = match source {
                    Source::Sent(track) | Source::Track(track) => *track,
                };
                self.swap = matches!(mode, Mode::Vocals | Mode::Instruments).then_some(track);
                if self.gate_open {
                    marks.hit(Mark::SwapWhileTicking);
                }
            }
            Event::RipProgress { .. } if self.swap.is_some() && self.swap == self.rip() => {
                marks.hit(Mark::SwapWaitsForStems);
            }
            Event::JobEnded { job, outcome } => self.job_ended(*job, *outcome, marks),
            Event::ReferenceAsked { connection, .. }
                if self.phase(*connection) == Some(Phase::Live)
                    && self.runs(|task| matches!(task, Task::SwapSource { .. })) =>
            {
                marks.hit(Mark::ReferenceUnderSwap);
            }
            Event::GateDrained { .. }
            | Event::SwapAsked { .. }
            | Event::PromptAsked { .. }
            | Event::ReferenceAsked { .. } => self.late(event, marks),
            Event::ForeignMemory { bytes } => {
                let eager: u64 = Group::EAGER.iter().map(|group| plan.weights(*group)).sum();
                if let Policy::Auto { reserve_bytes } = plan.policy
                    && eager > 0
                    && plan.budget_bytes.saturating_sub(bytes + eager) < reserve_bytes
                {
                    marks.hit(Mark::ForeignOverReserve);
                }
            }
            Event::SourceMeasured { track, engines } => self.engines.measured(*track, engines),
            Event::DeviceLost => self.lost(marks),
            Event::ShutdownAsked => self.shutdown(marks),
            _ => {}
        }
    }

    fn session_asked(
        &mut self,
        now: Moment,
        (connection, client, source): (ConnectionId, Option<ClientKey>, Source),
        marks: &mut Marks,
    ) {
        let same_client = |known: &Known| known.phase == Phase::Asked && client.is_some() && known.client == client;
        if self.connections.iter().any(same_client) {
            marks.hit(Mark::DoubledTab);
        }
        self.asked_at.retain(|at| now.since(*at) <= Span::seconds(2));
        self.asked_at.push(now);
        if self.asked_at.len() >= 4 {
            marks.hit(Mark::StormOfReconnects);
        }
        if let Source::Track(track) = source
            && client.is_some()
            && self.last_client == client
            && self.uploads_acked.contains(&track)
            && self.live().is_none()
        {
            marks.hit(Mark::UploadResumed);
        }
        if let Some(known) = self.known(connection) {
            known.client = client;
            known.phase = Phase::Asked;
        }
    }

    fn gone(&mut self, connection: ConnectionId, marks: &mut Marks) {
        let Some(place) = self.connections.iter().position(|known| known.connection == connection) else {
            return self.late(&Event::ConnectionGone { connection }, marks);
        };
        let opens =
            |seen: &Seen| matches!(seen.task, Task::OpenStream { connection: other, .. } if other == connection);
        marks.hit(match self.connections.swap_remove(place).phase {
            Phase::Greeting => Mark::GoneInGreeting,
            Phase::Body => Mark::GoneInBody,
            Phase::Uploading => Mark::UploadCut,
            Phase::Asked if self.jobs.iter().any(opens) => Mark::GoneInCreation,
            Phase::Asked => Mark::GoneWhileWaiting,
            Phase::Live => Mark::GoneWhileLive,
            Phase::Closing { was_live: true, .. } => Mark::GoneWhileDraining,
            Phase::Closing { .. } => return,
        });
    }

    /// Something about somebody who lost the pod, while another plays.
    fn late(&self, event: &Event, marks: &mut Marks) {
        let about = match event {
            Event::SwapAsked { connection, .. }
            | Event::PromptAsked { connection }
            | Event::ReferenceAsked { connection, .. }
            | Event::ConnectionGone { connection } => *connection,
            _ => return,
        };
        if self.phase(about).is_none_or(|phase| phase != Phase::Live) && self.live().is_some() {
            marks.hit(Mark::StaleEvictionIgnored);
        }
    }

    fn lost(&self, marks: &mut Marks) {
        if self.rip().is_some() {
            marks.hit(Mark::DeviceLostInMidRip);
        }
        if self.runs(|task| matches!(task, Task::Restore { .. } | Task::Park { .. })) {
            marks.hit(Mark::DeviceLostInRestore);
        }
    }

    fn shutdown(&mut self, marks: &mut Marks) {
        self.shutdowns += 1;
        if self.shutdowns > 1 {
            return;
        }
        if self.rip().is_some() {
            marks.hit(Mark::ShutdownInMidRip);
        }
        if self.is_creating() {
            marks.hit(Mark::ShutdownInCreation);
        }
        if self.live().is_some() {
            marks.hit(Mark::ShutdownWhileLive);
        }
    }

    fn job_ended(&mut self, job: JobId, outcome: Outcome, marks: &mut Marks) {
        let Some(place) = self.jobs.iter().position(|seen| seen.job == job) else {
            return;
        };
        let Seen { task, cancelled, .. } = self.jobs.swap_remove(place);
        self.engines.ended(task, outcome, marks);
        if cancelled && outcome == Outcome::Done {
            marks.hit(Mark::LateCompletion);
        }
        match (task, outcome) {
            (Task::Rip { .. }, Outcome::Yielded { .. }) => marks.hit(Mark::RipGivesWay),
            (Task::Rip { track }, Outcome::Failed(Failure::OutOfMemory)) => {
                marks.hit(if self.ripped_short.contains(&track) {
                    Mark::RipOutOfMemoryTwice
                } else {
                    Mark::RipOutOfMemory
                });
                self.ripped_short.push(track);
            }
            (Task::Rip { track }, Outcome::Done) if self.ripped_short.contains(&track) => marks.hit(Mark::RipRetried),
            (Task::Rip { .. }, Outcome::Failed(Failure::StemExtractFailed)) => marks.hit(Mark::RipFails),
            (Task::EncodeStems { .. }, Outcome::Cancelled) => marks.hit(Mark::StemsEncodeGivesWay),
            (Task::EncodeStems { .. }, Outcome::Failed(_)) => marks.hit(Mark::StemsEncodeFails),
            (Task::OpenStream { .. } | Task::SwapSource { .. }, Outcome::Failed(Failure::EngineNotBuilt)) => {
                marks.hit(Mark::WrongShape);
            }
            (Task::Reference { track: None, .. }, Outcome::Done) => marks.hit(Mark::ReferenceCleared),
            (Task::Encode { .. } | Task::SwapSource { .. }, Outcome::Failed(Failure::Internal)) => {
                marks.hit(Mark::WorkerFails);
            }
            (
                Task::Restore {
                    group: Group::Separator,
                },
                Outcome::Failed(Failure::OutOfMemory),
            ) => {
                marks.hit(Mark::SeparatorNotLoaded);
            }
            (Task::Wipe { track }, Outcome::Failed(_)) => self.wipes_failed.push(track),
            (Task::Wipe { track }, Outcome::Done) => self.wipes_failed.retain(|other| *other != track),
            _ => {}
        }
        if let Task::Rip { .. } = task
            && cancelled
            && self.live().is_none()
        {
            marks.hit(Mark::RipOutlivesSession);
        }
    }

    /// An effect was asked for.
    pub(crate) fn effect(&mut self, effect: &Effect, marks: &mut Marks) {
        self.engines.effect(effect, marks);
        match effect {
            Effect::Start { job, task } => self.start(*job, *task, marks),
            Effect::Cancel { job, urgency } => self.cancel(*job, *urgency, marks),
            Effect::Close { connection, code } => self.close(*connection, *code, marks),
            Effect::Refuse { connection, failure } => self.refuse(*connection, *failure, marks),
            Effect::ForceClose { connection } => self.force(*connection, marks),
            Effect::GateOpen { .. } => self.gate_open = true,
            Effect::GateClose { abort, .. } => {
                self.gate_open = false;
                if *abort {
                    marks.hit(Mark::ClosedMidTick);
                }
            }
            Effect::SessionReady { connection, .. } => {
                self.set(*connection, Phase::Live);
                self.last_client = self.known(*connection).and_then(|known| known.client);
            }
            Effect::SwapReady { .. } => self.swap = None,
            Effect::SwapFailed { failure, .. } => {
                if *failure == Failure::Superseded {
                    marks.hit(Mark::SwapSuperseded);
                } else {
                    self.swap = None;
                }
            }
            Effect::ReferenceFailed { failure, .. } => marks.hit(if *failure == Failure::Superseded {
                Mark::ReferenceSuperseded
            } else {
                Mark::ReferenceFails
            }),
            Effect::UploadOk(ack) => {
                self.uploads_acked.push(ack.track());
                self.set(ack.connection(), CLOSING);
            }
            Effect::UploadFailed { connection, failure } => {
                if *failure == Failure::Superseded {
                    marks.hit(Mark::UploadSuperseded);
                }
                self.set(*connection, CLOSING);
            }
            Effect::Forget { track } => self.forget(*track, marks),
            Effect::Exit { code } => {
                if *code == 1 {
                    marks.hit(Mark::ShutdownTwice);
                } else if *code == greenroom_director::EXIT_DEVICE_LOST {
                    marks.hit(Mark::StickyError);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, job: JobId, task: Task, marks: &mut Marks) {
        self.engines.start(task, self.gate_open, marks);
        match task {
            Task::Rip { track } if self.owed_at_boot.contains(&track) => marks.hit(Mark::OwedAtBoot),
            Task::Park { group } => {
                let waits = |known: &Known| known.phase == Phase::Uploading;
                self.left_last = Some(group);
                self.left_between_two = self.connections.iter().any(waits) && self.live().is_some();
            }
            Task::Restore { group } => {
                match self.left_last.take() {
                    Some(left) if left == group => marks.hit(Mark::RevivedWhileParking),
                    // Where no separator comes in, a group leaves for the sake of another.
                    Some(Group::Separator) | None => {}
                    Some(_) if group != Group::Separator && self.left_between_two => marks.hit(Mark::TwoNeeds),
                    Some(_) => {}
                }
            }
            _ => {}
        }
        self.jobs.push(Seen {
            job,
            task,
            cancelled: false,
        });
    }

    fn cancel(&mut self, job: JobId, urgency: Urgency, marks: &mut Marks) {
        if urgency == Urgency::AfterBatch {
            marks.hit(Mark::RipRunsToItsEnd);
        }
        if let Some(seen) = self.jobs.iter_mut().find(|seen| seen.job == job) {
            seen.cancelled = true;
        }
    }

    fn close(&mut self, connection: ConnectionId, code: Close, marks: &mut Marks) {
        let Some(known) = self.known(connection).copied() else {
            return;
        };
        let was_live = known.phase == Phase::Live;
        let preempted = code == Close::Preempted;
        match (code, known.phase) {
            (Close::NoFirstFrame, _) => marks.hit(Mark::FirstFrameMissed),
            (Close::Preempted, Phase::Live) => self.lose_pod(known.client, marks),
            (Close::Preempted, Phase::Asked) => self.passed_over(&known, marks),
            _ => {}
        }
        if was_live {
            self.swap = None;
        }
        self.set(connection, Phase::Closing { preempted, was_live });
    }

    fn lose_pod(&mut self, client: Option<ClientKey>, marks: &mut Marks) {
        if self.rip().is_some() {
            marks.hit(Mark::PreemptionInMidRip);
        }
        let Some(client) = client else { return };
        self.preempted.push(client);
        if let [.., a, b, c, d] = self.preempted[..]
            && a == c
            && b == d
            && a != b
        {
            marks.hit(Mark::PingPong);
        }
    }

    /// Somebody with a whole handshake who has not begun to play is told that another has the pod.
    fn passed_over(&self, known: &Known, marks: &mut Marks) {
        let opens =
            |seen: &Seen| matches!(seen.task, Task::OpenStream { connection, .. } if connection == known.connection);
        let live = self.live().map(|live| live.connection);
        let newer =
            |other: &Known| matches!(other.phase, Phase::Asked | Phase::Live) && other.connection > known.connection;
        let is_newest = !self.connections.iter().any(newer);
        if is_newest && known.client.is_some_and(|client| self.forced_out.contains(&client)) {
            marks.hit(Mark::HeldOut);
        }
        if self.jobs.iter().any(opens) {
            marks.hit(Mark::PreemptedWhileCreating);
        } else if live > Some(known.connection) {
            marks.hit(Mark::OlderPassedOver);
        } else if self
            .connections
            .iter()
            .any(|other| other.phase == Phase::Asked && other.connection > known.connection)
        {
            marks.hit(Mark::CandidatePassedOver);
        }
    }

    fn refuse(&mut self, connection: ConnectionId, failure: Failure, marks: &mut Marks) {
        let phase = self.phase(connection);
        match (failure, phase) {
            (Failure::Busy, Some(Phase::Greeting | Phase::Body)) => marks.hit(Mark::HandshakesFull),
            (Failure::TooSlow, Some(Phase::Body)) => marks.hit(Mark::BodyMissed),
            _ => {}
        }
        let was_live = phase == Some(Phase::Live);
        self.set(
            connection,
            Phase::Closing {
                preempted: false,
                was_live,
            },
        );
    }

    fn force(&mut self, connection: ConnectionId, marks: &mut Marks) {
        let Some(known) = self.known(connection).copied() else {
            return;
        };
        match known.phase {
            Phase::Closing {
                preempted: true,
                was_live: true,
            } => {
                marks.hit(Mark::ForcedClose);
                self.forced_out.extend(known.client);
            }
            _ => marks.hit(Mark::CloseUnanswered),
        }
    }

    fn forget(&mut self, track: TrackId, marks: &mut Marks) {
        self.uploads_acked.retain(|other| *other != track);
        if self.rip() == Some(track) {
            marks.hit(Mark::WipeInMidRip);
        }
        if self.runs(|task| *task == Task::EncodeStems { track }) {
            marks.hit(Mark::WipeWhileStemsEncoded);
        }
        if self.runs(|task| *task == Task::SaveStems { track }) {
            marks.hit(Mark::WipeWhileStemsSaved);
        }
    }

    /// A track that the disk had at boot.
    pub(crate) fn found_owing(&mut self, track: TrackId) {
        self.owed_at_boot.push(track);
    }

    /// The process ends here, whatever it was doing.
    pub(crate) fn crash(&self, marks: &mut Marks) {
        for seen in &self.jobs {
            match seen.task {
                Task::Save { .. } => marks.hit(Mark::CrashInSave),
                Task::SaveStems { .. } => marks.hit(Mark::CrashInStemsSave),
                Task::Wipe { .. } => marks.hit(Mark::CrashInWipe),
                _ => {}
            }
        }
    }

    /// A connection that never was one comes and goes.
    pub(crate) fn garbage(&self, marks: &mut Marks) {
        if self.live().is_some() {
            marks.hit(Mark::GarbageWhileLive);
        }
    }

    pub(crate) fn is_live(&self, connection: ConnectionId) -> bool {
        self.phase(connection) == Some(Phase::Live)
    }
}

const CLOSING: Phase = Phase::Closing {
    preempted: false,
    was_live: false,
};
