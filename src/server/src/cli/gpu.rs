//! `greenroom conformance` and `greenroom bench`: what a GPU machine is asked, by the one program that it has.

use clap::{Args, Subcommand};

/// What to measure.
#[derive(Args, Debug)]
pub(super) struct BenchArguments {
    #[command(subcommand)]
    what: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What the transformers' kernels take, each by itself, at the shapes of ACE-Step's networks in bf16
    Kernels,
    /// What the file of a compiled engine takes to read, and what reading it ahead saves; needs no GPU
    Engines(super::read_bench::Arguments),
    /// What ACE-Step takes: ticks, windows, encodings, and how its weights move (random weights of the public size)
    Generator {
        /// Print only the line of JSON
        #[arg(long)]
        json: bool,
        /// Runs of each figure
        #[arg(long, default_value_t = 30)]
        runs: u32,
    },
    /// How weights move, what a separation takes, and three uploads on a card of 24 GiB that is nearly full (random weights of the real sizes)
    Gpu {
        /// Print only the line of JSON
        #[arg(long)]
        json: bool,
        /// Runs of each separation figure
        #[arg(long, default_value_t = 5)]
        runs: u32,
        /// Parks and restores in a row, to see what stays behind
        #[arg(long, default_value_t = 1000)]
        cycles: u32,
        /// Leave out the pod on an emulated card
        #[arg(long)]
        without_pod: bool,
        /// Nothing but that pod, with so many GiB of engines
        #[arg(long, hide = true)]
        only_pod_gib: Option<u64>,
    },
}

/// Runs the list on the first GPU; a machine without one is no failure.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
#[cfg(feature = "cuda")]
pub(super) fn conformance() -> anyhow::Result<u8> {
    use std::sync::Arc;

    use greenroom_cuda::{Gpu, Lane};
    use greenroom_stage::Stage;
    use greenroom_weights::DeviceLane;

    use crate::pod::ThreadSettings;

    let gpu = match Gpu::open(0) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("skipped: no GPU ({error})");
            return Ok(0);
        }
    };
    let mut failed = 0;
    for line in greenroom_cuda::conformance::run(&gpu) {
        failed += u32::from(!line.passed);
        let word = if line.passed { "ok" } else { "FAILED" };
        println!("{word:<6} {:>7.2} s  {} {}", line.seconds, line.name, line.detail);
    }
    let lane = Lane::open(&gpu)?;
    let pool = Arc::new(ThreadSettings::of_this_machine().signal_pool()?);
    let mut compared = greenroom_kernels::conformance(lane.device())?;
    let lane = lane as Arc<dyn DeviceLane>;
    compared.extend(greenroom_oobleck::conformance(&lane)?);
    compared.extend(greenroom_dit::conformance(&lane)?);
    compared.extend(greenroom_separator::melband_conformance(
        &lane,
        &|| {
            let stage = gpu.stage(None).map_err(|error| error.to_string())?;
            Ok(Arc::new(stage) as Arc<dyn Stage>)
        },
        &pool,
    )?);
    for kernel in compared {
        failed += u32::from(!kernel.holds());
        let word = if kernel.holds() { "ok" } else { "FAILED" };
        println!(
            "{word:<6} error {:.1e} (at most {:.0e})  {}",
            kernel.error, kernel.bound, kernel.name
        );
    }
    println!("{failed} failed");
    Ok(u8::from(failed > 0))
}

/// Without CUDA there is nothing to run it on.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
#[cfg(not(feature = "cuda"))]
pub(super) fn conformance() -> anyhow::Result<u8> {
    println!("skipped: no GPU (this program was built without CUDA: `cargo xtask dist-gpu` builds one with it)");
    Ok(0)
}

/// Tells a person what is being measured.
#[allow(clippy::print_stderr, reason = "its output is its purpose")]
#[cfg(feature = "cuda")]
fn say(json: bool) -> impl Fn(&str) {
    move |what| {
        if !json {
            eprintln!("── {what}");
        }
    }
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
#[cfg(feature = "cuda")]
pub(super) fn bench(arguments: &BenchArguments) -> anyhow::Result<u8> {
    let (figures, json) = match arguments.what {
        Bench::Engines(ref arguments) => return bench_engines(arguments),
        Bench::Kernels => return bench_kernels(),
        Bench::Generator { json, runs } => {
            let options = crate::gpu_bench::GeneratorOptions { runs };
            (crate::gpu_bench::run_generator(&options, &say(json))?, json)
        }
        Bench::Gpu {
            json,
            runs,
            cycles,
            without_pod,
            only_pod_gib,
        } => {
            let options = crate::gpu_bench::Options {
                runs,
                cycles,
                without_pod,
                only_pod_gib,
            };
            (crate::gpu_bench::run(&options, &say(json))?, json)
        }
    };
    if !json {
        println!("{}", figures.table());
    }
    println!("{}", figures.json());
    Ok(0)
}

/// Files as everywhere; and graphs, where there is a GPU.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
#[cfg(feature = "cuda")]
fn bench_engines(arguments: &super::read_bench::Arguments) -> anyhow::Result<u8> {
    use super::read_bench::Buffer;

    let (graphs, buffer) = match greenroom_cuda::Gpu::open(0) {
        Ok(gpu) => {
            let options = crate::gpu_bench::GeneratorOptions { runs: 30 };
            let figures = crate::gpu_bench::run_engines(&options, &say(arguments.json))?;
            if !arguments.json {
                println!("{}", figures.table());
            }
            let buffer = Buffer {
                kind: "page-locked",
                bytes: Box::new(greenroom_cuda::bench::page_locked(&gpu, arguments.bytes()?)?),
            };
            (serde_json::from_str(&figures.json())?, buffer)
        }
        Err(error) => {
            say(arguments.json)(&format!("no graphs are measured: {error}"));
            (serde_json::Map::new(), Buffer::pageable(arguments.bytes()?))
        }
    };
    super::read_bench::run(arguments, buffer, graphs)
}

/// A line an operation.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
#[cfg(feature = "cuda")]
fn bench_kernels() -> anyhow::Result<u8> {
    let lane = greenroom_cuda::Lane::open(&greenroom_cuda::Gpu::open(0)?)?;
    for timing in greenroom_kernels::timings(lane.device())? {
        println!(
            "{:>9.1} µs {:>7.0} GB/s {:>6.0} Tflop/s  {}",
            timing.microseconds, timing.gigabytes_per_second, timing.teraflops, timing.name
        );
    }
    Ok(0)
}

#[cfg(not(feature = "cuda"))]
pub(super) fn bench(arguments: &BenchArguments) -> anyhow::Result<u8> {
    match &arguments.what {
        Bench::Engines(arguments) => {
            let buffer = super::read_bench::Buffer::pageable(arguments.bytes()?);
            super::read_bench::run(arguments, buffer, serde_json::Map::new())
        }
        Bench::Kernels | Bench::Generator { .. } | Bench::Gpu { .. } => {
            anyhow::bail!("this program was built without CUDA: `cargo xtask dist-gpu` builds one with it")
        }
    }
}
