//! `greenroom engines build`: from a checkpoint to an engine and what is written beside it.

mod workplace;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{component_parser, weights};
use crate::config::Config;
use anyhow::{Context, anyhow, bail, ensure};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use greenroom_acestep::transformer_width;
use greenroom_compiled::{
    Component, ComputeCapability, Digest, EXPORT_SCRIPT, EngineFile, Library, LibraryName, Metadata, PUBLIC_WIDTH,
    Precision, Profile, SCHEMA, Target,
};
use greenroom_tensorrt::{BuildRequest, GPUS, Step, Tensorrt, TensorrtError, check_gpus};
use indicatif::ProgressBar;
use workplace::Workplace;

/// What to build.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Which part of the generator
    #[arg(long, value_parser = component_parser())]
    component: Component,
    /// Seconds of music that it shall take; "window", for vae-decode, is what is decoded at a time while it plays
    #[arg(long, value_parser = target_parser())]
    duration: Target,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Build it even if it is there
    #[arg(long)]
    force: bool,
    /// Python 3 with the package onnx, which writes the network down
    #[arg(long, env = "GREENROOM_PYTHON", value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

fn target_parser() -> impl TypedValueParser<Value = Target> {
    PossibleValuesParser::new(["window", "60", "120", "240"]).try_map(|word| {
        let named = Target::ALL.into_iter().find(|target| target.to_string() == word);
        named.ok_or("no engine is built for so much music")
    })
}

/// Everything decided.
pub(super) struct Job {
    component: Component,
    profile: Profile,
    gpus: Vec<ComputeCapability>,
    /// Whether LoRAs can be put in.
    refit: bool,
    /// Of the engine's files, without their endings.
    name: String,
    folder: PathBuf,
    models: PathBuf,
    /// The file that its weights are in.
    weights: PathBuf,
    python: PathBuf,
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(
    arguments: &Arguments,
    config: &Config,
    folder: PathBuf,
    gpus: &[ComputeCapability],
    here: Option<ComputeCapability>,
) -> anyhow::Result<u8> {
    let job = Job::new(arguments, config.acestep_models_dir.as_deref(), folder, gpus, here)?;
    if arguments.dry_run {
        print!("{}", job.describe(Tensorrt::open(config.tensorrt_dir.as_deref())));
        return Ok(0);
    }
    let library = Tensorrt::open(config.tensorrt_dir.as_deref())?;
    fs::create_dir_all(&job.folder).with_context(|| format!("{} cannot be made", job.folder.display()))?;
    let progress = Progress::new();
    progress.say(format!("reading {}", job.weights.display()));
    let checkpoint = digest(&job.weights)?;
    if !arguments.force && job.is_built(&library, &checkpoint) {
        progress.end();
        println!(
            "{} is there, from this checkpoint and by this TensorRT: --force builds it anew",
            job.engine().display()
        );
        return Ok(0);
    }
    let metadata = job.build(&library, checkpoint, &progress)?;
    progress.end();
    println!(
        "{}: {} MB of weights and {} MB of workspace on the device{}",
        job.engine().display(),
        metadata.weights_bytes / 1_000_000,
        metadata.workspace_bytes / 1_000_000,
        if job.component == Component::Decoder && !job.refit {
            "; built without a GPU, it takes no LoRAs"
        } else {
            ""
        }
    );
    Ok(0)
}

impl Job {
    pub(super) fn new(
        arguments: &Arguments,
        models: Option<&Path>,
        folder: PathBuf,
        gpus: &[ComputeCapability],
        here: Option<ComputeCapability>,
    ) -> anyhow::Result<Self> {
        let component = arguments.component;
        let models =
            models.context("an engine has its weights in it: name the checkpoint with --acestep-models-dir")?;
        let mut gpus = if gpus.is_empty() {
            here.into_iter().collect()
        } else {
            gpus.to_vec()
        };
        gpus.sort_unstable();
        gpus.dedup();
        ensure!(
            !gpus.is_empty(),
            "there is no GPU here to build for: name the one that the engine shall run on, such as --compute-capability 8.9"
        );
        check_gpus(&gpus)?;
        let width = match component {
            Component::Decoder => transformer_width(models)? as u64,
            Component::VaeEncode | Component::VaeDecode => PUBLIC_WIDTH,
        };
        let profile = arguments.duration.profile(component, width);
        let reach = match arguments.duration {
            Target::Window => "window".to_owned(),
            Target::Music(length) => format!("{length}s"),
        };
        let targets: Vec<String> = gpus.iter().map(|gpu| format!("sm{}{}", gpu.major, gpu.minor)).collect();
        Ok(Self {
            component,
            profile: profile.with_context(|| {
                format!(
                    "only vae-decode works on windows: for {} name --duration 60, 120 or 240",
                    component.option()
                )
            })?,
            // The library prepares such an engine by running a part of it.
            refit: component == Component::Decoder && here.is_some_and(|here| GPUS.contains(&here)),
            name: format!("{component}_{}_{reach}_{}", Precision::Mixed.name(), targets.join("_")),
            gpus,
            folder,
            weights: weights(models, component),
            models: models.into(),
            python: arguments.python.clone(),
        })
    }

    fn engine(&self) -> PathBuf {
        self.folder.join(format!("{}.engine", self.name))
    }

    fn metadata(&self) -> PathBuf {
        self.folder.join(format!("{}.engine.json", self.name))
    }

    /// What would be done.
    pub(super) fn describe(&self, library: Result<Tensorrt, TensorrtError>) -> String {
        let gpus: Vec<String> = self.gpus.iter().map(ComputeCapability::to_string).collect();
        let library = match library {
            Ok(library) => format!("TensorRT for RTX {}", library.version()),
            Err(error) => format!("nothing yet: {error}"),
        };
        let refit = match (self.component, self.refit) {
            (Component::Decoder, true) => "can be put in",
            (Component::Decoder, false) => {
                "cannot be put in, since there is no GPU here that TensorRT could prepare it on"
            }
            _ => "do not concern it",
        };
        let mut text = String::new();
        for (what, words) in [
            ("would build", self.engine().display().to_string()),
            ("and beside it", self.metadata().display().to_string()),
            ("weights", self.weights.display().to_string()),
            ("inputs", self.profile.to_string()),
            ("precision", Precision::Mixed.name().into()),
            ("for compute capability", gpus.join(", ")),
            ("LoRAs", refit.into()),
            ("network written by", self.python.display().to_string()),
            ("engine built by", library),
        ] {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{what}: {words}");
        }
        text
    }

    /// Whether the engine that would be built is there.
    fn is_built(&self, library: &Tensorrt, checkpoint: &Digest) -> bool {
        let Some(there) = fs::read(self.metadata())
            .ok()
            .and_then(|text| Metadata::parse(&text).ok())
        else {
            return false;
        };
        let length = fs::metadata(self.engine()).map(|file| file.len());
        there.inputs == self.profile
            && there.compute_capabilities == self.gpus
            && there.library == version_of(library)
            && there.checkpoint_sha256 == *checkpoint
            && length.is_ok_and(|length| length == there.file.bytes)
    }

    /// Builds it in a folder of its own and moves it to its place: there is a whole engine or the one that was there before.
    fn build(&self, library: &Tensorrt, checkpoint: Digest, progress: &Progress) -> anyhow::Result<Metadata> {
        let refused = |error: io::Error| disk(&self.folder, error);
        let (work, swept) = Workplace::among(&self.folder).map_err(refused)?;
        for left in swept {
            progress.say(format!("removed {left}, which a build left that was cut off"));
        }
        let onnx = self.export(work.path(), progress)?;
        let engine = work.path().join("engine");
        let mut file = File::create(&engine).map_err(refused)?;
        let request = BuildRequest {
            onnx: &onnx,
            profile: &self.profile,
            gpus: &self.gpus,
            refit: self.refit,
        };
        progress.say("building the engine".into());
        let memory = library
            .build(&request, &mut file, progress.hears())
            .map_err(|error| match error {
                TensorrtError::Write(error) => refused(error),
                other => other.into(),
            })?;
        file.sync_all().map_err(refused)?;
        progress.say("writing it down".into());
        let metadata = Metadata {
            schema: SCHEMA,
            component: self.component,
            inputs: self.profile.clone(),
            precision: Precision::Mixed,
            compute_capabilities: self.gpus.clone(),
            library: version_of(library),
            checkpoint_sha256: checkpoint,
            weights_bytes: memory.weights_bytes,
            workspace_bytes: memory.workspace_bytes,
            file: EngineFile {
                bytes: file.metadata().map_err(refused)?.len(),
                sha256: digest(&engine)?,
            },
        };
        let beside = work.path().join("engine.json");
        fs::write(&beside, serde_json::to_vec_pretty(&metadata)?).map_err(refused)?;
        File::open(&beside).and_then(|file| file.sync_all()).map_err(refused)?;
        // Cut off between the two, the metadata is another engine's, and the list says that the file is damaged.
        fs::rename(&engine, self.engine()).map_err(refused)?;
        fs::rename(&beside, self.metadata()).map_err(refused)?;
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(refused)?;
        Ok(metadata)
    }

    /// Has Python write the network down; gives where it is.
    fn export(&self, work: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
        let refused = |error: io::Error| disk(&self.folder, error);
        let place = |name: &str| work.join(name);
        let (script, onnx, complaints) = (place("export.py"), place("network.onnx"), place("complaints"));
        fs::write(&script, EXPORT_SCRIPT).map_err(refused)?;
        progress.say(format!("writing the network of {} down", self.component));
        let mut python = Command::new(&self.python)
            .arg(&script)
            .args(["--component", self.component.option(), "--checkpoint"])
            .arg(&self.models)
            .arg("--out")
            .arg(&onnx)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A file cannot fill up while nobody reads it, as a pipe would.
            .stderr(File::create(&complaints).map_err(refused)?)
            .spawn()
            .with_context(|| {
                format!(
                    "{} cannot be started: the network is written down by Python 3; install it, or name it with --python",
                    self.python.display()
                )
            })?;
        if let Some(lines) = python.stdout.take() {
            for line in BufReader::new(lines).lines() {
                progress.hear_export(&line.context("Python said something that is not text")?);
            }
        }
        let status = python.wait().context("Python cannot be waited for")?;
        if status.success() {
            return Ok(onnx);
        }
        let said = fs::read(&complaints).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        // Of a traceback, the last line says what happened.
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        bail!(
            "the network could not be written down ({status}): {}",
            last.unwrap_or("Python did not say why")
        )
    }
}

fn version_of(library: &Tensorrt) -> Library {
    Library {
        name: LibraryName::TensorrtRtx,
        version: library.version().to_owned(),
    }
}

fn digest(file: &Path) -> anyhow::Result<Digest> {
    Digest::of_file(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// What the disk said, and what to do.
fn disk(folder: &Path, error: io::Error) -> anyhow::Error {
    let folder = folder.display();
    let words = match error.kind() {
        io::ErrorKind::StorageFull => format!(
            "the disk of {folder} is full: while it is built, an engine takes twice the room of its weights there; nothing was changed"
        ),
        _ => format!("{folder} cannot be written to; nothing was changed"),
    };
    anyhow!(error).context(words)
}

/// How far it is: a line that moves on a terminal, else a line for each thing that is done.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    #[allow(clippy::print_stdout, reason = "its output is its purpose")]
    fn say(&self, what: String) {
        if self.0.is_hidden() {
            println!("{what}");
        }
        self.0.set_message(what);
    }

    /// What the export script prints.
    fn hear_export(&self, line: &str) {
        if let Some((done, all)) = line.strip_prefix("progress ").and_then(|rest| rest.split_once(' ')) {
            self.0
                .set_message(format!("writing the network down: {done} of {all} layers"));
        }
    }

    /// What listens to the library.
    fn hears(&self) -> impl Fn(Step) + Send + Sync + 'static {
        let bar = self.0.clone();
        move |Step { what, done, of }| bar.set_message(format!("building the engine: {what}, {done} of {of}"))
    }

    fn end(self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests;
