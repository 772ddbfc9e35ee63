//! What the driver's figures mean for ours.

use crate::driver::{Memory, Pool};

/// A device's memory, ours and other people's, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All there is.
    pub total: u64,
    /// What nobody holds, says the driver.
    pub free: u64,
    /// Behind our weight groups, whole granules.
    pub mapped: u64,
    /// Room of what libraries of ours take by themselves: neither mapped by the stage nor of the pool.
    pub beside: u64,
    /// The memory that work allocates from.
    pub pool: Pool,
    /// What was held when the stage was opened or last settled, beside ours: contexts, kernels, libraries.
    pub baseline: u64,
}

impl Figures {
    pub(crate) fn of(memory: Memory, pool: Pool, (mapped, beside): (u64, u64), baseline: u64) -> Self {
        Self {
            total: memory.total,
            free: memory.free,
            mapped,
            beside,
            pool,
            baseline,
        }
    }

    /// Held by anybody.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// Held, and neither by our groups nor by our work and its libraries.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.used()
            .saturating_sub(self.mapped + self.beside + self.pool.reserved)
    }

    /// What has come since the baseline and is not ours: other processes, or a leak of our own.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.others().saturating_sub(self.baseline)
    }

    /// By how much a budget of ours is not there to be given, while workspaces of `admitted` bytes are. What is free, and what our groups,
    /// our libraries and our pool hold, is ours to use, but for what work took beyond its workspaces: only if that is less than the budget is
    /// the budget not all there.
    #[must_use]
    pub fn cut(&self, budget: u64, admitted: u64) -> u64 {
        let beyond = self.pool.used.saturating_sub(admitted.saturating_sub(self.beside));
        budget.saturating_sub(self.free + self.mapped + self.beside + self.pool.reserved.saturating_sub(beyond))
    }
}

/// `bytes` in whole granules.
pub(crate) fn whole_granules(bytes: u64, granule: u64) -> u64 {
    bytes.next_multiple_of(granule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn figures(free: u64, mapped: u64, reserved: u64) -> Figures {
        let pool = Pool {
            reserved,
            used: reserved / 2,
            ..Pool::default()
        };
        Figures::of(Memory { total: 80, free }, pool, (mapped, 0), 2)
    }

    #[test]
    fn what_is_neither_ours_nor_of_the_baseline_is_foreign() {
        assert_eq!(figures(78, 0, 0).foreign(), 0);
        assert_eq!(figures(40, 20, 10).foreign(), 8);
        assert_eq!(figures(79, 0, 0).foreign(), 0, "less than the baseline is no debt");
    }

    #[test]
    fn a_budget_is_cut_only_by_what_is_missing_of_it() {
        assert_eq!(figures(40, 20, 10).cut(70, 5), 0);
        assert_eq!(figures(40, 20, 10).cut(75, 5), 5);
        assert_eq!(figures(40, 20, 10).cut(75, 2), 8, "work took 3 more than it said");
        assert_eq!(figures(0, 0, 0).cut(24, 0), 24);
    }

    #[test]
    fn what_a_library_takes_is_ours_and_not_of_the_pool() {
        let beside = Figures {
            beside: 15,
            ..figures(25, 20, 10)
        };
        assert_eq!(beside.foreign(), 8);
        assert_eq!(
            beside.cut(70, 20),
            0,
            "as without the library, which took what was free"
        );
        assert_eq!(beside.cut(75, 20), 5);
        assert_eq!(beside.cut(75, 17), 8, "its room is no workspace of the pool's");
    }

    #[test]
    fn sizes_are_whole_granules() {
        assert_eq!(whole_granules(1, 2 << 20), 2 << 20);
        assert_eq!(whole_granules(GIB, 2 << 20), GIB);
        assert_eq!(whole_granules(GIB + 1, 2 << 20), GIB + (2 << 20));
    }
}
