//! `greenroom models`: the weights that can be fetched.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use greenroom_separator::{Checkpoint, CheckpointState, FetchStep, KNOWN_MODELS};
use indicatif::ProgressBar;

/// Which models, and where.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Where model weights are kept
    #[arg(long, global = true, env = "GREENROOM_MODELS_DIR", value_name = "DIR")]
    models_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what there is, whose it is, and what is on disk
    List,
    /// Download, check and convert what is missing or damaged
    Fetch,
    /// Read what is on disk and compare it with its checksum
    Verify,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let dir = super::models_dir(arguments.models_dir.clone())?;
    match arguments.action {
        Action::List => list(&dir),
        Action::Fetch => fetch(&dir),
        Action::Verify => verify(&dir),
    }
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn list(dir: &Path) -> anyhow::Result<u8> {
    for model in KNOWN_MODELS {
        println!("{}: {}", model.name, describe(&model.state(dir)));
        println!("  {}", model.provenance);
        println!("  licence: {}", model.licence);
        println!(
            "  {} MB to download as {}, {} MB on disk",
            model.package_bytes / 1_000_000,
            model.package,
            model.bytes / 1_000_000
        );
        println!("  file: {}", model.locate(dir).display());
    }
    Ok(0)
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn fetch(dir: &Path) -> anyhow::Result<u8> {
    for model in KNOWN_MODELS {
        if model.state(dir) == CheckpointState::Present {
            println!("{}: already there", model.name);
            continue;
        }
        fetch_one(model, dir)?;
        println!("{}: {}", model.name, model.locate(dir).display());
    }
    Ok(0)
}

fn fetch_one(model: &Checkpoint, dir: &Path) -> anyhow::Result<()> {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    let fetched = model.fetch(dir, |step| {
        spinner.set_message(match step {
            FetchStep::Download => format!("downloading {} ({} MB)", model.name, model.package_bytes / 1_000_000),
            FetchStep::Convert => format!("converting {}", model.name),
            FetchStep::Write => format!("writing {}", model.name),
        });
    });
    spinner.finish_and_clear();
    Ok(fetched?)
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn verify(dir: &Path) -> anyhow::Result<u8> {
    let mut code = 0;
    for model in KNOWN_MODELS {
        match model.verify(dir) {
            Ok(verified) => println!(
                "{}: whole, {} bytes, sha256 {}",
                model.name, verified.bytes, verified.sha256
            ),
            Err(error) => {
                println!("{}: {error}", model.name);
                code = 1;
            }
        }
    }
    Ok(code)
}

pub(super) fn describe(state: &CheckpointState) -> String {
    match state {
        CheckpointState::Missing => "not fetched".into(),
        CheckpointState::Present => "present".into(),
        CheckpointState::Damaged(reason) => format!("damaged: {reason}"),
    }
}
