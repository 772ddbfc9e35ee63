//! Whether something fits on the device: decided by peak, before anything is freed or loaded.

use crate::{
    director::Director,
    engine::Component,
    gate::Gate,
    plan::{Group, Groups, Need},
};

/// Whether something can be made to fit on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Fits,
    /// It will once this idle group has left.
    After(Group),
    /// It will once engines have left that nobody calls, this one first.
    AfterEngine(Component),
    /// It will once ticks call engines no more that only help them.
    AfterCalls,
    /// Others hold it for now.
    Later,
    Never,
}

impl Director {
    /// Whether all of `need` can be on the device at once.
    pub(crate) fn room(&self, need: Need) -> Room {
        self.room_beside(self.bytes_for(need), need.groups)
    }

    /// What `need` takes beyond what is there.
    pub(crate) fn bytes_for(&self, need: Need) -> u64 {
        self.parked_bytes(need.groups) + need.workspace_bytes
    }

    /// The weights of those of `groups` that are parked.
    pub(crate) fn parked_bytes(&self, groups: Groups) -> u64 {
        let parked = groups.iter().filter(|group| self.placement(*group).is_parked());
        parked.map(|group| self.plan.weights(group)).sum()
    }

    /// Whether so many bytes more fit while `kept` stays. Engines that nobody calls leave first, then groups that nobody needs.
    pub(crate) fn room_beside(&self, bytes: u64, kept: Groups) -> Room {
        let peak = self.ledger.used() + bytes;
        if peak <= self.plan.budget_bytes {
            return Room::Fits;
        }
        let idle: Vec<Group> = Group::EAGER
            .into_iter()
            .filter(|group| {
                !kept.has(*group) && self.placement(*group).is_resident() && self.placement(*group).leases() == 0
            })
            .collect();
        let groups: u64 = idle.iter().map(|group| self.plan.weights(*group)).sum();
        let engines: Vec<Component> = Component::ALL
            .into_iter()
            .filter(|slot| self.may_evict(*slot))
            .collect();
        let freed: u64 = engines.iter().map(|slot| self.slot(*slot).bytes()).sum();
        let fits = |peak: u64| peak <= self.plan.budget_bytes;
        if fits(peak - groups - freed) {
            let group = || idle.first().map_or(Room::Never, |group| Room::After(*group));
            return engines.first().map_or_else(group, |slot| Room::AfterEngine(*slot));
        }
        if fits(peak - groups - freed - self.bytes_of_helping_ticks()) {
            return Room::AfterCalls;
        }
        let others_end = self
            .jobs
            .values()
            .any(|job| job.workspace() > 0 || !job.calls().is_empty())
            || matches!(self.gate, Gate::Closing { .. });
        if others_end { Room::Later } else { Room::Never }
    }

    /// Whether work of this need could start now.
    pub(crate) fn is_met(&self, need: Need) -> bool {
        let resident = need.groups.iter().all(|group| self.placement(group).is_resident());
        resident && self.ledger.ours() + need.workspace_bytes <= self.plan.budget_bytes
    }
}
