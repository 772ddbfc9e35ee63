//! `greenroom-sim`: lives many seeds through, and replays one.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::{process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};
use greenroom_sim::{Outcome, Violation, World, campaign};
use serde_json::json;

/// The simulated world the director is proved in.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Live many seeds through, each twice
    Swarm {
        /// How many
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// The first
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// End with one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Live one seed through and print every event and effect
    Replay {
        /// Which
        #[arg(long)]
        seed: u64,
    },
}

/// Exit codes: 0 fine, 2 crash, 3 safety, 4 liveness, 5 nondeterminism.
fn code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Fine => 0,
        Outcome::Crashed(_) => 2,
        Outcome::Broken(Violation::Safety(_)) => 3,
        Outcome::Broken(Violation::Liveness(_)) => 4,
        Outcome::Different => 5,
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Swarm { seeds, first, json } => swarm(first, seeds, json),
        Command::Replay { seed } => replay(seed),
    }
}

fn swarm(first: u64, seeds: u64, as_json: bool) -> ExitCode {
    let started = Instant::now();
    let campaign = campaign(first, seeds);
    let seconds = started.elapsed().as_secs_f64();
    for (seed, outcome) in campaign.failures.iter().take(10) {
        println!("seed {seed}: {outcome:?}\n  greenroom-sim replay --seed {seed}");
    }
    for cell in campaign.cells_missed() {
        println!("never walked: {cell}");
    }
    let figures = json!({
        "seeds": campaign.seeds,
        "failures": campaign.failures.len(),
        "events": campaign.events,
        "restarts": campaign.restarts,
        "events_per_s_per_core": 2.0 * campaign.events as f64 / seconds,
        "histories_per_s_per_core": 2.0 * campaign.seeds as f64 / seconds,
        "transitions_hit_pct": campaign.transitions_hit_pct(),
        "seconds": seconds,
    });
    if as_json {
        println!("{figures}");
    } else {
        println!(
            "{} seeds, {} failures, {:.1} s, {figures}",
            campaign.seeds,
            campaign.failures.len(),
            seconds
        );
    }
    ExitCode::from(campaign.failures.first().map_or(0, |(_, outcome)| code(outcome)))
}

fn replay(seed: u64) -> ExitCode {
    let mut world = World::new(seed);
    world.log = Some(Vec::new());
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    for line in world.log.iter().flatten() {
        println!("{line}");
    }
    match run {
        Ok(history) => {
            println!("{history:?}");
            ExitCode::from(
                history
                    .violation
                    .map_or(0, |violation| code(&Outcome::Broken(violation))),
            )
        }
        Err(_) => ExitCode::from(2),
    }
}
