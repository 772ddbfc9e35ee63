//! The director's thread: one event, one call, all its effects handed out. Nothing slow happens here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use greenroom_director::{Director, Effect, Effects, Event, Failure, JobId, Moment, Outcome, Plan, Task, Urgency};
use greenroom_generator::Lent;
use greenroom_sync::Mailbox;
use tokio::sync::{mpsc, oneshot};

use super::{
    announce::Announcer, disk, engines, job::Job, live::LiveOrder, outbox::Ending, shared::Shared,
    stage_lane::StageOrder, work::WorkOrder,
};

/// The loop shows that it is alive at least this often, also when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Where effects go.
pub(super) struct Lanes {
    pub(super) work: Mailbox<WorkOrder>,
    pub(super) stage: Mailbox<StageOrder>,
}

/// The driver's side of the director.
pub(super) struct Driver {
    director: Director,
    shared: Arc<Shared>,
    lanes: Lanes,
    announcer: Announcer,
    jobs: BTreeMap<JobId, (Job, Task)>,
    /// Events that follow from carrying out effects: handled before any from outside.
    own: VecDeque<Event>,
    exit: Option<oneshot::Sender<u8>>,
    /// The engines that what follows next may run.
    lent: Lent,
}

impl Driver {
    pub(super) fn new(plan: Plan, shared: Arc<Shared>, lanes: Lanes, exit: oneshot::Sender<u8>) -> Self {
        Self {
            director: Director::new(plan),
            announcer: Announcer::new(Arc::clone(&shared)),
            shared,
            lanes,
            jobs: BTreeMap::new(),
            own: VecDeque::new(),
            exit: Some(exit),
            lent: Lent::NONE,
        }
    }

    /// Runs until the director says `Exit`. `found` is told before anything else.
    pub(super) fn run(
        mut self,
        runtime: &tokio::runtime::Runtime,
        events: &mut mpsc::Receiver<Event>,
        found: Vec<Event>,
    ) {
        // The first event also has the director bring the house's weights in.
        for event in found.into_iter().chain([Event::Timer]) {
            self.handle(event);
        }
        self.shared.set_warm();
        while self.exit.is_some() {
            #[cfg(feature = "simulated-stage")]
            super::wedge::stand_still();
            self.shared.beat();
            let event = match self.own.pop_front() {
                Some(event) => event,
                None => self.next_event(runtime, events),
            };
            self.handle(event);
        }
        self.lanes.work.close();
        self.lanes.stage.close();
        self.shared.live.close();
    }

    /// The next event from outside, or `Timer` when a deadline or a heartbeat is due.
    fn next_event(&self, runtime: &tokio::runtime::Runtime, events: &mut mpsc::Receiver<Event>) -> Event {
        let now = self.now();
        let until_deadline = self
            .director
            .next_deadline()
            .map(|at| Duration::from_micros(at.since(now).0));
        let wait = until_deadline.map_or(HEARTBEAT, |wait| wait.min(HEARTBEAT));
        runtime.block_on(async {
            match tokio::time::timeout(wait, events.recv()).await {
                // The pod itself holds a sender, so there is always one.
                Ok(event) => event.unwrap_or(Event::ShutdownAsked),
                Err(_) => Event::Timer,
            }
        })
    }

    fn now(&self) -> Moment {
        Moment(self.shared.moment())
    }

    fn handle(&mut self, event: Event) {
        if let Event::JobEnded { job, outcome } = &event
            && let Some((_, task)) = self.jobs.remove(job)
        {
            self.announcer.job_ended(task, *outcome);
        }
        let gone = match &event {
            Event::ConnectionGone { connection } => Some(*connection),
            _ => None,
        };
        tracing::trace!(?event, "told");
        let mut effects = Effects::new();
        self.director.handle(self.now(), event, &mut effects);
        let effects: Vec<Effect> = effects.drain().collect();
        for effect in effects {
            tracing::trace!(?effect, "asked");
            self.carry_out(effect);
        }
        if let Some(connection) = gone {
            self.shared.desks.remove(connection);
        }
        self.shared.telemetry.set_director(self.director.counters());
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start { job, task } => self.start(job, task),
            Effect::Cancel { job, urgency } => self.cancel(job, urgency),
            Effect::Lend { engines, .. } => self.lent = engines::lent(engines),
            Effect::GateOpen { connection } => {
                self.shared.live.lend(std::mem::take(&mut self.lent));
                self.shared.live.gate.open();
                self.shared.live.wake();
                tracing::debug!(%connection, "the gate is open");
            }
            Effect::GateClose { closing, abort, .. } => {
                if let Some(closing) = self.shared.live.gate.close(closing, abort) {
                    self.own.push_back(Event::GateDrained { closing });
                }
            }
            Effect::Close { connection, code } => self.shared.desks.end(connection, Ending::Close(code.code())),
            Effect::ForceClose { connection } => self.shared.desks.end(connection, Ending::Force),
            Effect::Forget { track } => {
                self.shared.loads.forget(track);
                if let Some(entry) = self.shared.tracks.forget(track) {
                    disk::drop_entry(&self.shared, entry);
                }
                self.order_work(WorkOrder::Forget(track));
            }
            Effect::Exit { code } => {
                if let Some(exit) = self.exit.take() {
                    tracing::info!(code, "the pod ends");
                    // Nobody waits for it any more only where the process is already on its way out.
                    let _ = exit.send(code);
                }
            }
            announcement => self.announcer.announce(announcement),
        }
    }

    fn start(&mut self, id: JobId, task: Task) {
        let job = Job::new(id).with_engines(std::mem::take(&mut self.lent));
        self.jobs.insert(id, (job.clone(), task));
        self.announcer.job_started(task);
        let taken = match task {
            Task::Encode {
                track,
                connection,
                nameless,
            } => self.order_work(WorkOrder::Encode {
                job,
                track,
                connection,
                nameless,
            }),
            Task::Rip { track } => self.order_work(WorkOrder::Rip { job, track }),
            Task::EncodeStems { track } => self.order_work(WorkOrder::EncodeStems { job, track }),
            Task::OpenStream {
                connection,
                track,
                mode,
            } => self.order_live(LiveOrder::Open {
                job,
                connection,
                track,
                mode,
            }),
            Task::SwapSource {
                connection,
                track,
                mode,
            } => self.order_live(LiveOrder::Swap {
                job,
                connection,
                track,
                mode,
            }),
            Task::EncodePrompt { connection } => self.order_live(LiveOrder::Prompt { job, connection }),
            Task::Reference {
                connection,
                kind,
                track,
            } => self.order_live(LiveOrder::Reference {
                job,
                connection,
                kind,
                track,
            }),
            Task::CloseStream { .. } => self.order_live(LiveOrder::Close { job }),
            Task::Restore { group } => self.order_stage(StageOrder::Restore { job, group }),
            Task::Park { group } => self.order_stage(StageOrder::Park { job, group }),
            Task::LoadEngine { slot, engine } => self.order_stage(StageOrder::LoadEngine { job, slot, engine }),
            Task::UnloadEngine { slot, engine } => self.order_stage(StageOrder::UnloadEngine { job, slot, engine }),
            Task::Save { track } => {
                disk::save(&self.shared, job, track);
                true
            }
            Task::SaveStems { track } => {
                disk::save_stems(&self.shared, job, track);
                true
            }
            Task::Wipe { track } => {
                disk::wipe(&self.shared, job, track);
                true
            }
        };
        if !taken {
            // The lane is gone or hopelessly behind; its job still ends exactly once.
            self.own.push_back(Event::JobEnded {
                job: id,
                outcome: Outcome::Failed(Failure::Internal),
            });
        }
    }

    fn cancel(&mut self, id: JobId, urgency: Urgency) {
        if let Some((job, _)) = self.jobs.get(&id) {
            match urgency {
                Urgency::Now => job.cancel.raise(),
                Urgency::AfterBatch => job.after_batch.raise(),
            }
        }
    }

    fn order_live(&self, order: LiveOrder) -> bool {
        taken(self.shared.live.order(order))
    }

    fn order_work(&self, order: WorkOrder) -> bool {
        taken(self.lanes.work.send(order).is_ok())
    }

    fn order_stage(&self, order: StageOrder) -> bool {
        taken(self.lanes.stage.send(order).is_ok())
    }
}

/// The director runs at most one job a lane, so that a full mailbox is a bug and a closed one a lane that died.
fn taken(taken: bool) -> bool {
    if !taken {
        tracing::error!("a lane takes no orders: its thread ended or is stuck");
    }
    taken
}
