//! Jobs: slow, failing, hanging, late.

use greenroom_director::{Component, ConnectionId, Event, Failure, JobId, Outcome, Span, Task, TrackId, Urgency};

use crate::device::work_of;

use super::{Chance, End, Fault, Faults, GATE, JOBS, Mark, Tamper, Thing, Violation, World};
/// After the healing.
static NO_FAULTS: Faults = Faults::none();
/// How much likelier than at any other time a crash is between two steps on the disk, and the device's loss while it works: a fault
/// proves most where it hurts.
const AIMED_CRASH: u64 = 8;
const AIMED_LOSS: u64 = 4;
/// Batches of a rip.
const BATCHES: u32 = 4;

/// A job under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) job: JobId,
    pub(super) task: Task,
    chance: Chance,
    /// It never ends by itself.
    pub(super) hangs: bool,
    /// It does not see that it was cancelled.
    deaf: bool,
    /// Steps done of a job on the disk.
    steps: u8,
    /// Whether it may call engines.
    lent: bool,
}

impl World {
    pub(super) fn start(&mut self, job: JobId, task: Task) -> Result<(), Violation> {
        self.jobs_begun += 1;
        let mut chance = self.chance(JOBS, self.jobs_begun);
        let faults = if self.healing { &NO_FAULTS } else { &self.faults };
        let begun = self
            .device
            .begin(&self.plan, (job, task), &mut chance, faults, &mut self.marks);
        let refused = begun.map_err(Violation::Safety)?;
        if matches!(task, Task::Restore { .. } | Task::Rip { .. })
            && self.strikes_more(&mut chance, Fault::DeviceLost, AIMED_LOSS)
        {
            self.device.lose();
            self.soon(Span(chance.between(0, 40_000)), Thing::LossSeen);
        }
        let hangs = self.strikes(&mut chance, Fault::JobHangs) || self.tamper == Some(Tamper::LosesAJob);
        let deaf = self.strikes(&mut chance, Fault::CancelMissed);
        let slow = if self.strikes(&mut chance, Fault::JobSlow) {
            12
        } else {
            1
        };
        let outcome = refused.map_or_else(|| self.outcome(task, &mut chance), Outcome::Failed);
        if !hangs {
            let wait = |chance: &mut Chance, low, high| Span(chance.between(low, high) * slow);
            match task {
                Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => {
                    let wait = wait(&mut chance, 200, 120_000);
                    self.soon(wait, Thing::DiskGoesOn(job));
                }
                Task::Rip { .. } if outcome == Outcome::Done => {
                    let wait = wait(&mut chance, 20_000, 400_000);
                    self.soon(wait, Thing::RipGoesOn(job));
                }
                Task::Restore { .. } | Task::Park { .. } | Task::UnloadEngine { .. } => {
                    let wait = wait(&mut chance, 300, 100_000);
                    self.soon(wait, Thing::JobEnds(job, outcome));
                }
                _ => {
                    let wait = wait(&mut chance, 500, 900_000);
                    self.soon(wait, Thing::JobEnds(job, outcome));
                }
            }
        }
        if let Some(record) = &mut self.record {
            record.job_begins(self.now, job, task);
        }
        self.jobs.push(Running {
            job,
            task,
            chance,
            hangs,
            deaf,
            steps: 0,
            lent: self.lent.take() == Some(job),
        });
        Ok(())
    }

    /// How a job on the device or a thread will end, if nothing comes in between.
    fn outcome(&self, task: Task, chance: &mut Chance) -> Outcome {
        let failure = match task {
            Task::Restore { .. } | Task::Park { .. } | Task::CloseStream { .. } => None,
            Task::LoadEngine { .. } | Task::UnloadEngine { .. } => None,
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => None,
            Task::Rip { .. } => self
                .strikes(chance, Fault::StemsFail)
                .then_some(Failure::StemExtractFailed),
            Task::OpenStream { .. } | Task::SwapSource { .. } if self.strikes(chance, Fault::WrongShape) => {
                Some(Failure::EngineNotBuilt)
            }
            _ => self.strikes(chance, Fault::ComputeFails).then(|| {
                let fails = [Failure::Internal, Failure::BadAudio, Failure::Internal];
                chance.pick(&fails).unwrap_or(Failure::Internal)
            }),
        };
        failure.map_or(Outcome::Done, Outcome::Failed)
    }

    fn running(&self, job: JobId) -> Option<usize> {
        self.jobs.iter().position(|running| running.job == job)
    }

    pub(super) fn end_job(&mut self, job: JobId, outcome: Outcome) -> Result<(), Violation> {
        if let Some(place) = self.running(job)
            && let Task::Encode { track, .. } = self.jobs[place].task
        {
            self.measure(track)?;
        }
        let Some(place) = self.running(job) else {
            return Ok(());
        };
        let Running {
            task, mut chance, lent, ..
        } = self.jobs.swap_remove(place);
        let mut outcome = self.settle(task, self.without_engine(task, lent, outcome));
        let late = self.strikes(&mut chance, Fault::LateFrees);
        self.device.delay_frees(late);
        let faults = if self.healing { &NO_FAULTS } else { &self.faults };
        if self.tamper != Some(Tamper::KeepsMemory) || work_of(task).is_none() {
            outcome = self
                .device
                .end((job, task), outcome, &mut chance, faults, &mut self.marks);
        }
        self.device.delay_frees(false);
        if late {
            self.soon(Span(chance.between(1_000, 500_000)), Thing::FreesDone);
        }
        self.shadow.ended(job, task, outcome);
        if let Some(record) = &mut self.record {
            record.job_ends(self.now, job, outcome);
        }
        let twice = self.strikes(&mut chance, Fault::DoubledCompletion);
        let restarts = self.restarts;
        self.tell(Event::JobEnded { job, outcome })?;
        if twice && restarts == self.restarts {
            self.marks.hit(Mark::DoubledCompletion);
            let outcomes = [Outcome::Done, Outcome::Cancelled, Outcome::Failed(Failure::OutOfMemory)];
            let outcome = chance.pick(&outcomes).unwrap_or(Outcome::Done);
            self.tell(Event::JobEnded { job, outcome })?;
        }
        Ok(())
    }

    /// Phase 1 of a track that was measured only now, where there is nothing but engines to do it with.
    fn without_engine(&self, task: Task, lent: bool, outcome: Outcome) -> Outcome {
        let needs = matches!(task, Task::Encode { .. }) && self.plan.engines_only.has(Component::VaeEncode);
        if needs && !lent && outcome == Outcome::Done {
            return Outcome::Failed(Failure::EngineNotBuilt);
        }
        outcome
    }

    /// What a job's end means for the world around the device.
    fn settle(&mut self, task: Task, outcome: Outcome) -> Outcome {
        let done = outcome == Outcome::Done;
        if done
            && let Task::Encode { track, nameless, .. } = task
            && !(nameless || self.disk.begin_draft(track))
        {
            return Outcome::Failed(Failure::DiskFull);
        }
        match task {
            Task::Save { track } if done && !self.shadow.has_forgotten(track) => self.tracks.push(track),
            Task::Rip { track } => {
                if !matches!(outcome, Outcome::Yielded { .. } | Outcome::Cancelled) {
                    self.rips.retain(|(other, _)| *other != track);
                }
                // Memory may be there the next time.
                if outcome == Outcome::Failed(Failure::StemExtractFailed) {
                    self.disk.note_stems_failed(track);
                }
            }
            Task::CloseStream { .. } | Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => {}
            _ if self.device.lost => return Outcome::Failed(Failure::DeviceLost),
            _ => {}
        }
        outcome
    }

    /// One batch more.
    pub(super) fn rip(&mut self, job: JobId) -> Result<(), Violation> {
        let Some(place) = self.running(job) else {
            return Ok(());
        };
        let Task::Rip { track } = self.jobs[place].task else {
            return Ok(());
        };
        let wait = Span(self.jobs[place].chance.between(20_000, 400_000));
        let done = self.batch_done(track);
        self.tell(Event::RipProgress {
            job,
            done,
            total: BATCHES,
        })?;
        if done >= BATCHES {
            return self.end_job(job, Outcome::Done);
        }
        self.soon(wait, Thing::RipGoesOn(job));
        Ok(())
    }

    fn batch_done(&mut self, track: TrackId) -> u32 {
        match self.rips.iter_mut().find(|(other, _)| *other == track) {
            Some((_, done)) => {
                *done += 1;
                *done
            }
            None => {
                self.rips.push((track, 1));
                1
            }
        }
    }

    /// One step more of a job on the disk.
    pub(super) fn disk_step(&mut self, job: JobId) -> Result<(), Violation> {
        let Some(place) = self.running(job) else {
            return Ok(());
        };
        let weight = if self.healing {
            0
        } else {
            self.faults.weight(Fault::DiskFails)
        };
        let running = &mut self.jobs[place];
        let fails = running.chance.permille(weight);
        let wait = Span(running.chance.between(200, 60_000));
        let outcome = self.disk.step(running.task, running.steps, fails, &mut self.marks);
        running.steps += 1;
        let mut crash = Chance::seeded(running.chance.next());
        if self.strikes_more(&mut crash, Fault::PowerLoss, AIMED_CRASH) {
            return self.restart(End::Machine);
        }
        if self.strikes_more(&mut crash, Fault::Killed, AIMED_CRASH) {
            return self.restart(End::Process);
        }
        match outcome {
            Some(outcome) => self.end_job(job, outcome),
            None => {
                self.soon(wait, Thing::DiskGoesOn(job));
                Ok(())
            }
        }
    }

    pub(super) fn cancel(&mut self, job: JobId, urgency: Urgency) {
        let Some(place) = self.running(job) else { return };
        let running = &mut self.jobs[place];
        let wait = Span(running.chance.between(0, 100_000));
        if running.hangs {
            self.marks.hit(Mark::DeadlineOnly);
            match running.task {
                Task::Rip { .. } => self.marks.hit(Mark::RipHangs),
                Task::LoadEngine { .. } => self.marks.hit(Mark::LoadHangs),
                _ => {}
            }
            return;
        }
        match running.task {
            Task::Rip { .. } if running.deaf => {}
            Task::Rip { .. } if urgency == Urgency::Now => {
                self.soon(wait, Thing::JobEnds(job, Outcome::Yielded { abandoned: true }));
            }
            Task::Rip { .. } => self.soon(
                Span::milliseconds(400),
                Thing::JobEnds(job, Outcome::Yielded { abandoned: false }),
            ),
            // The cancel may come too late: then the job's own end is what counts.
            Task::Encode { .. }
            | Task::EncodeStems { .. }
            | Task::OpenStream { .. }
            | Task::SwapSource { .. }
            | Task::EncodePrompt { .. }
            | Task::LoadEngine { .. }
            | Task::Reference { .. }
                if !running.deaf =>
            {
                self.soon(wait, Thing::JobEnds(job, Outcome::Cancelled));
            }
            _ => {}
        }
    }

    pub(super) fn open_gate(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        if let Some(failure) = self.device.open_gate(&self.plan).map_err(Violation::Safety)? {
            self.refused_tick(connection, failure);
        }
        Ok(())
    }

    pub(super) fn close_gate(&mut self, closing: u64) {
        let mut chance = self.chance(GATE, closing ^ (self.restarts << 32));
        if self.strikes(&mut chance, Fault::JobHangs) {
            self.hung_gate = Some(closing);
            return;
        }
        let wait = Span(chance.between(0, 30_000));
        self.soon(wait, Thing::Drained(closing));
    }
}
