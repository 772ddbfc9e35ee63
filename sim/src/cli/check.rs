//! `greenroom-sim check`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use greenroom_check::{Report, Setting, Size, cells_missed, check_all, settings};
use serde_json::json;

use super::{INCOMPLETE, VIOLATED, hush_panics};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Larger worlds: minutes instead of seconds, and gigabytes
    #[arg(long)]
    large: bool,
    /// Only worlds whose name contains this
    #[arg(long)]
    world: Option<String>,
    /// Worlds that are walked at a time
    #[arg(long, default_value_t = super::swarm::cores())]
    threads: usize,
    /// Seconds after which a world is given up, and said to be incomplete
    #[arg(long, default_value_t = 1_800)]
    patience: u64,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

/// Walks every world to its end.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    hush_panics();
    let started = Instant::now();
    let size = if arguments.large { Size::Large } else { Size::Usual };
    let wanted = |name: &str| arguments.world.as_ref().is_none_or(|part| name.contains(part));
    let settings: Vec<Setting> = settings(size)
        .into_iter()
        .filter(|setting| wanted(setting.name))
        .collect();
    println!(
        "{:<42} {:>10} {:>11} {:>6} {:>8}",
        "world", "states", "steps", "depth", "seconds"
    );
    let patience = Duration::from_secs(arguments.patience);
    let reports = check_all(&settings, arguments.threads, patience, &tell);
    let complete = !reports.is_empty() && reports.iter().all(|report| report.complete);
    let violations: usize = reports.iter().map(|report| report.violations.len()).sum();
    if arguments.world.is_none() {
        for cell in cells_missed(&reports) {
            println!("walked in no world: {cell}");
        }
    }
    if arguments.json {
        let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
        let figures = json!({
            "complete": complete,
            "worlds": reports.len(),
            "states": sum(|report| report.states),
            "steps": sum(|report| report.steps),
            "violations": violations,
            "seconds": started.elapsed().as_secs_f64(),
        });
        println!("{figures}");
    }
    match (violations, complete) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(INCOMPLETE),
        _ => ExitCode::from(VIOLATED),
    }
}

fn tell(report: &Report) {
    println!(
        "{:<42} {:>10} {:>11} {:>6} {:>8.1}{}",
        report.world,
        report.states,
        report.steps,
        report.depth,
        report.took.as_secs_f64(),
        if report.complete { "" } else { "  not walked to its end" },
    );
    for violation in &report.violations {
        println!("{violation}");
    }
}
