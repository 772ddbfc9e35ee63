//! Campaigns: many seeds, each lived through twice, on as many threads as one likes; the same seeds always tell the same.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use greenroom_director::{TABLES, coverage};

use crate::{
    field,
    marks::{Mark, Marks},
    script::Script,
    world::{History, Tamper, Violation, World},
};

/// A campaign of so many seeds must have met every mark and walked every legal cell.
pub const WHOLE_CAMPAIGN: u64 = 2_000;
/// Seeds that a thread takes at once.
const PORTION: u64 = 16;

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing broke.
    Fine,
    /// Something did.
    Broken(Violation),
    /// Something panicked: an assertion of the core, or of the world.
    Crashed(String),
    /// Two lives of the same seed differed.
    Different,
}

/// What a campaign saw.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Histories, each lived twice.
    pub seeds: u64,
    /// Events of one life of each: neither no-ops nor bare timers.
    pub events: u64,
    /// The fewest events that a history had.
    pub events_min: u64,
    /// Restarts of the pod.
    pub restarts: u64,
    /// Seeds that broke, in order.
    pub failures: Vec<(u64, Outcome)>,
    /// Legal cells walked: (machine, state, transition) → times.
    pub cells: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Seeds that met each mark.
    pub marks: BTreeMap<Mark, u64>,
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

    /// Marks that no seed met.
    #[must_use]
    pub fn marks_missed(&self) -> Vec<Mark> {
        let missed = Mark::ALL.iter().filter(|mark| !self.marks.contains_key(mark));
        missed.copied().collect()
    }

    /// How many of the marks were met, in percent.
    #[must_use]
    pub fn marks_hit_pct(&self) -> f64 {
        let all = Mark::ALL.len();
        100.0 * (all - self.marks_missed().len()) as f64 / all as f64
    }

    /// Lines of the list of field failures that are covered; those of the world only if this campaign met their marks.
    #[must_use]
    pub fn fault_classes(&self) -> usize {
        let missed = self.marks_missed();
        let is_covered = |line: &&field::Line| line.marks.iter().all(|mark| !missed.contains(mark));
        field::LINES.iter().filter(is_covered).count()
    }

    /// Whether it was large enough to have met everything, and did not.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.seeds >= WHOLE_CAMPAIGN && !(self.marks_missed().is_empty() && self.cells_missed().is_empty())
    }

    fn add(&mut self, other: Self) {
        self.events_min = if self.seeds == 0 {
            other.events_min
        } else {
            self.events_min.min(other.events_min)
        };
        self.seeds += other.seeds;
        self.events += other.events;
        self.restarts += other.restarts;
        self.failures.extend(other.failures);
        for (cell, times) in other.cells {
            *self.cells.entry(cell).or_insert(0) += times;
        }
        for (mark, times) in other.marks {
            *self.marks.entry(mark).or_insert(0) += times;
        }
    }
}

/// What a seed came to, and what it saw.
#[derive(Clone, Debug)]
pub struct Lived {
    /// What came of it.
    pub outcome: Outcome,
    /// Events of one life.
    pub events: u64,
    /// Restarts of one life.
    pub restarts: u64,
    marks: Marks,
}

/// Lives a seed through, twice.
#[must_use]
pub fn run_seed(seed: u64) -> Lived {
    run_script(seed, &Script::default(), None)
}

/// Lives a seed through, twice, with something left out, or with a driver that was tampered with.
#[must_use]
pub fn run_script(seed: u64, script: &Script, tamper: Option<Tamper>) -> Lived {
    let life = || {
        let mut world = World::of(seed, script);
        if let Some(tamper) = tamper {
            world = world.tampered(tamper);
        }
        catch_unwind(AssertUnwindSafe(|| world.run())).map(|history| (history, world.marks))
    };
    let crashed = |panic: Box<dyn Any + Send>| Lived {
        outcome: Outcome::Crashed(words_of(&*panic)),
        events: 0,
        restarts: 0,
        marks: Marks::default(),
    };
    let (first, marks) = match life() {
        Ok(lived) => lived,
        Err(panic) => return crashed(panic),
    };
    let second = match life() {
        Ok((history, _)) => history,
        Err(panic) => return crashed(panic),
    };
    Lived {
        outcome: judge(&first, &second),
        events: first.events,
        restarts: first.restarts,
        marks,
    }
}

fn judge(first: &History, second: &History) -> Outcome {
    match &first.violation {
        Some(violation) => Outcome::Broken(violation.clone()),
        None if (first.trace, first.events) != (second.trace, second.events) => Outcome::Different,
        None => Outcome::Fine,
    }
}

/// What a panic said.
#[must_use]
pub fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words
        .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
        .unwrap_or_default()
}

/// How long a campaign goes on.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// So many seeds.
    Seeds(u64),
    /// So long.
    Time(Duration),
}

/// Lives through seeds `first` to `first + count - 1` on one thread.
#[must_use]
pub fn campaign(first: u64, count: u64) -> Campaign {
    campaign_on(1, first, Extent::Seeds(count), None, &|_| {})
}

/// Lives many seeds through on `threads` threads; `progress` is told how many more were done.
#[must_use]
pub fn campaign_on(
    threads: usize,
    first: u64,
    extent: Extent,
    tamper: Option<Tamper>,
    progress: &(dyn Fn(u64) + Sync),
) -> Campaign {
    let whole = Mutex::new(Campaign::default());
    let (next, over) = (AtomicU64::new(first), AtomicBool::new(false));
    let began = Instant::now();
    let portion = || {
        let from = next.fetch_add(PORTION, Relaxed);
        match extent {
            Extent::Seeds(count) => from..(from + PORTION).min(first + count),
            Extent::Time(_) => from..from + PORTION,
        }
    };
    let work = || {
        let _before = coverage::take();
        let mut own = Campaign::default();
        while !over.load(Relaxed) {
            let seeds = portion();
            if seeds.is_empty() || matches!(extent, Extent::Time(longest) if began.elapsed() >= longest) {
                break;
            }
            let count = seeds.end - seeds.start;
            seeds.for_each(|seed| own.add(alone(seed, tamper)));
            progress(count);
            // Whoever has so many failures has enough to look at.
            if own.failures.len() > 50 {
                over.store(true, Relaxed);
            }
        }
        own.cells = coverage::take();
        whole.lock().unwrap_or_else(PoisonError::into_inner).add(own);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    let mut campaign = whole.into_inner().unwrap_or_else(PoisonError::into_inner);
    campaign.failures.sort_by_key(|(seed, _)| *seed);
    campaign
}

fn alone(seed: u64, tamper: Option<Tamper>) -> Campaign {
    let lived = run_script(seed, &Script::default(), tamper);
    let marks = Mark::ALL.iter().filter(|mark| lived.marks.has(**mark));
    Campaign {
        seeds: 1,
        events: lived.events,
        events_min: lived.events,
        restarts: lived.restarts,
        marks: marks.map(|mark| (*mark, 1)).collect(),
        failures: if lived.outcome == Outcome::Fine {
            Vec::new()
        } else {
            vec![(seed, lived.outcome)]
        },
        cells: BTreeMap::new(),
    }
}
