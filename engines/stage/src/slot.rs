//! Where an engine keeps the modules of a weight group: reached only through a lease, and only while the group is resident.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError},
};

use crate::platform::Mutex;

/// The group is parked, so its modules do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("weight group {group} is not resident")]
pub struct NotResident {
    /// The group.
    pub group: &'static str,
}

/// The modules of one weight group. No weight tensor leaves it: callers get modules through [`lease`](Self::lease), and a parked
/// group's modules are gone, so that their use is impossible and not merely wrong.
#[derive(Debug)]
pub struct ModuleSlot<M> {
    group: &'static str,
    modules: Mutex<Option<Arc<M>>>,
}

/// Modules in use: while one is out, the group cannot be parked.
#[derive(Debug)]
pub struct ModuleLease<M>(Arc<M>);

impl<M> Deref for ModuleLease<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> ModuleSlot<M> {
    /// The slot of a parked group.
    #[must_use]
    pub fn new(group: &'static str) -> Self {
        Self {
            group,
            modules: Mutex::new(None),
        }
    }

    /// Leases the modules.
    ///
    /// # Errors
    /// `NotResident` while the group is parked.
    pub fn lease(&self) -> Result<ModuleLease<M>, NotResident> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules
            .as_ref()
            .map(|modules| ModuleLease(Arc::clone(modules)))
            .ok_or(NotResident { group: self.group })
    }

    /// Puts freshly built modules in.
    pub fn fill(&self, modules: M) {
        *self.modules.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(modules));
    }

    /// Drops the modules. Gives `false`, and keeps them, while one is leased.
    #[must_use = "false means that the modules are still there"]
    pub fn clear(&self) -> bool {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        // New leases are made under this lock, so a count of one cannot grow meanwhile.
        if modules.as_ref().is_some_and(|modules| Arc::strong_count(modules) > 1) {
            return false;
        }
        *modules = None;
        true
    }

    /// Whether modules are there.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
