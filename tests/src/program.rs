//! The real program, in a directory of its own, on a free port.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A running pod; ended when dropped.
pub struct Program {
    child: Child,
    data: TempDir,
    log: Arc<Mutex<String>>,
    address: String,
}

impl Program {
    /// Starts `greenroom serve` with these options and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start; with its log.
    pub fn start(options: &[&str]) -> anyhow::Result<Self> {
        Self::start_in(TempDir::new()?, options)
    }

    /// Likewise, on a data directory that is there already.
    ///
    /// # Errors
    /// If it does not start; with its log.
    pub fn start_in(data: TempDir, options: &[&str]) -> anyhow::Result<Self> {
        Self::start_under(&[], data, options)
    }

    /// Likewise, by way of another program that takes a command line, such as `setpriv`, and becomes what it says: the process must stay
    /// the same. That program finds the data directory in `GREENROOM_DATA_DIR`.
    ///
    /// # Errors
    /// If it does not start; with its exit code and its log.
    pub fn start_under(way: &[&str], data: TempDir, options: &[&str]) -> anyhow::Result<Self> {
        let line: Vec<OsString> = way.iter().map(OsString::from).chain([binary()?.into()]).collect();
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .arg("serve")
            .env("GREENROOM_DATA_DIR", data.path())
            .args(with_default("--port", "0", options))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("greenroom cannot be started: build it with `cargo build -p greenroom`")?;
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, mut errors) = (Arc::clone(&log), child.stderr.take().context("no standard error")?);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                if let Ok(mut log) = kept.lock() {
                    log.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let Some((_, address)) = line.trim().split_once("http://") else {
            let code = child.wait()?;
            std::thread::sleep(Duration::from_millis(100));
            bail!(
                "the pod ended with {code}: {}",
                log.lock().map(|log| log.clone()).unwrap_or_default()
            );
        };
        let program = Self {
            child,
            data,
            log,
            address: address.to_owned(),
        };
        program.wait_ready()?;
        Ok(program)
    }

    fn wait_ready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while ureq::get(self.url("/readyz")).call().is_err() {
            if started.elapsed() > PATIENCE {
                bail!("the pod never got ready: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// An address below the pod's.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it keeps tracks.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where it keeps tracks, as it sees it: it may have mounted something there.
    #[must_use]
    pub fn data_inside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), self.data().display()))
    }

    /// Everything that it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Lines that say that something went wrong inside.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("panicked"))
            .map(str::to_owned)
            .collect()
    }

    /// Names of all files in the data directory that hold audio.
    #[must_use]
    pub fn audio_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.data.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "wav") {
                    files.push(path);
                }
            }
        }
        files
    }

    /// Names that a JSON listing gives.
    ///
    /// # Errors
    /// If the route does not answer with a list of names.
    pub fn names(&self, path: &str) -> anyhow::Result<Vec<String>> {
        Ok(ureq::get(self.url(path)).call()?.body_mut().read_json()?)
    }

    /// The sum of what `/metrics` says in all lines that contain these words.
    ///
    /// # Errors
    /// If the route does not answer.
    pub fn metric(&self, words: &[&str]) -> anyhow::Result<f64> {
        let metrics = ureq::get(self.url("/metrics")).call()?.body_mut().read_to_string()?;
        let lines = metrics.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| words.iter().all(|word| line.contains(word)));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// The manifest of an upload of that name, as it is on disk.
    ///
    /// # Errors
    /// If no folder has it.
    pub fn manifest(&self, name: &str) -> anyhow::Result<(PathBuf, serde_json::Value)> {
        for folder in std::fs::read_dir(self.data().join("tracks"))? {
            let folder = folder?.path();
            let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("track.json"))?)?;
            if manifest["name"] == name {
                return Ok((folder, manifest));
            }
        }
        bail!("no folder has {name}")
    }

    /// Largest resident memory so far, in megabytes.
    #[must_use]
    pub fn peak_rss_mb(&self) -> f64 {
        self.status_mb("VmHWM:")
    }

    /// Resident memory now, in megabytes.
    #[must_use]
    pub fn rss_mb(&self) -> f64 {
        self.status_mb("VmRSS:")
    }

    /// Files and sockets that it has open: a path, or a kind and a number.
    ///
    /// # Errors
    /// If it has ended.
    pub fn open_files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let directory = format!("/proc/{}/fd", self.child.id());
        let entries = std::fs::read_dir(directory).context("the pod has ended")?;
        // One that is closed while it is looked at is not open.
        Ok(entries
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .collect())
    }

    /// Its threads.
    ///
    /// # Errors
    /// If it has ended.
    pub fn threads(&self) -> anyhow::Result<usize> {
        let directory = format!("/proc/{}/task", self.child.id());
        Ok(std::fs::read_dir(directory).context("the pod has ended")?.count())
    }

    fn status_mb(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
        kilobytes.unwrap_or(f64::NAN) / 1024.0
    }

    /// Asks for an orderly end; gives the exit code and the data directory.
    ///
    /// # Errors
    /// If it cannot be asked or does not end.
    pub fn end(mut self) -> anyhow::Result<(Option<i32>, TempDir)> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        anyhow::ensure!(asked.success(), "the pod could not be asked to end");
        let code = self.child.wait()?.code();
        let data = std::mem::replace(&mut self.data, TempDir::new()?);
        Ok((code, data))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program beside the tests, or the one that `GREENROOM_PROGRAM` names.
///
/// # Errors
/// If it is not built.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("GREENROOM_PROGRAM") {
        return Ok(named.into());
    }
    let here = std::env::current_exe()?;
    let beside = here
        .ancestors()
        .skip(1)
        .map(|directory| directory.join("greenroom"))
        .find(|path| path.is_file());
    beside.context("greenroom is not built: run `cargo build -p greenroom`")
}

/// A folder with a tiny ACE-Step checkpoint of random weights, as the program writes it.
///
/// # Errors
/// If the program is not built, or cannot write it.
pub fn tiny_checkpoint() -> anyhow::Result<TempDir> {
    let folder = TempDir::new()?;
    let written = Command::new(binary()?)
        .args(["checkpoint", "random", "--size", "tiny", "--out"])
        .arg(folder.path())
        .output()?;
    anyhow::ensure!(
        written.status.success(),
        "no checkpoint: {}",
        String::from_utf8_lossy(&written.stderr)
    );
    Ok(folder)
}

/// A LoRA of random matrices for that checkpoint, as the program writes it; its name is its id.
///
/// # Errors
/// If the program is not built, or cannot write it.
pub fn tiny_lora(path: &Path, seed: u64) -> anyhow::Result<()> {
    let written = Command::new(binary()?)
        .args([
            "checkpoint",
            "random-lora",
            "--size",
            "tiny",
            "--seed",
            &seed.to_string(),
            "--out",
        ])
        .arg(path)
        .output()?;
    anyhow::ensure!(
        written.status.success(),
        "no LoRA: {}",
        String::from_utf8_lossy(&written.stderr)
    );
    Ok(())
}

/// Whether the separator's weights are where the program looks for them.
#[must_use]
pub fn weights_are_there() -> bool {
    let verify = binary().and_then(|binary| Ok(Command::new(binary).args(["models", "verify"]).output()?));
    verify.is_ok_and(|output| output.status.success())
}

/// A flag and its value, unless the test gives its own.
fn with_default(flag: &str, value: &str, options: &[&str]) -> Vec<String> {
    if options.contains(&flag) {
        Vec::new()
    } else {
        vec![flag.to_owned(), value.to_owned()]
    }
}
