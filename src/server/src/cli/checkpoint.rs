//! `greenroom checkpoint`: weights that mean nothing, to try a pod with and to time it.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, Subcommand};
use greenroom_acestep::{Size, write_random};

/// What to write, and where.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a whole ACE-Step 1.5 checkpoint of random weights: configurations, safetensors, latent of silence, tokenizer
    #[command(after_help = "\
The weights are the same on every machine for the same seed. They make noise, in the time that real ones take:
  greenroom checkpoint random --size tiny --out models
  greenroom serve --generator acestep --acestep-models-dir models")]
    Random {
        /// How large the networks are
        #[arg(long, value_enum, default_value = "tiny")]
        size: Size,
        /// Tells one set of weights from another
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Folder to write into; it is made, and has to be empty
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Action::Random { size, seed, out } = &arguments.action;
    ensure!(
        !out.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        "{} is not empty: a checkpoint is not written over what may be another; name a new folder",
        out.display()
    );
    write_random(out, *size, *seed, |path| println!("writing {}", path.display()))?;
    println!(
        "to play on it: greenroom serve --generator acestep --acestep-models-dir {}",
        out.display()
    );
    Ok(0)
}
