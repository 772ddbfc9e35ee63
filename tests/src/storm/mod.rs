//! Reconnect storms with garbage against the real program on real sockets.
//!
//! A wave is fifty clients that connect within a few milliseconds, each with a behaviour drawn from the seed: sessions that stay or leave
//! without a word, doubled tabs, wedged and slow readers, garbage at every depth of the handshake, uploads cut in the middle. After each wave
//! exactly one session is left and is served, and whoever was sent away had somebody later to blame; after the last, everybody leaves and
//! the pod holds no more than before.

mod door;
mod health;
mod misfits;
mod plan;
mod scene;
mod session;
mod verdict;
mod wave;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;

use self::{scene::Scene, wave::Storm};
use crate::Program;

/// Waves before anything is counted, at the least: what a pod makes once and keeps is made in them.
const WARM_UP_WAVES_MIN: u64 = 4;
/// How long files may outlive their tracks: the disk is the last to hear.
const WIPED_WITHIN: Duration = Duration::from_secs(10);
/// Options of the pod under the storm: weights that move, on a device whose moves take their time and now and then fail.
const OPTIONS: [&str; 4] = ["--generator", "weighted", "--stage", "simulated"];

/// How long and how hard it storms.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Clients that come, all in all.
    pub reconnects: u64,
    /// Clients of one wave.
    pub storm: usize,
    /// Of every choice.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Clients that came.
    pub reconnects: u64,
    /// Clients of one wave.
    pub storm: usize,
    /// The seed that tells the storm again.
    pub seed: u64,
    /// Connections, those of clients that tried again and of the warm-up included.
    pub connections: u64,
    /// Seconds of the waves that count.
    pub seconds: f64,
    /// Lines of the log that tell of an error or a panic, and an end with another code than 0.
    pub panics: usize,
    /// Tasks that are still there when everybody has left.
    pub leaked_tasks: usize,
    /// Threads, likewise.
    pub leaked_threads: usize,
    /// Open files and sockets, and files in the data directory that belong to no track.
    pub leaked_files: usize,
    /// Growth of the idle pod's resident memory, in megabytes.
    pub rss_growth_mb: f64,
    /// Resident memory of the idle pod before and after the waves that count, in megabytes.
    pub rss_mb: [f64; 2],
    /// Breaches of the rule of the seat.
    pub wrong_survivors: usize,
    /// Answers that the protocol does not know.
    pub wrong_answers: usize,
    /// Sessions that were told that another connection took over.
    pub preempted: u64,
    /// Sessions whose socket was dropped, for they did not hear of it in time.
    pub dropped: u64,
    /// Clients that found the pod busy until they gave up.
    pub busy: u64,
    /// Sessions that left by themselves or met a failure of the device.
    pub left: u64,
    /// Uploads that became tracks.
    pub uploads: u64,
    /// Waves whose last session had left, so that a late comer got the seat.
    pub without_survivor: u64,
    /// Failures that the simulated device showed.
    pub device_faults: usize,
    /// What was wrong, in words.
    #[serde(skip)]
    pub wrongs: Vec<String>,
}

impl Report {
    /// Whether every bar is met.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.counts_nothing() && self.rss_growth_mb <= RSS_GROWTH_MB_MAX
    }

    /// Whether nothing is wrong that can be counted.
    #[must_use]
    pub fn counts_nothing(&self) -> bool {
        let counts = [
            self.panics,
            self.leaked_tasks,
            self.leaked_threads,
            self.leaked_files,
            self.wrong_survivors,
            self.wrong_answers,
        ];
        counts == [0; 6]
    }
}

/// Most that an idle pod may have grown by, in megabytes.
pub const RSS_GROWTH_MB_MAX: f64 = 20.0;

/// Lets a storm loose; `waved` is called after every wave with the number of clients that have come.
///
/// # Errors
/// If the pod does not start or does not live through it; with the end of its log.
pub async fn run(options: Options, mut waved: impl FnMut(u64)) -> anyhow::Result<Report> {
    let program = Arc::new(Program::start(&OPTIONS).context(
        "the pod does not start; a storm needs one with `cargo build -p greenroom --features simulated-stage`",
    )?);
    let mut storm = Storm::new(Arc::new(Scene::new(program.address())?), options.seed);
    let outcome = blow(&program, &mut storm, options, &mut waved).await;
    let (before, after, seconds, mut wrongs) = outcome.with_context(|| tail(&program.log()))?;
    let stray = stray_in_the_end(&program).await?;
    wrongs.extend(stray.iter().map(|file| format!("{file} belongs to no track")));
    let errors = program.errors();
    let device_faults = program.log().matches("fails on purpose").count();
    let program = Arc::into_inner(program).context("the pod is still looked at")?;
    let (code, _data) = program.end()?;
    let mut panics = errors.len();
    wrongs.extend(errors);
    if code != Some(0) {
        panics += 1;
        wrongs.push(format!("the pod ended with {code:?}"));
    }
    let tally = storm.tally;
    let left_open = after.open_files.len().saturating_sub(before.open_files.len());
    if left_open > 0 {
        wrongs.push(format!(
            "open before: {:?}; after: {:?}",
            before.open_files, after.open_files
        ));
    }
    let leaked_files = left_open + stray.len();
    let report = Report {
        reconnects: options.reconnects,
        storm: options.storm,
        seed: options.seed,
        connections: storm.scene.door.opened(),
        seconds,
        panics,
        leaked_tasks: after.tasks.saturating_sub(before.tasks),
        leaked_threads: after.threads.saturating_sub(before.threads),
        leaked_files,
        rss_growth_mb: (after.rss_mb - before.rss_mb).max(0.0),
        rss_mb: [before.rss_mb, after.rss_mb],
        wrong_survivors: tally.wrong.len(),
        wrong_answers: tally.complaints.len(),
        preempted: tally.preempted,
        dropped: tally.dropped,
        busy: tally.outside,
        left: tally.over,
        uploads: tally.uploads,
        without_survivor: tally.without_survivor,
        device_faults,
        wrongs: [wrongs, tally.wrong, tally.complaints].concat(),
    };
    Ok(report)
}

type Course = (health::Holding, health::Holding, f64, Vec<String>);

async fn blow(
    program: &Arc<Program>,
    storm: &mut Storm,
    options: Options,
    waved: &mut impl FnMut(u64),
) -> anyhow::Result<Course> {
    let rips = crate::weights_are_there();
    let waves = options.reconnects.div_ceil(options.storm as u64);
    // How much the allocator keeps settles slowly: a long storm has a long warm-up.
    let warm_up = (waves / 5).max(WARM_UP_WAVES_MIN);
    for number in 0..warm_up {
        storm.wave(waves + number, options.storm).await?;
    }
    storm.clear(waves + warm_up, rips).await?;
    let before = health::idle(program, None).await?;
    storm.tally = wave::Tally::default();
    let mut wrongs = Vec::new();
    let started = Instant::now();
    let mut come = 0;
    for number in 0..waves {
        let clients = (options.reconnects - come).min(options.storm as u64);
        storm.wave(number, clients as usize).await?;
        come += clients;
        waved(come);
        if !is_healthy(program).await {
            wrongs.push(format!("wave {number}: the pod calls itself unhealthy"));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    storm.clear(waves, rips).await?;
    let after = health::idle(program, Some(before.clone())).await?;
    storm.tally.complaints.append(&mut wrongs);
    Ok((before, after, seconds, wrongs))
}

async fn is_healthy(program: &Arc<Program>) -> bool {
    let url = program.url("/healthz");
    tokio::task::spawn_blocking(move || ureq::get(url).call().is_ok())
        .await
        .unwrap_or(false)
}

/// Files that belong to no track, once the disk has had its time.
async fn stray_in_the_end(program: &Program) -> anyhow::Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let stray = health::stray_files(program)?;
        if stray.is_empty() || started.elapsed() > WIPED_WITHIN {
            return Ok(stray.iter().map(|file| file.display().to_string()).collect());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    format!(
        "the pod's log ends:\n{}",
        lines[lines.len().saturating_sub(20)..].join("\n")
    )
}
