//! `greenroom bench engines`: what an engine's file takes to read, and what reading it ahead saves.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::Args;
use greenroom_compiled::{Prewarm, cached_share, forget};
use serde_json::{Map, Value, json};

const CHUNK_BYTES: usize = 8 << 20;
/// A file that is still cached to this share was not forgotten, and reading it says nothing of the disk.
const FORGOTTEN_SHARE_MAX: f64 = 0.1;

/// What to measure.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Print only the line of JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Folder on the disk that engines are read from; a file is written there and removed
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Megabytes of that file
    #[arg(long, value_name = "MB", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(8..=100_000))]
    megabytes: u64,
    /// Runs of each figure; the median is told
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
}

impl Arguments {
    /// Bytes of that file.
    pub(super) fn bytes(&self) -> anyhow::Result<usize> {
        Ok(usize::try_from(self.megabytes * 1_000_000)?)
    }
}

/// What a file is read into.
pub(super) struct Buffer {
    /// The kind of memory.
    pub(super) kind: &'static str,
    /// As long as the file.
    pub(super) bytes: Box<dyn AsMut<[u8]>>,
}

impl Buffer {
    /// Memory of the process. Touched before: a first write to fresh memory would be measured with the read.
    pub(super) fn pageable(length: usize) -> Self {
        Self {
            kind: "pageable",
            bytes: Box::new(vec![1_u8; length]),
        }
    }
}

/// Prints the figures, after those of `graphs`; the exit code is 1 where the bar applies and is missed.
#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(arguments: &Arguments, mut buffer: Buffer, mut all: Map<String, Value>) -> anyhow::Result<u8> {
    let file = Scratch::write(&arguments.dir, arguments.bytes()?)?;
    let bytes = (*buffer.bytes).as_mut();
    let runs: anyhow::Result<Vec<Run>> = (0..arguments.runs).map(|_| Run::measure(&file.0, bytes)).collect();
    let figures = Figures::of(&runs?, arguments.megabytes, buffer.kind);
    if !arguments.json {
        println!("{}", figures.words());
    }
    all.extend(figures.json());
    println!("{}", Value::Object(all));
    Ok(u8::from(figures.misses()))
}

/// A file that is gone when this is.
struct Scratch(PathBuf);

impl Scratch {
    fn write(dir: &Path, length: usize) -> anyhow::Result<Self> {
        let scratch = Self(dir.join(format!(".greenroom-bench-{}.engine", std::process::id())));
        let what = || format!("{} cannot be written", scratch.0.display());
        let mut file = File::create_new(&scratch.0).with_context(what)?;
        // Nothing that a file system could keep in less room.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = length;
        while left > 0 {
            for word in chunk.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let count = left.min(CHUNK_BYTES);
            file.write_all(&chunk[..count]).with_context(what)?;
            left -= count;
        }
        file.sync_all().with_context(what)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to hear that it could not be removed.
        let _ = fs::remove_file(&self.0);
    }
}

/// One round, in milliseconds.
struct Run {
    cold: f64,
    prewarm: f64,
    prewarmed: f64,
    cached: f64,
    /// Share of the file that was in the cache before the cold read; none where the file system does not tell.
    left_in_cache: Option<f64>,
}

impl Run {
    fn measure(path: &Path, buffer: &mut [u8]) -> anyhow::Result<Self> {
        forget(path)?;
        let left_in_cache = cached_share(path)?;
        // Looking made the system read a little.
        forget(path)?;
        let cold = timed(|| read_whole(path, buffer))?;
        forget(path)?;
        let prewarm = timed(|| {
            let warmed = Prewarm::start(vec![path.to_owned()])?.finish()?;
            ensure!(warmed.whole, "nobody cancelled it, and it gave up");
            Ok(())
        })?;
        let prewarmed = timed(|| read_whole(path, buffer))?;
        let cached = timed(|| read_whole(path, buffer))?;
        Ok(Self {
            cold,
            prewarm,
            prewarmed,
            cached,
            left_in_cache,
        })
    }
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}

fn read_whole(path: &Path, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    for chunk in buffer.chunks_mut(CHUNK_BYTES) {
        file.read_exact(chunk).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => anyhow::anyhow!("{} was cut off while it was read", path.display()),
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// Medians of all runs.
struct Figures {
    megabytes: u64,
    buffer: &'static str,
    cold_ms: f64,
    prewarm_ms: f64,
    prewarmed_ms: f64,
    cached_ms: f64,
    /// The worst.
    left_in_cache: Option<f64>,
}

impl Figures {
    fn of(runs: &[Run], megabytes: u64, buffer: &'static str) -> Self {
        let median = |figure: fn(&Run) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let left = runs.iter().filter_map(|run| run.left_in_cache);
        Self {
            megabytes,
            buffer,
            cold_ms: median(|run| run.cold),
            prewarm_ms: median(|run| run.prewarm),
            prewarmed_ms: median(|run| run.prewarmed),
            cached_ms: median(|run| run.cached),
            left_in_cache: left.max_by(f64::total_cmp),
        }
    }

    /// Why the bar says nothing here; none if it does.
    fn not_applicable(&self) -> Option<&'static str> {
        if self.left_in_cache.is_some_and(|share| share > FORGOTTEN_SHARE_MAX) {
            Some("the cache could not be dropped")
        } else if self.cold_ms < 2.0 * self.cached_ms {
            Some("the disk reads over half as fast as memory")
        } else {
            None
        }
    }

    fn misses(&self) -> bool {
        self.not_applicable().is_none() && self.prewarmed_ms > 0.5 * self.cold_ms
    }

    fn words(&self) -> String {
        let verdict = match (self.not_applicable(), self.misses()) {
            (Some(why), _) => format!("not applicable: {why}"),
            (None, true) => "missed".into(),
            (None, false) => "kept".into(),
        };
        format!(
            "an engine of {} MB into {} memory\n  cold       {:>8.0} ms\n  prewarmed  {:>8.0} ms (bar: half of cold, {verdict})\n  \
             cached     {:>8.0} ms\n  to prewarm {:>8.0} ms, in the background",
            self.megabytes, self.buffer, self.cold_ms, self.prewarmed_ms, self.cached_ms, self.prewarm_ms
        )
    }

    fn json(&self) -> Map<String, Value> {
        [
            ("engine_file_mb", json!(self.megabytes)),
            ("engine_read_buffer", json!(self.buffer)),
            ("engine_read_cold_ms", json!(self.cold_ms)),
            ("engine_read_prewarmed_ms", json!(self.prewarmed_ms)),
            ("engine_read_cached_ms", json!(self.cached_ms)),
            ("engine_prewarm_ms", json!(self.prewarm_ms)),
            ("engine_cached_share_before_cold", json!(self.left_in_cache)),
            ("engine_read_applicable", json!(self.not_applicable().is_none())),
            ("engine_read_not_applicable_because", json!(self.not_applicable())),
        ]
        .into_iter()
        .map(|(key, figure)| (key.to_owned(), figure))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cold: f64, prewarmed: f64, cached: f64, left: Option<f64>) -> Figures {
        let run = |cold| Run {
            cold,
            prewarm: 1.0,
            prewarmed,
            cached,
            left_in_cache: left,
        };
        // The median is the middle one, in whatever order they come.
        Figures::of(&[run(1e9), run(0.0), run(cold)], 1, "pageable")
    }

    #[test]
    fn the_bar_applies_only_where_the_disk_was_read_and_is_slow() {
        for (figures, applies, misses) in [
            (figures(100.0, 50.0, 10.0, Some(0.0)), true, false),
            (figures(100.0, 51.0, 10.0, None), true, true),
            (figures(100.0, 90.0, 51.0, Some(0.0)), false, false),
            (figures(100.0, 90.0, 10.0, Some(0.2)), false, false),
        ] {
            assert_eq!(
                (figures.not_applicable().is_none(), figures.misses()),
                (applies, misses)
            );
            assert_eq!(figures.json()["engine_read_applicable"], applies);
            assert_eq!(figures.json()["engine_read_cold_ms"], 100.0);
        }
    }

    #[test]
    fn a_run_measures_a_file_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let length = CHUNK_BYTES + 5;
        {
            let file = Scratch::write(dir.path(), length).unwrap();
            assert_eq!(fs::metadata(&file.0).unwrap().len(), length as u64);
            let mut buffer = Buffer::pageable(length);
            let run = Run::measure(&file.0, (*buffer.bytes).as_mut()).unwrap();
            assert!(run.cold > 0.0 && run.prewarm > 0.0 && run.prewarmed > 0.0 && run.cached > 0.0);
            let read = fs::read(&file.0).unwrap();
            assert!(read == (*buffer.bytes).as_mut(), "it was not read whole");
            let mut longer = vec![0; length + 1];
            assert!(Run::measure(&file.0, &mut longer).is_err(), "it is shorter");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
