//! What a device of a given size does, as a value: no clock, no threads, no randomness. Faults are injected, never invented.

use std::collections::BTreeMap;

use crate::error::StageError;

/// A fault that the model shows at the next occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The n-th allocation from now on fails (0 = the next).
    Allocation(u32),
    /// The next restore fails after half of the group has been mapped.
    HalfRestore,
    /// The next engine context comes back null without an error.
    NullContext,
    /// Page-locked host memory is exhausted at the next move.
    HostMemory,
    /// The device is lost, for good.
    DeviceLost,
}

/// One group as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelGroup {
    /// Bytes of weights.
    pub weights_bytes: u64,
    /// Whether it is on the device.
    pub resident: bool,
}

/// What the device holds, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// All there is.
    pub capacity: u64,
    /// Weights of each resident group, by name.
    pub resident: BTreeMap<String, u64>,
    /// Workspaces of running work.
    pub workspace: u64,
    /// Freed and not back yet.
    pub pending_free: u64,
    /// Held by other processes.
    pub foreign: u64,
    /// What could be allocated now.
    pub free: u64,
}

/// The model of a device's memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryModel {
    capacity: u64,
    groups: BTreeMap<String, ModelGroup>,
    workspaces: BTreeMap<u64, u64>,
    next_workspace: u64,
    pending_free: u64,
    foreign: u64,
    frees_are_late: bool,
    faults: Vec<Fault>,
    lost: bool,
}

impl MemoryModel {
    /// An empty device of so many bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Makes a group known; it begins parked.
    ///
    /// # Errors
    /// `RegisteredTwice`.
    pub fn register(&mut self, name: &str, weights_bytes: u64) -> Result<(), StageError> {
        if self.groups.contains_key(name) {
            return Err(StageError::RegisteredTwice(name.into()));
        }
        self.groups.insert(
            name.into(),
            ModelGroup {
                weights_bytes,
                resident: false,
            },
        );
        Ok(())
    }

    /// Injects a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// From now on memory that is freed comes back only at [`complete_frees`](Self::complete_frees).
    pub fn delay_frees(&mut self, late: bool) {
        self.frees_are_late = late;
    }

    /// What was freed is back.
    pub fn complete_frees(&mut self) {
        self.pending_free = 0;
    }

    /// Other processes hold so much.
    pub fn set_foreign(&mut self, bytes: u64) {
        self.foreign = bytes;
    }

    /// Brings a group in: all of it or nothing.
    ///
    /// # Errors
    /// `OutOfMemory`, `HostMemory`, `DeviceLost`, `NotRegistered`, `WrongState`; the group is parked after any of them.
    pub fn restore(&mut self, name: &str) -> Result<(), StageError> {
        self.expect_alive()?;
        let group = self.group(name)?;
        if group.resident {
            return Err(StageError::WrongState {
                group: name.into(),
                actual: "resident",
                asked: "resident",
            });
        }
        let needed = group.weights_bytes;
        self.expect_host(name)?;
        self.allocate(needed)?;
        if self.take_fault(|fault| fault == Fault::HalfRestore) {
            // What was mapped is unmapped again: nothing of a failed restore stays.
            return Err(StageError::OutOfMemory {
                needed,
                free: self.free(),
            });
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.resident = true;
        }
        self.assert_sound();
        Ok(())
    }

    /// Takes a group off the device; its host image stays.
    ///
    /// # Errors
    /// `HostMemory`, `DeviceLost`, `NotRegistered`, `WrongState`; the group is resident after any of them.
    pub fn park(&mut self, name: &str) -> Result<(), StageError> {
        self.expect_alive()?;
        let group = self.group(name)?;
        if !group.resident {
            return Err(StageError::WrongState {
                group: name.into(),
                actual: "parked",
                asked: "parked",
            });
        }
        let bytes = group.weights_bytes;
        self.expect_host(name)?;
        if let Some(group) = self.groups.get_mut(name) {
            group.resident = false;
        }
        self.release(bytes);
        self.assert_sound();
        Ok(())
    }

    /// Gives work room for so many bytes; the number is for [`free`](Self::free_workspace).
    ///
    /// # Errors
    /// `OutOfMemory`, `DeviceLost`.
    pub fn admit(&mut self, bytes: u64) -> Result<u64, StageError> {
        self.expect_alive()?;
        self.allocate(bytes)?;
        self.next_workspace += 1;
        self.workspaces.insert(self.next_workspace, bytes);
        self.assert_sound();
        Ok(self.next_workspace)
    }

    /// Takes a workspace back; one that is unknown changes nothing.
    pub fn free_workspace(&mut self, workspace: u64) {
        if let Some(bytes) = self.workspaces.remove(&workspace) {
            self.release(bytes);
        }
        self.assert_sound();
    }

    /// Makes an engine's execution context; `false` stands for the null that some libraries give without an error.
    ///
    /// # Errors
    /// `OutOfMemory`, `DeviceLost`.
    pub fn create_context(&mut self) -> Result<bool, StageError> {
        self.expect_alive()?;
        Ok(!self.take_fault(|fault| fault == Fault::NullContext))
    }

    /// Whether a group is on the device; `None` if there is no such group.
    #[must_use]
    pub fn is_resident(&self, name: &str) -> Option<bool> {
        self.groups.get(name).map(|group| group.resident)
    }

    /// What the device holds.
    #[must_use]
    pub fn read(&self) -> Reading {
        let resident = self.groups.iter().filter(|(_, group)| group.resident);
        Reading {
            capacity: self.capacity,
            resident: resident
                .map(|(name, group)| (name.clone(), group.weights_bytes))
                .collect(),
            workspace: self.workspace_bytes(),
            pending_free: self.pending_free,
            foreign: self.foreign,
            free: self.free(),
        }
    }

    /// Bytes of weights on the device; quicker than a whole [`Reading`].
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let resident = self.groups.values().filter(|group| group.resident);
        resident.map(|group| group.weights_bytes).sum()
    }

    /// Bytes of workspaces of running work.
    #[must_use]
    pub fn workspace_bytes(&self) -> u64 {
        self.workspaces.values().sum()
    }

    /// What could be allocated now.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free()
    }

    fn group(&self, name: &str) -> Result<&ModelGroup, StageError> {
        self.groups
            .get(name)
            .ok_or_else(|| StageError::NotRegistered(name.into()))
    }

    fn ours(&self) -> u64 {
        self.resident_bytes() + self.workspace_bytes()
    }

    fn free(&self) -> u64 {
        self.capacity
            .saturating_sub(self.ours() + self.pending_free + self.foreign)
    }

    fn allocate(&mut self, needed: u64) -> Result<(), StageError> {
        let due = self.faults.iter().position(|fault| *fault == Fault::Allocation(0));
        for fault in &mut self.faults {
            if let Fault::Allocation(count) = fault {
                *count = count.saturating_sub(1);
            }
        }
        if let Some(due) = due {
            self.faults.remove(due);
            return Err(StageError::OutOfMemory {
                needed,
                free: self.free(),
            });
        }
        if needed > self.free() {
            return Err(StageError::OutOfMemory {
                needed,
                free: self.free(),
            });
        }
        Ok(())
    }

    fn release(&mut self, bytes: u64) {
        if self.frees_are_late {
            self.pending_free += bytes;
        }
    }

    fn expect_alive(&mut self) -> Result<(), StageError> {
        self.lost |= self.take_fault(|fault| fault == Fault::DeviceLost);
        if self.lost {
            Err(StageError::DeviceLost("a sticky error was reported".into()))
        } else {
            Ok(())
        }
    }

    fn expect_host(&mut self, name: &str) -> Result<(), StageError> {
        let exhausted = self.take_fault(|fault| fault == Fault::HostMemory);
        if exhausted {
            Err(StageError::HostMemory { group: name.into() })
        } else {
            Ok(())
        }
    }

    fn take_fault(&mut self, which: impl Fn(Fault) -> bool) -> bool {
        let place = self.faults.iter().position(|fault| which(*fault));
        place.map(|place| self.faults.remove(place)).is_some()
    }

    fn assert_sound(&self) {
        assert!(
            self.ours() <= self.capacity,
            "{} bytes are held of {}",
            self.ours(),
            self.capacity
        );
    }
}
