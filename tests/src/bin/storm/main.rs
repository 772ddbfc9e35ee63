//! Reconnect storms with garbage against the real program; ends with one line of JSON.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]

use std::process::ExitCode;

use clap::Parser;
use greenroom_tests::storm::{self, Options, Report};
use indicatif::{ProgressBar, ProgressStyle};

/// Lets storms of clients loose on the pod; ends with one line of JSON.
#[derive(Debug, Parser)]
struct Arguments {
    /// Clients that come, all in all
    #[arg(long, default_value_t = 10_000)]
    reconnects: u64,
    /// Clients of one wave
    #[arg(long, default_value_t = 50)]
    storm: usize,
    /// Seed of every choice: the same seed tells the same storm
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print only the line of JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        arguments.storm > 0,
        "a storm of no clients is none: --storm must be 1 or more"
    );
    let options = Options {
        reconnects: arguments.reconnects,
        storm: arguments.storm,
        seed: arguments.seed,
    };
    let bar = ProgressBar::new(options.reconnects);
    if arguments.json {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} clients {eta}")?);
    let report = storm::run(options, |come| bar.set_position(come)).await;
    bar.finish_and_clear();
    let report = report?;
    if !arguments.json {
        table(&report);
    }
    for wrong in &report.wrongs {
        eprintln!("wrong: {wrong}");
    }
    println!("{}", serde_json::to_string(&report)?);
    if report.is_good() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "again: cargo xtask storm --reconnects {} --storm {} --seed {}",
        report.reconnects, report.storm, report.seed
    );
    Ok(ExitCode::FAILURE)
}

fn table(report: &Report) {
    let counts = [
        ("panics", report.panics),
        ("leaked_tasks", report.leaked_tasks),
        ("leaked_threads", report.leaked_threads),
        ("leaked_files", report.leaked_files),
        ("wrong_survivors", report.wrong_survivors),
        ("wrong_answers", report.wrong_answers),
    ];
    println!("{:<18} {:>10} {:>6}", "", "counted", "bar");
    for (key, count) in counts {
        println!("{key:<18} {count:>10} {:>6}", 0);
    }
    println!(
        "{:<18} {:>10.1} {:>6}",
        "rss_growth_mb",
        report.rss_growth_mb,
        storm::RSS_GROWTH_MB_MAX
    );
}
