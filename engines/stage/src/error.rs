//! Why memory could not be moved.

/// Why a stage did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The device has not enough room; nothing of the group is on it.
    #[error("out of memory on the device: {needed} bytes are needed and {free} are free")]
    OutOfMemory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// System RAM (page-locked, where the device needs that) ran out.
    #[error("out of host memory while moving {group}")]
    HostMemory {
        /// The group.
        group: String,
    },
    /// The device failed for good: everything on it is lost, and nothing works until the process ends.
    #[error("the device is lost: {0}")]
    DeviceLost(String),
    /// The group's modules could not be built from their host image.
    #[error("{group} could not be built: {reason}")]
    BuildFailed {
        /// The group.
        group: String,
        /// What the engine said.
        reason: String,
    },
    /// The device's driver refused a call for a reason that is none of the others; what was begun is undone.
    #[error("the device's driver refused {call}: {reason}")]
    Refused {
        /// The call.
        call: String,
        /// What the driver said.
        reason: String,
    },
    /// No group of that name was registered.
    #[error("no weight group is called {0}")]
    NotRegistered(String),
    /// A group of that name is there already.
    #[error("the weight group {0} is registered already")]
    RegisteredTwice(String),
    /// The group is not where the request supposes: a bug of whoever asked.
    #[error("{group} is {actual} and was asked to be {asked}")]
    WrongState {
        /// The group.
        group: String,
        /// Where it is.
        actual: &'static str,
        /// Where it was to go.
        asked: &'static str,
    },
    /// A module lease is out, so the group cannot move: a bug of whoever let it be parked.
    #[error("{group} is in use and cannot be parked")]
    InUse {
        /// The group.
        group: String,
    },
}
