//! What the device holds, in bytes: admission is by peak, before anything is freed or loaded.

use crate::fork::fork_fields;

/// Residents (everything not parked, groups and engines in transit at full size) and workspaces of running work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    pub(crate) resident: u64,
    pub(crate) workspace: u64,
    /// What must stay free so that changes of engines that were begun can end.
    pub(crate) claimed: u64,
    /// What other processes hold.
    pub(crate) foreign: u64,
}

fork_fields!(Ledger {
    resident,
    workspace,
    claimed,
    foreign
});

impl Ledger {
    pub(crate) fn used(&self) -> u64 {
        self.ours() + self.foreign
    }

    /// What the pod itself holds or has claimed.
    pub(crate) fn ours(&self) -> u64 {
        self.resident + self.workspace + self.claimed
    }
}
