//! `greenroom checkpoint`: weights that mean nothing, to try a pod with and to time it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use greenroom_acestep::{Size, write_random, write_random_lora};

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
    /// Write a LoRA of random matrices for such a checkpoint: every matrix that a LoRA can change, of rank 8
    #[command(after_help = "\
What it does to the sound means nothing, and is clearly heard:
  greenroom checkpoint random-lora --size tiny --out loras/strange.safetensors
  greenroom serve --generator acestep --acestep-models-dir models --lora-dir loras")]
    RandomLora {
        /// How large the networks are that it is for
        #[arg(long, value_enum, default_value = "tiny")]
        size: Size,
        /// Tells one LoRA from another
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// File to write; it must not be there. Its name without the ending .safetensors is the LoRA's id
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.action {
        Action::Random { size, seed, out } => random(*size, *seed, out),
        Action::RandomLora { size, seed, out } => random_lora(*size, *seed, out),
    }
}

fn random_lora(size: Size, seed: u64, out: &Path) -> anyhow::Result<u8> {
    ensure!(
        out.extension().is_some_and(|ending| ending == "safetensors"),
        "{} does not end in .safetensors, and would not be found",
        out.display()
    );
    ensure!(
        !out.exists(),
        "{} is there already: it is not written over what may be another; name a new file",
        out.display()
    );
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    write_random_lora(out, size, seed)?;
    Ok(0)
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn random(size: Size, seed: u64, out: &Path) -> anyhow::Result<u8> {
    ensure!(
        !out.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        "{} is not empty: a checkpoint is not written over what may be another; name a new folder",
        out.display()
    );
    write_random(out, size, seed, |path| println!("writing {}", path.display()))?;
    println!(
        "to play on it: greenroom serve --generator acestep --acestep-models-dir {}",
        out.display()
    );
    Ok(0)
}
