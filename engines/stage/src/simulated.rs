//! A stage with threads, latencies and faults, for tests on sockets: the same model behind the same seam.

use std::sync::Arc;

use crate::{
    cpu::CpuStage,
    error::StageError,
    model::{MemoryModel, Reading},
    stage::{Stage, Tenant, Workspace},
};

/// What is about to happen, for the hook that makes it take time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageOperation {
    /// A restore of this group.
    Restore(String),
    /// A park of this group.
    Park(String),
    /// An admission of this many bytes.
    Admit(u64),
}

/// Called before each operation, outside every lock: it may wait, count, or inject.
pub type Hook = dyn Fn(&StageOperation) + Send + Sync;

/// A [`CpuStage`] whose operations pass through a hook.
#[derive(Clone)]
pub struct SimulatedStage {
    stage: CpuStage,
    hook: Arc<Hook>,
}

impl SimulatedStage {
    /// A simulated device over `model`.
    #[must_use]
    pub fn new(model: MemoryModel, hook: Arc<Hook>) -> Self {
        Self {
            stage: CpuStage::over(model),
            hook,
        }
    }

    /// Reaches the model, to inject faults.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut MemoryModel) -> T) -> T {
        self.stage.with_model(act)
    }
}

impl Stage for SimulatedStage {
    fn device(&self) -> String {
        format!("simulated device, {} MiB", self.stage.read().capacity >> 20)
    }

    fn register(&self, tenant: Arc<dyn Tenant>) -> Result<(), StageError> {
        self.stage.register(tenant)
    }

    fn restore(&self, group: &str) -> Result<(), StageError> {
        (self.hook)(&StageOperation::Restore(group.into()));
        self.stage.restore(group)
    }

    fn park(&self, group: &str) -> Result<(), StageError> {
        (self.hook)(&StageOperation::Park(group.into()));
        self.stage.park(group)
    }

    fn admit(&self, bytes: u64) -> Result<Workspace, StageError> {
        (self.hook)(&StageOperation::Admit(bytes));
        self.stage.admit(bytes)
    }

    fn read(&self) -> Reading {
        self.stage.read()
    }
}
