//! Which layer of the proof must notice which seeded bug.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use arbitrary::{Arbitrary, Unstructured};
use greenroom_check::{Size, check, settings};
use greenroom_director::{
    Bug,
    script::{self, PLANS, Step},
};

use crate::{Outcome, chance::Chance, run_seed, words_of};

/// A layer of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Histories of the simulated world.
    Swarm,
    /// Small worlds, walked to their end.
    Check,
    /// Scripts of events in any order.
    Scripts,
}

/// Seeds and scripts that a layer has to notice a bug in.
const SEEDS: u64 = 2_000;
const SCRIPTS: u64 = 100_000;
const SCRIPT_BYTES: usize = 600;

impl Layer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Swarm, Self::Check, Self::Scripts];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Check => "check",
            Self::Scripts => "scripts",
        }
    }

    /// What it says of the bug that is active; nothing if it sees none.
    #[must_use]
    pub fn notices(self) -> Option<String> {
        match self {
            Self::Swarm => (1..=SEEDS).find_map(|seed| match run_seed(seed).outcome {
                Outcome::Fine => None,
                outcome => Some(format!("seed {seed}: {outcome:?}")),
            }),
            Self::Check => settings(Size::Usual).iter().find_map(|setting| {
                let report = check(setting, 2, Duration::from_secs(300));
                let first = report.violations.first();
                first.map(|violation| format!("{}: {violation}", report.world))
            }),
            Self::Scripts => (1..=SCRIPTS).find_map(|seed| {
                let words = script_of(seed)?;
                Some(format!("script {seed}: {words}"))
            }),
        }
    }
}

/// Runs the script of a seed; what broke, if anything.
fn script_of(seed: u64) -> Option<String> {
    let mut chance = Chance::seeded(seed);
    let bytes: Vec<u8> = (0..SCRIPT_BYTES / 8)
        .flat_map(|_| chance.next().to_le_bytes())
        .collect();
    let mut bytes = Unstructured::new(&bytes);
    let plan = u8::arbitrary(&mut bytes).unwrap_or(0) % PLANS;
    let mut steps = Vec::new();
    while !bytes.is_empty() {
        steps.push(Step::arbitrary(&mut bytes).ok()?);
    }
    match catch_unwind(AssertUnwindSafe(|| script::run(plan, &steps))) {
        Ok(result) => result.err(),
        Err(panic) => Some(words_of(&*panic)),
    }
}

/// The layers that must notice it.
#[must_use]
pub fn layers_of(bug: Bug) -> &'static [Layer] {
    match bug {
        // Seen only where all that can happen is tried: the swarm's moves are seldom slower than a turn, time after time.
        Bug::TurnsEatenByMoves => &[Layer::Check],
        // Scripts know neither who still ticks nor who is owed what.
        Bug::StaleGenerationAccepted | Bug::PendingStemLost => &[Layer::Swarm, Layer::Check],
        _ => &Layer::ALL,
    }
}
