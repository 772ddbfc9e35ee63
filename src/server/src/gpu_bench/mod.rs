//! Measurements on a real GPU: how weights move, what a separation takes, and three uploads on a card that is nearly full.
//!
//! No checkpoint is needed: weights are random, of the real sizes. They separate nothing, in the same time.

mod client;
mod engines;
mod generator;
mod listener;
mod pod;
mod separation;
mod session;

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use candle_core::{DType, Tensor};
use greenroom_cuda::{Gpu, Lane, bench};
use serde_json::{Map, Value, json};

use crate::{
    config::{DeviceChoice, Settings},
    device::Device,
    pod::ThreadSettings,
};

/// The commit that the program was built from; `cargo xtask dist-gpu` names it.
const COMMIT: Option<&str> = option_env!("GREENROOM_COMMIT");
/// Card sizes below the real one are made by holding the rest.
const CARD_BYTES: u64 = 24 << 30;
/// What compiled engines hold of it.
const ENGINES_GIB: [u64; 2] = [15, 19];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs of each separation figure.
    pub runs: u32,
    /// Parks and restores in a row, and a twentieth as many rips, to see what stays behind.
    pub cycles: u32,
    /// Leave out the pod on an emulated card.
    pub without_pod: bool,
    /// Nothing but that pod, with so many GiB of engines. It has a process of its own, so that the card holds what a pod's would.
    pub only_pod_gib: Option<u64>,
}

/// What to measure of the generator.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// Runs of each figure.
    pub runs: u32,
}

/// A figure, and where it has to be.
struct Bar {
    key: &'static str,
    bar: f64,
    aim: f64,
    /// Whether more is better.
    rises: bool,
}

const fn at_most(key: &'static str, bar: f64, aim: f64) -> Bar {
    Bar {
        key,
        bar,
        aim,
        rises: false,
    }
}

const fn at_least(key: &'static str, bar: f64, aim: f64) -> Bar {
    Bar {
        key,
        bar,
        aim,
        rises: true,
    }
}

const BARS: [Bar; 17] = [
    at_most("separate_120s_s", 0.9, 0.4),
    at_most("separator_attach_ms", 20.0, 12.0),
    at_most("separator_detach_ms", 2.0, 0.5),
    at_most("park_conditioner_ms", 3.0, 1.0),
    at_most("restore_conditioner_ms", 40.0, 32.0),
    at_most("park_all_ms", 6.0, 3.0),
    at_most("restore_all_ms", 115.0, 95.0),
    at_least("restore_vs_pinned_ceiling", 0.8, 0.95),
    at_most("separation_peak_mb", 1000.0, 500.0),
    at_most("yield_ms", 60.0, 30.0),
    at_most("leak_mb", 2.0, 0.0),
    at_most("half_against_single", 1e-2, 1e-2),
    at_most("bf16_against_single", 1e-2, 1e-2),
    at_most("single_against_cpu", 1e-4, 1e-4),
    at_most("overlap_seen", 0.0, 0.0),
    at_least("worst_free_15_gib", 6.1, 6.1),
    at_least("worst_free_19_gib", 2.5, 2.5),
];

const GENERATOR_BARS: [Bar; 14] = [
    at_most("tick_b1_ms", 12.0, 6.0),
    at_most("tick_b4_ms", 22.0, 16.0),
    at_most("tick_b8_ms", 42.0, 30.0),
    at_most("decode_window_ms", 4.0, 2.0),
    at_most("encode_120s_ms", 200.0, 80.0),
    at_most("semantic_120s_ms", 8.0, 4.0),
    at_most("text_encode_ms", 15.0, 8.0),
    at_most("upload_ok_ms", 450.0, 300.0),
    at_most("tick_gap_during_rip_ms_max", 1000.0, 350.0),
    at_most("slices_late", 0.0, 0.0),
    at_least("played_fresh_pct", 97.0, 99.0),
    at_least("generations_per_s", 15.0, 25.0),
    at_most("upload_residue_mb", 0.0, 0.0),
    at_most("restore_dit_with_lora_ms", 150.0, 90.0),
];

const ENGINE_BARS: [Bar; 6] = [
    at_most("graph_tick_b1_over_eager", 0.6, 0.6),
    at_most("graph_tick_b4_ms", 22.0, 16.0),
    at_most("graph_capture_ms", 2000.0, 2000.0),
    at_most("graph_workspace_mb", 1500.0, 1500.0),
    at_most("profile_swap_warm_ms", 300.0, 50.0),
    at_most("upload_ok_ms", 500.0, 300.0),
];

/// All figures by their keys, in the order in which they were taken, and where they have to be.
pub struct Figures {
    taken: Map<String, Value>,
    bars: &'static [Bar],
}

impl Figures {
    fn new(bars: &'static [Bar]) -> Self {
        Self {
            taken: Map::new(),
            bars,
        }
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.taken.insert(key.into(), value.into());
    }

    /// When, of what, and on what these figures were taken.
    fn put_circumstances(&mut self, gpu: &Gpu) {
        self.put("commit", COMMIT.unwrap_or("unknown"));
        self.put("date", today());
        self.put("gpu", gpu.info().name.clone());
        self.put("driver", gpu.info().driver_version.clone());
    }

    /// Runs the pod on its card in a process of its own, and takes its figures over.
    fn add_pod(&mut self, gib: u64) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("the program does not know where it is")?;
        let output = Command::new(program)
            .args(["bench", "gpu", "--json", "--only-pod-gib", &gib.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .context("the pod's process cannot be started")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().filter(|_| output.status.success());
        let line = line.with_context(|| format!("the pod's process failed ({})", output.status))?;
        let figures: Map<String, Value> = serde_json::from_str(line)?;
        for (key, figure) in figures {
            // Seen in one of the pods is seen.
            let before = self.taken.get(&key).and_then(Value::as_u64).unwrap_or(0);
            let sum = figure.as_u64().map(|figure| Value::from(figure + before));
            self.taken.insert(key, sum.unwrap_or(figure));
        }
        Ok(())
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        Value::Object(self.taken.clone()).to_string()
    }

    /// A line for each bar: key, figure, bar, aim.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!("{:28} {:>10} {:>10} {:>10}\n", "key", "figure", "bar", "aim");
        for Bar { key, bar, aim, rises } in self.bars {
            let figure = self.taken.get(*key).and_then(Value::as_f64);
            let sign = if *rises { '≥' } else { '≤' };
            let (text, note) = match figure {
                None => ("-".into(), ""),
                Some(figure) => {
                    let missed = if *rises { figure < *bar } else { figure > *bar };
                    (format!("{figure:.4}"), if missed { "  MISSED" } else { "" })
                }
            };
            table += &format!("{key:28} {text:>10} {sign}{bar:>9} {sign}{aim:>9}{note}\n");
        }
        table
    }
}

/// Measures everything on the first GPU.
///
/// # Errors
/// If there is no GPU, not enough memory of either kind, or a step fails.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let config = Settings {
        device: Some(DeviceChoice::Cuda),
        ..Settings::default()
    }
    .resolve()?;
    let mut figures = Figures::new(&BARS);
    if let Some(gib) = options.only_pod_gib {
        pod::measure(&config, gib, &mut figures)?;
        return Ok(figures);
    }
    if !options.without_pod {
        // First: a context of this process would be on the same card.
        for gib in ENGINES_GIB {
            say(&format!("three uploads on a card of 24 GiB with {gib} GiB of engines"));
            figures.add_pod(gib)?;
        }
    }
    memory_of_libraries(&mut figures)?;
    let device = Device::choose(&config)?;
    let gpu = device.as_gpu().context("this is no GPU")?;
    figures.put_circumstances(gpu);
    say("how weights move");
    placement(gpu, options, &mut figures)?;
    say("a whole separation");
    let pool = Arc::new(ThreadSettings::of_this_machine().signal_pool()?);
    separation::measure(&device, &pool, options, &mut figures, say)?;
    Ok(figures)
}

/// Measures the generator on the first GPU, with random weights of the public size.
///
/// # Errors
/// If there is no GPU, not enough memory of either kind, or a step fails.
pub fn run_generator(options: &GeneratorOptions, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let config = Settings {
        device: Some(DeviceChoice::Cuda),
        ..Settings::default()
    }
    .resolve()?;
    let mut figures = Figures::new(&GENERATOR_BARS);
    let device = Device::choose(&config)?;
    figures.put_circumstances(device.as_gpu().context("this is no GPU")?);
    generator::measure(&device, options, &mut figures, say)?;
    // The pod opens the device itself.
    drop(device);
    say("a whole pod");
    session::measure(&config, &mut figures, say)?;
    Ok(figures)
}

/// Measures captured graphs on the first GPU, and an upload of 120 s beside a session of 60 s.
///
/// # Errors
/// If there is no GPU, not enough memory of either kind, or a step fails.
pub fn run_engines(options: &GeneratorOptions, say: &dyn Fn(&str)) -> anyhow::Result<Figures> {
    let config = Settings {
        device: Some(DeviceChoice::Cuda),
        ..Settings::default()
    }
    .resolve()?;
    let mut figures = Figures::new(&ENGINE_BARS);
    let device = Device::choose(&config)?;
    figures.put_circumstances(device.as_gpu().context("this is no GPU")?);
    engines::measure(&device, options.runs, &mut figures, say)?;
    // The pod opens the device itself.
    drop(device);
    say("a whole pod");
    session::measure(&config, &mut figures, say)?;
    Ok(figures)
}

/// What the driver and its libraries take of the device, step by step, before anything of ours is there.
fn memory_of_libraries(figures: &mut Figures) -> anyhow::Result<()> {
    let gpu = Gpu::open(0)?;
    let driver = gpu.driver();
    let mut steps = Map::new();
    let mut held = 0;
    let mut note = |step: &str| -> anyhow::Result<()> {
        let memory = driver.memory()?;
        let now = (memory.total - memory.free - driver.pool()?.reserved) >> 20;
        steps.insert(step.into(), json!(now.saturating_sub(held)));
        held = now;
        Ok(())
    };
    note("context_and_foreign")?;
    let first = Lane::open(&gpu)?;
    note("first_lane")?;
    let _second = Lane::open(&gpu)?;
    note("second_lane")?;
    let ones = Tensor::ones((512, 512), DType::F16, first.device())?;
    note("first_kernel")?;
    ones.matmul(&ones)?
        .sum_all()?
        .to_dtype(DType::F32)?
        .to_scalar::<f32>()?;
    note("first_product")?;
    greenroom_kernels::rms_norm(&ones, &Tensor::ones(512, DType::F32, first.device())?, 1e-6)?;
    first.synchronize()?;
    note("kernels_of_ours")?;
    figures.put("library_mib", steps);
    Ok(())
}

fn placement(gpu: &Gpu, options: &Options, figures: &mut Figures) -> anyhow::Result<()> {
    let report = bench::placement(
        gpu,
        &bench::Options {
            cycles: options.cycles,
            ..bench::Options::default()
        },
    )?;
    anyhow::ensure!(
        report.mismatches == 0,
        "{} comparisons of restored weights failed",
        report.mismatches
    );
    anyhow::ensure!(
        report.freed_at_once,
        "after a park the driver did not have all of the memory back"
    );
    let of = |name: &str| {
        report
            .moves
            .iter()
            .find(|moves| moves.name == name)
            .context("a group is missing")
    };
    let (separator, conditioner, all) = (of("separator")?, of("conditioner")?, of("all")?);
    figures.put("separator_attach_ms", separator.restore.median_ms);
    figures.put("separator_detach_ms", separator.park.median_ms);
    figures.put("park_conditioner_ms", conditioner.park.median_ms);
    figures.put("restore_conditioner_ms", conditioner.restore.median_ms);
    figures.put("park_all_ms", all.park.median_ms);
    figures.put("restore_all_ms", all.restore.median_ms);
    figures.put("pinned_ceiling_gb_s", report.pinned_ceiling_gb_s);
    figures.put("restore_vs_pinned_ceiling", all.restore_vs_ceiling);
    figures.put("placement_leak_mb", report.leak_bytes as f64 / 1e6);
    figures.put("placement_cycles", report.cycles);
    figures.put("images_s", report.images_s);
    figures.put("pin_ms", report.pin_ms);
    figures.put("pinned_in_place", report.pinned_in_place);
    figures.put("freed_at_once", report.freed_at_once);
    figures.put("restores_sampled", report.sampled);
    figures.put("restored_bytes_compared", report.compared_bytes);
    for moves in &report.moves {
        let spread = |spread: &bench::Spread| json!([spread.min_ms, spread.median_ms, spread.max_ms]);
        figures.put(
            &format!("moves_{}", moves.name),
            json!({ "mib": moves.bytes >> 20, "park_ms": spread(&moves.park), "restore_ms": spread(&moves.restore), "gb_s": moves.restore_gb_s }),
        );
    }
    Ok(())
}

/// The day, in UTC, as `2026-11-25`.
fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // Days since 1 March of the year 0, in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
