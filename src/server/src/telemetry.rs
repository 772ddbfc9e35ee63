//! The log: text for a person or JSON for a machine, on standard error.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts the log. `filter` is such as `info` or `greenroom=debug`.
///
/// # Errors
/// If the filter makes no sense, or a log runs already.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("the log filter {filter:?} makes no sense: try info"))?;
    // A decoder's complaints about a client's file are the client's to hear, not errors of the pod.
    let filter = filter.add_directive("symphonia=off".parse().context("a directive of our own is wrong")?);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log could not be started: {error}"))
}
