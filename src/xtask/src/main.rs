//! `cargo xtask`: set up, serve, test, bench. What CI runs is what a person runs.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool talks to whoever runs it"
)]

mod cuda;
mod packages;
mod shell;
mod tensorrt;
mod test;
mod web;

use std::path::Path;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// The one way to set up, serve, test and bench greenroom.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Needs Rust, Node.js 20 or later with npm, and Python 3 with pip; everything else is fetched through npm, pip, cargo and apt-get.

  cargo xtask serve                              play in the browser: http://127.0.0.1:1318
  cargo xtask serve -- --generator weighted      watch groups of weights park and return
  cargo xtask test --quick                       without the end-to-end and browser tests
  cargo xtask test --keep-going                  everything that CI checks, all failures in one run
  cargo xtask bench pod --json                   every bar of the pod; the last line is JSON
  cargo xtask storm                              10,000 clients in storms of 50, garbage among them
  cargo xtask dist-gpu                           the program for NVIDIA GPUs, built on any machine
  cargo xtask mutants                            after a change to the director: who notices which small change
  cargo xtask types                              after a change to a type of the wire";

#[derive(Debug, Subcommand)]
enum Command {
    /// Do all set-up, then serve on port 1318: builds the page and the program, fetches and verifies the separator's weights
    Serve {
        /// Passed on to `greenroom serve`, such as `-- --generator weighted --port 8000`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Do all set-up, then check everything that CI checks; stops at the first step that fails
    Test {
        /// Leave out the end-to-end and browser tests (the separator's own tests still fetch its weights, once)
        #[arg(long)]
        quick: bool,
        /// Go on after a step that failed, and list all failures at the end
        #[arg(long)]
        keep_going: bool,
    },
    /// Measure the real program over real sockets, after all set-up
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Storms of clients and garbage against the real program, with a simulated device behind; fails where a bar is not met
    Storm {
        /// Clients that come, all in all
        #[arg(long, default_value_t = 10_000)]
        reconnects: u64,
        /// Clients of one wave
        #[arg(long, default_value_t = 50)]
        storm: usize,
        /// Seed of every choice: the same seed tells the same storm
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print only the line of JSON (what set-up prints goes before it)
        #[arg(long)]
        json: bool,
    },
    /// Build the program for NVIDIA GPUs (no GPU or toolkit needed here) into target/dist/greenroom-cuda.gz
    DistGpu,
    /// Try every small change to the director that cargo-mutants knows (half an hour), and write what came of it into docs/mutants.md
    Mutants {
        /// Passed on, such as `-- --again` for what survived the last time, or `-- --file floor`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Write the client's types, constants and knob table (web/src/generated/wire.ts) from the Rust ones
    Types {
        /// Write nothing; fail if the file is stale
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The whole pod: uploads, swaps, knobs, handovers, a rip; ends with one line of JSON
    Pod {
        /// Print only the line of JSON (what set-up prints goes before it)
        #[arg(long)]
        json: bool,
        /// Runs a figure
        #[arg(long, default_value_t = 20)]
        runs: u32,
        /// Seconds of each of the two listening sessions
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Measure only slices beside compiled engines that come, change and fail
        #[arg(long)]
        engines: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve { arguments } => serve(&arguments),
        Command::Test { quick, keep_going } => test::run(quick, keep_going),
        Command::Bench {
            what:
                Bench::Pod {
                    json,
                    runs,
                    seconds,
                    engines,
                },
        } => bench_pod(json, runs, seconds, engines),
        Command::Storm {
            reconnects,
            storm,
            seed,
            json,
        } => storm_of(reconnects, storm, seed, json),
        Command::DistGpu => cuda::dist(),
        Command::Mutants { arguments } => mutants(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        Command::Types { check } => types(check),
    }
}

/// Tries small changes to the director.
fn mutants(arguments: &[&str]) -> anyhow::Result<()> {
    let run = ["run", "--quiet", "--package", "greenroom-mutants", "--"];
    shell::run("cargo", &[&run[..], arguments].concat())
}

fn serve(arguments: &[String]) -> anyhow::Result<()> {
    web::build()?;
    shell::say("building the program");
    shell::run("cargo", &["build", "--release", "--package", "greenroom"])?;
    let program = shell::root()?.join("target/release/greenroom");
    if let Err(error) = fetch_weights(&program) {
        // Everything but stems works without them, and the pod says so; a person offline should still hear music.
        eprintln!("{error:#}: going on without stems");
    }
    let arguments: Vec<&str> = ["serve"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    Err(shell::become_program(&program, &arguments))
}

fn fetch_weights(program: &Path) -> anyhow::Result<()> {
    shell::say("fetching the separator's weights (once)");
    shell::run(shell::text(program)?, &["models", "fetch"])
}

fn bench_pod(json: bool, runs: u32, seconds: u64, engines: bool) -> anyhow::Result<()> {
    packages::install(&[packages::FFMPEG])?;
    shell::say("building the program and its bench client");
    let packages = ["--package", "greenroom", "--package", "greenroom-tests"];
    let mut build = [&["build", "--quiet", "--release"][..], &packages].concat();
    if engines {
        build.extend(["--features", "greenroom/simulated-stage,greenroom-tests/engines"]);
    }
    shell::run("cargo", &build)?;
    let programs = shell::root()?.join("target/release");
    fetch_weights(&programs.join("greenroom"))?;
    let (runs, seconds) = (runs.to_string(), seconds.to_string());
    let mut arguments = vec!["--runs", &runs, "--seconds", &seconds];
    if json {
        arguments.push("--json");
    }
    if engines {
        arguments.push("--engines");
    }
    let bench = programs.join("greenroom-bench-pod");
    Err(shell::become_program(&bench, &arguments))
}

fn storm_of(reconnects: u64, clients: usize, seed: u64, json: bool) -> anyhow::Result<()> {
    shell::say("building the program, with the simulated stage, and its storm");
    let packages = "--package greenroom --bin greenroom --package greenroom-tests --bin greenroom-storm \
                    --features greenroom/simulated-stage";
    let arguments: Vec<&str> = ["build", "--quiet", "--release"]
        .into_iter()
        .chain(packages.split(' '))
        .collect();
    shell::run("cargo", &arguments)?;
    let programs = shell::root()?.join("target/release");
    fetch_weights(&programs.join("greenroom"))?;
    let (reconnects, clients, seed) = (reconnects.to_string(), clients.to_string(), seed.to_string());
    let mut arguments = vec!["--reconnects", &reconnects, "--storm", &clients, "--seed", &seed];
    if json {
        arguments.push("--json");
    }
    Err(shell::become_program(&programs.join("greenroom-storm"), &arguments))
}

fn types(check: bool) -> anyhow::Result<()> {
    let example = ["--example=generate_client"];
    shell::run("cargo", &[&["build"], &test::COMPILED[..], &example].concat())?;
    let types = shell::output("target/debug/examples/generate_client", &[])?;
    let path = shell::root()?.join("web/src/generated/wire.ts");
    if check {
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            written == types,
            "{} is stale: run `cargo xtask types` and commit it",
            path.display()
        );
        return Ok(());
    }
    std::fs::write(&path, types).with_context(|| format!("{} cannot be written", path.display()))
}
