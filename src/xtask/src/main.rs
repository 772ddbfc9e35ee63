//! `cargo xtask`: set up, serve, test, bench. What CI runs is what a person runs.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool talks to whoever runs it"
)]

mod shell;
mod test;
mod web;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// The one way to set up, serve, test and bench greenroom.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do all set-up, then serve on port 1318: builds the page and the program, fetches and verifies the separator's weights
    Serve {
        /// Passed on to `greenroom serve`, such as `-- --generator weighted --port 8000`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Do all set-up, then check everything that CI checks
    Test {
        /// Leave out what needs a browser or the network
        #[arg(long)]
        quick: bool,
    },
    /// Measure the real program over real sockets
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Write the client's types from the Rust ones
    Types,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The whole pod: uploads, swaps, knobs, handovers, a rip; ends with one line of JSON
    Pod {
        /// Print only the line of JSON
        #[arg(long)]
        json: bool,
        /// Runs a figure
        #[arg(long, default_value_t = 20)]
        runs: u32,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve { arguments } => serve(&arguments),
        Command::Test { quick } => test::run(quick),
        Command::Bench {
            what: Bench::Pod { json, runs },
        } => bench_pod(json, runs),
        Command::Types => write_types(),
    }
}

fn serve(arguments: &[String]) -> anyhow::Result<()> {
    web::build()?;
    shell::say("building the program");
    shell::run("cargo", &["build", "--release", "--package", "greenroom"])?;
    let program = shell::root()?.join("target/release/greenroom");
    let program = program
        .to_str()
        .context("the path of this checkout is not valid text")?;
    shell::say("fetching the separator's weights (once)");
    if let Err(error) = shell::run(program, &["models", "fetch"]) {
        // Everything but stems works without them, and the pod says so; a person offline should still hear music.
        eprintln!("{error:#}: going on without stems");
    }
    let arguments: Vec<&str> = ["serve"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .collect();
    shell::run(program, &arguments)
}

fn bench_pod(json: bool, runs: u32) -> anyhow::Result<()> {
    shell::run(
        "cargo",
        &[
            "build",
            "--quiet",
            "--release",
            "--package",
            "greenroom",
            "--package",
            "greenroom-tests",
        ],
    )?;
    let root = shell::root()?;
    let bench = root.join("target/release/greenroom-bench-pod");
    let bench = bench.to_str().context("the path of this checkout is not valid text")?;
    let runs = runs.to_string();
    let mut arguments = vec!["--runs", &runs];
    if json {
        arguments.push("--json");
    }
    shell::run(bench, &arguments)
}

fn write_types() -> anyhow::Result<()> {
    let types = shell::output(
        "cargo",
        &[
            "run",
            "--quiet",
            "--package",
            "greenroom-wire",
            "--example",
            "generate_client",
        ],
    )?;
    let path = shell::root()?.join("web/src/generated/wire.ts");
    std::fs::write(&path, types).with_context(|| format!("{} cannot be written", path.display()))
}
