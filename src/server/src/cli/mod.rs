//! The command line.

mod analyze;
mod checkpoint;
mod doctor;
mod engines;
mod gpu;
mod models;
mod read_bench;
mod separate;
mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, Settings};

/// Play AI music live: a server for one listener at a time, whose stem separator and generator never fight for memory.
#[derive(Debug, Parser)]
#[command(
    name = "greenroom",
    version,
    max_term_width = 100,
    after_help = "\
Start with:
  greenroom models fetch     get the default separator's weights (once)
  greenroom serve            then open the address that it prints
  greenroom doctor           what this machine has, and what would run on it"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the page and one live session
    #[command(after_help = "\
Every option can also be set by its environment variable, or in a TOML file by its name without the dashes in front:
  port = 1318
  park-policy = \"always\"
A flag goes over a variable, a variable over the file.")]
    Serve {
        /// TOML file with settings
        #[arg(long, short, env = "GREENROOM_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Split a file into vocals and instruments, as two WAVs
    Separate(separate::Arguments),
    /// Tell a file's length, tempo and key
    Analyze(analyze::Arguments),
    /// Say what this machine has, which engines and checkpoints, and what would run
    Doctor {
        /// TOML file with settings
        #[arg(long, short, env = "GREENROOM_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// List, fetch or verify model weights
    Models(models::Arguments),
    /// Say which compiled engines there are and which of them would serve, or build one
    Engines(engines::Arguments),
    /// Write checkpoints of random weights in the public layout
    Checkpoint(checkpoint::Arguments),
    /// Hold the GPU's stage and kernels against what every stage and every operation must do
    Conformance,
    /// Measure what a machine can do: its GPU, and the disk that engines are on
    Bench(gpu::BenchArguments),
}

/// Runs the command line; gives the process's exit code.
///
/// # Errors
/// Whatever kept the command from its work, in words for a person.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Serve { config, settings } => serve::run(resolve(config, *settings)?),
        Command::Separate(arguments) => separate::run(&arguments),
        Command::Analyze(arguments) => analyze::run(&arguments),
        Command::Doctor { config, settings } => doctor::run(&resolve(config, *settings)?),
        Command::Models(arguments) => models::run(&arguments),
        Command::Engines(arguments) => engines::run(&arguments),
        Command::Checkpoint(arguments) => checkpoint::run(&arguments),
        Command::Conformance => gpu::conformance(),
        Command::Bench(arguments) => gpu::bench(&arguments),
    }
}

/// Flags and environment over the file over the defaults.
fn resolve(file: Option<PathBuf>, settings: Settings) -> anyhow::Result<Config> {
    let file = file
        .map(|path| Settings::from_file(&path))
        .transpose()?
        .unwrap_or_default();
    settings.over(file).resolve()
}

/// Where model weights are: as given, or as the configuration's default says.
fn models_dir(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let settings = Settings {
        models_dir: given,
        ..Settings::default()
    };
    Ok(settings.resolve()?.models_dir)
}
