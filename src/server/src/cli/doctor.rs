//! `greenroom doctor`: what this machine has, what would run on it, and why.

use std::{fs, path::Path};

use greenroom_director::{Group, Policy};
use greenroom_separator::{CheckpointState, KNOWN_MODELS};

use super::models;
use crate::{
    config::{Config, GeneratorChoice},
    device::memory_bytes,
    house::{Engines, tensorrt},
};

/// Says it; the exit code is 1 where something that was asked for cannot run.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(config: &Config) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    println!("machine");
    println!("  {cores} cores, {} MB of memory", memory_bytes() / 1_000_000);
    println!("files");
    println!("  data: {} ({})", config.data_dir.display(), writable(&config.data_dir));
    println!("  models: {}", config.models_dir.display());
    println!("  page: {} ({})", config.web_dir.display(), page(&config.web_dir));
    println!("checkpoints");
    for model in KNOWN_MODELS {
        println!(
            "  {}: {}",
            model.name,
            models::describe(&model.state(&config.models_dir))
        );
    }
    external("Mel-Band RoFormer", config.melband_checkpoint.as_deref(), "");
    external(
        "ACE-Step 1.5",
        config.acestep_models_dir.as_deref(),
        "; this build cannot run it yet",
    );
    engines(config)
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn engines(config: &Config) -> anyhow::Result<u8> {
    let engines = Engines::open(config)?;
    let plan = engines.plan(config);
    println!("what would run");
    println!("  device: {} ({})", engines.device.describe(), engines.device.why);
    println!(
        "  generator: {} ({})",
        engines.generator.description().name,
        why(config.generator)
    );
    match &engines.separator {
        Ok(open) => println!("  separator: {} (its weights are whole)", open.separator.name()),
        Err(error) => println!("  separator: none ({error:#})"),
    }
    for group in Group::ALL.into_iter().filter(|group| plan.has(*group)) {
        println!(
            "  weight group {}: {} MB",
            group.name(),
            plan.weights(group) / 1_000_000
        );
    }
    println!("  budget: {} MB", plan.budget_bytes / 1_000_000);
    println!("  park policy: {}", policy(plan.policy, &plan));
    let tensorrt = tensorrt::Found::open(config, engines.device.compute_capability());
    println!("  TensorRT: {tensorrt}");
    let damaged = KNOWN_MODELS
        .iter()
        .any(|model| matches!(model.state(&config.models_dir), CheckpointState::Damaged(_)));
    let asked_in_vain = config.melband_checkpoint.is_some() && engines.separator.is_err();
    Ok(u8::from(damaged || asked_in_vain))
}

fn why(choice: GeneratorChoice) -> &'static str {
    match choice {
        GeneratorChoice::Spectral => "the embedded default: it needs no checkpoint",
        GeneratorChoice::Acestep => "asked for: its checkpoint is in the folder below",
        GeneratorChoice::Weighted => "asked for: to watch weights move",
    }
}

fn policy(policy: Policy, plan: &greenroom_director::Plan) -> String {
    let eager = Group::EAGER.iter().any(|group| plan.has(*group));
    let words = match policy {
        Policy::Always => "always".to_owned(),
        Policy::Auto { reserve_bytes } => format!("auto, with a reserve of {} MB", reserve_bytes / 1_000_000),
        Policy::Never => "never".to_owned(),
    };
    if eager {
        words
    } else {
        format!("{words} (this generator has no eager weights, so nothing needs to park)")
    }
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
fn external(name: &str, path: Option<&Path>, but: &str) {
    match path {
        None => println!("  {name}: not configured"),
        Some(path) if path.exists() => println!("  {name}: {} is there{but}", path.display()),
        Some(path) => println!("  {name}: {} is not there", path.display()),
    }
}

fn writable(dir: &Path) -> &'static str {
    match fs::metadata(dir) {
        Err(_) => "will be made",
        Ok(metadata) if !metadata.is_dir() => "not a directory",
        Ok(metadata) if metadata.permissions().readonly() => "read-only: uploads will be refused",
        Ok(_) => "there",
    }
}

fn page(dir: &Path) -> &'static str {
    if dir.join("index.html").is_file() {
        "built"
    } else {
        "not built: run cargo xtask serve"
    }
}
