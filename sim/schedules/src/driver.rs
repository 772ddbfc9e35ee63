//! One event, one call, all its effects handed out: the server's director thread without its sockets.

use std::collections::{BTreeMap, VecDeque};

use greenroom_director::{Director, Effect, Effects, Event, JobId, Moment, Outcome, Plan, Span, Task, Urgency};
use greenroom_sync::{CancelFlag, LeaseGate};

/// A job on its way to a lane.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What to do.
    pub task: Task,
    /// Raised where it should end at its next look.
    pub cancel: CancelFlag,
    /// Raised where a rip should end after its batch.
    pub after_batch: CancelFlag,
}

/// What is around the driver: lanes and clients.
pub trait House {
    /// Gives a job to its lane; an outcome where it is done on the spot.
    fn start(&mut self, job: Job) -> Option<Outcome>;

    /// The gate of the live thread.
    fn gate(&self) -> &LeaseGate;

    /// Has the live thread look at its gate.
    fn wake_live(&self);

    /// Passes on what is for clients or for nobody in particular; events that follow at once come back.
    fn announce(&mut self, effect: Effect) -> Vec<Event>;
}

/// A protection that is left out on purpose, to see that a model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The live thread is not told that its gate is open.
    WakesNobody,
    /// It is told before the gate is open.
    WakesTooEarly,
    /// The gate counts as drained as soon as it is told to close, whoever is inside.
    DrainedAtOnce,
    /// A job of a lane counts as ended as soon as it is handed out.
    EndsAtOnce,
    /// A group counts as parked, and its weights stay where they are.
    ParksNothing,
    /// A connection counts as gone as soon as it is told to close.
    GoneAtOnce,
    /// What a client is told to hear last, it hears twice.
    ClosesTwice,
}

/// The director and what it needs of a thread.
pub struct Driver<H> {
    director: Director,
    /// What is around it.
    pub house: H,
    now: Moment,
    jobs: BTreeMap<JobId, Job>,
    /// Events that follow from carrying out effects: handled before any from outside.
    own: VecDeque<Event>,
    exit: Option<u8>,
    broken: Option<Break>,
}

impl<H: House> Driver<H> {
    /// A pod with nobody on it.
    pub fn new(plan: Plan, house: H) -> Self {
        Self {
            director: Director::new(plan),
            house,
            now: Moment::default(),
            jobs: BTreeMap::new(),
            own: VecDeque::new(),
            exit: None,
            broken: None,
        }
    }

    /// The same with a protection less, from here on.
    pub fn break_on_purpose(&mut self, broken: Option<Break>) {
        self.broken = broken;
    }

    fn is_broken(&self, broken: Break) -> bool {
        self.broken == Some(broken)
    }

    /// The director, to look at.
    pub fn director(&self) -> &Director {
        &self.director
    }

    /// The exit code, once the director said `Exit`.
    pub fn exit(&self) -> Option<u8> {
        self.exit
    }

    /// Handles an event, and whatever follows from it without anybody else.
    pub fn tell(&mut self, event: Event) {
        self.own.push_back(event);
        while let Some(event) = self.own.pop_front() {
            if let Event::JobEnded { job, .. } = &event {
                let known = self.jobs.remove(job);
                let known = known.is_some() || self.is_broken(Break::EndsAtOnce);
                assert!(known, "{job:?} ended twice, or was never started");
            }
            let mut effects = Effects::new();
            self.director.handle(self.now, event, &mut effects);
            for effect in effects.drain() {
                self.carry_out(effect);
            }
        }
    }

    /// Lets time pass.
    pub fn pass_time(&mut self, span: Span) {
        self.now = self.now + span;
        self.tell(Event::Timer);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start { job: id, task } => {
                let job = Job {
                    id,
                    task,
                    cancel: CancelFlag::new(),
                    after_batch: CancelFlag::new(),
                };
                self.jobs.insert(id, job.clone());
                let stays = matches!(task, Task::Park { .. }) && self.is_broken(Break::ParksNothing);
                let outcome = if stays {
                    Some(Outcome::Done)
                } else {
                    self.house.start(job)
                };
                if let Some(outcome) = outcome.or(self.is_broken(Break::EndsAtOnce).then_some(Outcome::Done)) {
                    self.own.push_back(Event::JobEnded { job: id, outcome });
                }
            }
            Effect::Cancel { job, urgency } => {
                if let Some(job) = self.jobs.get(&job) {
                    match urgency {
                        Urgency::Now => job.cancel.raise(),
                        Urgency::AfterBatch => job.after_batch.raise(),
                    }
                }
            }
            Effect::GateOpen { .. } => {
                if self.is_broken(Break::WakesTooEarly) {
                    self.house.wake_live();
                }
                self.house.gate().open();
                if !self.is_broken(Break::WakesTooEarly) && !self.is_broken(Break::WakesNobody) {
                    self.house.wake_live();
                }
            }
            Effect::GateClose { closing, abort, .. } => {
                let drained = self.house.gate().close(closing, abort);
                if let Some(closing) = drained.or(self.is_broken(Break::DrainedAtOnce).then_some(closing)) {
                    self.own.push_back(Event::GateDrained { closing });
                }
            }
            Effect::Close { connection, code } => {
                if self.is_broken(Break::GoneAtOnce) {
                    self.own.push_back(Event::ConnectionGone { connection });
                }
                if self.is_broken(Break::ClosesTwice) {
                    self.own.extend(self.house.announce(Effect::Close { connection, code }));
                }
                self.own.extend(self.house.announce(effect));
            }
            Effect::Exit { code } => self.exit = Some(code),
            announcement => self.own.extend(self.house.announce(announcement)),
        }
    }
}
