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
        }
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
                assert!(known.is_some(), "{job:?} ended twice, or was never started");
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
                if let Some(outcome) = self.house.start(job) {
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
                self.house.gate().open();
                self.house.wake_live();
            }
            Effect::GateClose { closing, abort, .. } => {
                if let Some(closing) = self.house.gate().close(closing, abort) {
                    self.own.push_back(Event::GateDrained { closing });
                }
            }
            Effect::Exit { code } => self.exit = Some(code),
            announcement => self.own.extend(self.house.announce(announcement)),
        }
    }
}
