//! The seam behind which device memory moves.

use std::sync::Arc;

use crate::{error::StageError, model::Reading};

/// Which side of the rule of the house a group is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupClass {
    /// A generator's modules.
    Eager,
    /// The stem separator.
    Separator,
}

/// A group's weights in system RAM, byte for byte as a device holds them. They never change.
pub type HostImage = dyn AsRef<[u8]> + Send + Sync;

/// Where the weights of a group that comes in are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In system RAM: the tenant builds its modules from what it has there.
    Ram,
    /// On a device, which holds the tenant's image now.
    Device(DeviceHome),
}

/// A group's place on a device: the same as long as the stage lives, whether the group is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceHome {
    /// Device address of the image's first byte.
    pub address: u64,
    /// Length of the image.
    pub bytes: u64,
}

/// A weight group as its engine offers it to a stage.
///
/// On a CPU, coming in means building the modules from the host image and leaving means dropping them. On a GPU the modules are built
/// the first time, over addresses that do not change, and memory is mapped and unmapped behind them; afterwards both calls only open
/// and close the [`ModuleSlot`](crate::ModuleSlot).
pub trait Tenant: Send + Sync {
    /// The group's name: `dit`, `conditioner`, `text_encoder`, `vae`, `separator`.
    fn name(&self) -> &'static str;

    /// Which side it is on.
    fn class(&self) -> GroupClass;

    /// Bytes that its weights take on the device.
    fn weights_bytes(&self) -> u64;

    /// What a device has to hold before [`attach`](Self::attach), `weights_bytes` long. Without one the modules live in system RAM,
    /// whatever the stage, and take nothing of a device.
    fn image(&self) -> Option<Arc<HostImage>> {
        None
    }

    /// Brings the modules into being, so that they can be leased.
    ///
    /// # Errors
    /// In words, what could not be built; nothing can be leased then.
    fn attach(&self, home: &Home) -> Result<(), String>;

    /// Takes the modules away. Gives `false`, and changes nothing, while one of them is leased.
    fn detach(&self) -> bool;
}

/// Moves weight groups and admits workspaces. Whoever calls decides nothing: the director has.
pub trait Stage: Send + Sync {
    /// What the device is, for `doctor` and telemetry.
    fn device(&self) -> String;

    /// Makes a group known; it begins parked.
    ///
    /// # Errors
    /// `RegisteredTwice`.
    fn register(&self, tenant: Arc<dyn Tenant>) -> Result<(), StageError>;

    /// Brings a group onto the device: all of it or nothing. May be tried again after any failure but `DeviceLost`.
    ///
    /// # Errors
    /// See [`StageError`].
    fn restore(&self, group: &str) -> Result<(), StageError>;

    /// Takes a group off the device; when this returns its memory is free.
    ///
    /// # Errors
    /// See [`StageError`]; the group is still resident then.
    fn park(&self, group: &str) -> Result<(), StageError>;

    /// Reserves room for running work; it is given back when the value is dropped.
    ///
    /// # Errors
    /// `OutOfMemory`, `DeviceLost`.
    fn admit(&self, bytes: u64) -> Result<Workspace, StageError>;

    /// Reserves room for what a library is about to take of the device by itself, and has free where it can be taken. It is given back when the
    /// value is dropped: by then the library has freed it.
    ///
    /// # Errors
    /// `OutOfMemory`, `DeviceLost`.
    fn admit_beside(&self, bytes: u64) -> Result<Workspace, StageError> {
        self.admit(bytes)
    }

    /// What the device holds.
    fn read(&self) -> Reading;
}

/// Room for running work.
#[must_use = "the room is given back when this is dropped"]
pub struct Workspace {
    give_back: Option<Box<dyn FnOnce() + Send>>,
}

impl Workspace {
    /// Room that `give_back` gives back.
    pub fn new(give_back: impl FnOnce() + Send + 'static) -> Self {
        Self {
            give_back: Some(Box::new(give_back)),
        }
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back();
        }
    }
}
