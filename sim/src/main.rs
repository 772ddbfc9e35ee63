//! `greenroom-sim`: lives many seeds through, replays one, draws it, and says what is covered.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The simulated world the director is proved in.
#[derive(Debug, Parser)]
#[command(max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well · 10 something panicked · 11 safety · 12 liveness · 13 a leak · 14 two lives of a seed differ
            15 a campaign of 2000 seeds or more missed a mark, a legal cell or a line of the field failures, or a layer a seeded bug
            16 a state of a small world is wrong · 17 a world was not walked to its end · 2 wrong arguments";

#[derive(Debug, Subcommand)]
enum Command {
    /// Live many seeds through, each twice; end with what broke and how to replay it
    Swarm(cli::swarm::Arguments),
    /// Live one seed through and print every event and effect
    Replay(cli::replay::Arguments),
    /// How many events and histories a core lives through in a second
    Bench(cli::swarm::BenchArguments),
    /// Walk small worlds to their end: every state that can be reached
    Check(cli::check::Arguments),
    /// Switch seeded bugs on, and see that each layer of the proof notices them
    Canary(cli::canary::Arguments),
    /// Print how each line of the field failures is covered, as a table for the docs
    Faults,
    /// Print which cells of the machines were walked under which faults, as a table for the docs
    Matrix {
        /// How many seeds
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Swarm(arguments) => cli::swarm::run(&arguments),
        Command::Replay(arguments) => cli::replay::run(&arguments),
        Command::Bench(arguments) => cli::swarm::bench(&arguments),
        Command::Check(arguments) => cli::check::run(&arguments),
        Command::Canary(arguments) => cli::canary::run(&arguments),
        Command::Matrix { seeds } => {
            println!("{}", greenroom_sim::Matrix::of(seeds).table());
            ExitCode::SUCCESS
        }
        Command::Faults => {
            println!("{}", greenroom_sim::field::table());
            ExitCode::SUCCESS
        }
    }
}
