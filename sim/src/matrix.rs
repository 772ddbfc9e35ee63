//! What a campaign walked, cell by cell of the machines, under each class of faults.

use std::{collections::BTreeMap, fmt::Write as _};

use greenroom_director::{TABLES, coverage};

use crate::{Fault, Script, World};

type Cell = (&'static str, &'static str, &'static str);

/// In how many histories each legal cell was walked, under each class of faults.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    histories: u64,
    hits: BTreeMap<(Cell, Fault), u64>,
    cells: BTreeMap<Cell, u64>,
}

impl Matrix {
    /// Lives seeds 1 to `seeds` through.
    #[must_use]
    pub fn of(seeds: u64) -> Self {
        let mut matrix = Self::default();
        let _before = coverage::take();
        for seed in 1..=seeds {
            let mut world = World::of(seed, &Script::default());
            let faults: Vec<Fault> = world.faults().collect();
            let _history = world.run();
            matrix.histories += 1;
            for cell in coverage::take().into_keys() {
                *matrix.cells.entry(cell).or_insert(0) += 1;
                for fault in &faults {
                    *matrix.hits.entry((cell, *fault)).or_insert(0) += 1;
                }
            }
        }
        matrix
    }

    /// Pairs of a legal cell and a class of faults that no history brought together.
    #[must_use]
    pub fn holes(&self) -> Vec<String> {
        let pairs = cells().flat_map(|cell| Fault::ALL.iter().map(move |fault| (cell, *fault)));
        pairs
            .filter(|pair| !self.hits.contains_key(pair))
            .map(|((machine, state, event), fault)| format!("{machine}.{state}.{event} under {}", fault.name()))
            .collect()
    }

    /// As a table for the docs: a line a cell, a column a class of faults, in each how many histories of a thousand had both.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("| machine | state | event | all |");
        for fault in Fault::ALL {
            let _ = write!(text, " {} |", fault.name());
        }
        let _ = write!(text, "\n|{}\n", "---|".repeat(4 + Fault::ALL.len()));
        let of_a_thousand = |hits: Option<&u64>| match hits {
            None => "·".to_owned(),
            Some(hits) => (1_000 * hits).div_ceil(self.histories.max(1)).to_string(),
        };
        for cell in cells() {
            let (machine, state, event) = cell;
            let _ = write!(
                text,
                "| {machine} | {state} | {event} | {} |",
                of_a_thousand(self.cells.get(&cell))
            );
            for fault in Fault::ALL {
                let _ = write!(text, " {} |", of_a_thousand(self.hits.get(&(cell, *fault))));
            }
            text.push('\n');
        }
        text
    }
}

fn cells() -> impl Iterator<Item = Cell> {
    let rows = TABLES.iter().flat_map(|table| table.rows);
    rows.map(|row| (row.machine, row.from, row.event))
}
