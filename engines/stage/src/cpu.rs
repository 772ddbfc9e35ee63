//! The stage of a machine without a GPU: groups are modules in system RAM, bounded by a budget.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use crate::{
    error::StageError,
    model::{MemoryModel, Reading},
    platform::{Mutex, MutexGuard},
    stage::{Home, Stage, Tenant, Workspace},
};

struct House {
    model: MemoryModel,
    tenants: BTreeMap<&'static str, Arc<dyn Tenant>>,
}

/// Restores by building modules, parks by dropping them, and keeps account in the same [`MemoryModel`] that the simulation runs.
#[derive(Clone)]
pub struct CpuStage(Arc<Mutex<House>>);

impl CpuStage {
    /// A stage of so many bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self::over(MemoryModel::new(capacity))
    }

    /// A stage over a model, faults and all.
    #[must_use]
    pub fn over(model: MemoryModel) -> Self {
        Self(Arc::new(Mutex::new(House {
            model,
            tenants: BTreeMap::new(),
        })))
    }

    /// Reaches the model, to inject faults in a test.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut MemoryModel) -> T) -> T {
        act(&mut self.house().model)
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant(&self, group: &str) -> Result<Arc<dyn Tenant>, StageError> {
        self.house()
            .tenants
            .get(group)
            .cloned()
            .ok_or_else(|| StageError::NotRegistered(group.into()))
    }
}

impl Stage for CpuStage {
    fn device(&self) -> String {
        format!(
            "CPU, {} MiB for weights and workspaces",
            self.house().model.read().capacity >> 20
        )
    }

    fn register(&self, tenant: Arc<dyn Tenant>) -> Result<(), StageError> {
        let mut house = self.house();
        house.model.register(tenant.name(), tenant.weights_bytes())?;
        house.tenants.insert(tenant.name(), tenant);
        Ok(())
    }

    fn restore(&self, group: &str) -> Result<(), StageError> {
        let tenant = self.tenant(group)?;
        self.house().model.restore(group)?;
        // Building takes long and must not keep others from reading the figures: the room is already taken.
        if let Err(reason) = tenant.attach(&Home::Ram) {
            self.house().model.park(group)?;
            return Err(StageError::BuildFailed {
                group: group.into(),
                reason,
            });
        }
        Ok(())
    }

    fn park(&self, group: &str) -> Result<(), StageError> {
        let tenant = self.tenant(group)?;
        let mut house = self.house();
        if house.model.is_resident(group) == Some(true) && !tenant.detach() {
            return Err(StageError::InUse { group: group.into() });
        }
        if let Err(error) = house.model.park(group) {
            // It stays resident, so its modules must be there.
            if house.model.is_resident(group) == Some(true) {
                tenant.attach(&Home::Ram).map_err(|reason| StageError::BuildFailed {
                    group: group.into(),
                    reason,
                })?;
            }
            return Err(error);
        }
        Ok(())
    }

    fn admit(&self, bytes: u64) -> Result<Workspace, StageError> {
        let number = self.house().model.admit(bytes)?;
        let stage = self.clone();
        Ok(Workspace::new(move || stage.house().model.free_workspace(number)))
    }

    fn read(&self) -> Reading {
        self.house().model.read()
    }
}
