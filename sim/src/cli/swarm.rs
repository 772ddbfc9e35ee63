//! `greenroom-sim swarm` and `bench`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use greenroom_sim::{Campaign, Extent, Mark, Outcome, Tamper, WHOLE_CAMPAIGN, campaign_on, field, shrink};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{BLIND, code, hush_panics, words};

/// Failures that are told in full.
const TOLD_MAX: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 2_000, conflicts_with = "minutes")]
    seeds: u64,
    /// How long instead
    #[arg(long)]
    minutes: Option<f64>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Threads; each lives whole histories through, so that the seeds tell the same on any number of them
    #[arg(long, default_value_t = cores())]
    threads: usize,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
    /// List how many seeds met each mark
    #[arg(long)]
    marks: bool,
    /// Break the world on purpose, to see that it is noticed
    #[arg(long)]
    tamper: Option<Tamper>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// How many seeds
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// Threads
    #[arg(long, default_value_t = cores())]
    threads: usize,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Lives a campaign through and tells what came of it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let extent = arguments.minutes.map_or(Extent::Seeds(arguments.seeds), |minutes| {
        Extent::Time(Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::ZERO))
    });
    let (campaign, figures) = live(arguments.threads, arguments.first, extent, arguments.tamper);
    for (seed, outcome) in campaign.failures.iter().take(TOLD_MAX) {
        tell(*seed, outcome, arguments.tamper);
    }
    if campaign.seeds >= WHOLE_CAMPAIGN {
        campaign
            .cells_missed()
            .iter()
            .for_each(|cell| println!("never walked: {cell}"));
        campaign
            .marks_missed()
            .iter()
            .for_each(|mark| println!("never met: {}", mark.name()));
    }
    if arguments.marks {
        for mark in Mark::ALL {
            println!("{:>8}  {}", campaign.marks.get(mark).unwrap_or(&0), mark.name());
        }
    }
    report(&figures, arguments.json);
    match campaign.failures.first() {
        Some((_, outcome)) => ExitCode::from(code(outcome)),
        None if campaign.is_blind() => ExitCode::from(BLIND),
        None => ExitCode::SUCCESS,
    }
}

/// Measures without a word about failures; they still fail it.
pub(crate) fn bench(arguments: &BenchArguments) -> ExitCode {
    // Once through before, so that caches are warm and clocks are up.
    let _warm = campaign_on(arguments.threads, 1, Extent::Seeds(200), None, &|_| {});
    let (campaign, figures) = live(arguments.threads, 1, Extent::Seeds(arguments.seeds), None);
    report(&figures, arguments.json);
    ExitCode::from(campaign.failures.first().map_or(0, |(_, outcome)| code(outcome)))
}

fn live(threads: usize, first: u64, extent: Extent, tamper: Option<Tamper>) -> (Campaign, Value) {
    hush_panics();
    let bar = bar(extent);
    let began = Instant::now();
    let campaign = campaign_on(threads, first, extent, tamper, &|count| bar.inc(count));
    let seconds = began.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let core_seconds = seconds * threads.max(1) as f64;
    let figures = json!({
        "seeds": campaign.seeds,
        "failures": campaign.failures.len(),
        "events": campaign.events,
        "events_per_history_min": campaign.events_min,
        "restarts": campaign.restarts,
        "events_per_s_per_core": (2.0 * campaign.events as f64 / core_seconds).round(),
        "histories_per_s_per_core": (2.0 * campaign.seeds as f64 / core_seconds).round(),
        "transitions_hit_pct": campaign.transitions_hit_pct(),
        "marks_hit_pct": campaign.marks_hit_pct(),
        "marks": Mark::ALL.len(),
        "fault_classes": campaign.fault_classes(),
        "fault_classes_of": field::LINES.len(),
        "threads": threads,
        "seconds": (seconds * 1000.0).round() / 1000.0,
    });
    (campaign, figures)
}

/// Drawn on a terminal only.
fn bar(extent: Extent) -> ProgressBar {
    let (bar, template) = match extent {
        Extent::Seeds(count) => (
            ProgressBar::new(count),
            "{bar:40} {pos} of {len} seeds, {per_sec}, {eta} left",
        ),
        Extent::Time(_) => (ProgressBar::no_length(), "{spinner} {pos} seeds, {per_sec}, {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn report(figures: &Value, as_json: bool) {
    if as_json {
        println!("{figures}");
    } else if let Value::Object(figures) = figures {
        figures.iter().for_each(|(name, value)| println!("{value:>14}  {name}"));
    }
}

/// What broke, the line that replays it, and the smallest history in which it still does.
fn tell(seed: u64, outcome: &Outcome, tamper: Option<Tamper>) {
    println!("seed {seed}: {}", words(outcome));
    println!("  greenroom-sim replay --seed {seed}{}", tampering(tamper));
    let script = shrink(seed, outcome, tamper);
    if !script.is_whole() {
        println!(
            "  made smaller: greenroom-sim replay --seed {seed}{}{script}",
            tampering(tamper)
        );
    }
}

fn tampering(tamper: Option<Tamper>) -> String {
    tamper.map_or(String::new(), |tamper| format!(" --tamper {tamper}"))
}
