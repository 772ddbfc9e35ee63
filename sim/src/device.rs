//! The device under the director: every move of weights and every workspace goes through the pure memory model, and the director's
//! ledger is compared with it after every event.

use greenroom_director::{Component, Engine, EngineId, Failure, Group, JobId, Outcome, Plan, Task, Work};
use greenroom_stage::{Fault as DeviceFault, MemoryModel, StageError};

use crate::{
    chance::Chance,
    faults::{Fault, Faults},
    marks::{Mark, Marks},
    plans::Built,
};

/// What the ledger counts for work that the model refused, until its end is told.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    holder: Holder,
    bytes: u64,
    /// None if the model refused.
    workspace: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Job(JobId),
    /// The live thread's standing lease.
    Ticks,
}

/// The device of one process.
#[derive(Debug)]
pub(crate) struct Device {
    model: MemoryModel,
    admitted: Vec<Admitted>,
    /// A restore that came to nothing and whose end is not told yet.
    nothing_came: Option<u64>,
    /// The engines of this pod, by slot.
    engines: Vec<(Component, Engine)>,
    /// An engine whose load failed and was not tried again since.
    load_failed: Option<EngineId>,
    last_restore: [Option<Failed>; 5],
    null_context: bool,
    pub(crate) lost: bool,
    parked_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Once,
    Halfway,
}

/// The work that a task does on the device.
pub(crate) fn work_of(task: Task) -> Option<Work> {
    match task {
        Task::Encode { .. } | Task::EncodeStems { .. } => Some(Work::EncodeSource),
        Task::Rip { .. } => Some(Work::Rip),
        Task::OpenStream { .. } | Task::SwapSource { .. } => Some(Work::OpenStream),
        Task::EncodePrompt { .. } => Some(Work::EncodePrompt),
        Task::Reference { kind, track, .. } => kind.work(track),
        _ => None,
    }
}

impl Device {
    pub(crate) fn new(plan: &Plan, built: &Built) -> Self {
        let mut model = MemoryModel::new(plan.budget_bytes);
        for group in Group::ALL.into_iter().filter(|group| plan.has(*group)) {
            // A fresh model knows no group yet.
            let _known = model.register(group.name(), plan.weights(group));
        }
        for (_, engine) in built.all() {
            let _known = model.register(&name_of(engine.id), engine.bytes());
        }
        Self {
            model,
            engines: built.all().collect(),
            load_failed: None,
            admitted: Vec::with_capacity(4),
            nothing_came: None,
            last_restore: [None; 5],
            null_context: false,
            lost: false,
            parked_last: false,
        }
    }

    /// What `task` meets at its start: nothing, or a failure. `Err` is a refusal that nothing explains: the director over-admitted.
    pub(crate) fn begin(
        &mut self,
        plan: &Plan,
        (job, task): (JobId, Task),
        chance: &mut Chance,
        faults: &Faults,
        marks: &mut Marks,
    ) -> Result<Option<Failure>, String> {
        match task {
            Task::Restore { group } => self.restore(plan, group, chance, faults, marks),
            Task::LoadEngine { engine, .. } => self.load(engine, chance, faults, marks),
            _ => match work_of(task) {
                None => Ok(None),
                Some(work) => {
                    let bytes = plan.need(work).workspace_bytes;
                    let out = chance.permille(faults.weight(Fault::ComputeOutOfMemory));
                    let refused = self.admit(Holder::Job(job), bytes, out)?;
                    if refused.is_some() {
                        return Ok(refused);
                    }
                    let needs_context = matches!(work, Work::OpenStream | Work::EncodeSource);
                    Ok(if needs_context {
                        self.context(chance, faults, marks)
                    } else {
                        None
                    })
                }
            },
        }
    }

    fn restore(
        &mut self,
        plan: &Plan,
        group: Group,
        chance: &mut Chance,
        faults: &Faults,
        marks: &mut Marks,
    ) -> Result<Option<Failure>, String> {
        let before = self.last_restore[group as usize];
        // A device that is short of memory stays so for a while: the retry fails more often than the first try.
        let weight = faults.weight(Fault::AllocationFails) * if before.is_some() { 2 } else { 1 };
        let mut excused = self.inject(chance, weight, DeviceFault::Allocation(0));
        excused = excused || self.inject(chance, faults.weight(Fault::HostMemory), DeviceFault::HostMemory);
        let halfway = !excused
            && self.model.free_bytes() >= plan.weights(group)
            && self.inject(chance, faults.weight(Fault::HalfRestore), DeviceFault::HalfRestore);
        let refusal = self.model.restore(group.name()).err();
        let Some(error) = refusal else {
            match before {
                Some(Failed::Halfway) => marks.hit(Mark::HalfRestoreRetried),
                Some(Failed::Once) => marks.hit(Mark::RestoreRetried),
                None => {}
            }
            self.last_restore[group as usize] = None;
            self.parked_last = false;
            return Ok(None);
        };
        self.nothing_came = Some(plan.weights(group));
        if !(excused || halfway) {
            self.explain(&error, marks)?;
        }
        if before.is_some() {
            marks.hit(Mark::OutOfMemoryTwice);
        }
        if std::mem::take(&mut self.parked_last) {
            marks.hit(Mark::EvictedThenFailed);
        }
        self.last_restore[group as usize] = Some(if halfway { Failed::Halfway } else { Failed::Once });
        Ok(Some(failure_of(&error)))
    }

    /// Weights first, then the context; of a load that failed nothing stays.
    fn load(
        &mut self,
        engine: EngineId,
        chance: &mut Chance,
        faults: &Faults,
        marks: &mut Marks,
    ) -> Result<Option<Failure>, String> {
        let again = self.load_failed == Some(engine);
        let weight = faults.weight(Fault::AllocationFails) * if again { 2 } else { 1 };
        let excused = self.inject(chance, weight, DeviceFault::Allocation(0));
        let fits = self.model.free_bytes() >= self.bytes_of(engine);
        let excused =
            excused || (fits && self.inject(chance, faults.weight(Fault::HalfRestore), DeviceFault::HalfRestore));
        if let Err(error) = self.model.restore(&name_of(engine)) {
            if !excused {
                self.explain(&error, marks)?;
            }
            return Ok(Some(self.no_engine(engine, failure_of(&error))));
        }
        self.inject(chance, faults.weight(Fault::NullContext), DeviceFault::NullContext);
        let context = self.model.create_context();
        if context.as_ref().is_ok_and(|made| *made) {
            if again {
                marks.hit(Mark::LoadRetried);
                self.load_failed = None;
            }
            return Ok(None);
        }
        let _gone = self.model.park(&name_of(engine));
        let failure = context.map_or_else(|error| failure_of(&error), |_| Failure::NullContext);
        if failure == Failure::NullContext {
            marks.hit(Mark::NullContextOfEngine);
        }
        Ok(Some(self.no_engine(engine, failure)))
    }

    fn no_engine(&mut self, engine: EngineId, failure: Failure) -> Failure {
        self.nothing_came = Some(self.bytes_of(engine));
        self.load_failed = Some(engine);
        failure
    }

    fn bytes_of(&self, engine: EngineId) -> u64 {
        let known = self.engines.iter().find(|(_, other)| other.id == engine);
        known.map_or(0, |(_, engine)| engine.bytes())
    }

    /// A refusal without an injected fault must have another ground than the director's own admissions.
    fn explain(&self, error: &StageError, marks: &mut Marks) -> Result<(), String> {
        if !matches!(error, StageError::OutOfMemory { .. }) {
            return if self.lost {
                Ok(())
            } else {
                Err(format!("the device refuses: {error}"))
            };
        }
        let reading = self.model.read();
        if reading.pending_free > 0 {
            marks.hit(Mark::FreedLate);
        }
        if reading.foreign > 0 {
            marks.hit(Mark::ForeignRefuses);
        }
        if reading.pending_free + reading.foreign > 0 {
            Ok(())
        } else {
            Err(format!("more was admitted than the device holds: {error}"))
        }
    }

    fn admit(&mut self, holder: Holder, bytes: u64, out_of_memory: bool) -> Result<Option<Failure>, String> {
        if out_of_memory {
            self.model.inject(DeviceFault::Allocation(0));
        }
        let answer = self.model.admit(bytes);
        let workspace = answer.as_ref().ok().copied();
        self.admitted.push(Admitted {
            holder,
            bytes,
            workspace,
        });
        match answer {
            Ok(_) => Ok(None),
            Err(error) => {
                if !out_of_memory {
                    self.explain(&error, &mut Marks::default())?;
                }
                Ok(Some(failure_of(&error)))
            }
        }
    }

    fn context(&mut self, chance: &mut Chance, faults: &Faults, marks: &mut Marks) -> Option<Failure> {
        let null = self.inject(chance, faults.weight(Fault::NullContext), DeviceFault::NullContext);
        match self.model.create_context() {
            Err(error) => Some(failure_of(&error)),
            // A null is never kept: the next use makes a context anew.
            Ok(false) => {
                self.null_context = null;
                Some(Failure::Internal)
            }
            Ok(true) => {
                if std::mem::take(&mut self.null_context) {
                    marks.hit(Mark::NullContext);
                }
                None
            }
        }
    }

    /// The ticks' workspace; a refusal ends the session.
    pub(crate) fn open_gate(&mut self, plan: &Plan) -> Result<Option<Failure>, String> {
        self.admit(Holder::Ticks, plan.need(Work::Play).workspace_bytes, false)
    }

    pub(crate) fn close_gate(&mut self) {
        self.give_back(Holder::Ticks);
    }

    /// What became of `task` in the end, and what it held is given back.
    pub(crate) fn end(
        &mut self,
        (job, task): (JobId, Task),
        outcome: Outcome,
        chance: &mut Chance,
        faults: &Faults,
        marks: &mut Marks,
    ) -> Outcome {
        match task {
            Task::Restore { group } => {
                if self.nothing_came.take().is_none() && outcome != Outcome::Done {
                    // Told to end, it takes back what it brought.
                    let _gone = self.model.park(group.name());
                }
                outcome
            }
            Task::LoadEngine { engine, .. } => {
                if self.nothing_came.take().is_none() && outcome != Outcome::Done {
                    // Told to end, it frees what it had loaded.
                    let _gone = self.model.park(&name_of(engine));
                }
                outcome
            }
            Task::UnloadEngine { engine, .. } if outcome == Outcome::Done => {
                self.inject(chance, faults.weight(Fault::HostMemory), DeviceFault::HostMemory);
                let freed = self.model.park(&name_of(engine));
                freed.map_or_else(|error| Outcome::Failed(failure_of(&error)), |()| outcome)
            }
            Task::Park { group } if outcome == Outcome::Done => {
                let short = self.inject(chance, faults.weight(Fault::HostMemory), DeviceFault::HostMemory);
                match self.model.park(group.name()) {
                    Ok(()) => {
                        self.parked_last = group != Group::Separator;
                        outcome
                    }
                    Err(error) => {
                        if short {
                            marks.hit(Mark::HostMemoryAtPark);
                        }
                        Outcome::Failed(failure_of(&error))
                    }
                }
            }
            _ => {
                self.give_back(Holder::Job(job));
                outcome
            }
        }
    }

    fn give_back(&mut self, holder: Holder) {
        if let Some(place) = self.admitted.iter().position(|admitted| admitted.holder == holder)
            && let Some(workspace) = self.admitted.swap_remove(place).workspace
        {
            self.model.free_workspace(workspace);
        }
    }

    /// Frees may be late from now on, or no more.
    pub(crate) fn delay_frees(&mut self, late: bool) {
        self.model.delay_frees(late);
    }

    pub(crate) fn complete_frees(&mut self) {
        self.model.complete_frees();
    }

    pub(crate) fn set_foreign(&mut self, bytes: u64) {
        self.model.set_foreign(bytes);
    }

    pub(crate) fn lose(&mut self) {
        self.lost = true;
        self.model.inject(DeviceFault::DeviceLost);
    }

    /// The director's ledger (residents, workspaces) against the model's bytes.
    pub(crate) fn compare(&self, ledger: (u64, u64)) -> Result<(), String> {
        if self.lost {
            // What a lost device holds nobody can give back: the process ends.
            return Ok(());
        }
        let (resident, workspace) = self.bytes();
        let coming = self.nothing_came.unwrap_or(0);
        let refused: u64 = self
            .admitted
            .iter()
            .filter(|admitted| admitted.workspace.is_none())
            .map(|admitted| admitted.bytes)
            .sum();
        if ledger == (resident + coming, workspace + refused) {
            return Ok(());
        }
        Err(format!(
            "the ledger says {ledger:?}, the device holds {resident} + {workspace} (and {coming} + {refused} were refused)"
        ))
    }

    /// Bytes of weights and of workspaces on the device.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.model.resident_bytes(), self.model.workspace_bytes())
    }

    fn inject(&mut self, chance: &mut Chance, weight: u64, fault: DeviceFault) -> bool {
        let strikes = !self.lost && chance.permille(weight);
        if strikes {
            self.model.inject(fault);
        }
        strikes
    }
}

/// What the model calls an engine.
fn name_of(engine: EngineId) -> String {
    format!("engine {}", engine.0)
}

fn failure_of(error: &StageError) -> Failure {
    match error {
        StageError::OutOfMemory { .. } | StageError::HostMemory { .. } => Failure::OutOfMemory,
        StageError::DeviceLost(_) => Failure::DeviceLost,
        _ => Failure::Internal,
    }
}
