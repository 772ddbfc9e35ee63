//! What a pod holds, as its system sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::Program;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Nothing may change for so long before a pod counts as idle.
const QUIET: Duration = Duration::from_millis(1_500);
/// How long what is no longer needed may take to go: sockets that are told to close have a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pod holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holding {
    pub(super) tasks: usize,
    pub(super) open_files: Vec<PathBuf>,
    pub(super) threads: usize,
    pub(super) rss_mb: f64,
    jobs_started: usize,
    jobs_ended: usize,
}

impl Holding {
    /// Whether nothing has happened since.
    fn is_like(&self, earlier: &Self) -> bool {
        let counts = |of: &Self| (of.tasks, of.open_files.len(), of.jobs_started);
        counts(self) == counts(earlier)
    }

    fn is_at_rest(&self) -> bool {
        self.jobs_started == self.jobs_ended
    }

    fn is_back_at(&self, before: &Self) -> bool {
        let files = self.open_files.len() <= before.open_files.len();
        self.tasks <= before.tasks && files && self.threads <= before.threads
    }
}

/// Looks once. The look itself is a connection, which is kept open until the files are listed: were it closed before, the pod would have
/// closed its side by then or not, and the look would now and then be taken for a leak.
fn look(program: &Program) -> anyhow::Result<Holding> {
    let agent = ureq::Agent::new_with_defaults();
    let metrics = agent.get(program.url("/metrics")).call()?.body_mut().read_to_string()?;
    let open_files = program.open_files()?;
    drop(agent);
    Ok(Holding {
        tasks: total(&metrics, "tasks").context("the pod does not tell of its tasks")?,
        jobs_started: total(&metrics, "jobs_started_total").unwrap_or(0),
        jobs_ended: total(&metrics, "jobs_ended_total").unwrap_or(0),
        open_files,
        threads: program.threads()?,
        rss_mb: program.rss_mb(),
    })
}

/// The sum of a metric over its labels; none where there is no such metric.
fn total(metrics: &str, name: &str) -> Option<usize> {
    let name = format!("greenroom_{name}");
    let values = metrics.lines().filter_map(|line| {
        let (head, value) = line.rsplit_once(' ')?;
        (head.split('{').next() == Some(&name)).then(|| value.parse::<usize>().ok())?
    });
    values.reduce(|sum, value| sum + value)
}

/// Waits until the pod is idle, and at most as busy as it was `before`; gives what it holds then, or what it still holds after a long while.
///
/// # Errors
/// If the pod is gone.
pub(super) async fn idle(program: &Arc<Program>, before: Option<Holding>) -> anyhow::Result<Holding> {
    let program = Arc::clone(program);
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut last = look(&program)?;
        let mut since = Instant::now();
        while started.elapsed() < PATIENCE {
            std::thread::sleep(LOOK_EVERY);
            let now = look(&program)?;
            if !now.is_like(&last) {
                since = Instant::now();
            }
            let is_back = before.as_ref().is_none_or(|before| now.is_back_at(before));
            if is_back && now.is_at_rest() && since.elapsed() >= QUIET {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    })
    .await?
}

/// Files in the data directory that belong to no listed track; `.lock` belongs to the pod.
///
/// # Errors
/// If the pod does not list its tracks.
pub(super) fn stray_files(program: &Program) -> anyhow::Result<Vec<PathBuf>> {
    anyhow::ensure!(
        program.names("/api/user_uploads")?.is_empty(),
        "a client whom nobody knows finds the uploads of others"
    );
    Ok(files_below(program.data())
        .into_iter()
        .filter(|file| file.file_name().is_none_or(|name| name != ".lock"))
        .collect())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_over_nothing_else() {
        let metrics = "# HELP greenroom_jobs_started_total Jobs started.\n\
            greenroom_jobs_started_total{task=\"rip\"} 3\n\
            greenroom_jobs_started_total{task=\"open stream\"} 4\n\
            greenroom_tasks 7\n";
        assert_eq!(total(metrics, "jobs_started_total"), Some(7));
        assert_eq!(total(metrics, "tasks"), Some(7));
        assert_eq!(total(metrics, "jobs_ended_total"), None);
    }
}
