//! The device: the simulated stage, and the modules that lanes use.

use std::{collections::BTreeMap, sync::Arc};

use greenroom_director::{Failure, Group, Outcome, Plan, Work};
use greenroom_stage::{Fault, GroupClass, Home, MemoryModel, ModuleSlot, SimulatedStage, Stage, StageError, Tenant};
use shuttle::rand::{Rng, thread_rng};

/// A weight group whose module is nothing but its being there.
struct Weights {
    group: Group,
    bytes: u64,
    slot: ModuleSlot<()>,
}

impl Tenant for Weights {
    fn name(&self) -> &'static str {
        self.group.name()
    }

    fn class(&self) -> GroupClass {
        match self.group {
            Group::Separator => GroupClass::Separator,
            _ => GroupClass::Eager,
        }
    }

    fn weights_bytes(&self) -> u64 {
        self.bytes
    }

    fn attach(&self, _home: &Home) -> Result<(), String> {
        self.slot.fill(());
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// The stage and everybody on it; clones are one.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) stage: SimulatedStage,
    plan: Arc<Plan>,
    tenants: Arc<BTreeMap<Group, Arc<Weights>>>,
}

impl Device {
    pub(super) fn new(plan: &Plan) -> Self {
        let stage = SimulatedStage::new(MemoryModel::new(plan.budget_bytes), Arc::new(|_| {}));
        let tenants: BTreeMap<Group, Arc<Weights>> = Group::ALL
            .into_iter()
            .map(|group| {
                let slot = ModuleSlot::new(group.name());
                let bytes = plan.weights(group);
                (group, Arc::new(Weights { group, bytes, slot }))
            })
            .collect();
        for tenant in tenants.values() {
            let registered = stage.register(Arc::clone(tenant) as Arc<dyn Tenant>);
            assert_eq!(registered, Ok(()));
        }
        Self {
            stage,
            plan: Arc::new(plan.clone()),
            tenants: Arc::new(tenants),
        }
    }

    /// Sometimes one fault, at some occasion.
    pub(super) fn maybe_break(&self) -> bool {
        let fault = match thread_rng().gen_range(0..6) {
            0 => Fault::HalfRestore,
            1 => Fault::HostMemory,
            2 => Fault::Allocation(thread_rng().gen_range(0..20)),
            _ => return false,
        };
        self.stage.with_model(|model| model.inject(fault));
        true
    }

    /// Does `work` on its groups, which must be there, in room of its own.
    pub(super) fn on<T>(&self, work: Work, act: impl FnOnce() -> T) -> Result<T, Outcome> {
        let need = self.plan.need(work);
        let _room = self
            .stage
            .admit(need.workspace_bytes)
            .map_err(|error| outcome(&error))?;
        let leases: Vec<_> = need
            .groups
            .iter()
            .map(|group| match self.tenants[&group].slot.lease() {
                Ok(lease) => lease,
                Err(error) => panic!("{work:?} runs and {error}"),
            })
            .collect();
        let done = act();
        self.look();
        drop(leases);
        Ok(done)
    }

    /// Moves a group. Only the stage's thread does.
    pub(super) fn place(&self, group: Group, here: bool) -> Outcome {
        let moved = if here {
            self.stage.restore(group.name())
        } else {
            self.stage.park(group.name())
        };
        self.look();
        match moved {
            Ok(()) => Outcome::Done,
            Err(error) => outcome(&error),
        }
    }

    /// The rule of the house, in memory that is really taken.
    fn look(&self) {
        let resident = self.stage.read().resident;
        let separator = resident.contains_key(Group::Separator.name());
        assert!(
            !separator || resident.len() == 1,
            "the separator meets others: {resident:?}"
        );
    }
}

/// How a job ends that the stage refused. A group in use or in the wrong place is a bug of whoever asked.
fn outcome(error: &StageError) -> Outcome {
    match error {
        StageError::OutOfMemory { .. } | StageError::HostMemory { .. } => Outcome::Failed(Failure::OutOfMemory),
        other => panic!("{other}"),
    }
}
