//! Measures the pod as a client meets it: the real program, real sockets, a 48 kHz clock of its own, 125 params a second.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]

#[cfg(feature = "engines")]
mod engines;
mod figures;
mod play;
mod steps;

use clap::Parser;

use crate::figures::Figures;

/// Measures the pod; ends with one line of JSON.
#[derive(Debug, Parser)]
struct Arguments {
    /// Runs a figure
    #[arg(long, default_value_t = 20)]
    runs: u32,
    /// Seconds of the two listening sessions
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Measure only how fast a rip gives way
    #[arg(long)]
    yields: bool,
    /// Measure only a minute of listening to ACE-Step, with tiny random weights, while weights make room for one rip after the other
    #[arg(long)]
    acestep: bool,
    /// Measure only slices beside compiled engines that come, change and fail, each for so many seconds; needs a program with the feature
    /// simulated-stage
    #[cfg(feature = "engines")]
    #[arg(long)]
    engines: bool,
    /// Print only the line of JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runs = arguments.runs as usize;
    let mut figures = Figures::new(arguments.json);
    if arguments.yields {
        steps::yields(&mut figures, runs).await?;
        figures.print();
        return Ok(());
    }
    if arguments.acestep {
        steps::acestep(&mut figures, arguments.seconds).await?;
        figures.print();
        return Ok(());
    }
    #[cfg(feature = "engines")]
    if arguments.engines {
        engines::engines(&mut figures, arguments.seconds).await?;
        figures.print();
        return Ok(());
    }
    steps::separation(&mut figures)?;
    steps::uploads(&mut figures, runs).await?;
    steps::compressed(&mut figures, runs)?;
    steps::swaps(&mut figures, runs).await?;
    steps::knobs(&mut figures, runs).await?;
    steps::listening(&mut figures, arguments.seconds).await?;
    steps::acestep(&mut figures, arguments.seconds).await?;
    steps::yields(&mut figures, runs).await?;
    steps::memory(&mut figures).await?;
    steps::handovers(&mut figures, runs).await?;
    figures.print();
    Ok(())
}
