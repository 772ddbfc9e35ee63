//! The program `greenroom`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use greenroom::cli::{self, Cli};

/// Buffers of whole tracks come and go: the system's allocator keeps tens of megabytes of them, now more, now less; this one gives them back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::print_stderr, reason = "a command that failed says so to whoever started it")]
fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("greenroom: {error:#}");
            ExitCode::FAILURE
        }
    }
}
