//! Campaigns: many seeds, each lived through twice.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use greenroom_director::{TABLES, coverage};

use crate::world::{Violation, World};

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing broke.
    Fine,
    /// Something did.
    Broken(Violation),
    /// The core panicked: an invariant of its own.
    Crashed(String),
    /// Two lives of the same seed differed.
    Different,
}

/// What a campaign saw.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Histories, each lived twice.
    pub seeds: u64,
    /// Events of one life of each.
    pub events: u64,
    /// Restarts of the pod.
    pub restarts: u64,
    /// Seeds that broke.
    pub failures: Vec<(u64, Outcome)>,
    /// Legal cells walked: (machine, state, transition) → times.
    pub cells: BTreeMap<(&'static str, &'static str, &'static str), u64>,
}

impl Campaign {
    /// Legal cells that nobody walked.
    #[must_use]
    pub fn cells_missed(&self) -> Vec<String> {
        let rows = TABLES.iter().flat_map(|table| table.rows);
        let missed = rows.filter(|row| !self.cells.contains_key(&(row.machine, row.from, row.event)));
        missed
            .map(|row| format!("{}.{}.{}", row.machine, row.from, row.event))
            .collect()
    }

    /// How many of the legal cells were walked, in percent.
    #[must_use]
    pub fn transitions_hit_pct(&self) -> f64 {
        let all = TABLES.iter().map(|table| table.rows.len()).sum::<usize>();
        100.0 * (all - self.cells_missed().len()) as f64 / all as f64
    }
}

/// Lives a seed through, twice.
#[must_use]
pub fn run_seed(seed: u64) -> (Outcome, u64, u64) {
    let life = || catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
    match (life(), life()) {
        (Ok(first), Ok(second)) => {
            let outcome = match first.violation {
                Some(violation) => Outcome::Broken(violation),
                None if first.trace != second.trace => Outcome::Different,
                None => Outcome::Fine,
            };
            (outcome, first.events, first.restarts)
        }
        (Err(panic), _) | (_, Err(panic)) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            (Outcome::Crashed(words.unwrap_or_default()), 0, 0)
        }
    }
}

/// Lives through seeds `first` to `first + count - 1`.
#[must_use]
pub fn campaign(first: u64, count: u64) -> Campaign {
    let mut campaign = Campaign::default();
    let _before = coverage::take();
    for seed in first..first + count {
        let (outcome, events, restarts) = run_seed(seed);
        campaign.seeds += 1;
        campaign.events += events;
        campaign.restarts += restarts;
        if outcome != Outcome::Fine {
            campaign.failures.push((seed, outcome));
        }
    }
    campaign.cells = coverage::take();
    campaign
}
