//! What the device holds, in bytes: admission is by peak, before anything is freed or loaded.

use crate::fork::fork_fields;

/// Residents (everything not parked, groups in transit at full size) and workspaces of running work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    pub(crate) resident: u64,
    pub(crate) workspace: u64,
    /// What other processes hold.
    pub(crate) foreign: u64,
}

fork_fields!(Ledger {
    resident,
    workspace,
    foreign
});

impl Ledger {
    pub(crate) fn used(&self) -> u64 {
        self.resident + self.workspace + self.foreign
    }
}
