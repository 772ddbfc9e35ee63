//! `greenroom engines`: compiled engines, and why one is or is not for this pod.

mod build;

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::{bail, ensure};
use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use greenroom_acestep::{WeightFiles, transformer_width};
use greenroom_compiled::{
    Choice, Component, ComputeCapability, Digest, Eager, Found, Library, LibraryName, Look, PUBLIC_WIDTH, Pod,
    Registry, Room, Shapes, choose as choose_engine,
};
use greenroom_tensorrt::Tensorrt;
use serde_json::{Value, json};

use crate::{
    config::{Config, DeviceChoice, Settings},
    device::Device,
};

/// Latent frames a second.
const FRAME_RATE: f64 = 25.0;
/// Samples a second.
const SAMPLE_RATE: f64 = 48_000.0;

/// Which engines, and for which pod.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Folder of engines [default: the folder "engines" where fetched models are kept]
    #[arg(long, global = true, env = "GREENROOM_ENGINES_DIR", value_name = "DIR")]
    engines_dir: Option<PathBuf>,
    /// Directory of ACE-Step 1.5's checkpoints: engines must have been built from these very weights
    #[arg(long, global = true, env = "ACESTEP_MODELS_DIR", value_name = "DIR")]
    acestep_models_dir: Option<PathBuf>,
    /// Where engines are to run
    #[arg(long, global = true, env = "GREENROOM_DEVICE", value_enum)]
    device: Option<DeviceChoice>,
    /// The GPU that engines are for, such as 8.9 [default: the one that is here]; to build for several at once, repeat it
    #[arg(long = "compute-capability", global = true, value_name = "X.Y", value_parser = compute_capability)]
    gpus: Vec<ComputeCapability>,
    /// Folder of TensorRT for RTX's libraries [default: where the system looks for libraries]
    #[arg(long, global = true, env = "GREENROOM_TENSORRT_DIR", value_name = "DIR")]
    tensorrt_dir: Option<PathBuf>,
}

fn compute_capability(text: &str) -> Result<ComputeCapability, String> {
    text.to_owned().try_into()
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every engine in the folder: whether this pod can use it, and if not, why
    #[command(after_help = "\
An engine is two files, NAME.engine and NAME.engine.json. The second says what the first is: component, shapes, precision, compute
capability, library and its version, the SHA-256 of the weights it was built from, memory, length and SHA-256 of the file. An engine fits
if the GPU, the library in its exact version and the checkpoint are those; anything else is listed with the reason and never loaded:
  greenroom engines list --engines-dir engines --acestep-models-dir models
  greenroom engines list --verify          read every byte, which takes a while
  greenroom engines list --json            one JSON object, for scripts
  greenroom engines list --compute-capability 8.9     for another machine's GPU")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Read every byte of each file, not only its length
        #[arg(long)]
        verify: bool,
    },
    /// Say what would serve so much music: the smallest engine that covers it and finds room, else the eager module
    #[command(after_help = "\
  greenroom engines choose --component vae-encode --seconds 95
  greenroom engines choose --component decoder --seconds 60 --batch 4 --tokens 200")]
    Choose {
        /// Which part of the generator
        #[arg(long, value_parser = component_parser())]
        component: Component,
        /// How much music
        #[arg(long)]
        seconds: f64,
        /// For the decoder: how many slots step at once
        #[arg(long, default_value_t = 1)]
        batch: u64,
        /// For the decoder: tokens of the longest condition
        #[arg(long, default_value_t = 200)]
        tokens: u64,
    },
    /// Build an engine: the network from the checkpoint as ONNX, then the engine by TensorRT for RTX
    #[command(after_help = "\
Needs TensorRT for RTX, Python 3 with the package onnx, and no GPU if one is named:
  python3 -m pip install onnx==1.23.2
  python3 -m pip install --no-deps --target rtx tensorrt-rtx-cu13-libs==1.7.1.116     then --tensorrt-dir rtx/tensorrt_rtx_libs
The engine and what is written beside it appear in the folder whole or not at all:
  greenroom engines build --component vae-encode --duration 120 --acestep-models-dir models
  greenroom engines build --component decoder --duration 60 --acestep-models-dir models --compute-capability 8.9
  greenroom engines build --component vae-decode --duration window --acestep-models-dir models
  greenroom engines build --component decoder --duration 60 --acestep-models-dir models --dry-run")]
    Build(build::Arguments),
}

fn component_parser() -> impl TypedValueParser<Value = Component> {
    PossibleValuesParser::new(Component::ALL.map(Component::option)).try_map(|word| {
        let named = Component::ALL.into_iter().find(|component| component.option() == word);
        named.ok_or("no such component")
    })
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = Settings {
        device: arguments.device,
        acestep_models_dir: arguments.acestep_models_dir.clone(),
        tensorrt_dir: arguments.tensorrt_dir.clone(),
        ..Settings::default()
    };
    let config = settings.resolve()?;
    let device = Device::choose(&config)?;
    if let Action::Build(asked) = &arguments.action {
        let here = device.compute_capability();
        return build::run(asked, &config, arguments.folder(&config), &arguments.gpus, here);
    }
    let look = match arguments.action {
        Action::List { verify: true, .. } => Look::Contents,
        _ => Look::Length,
    };
    let known = Known::look(arguments, &config, &device, look)?;
    match &arguments.action {
        Action::List { json: true, .. } => println!("{}", known.json()),
        Action::List { .. } => print!("{}", known.table()),
        Action::Choose {
            component,
            seconds,
            batch,
            tokens,
        } => {
            let width = config
                .acestep_models_dir
                .as_deref()
                .map(transformer_width)
                .transpose()?;
            let width = width.map_or(PUBLIC_WIDTH, |width| width as u64);
            let shapes = shapes(*component, *seconds, *batch, *tokens, width)?;
            let budget_bytes = config.memory_budget_bytes.unwrap_or_else(|| device.budget_bytes());
            println!("{}", known.choose(*component, &shapes, budget_bytes)?);
        }
        Action::Build(_) => unreachable!("it was done above"),
    }
    Ok(0)
}

impl Arguments {
    /// Where engines are.
    fn folder(&self, config: &Config) -> PathBuf {
        let folder = self.engines_dir.clone();
        folder.unwrap_or_else(|| config.models_dir.join("engines"))
    }

    /// The GPU that engines are held against.
    fn gpu(&self, device: &Device) -> anyhow::Result<Option<ComputeCapability>> {
        match self.gpus.as_slice() {
            [] => Ok(device.compute_capability()),
            [named] => Ok(Some(*named)),
            _ => bail!("engines are held against one GPU: name --compute-capability once"),
        }
    }
}

/// The file that a component's weights are in.
fn weights(models: &Path, component: Component) -> PathBuf {
    WeightFiles::of(models).of_component(component).into()
}

/// The libraries that this program can use here.
fn libraries(config: &Config) -> Vec<Library> {
    let library = Tensorrt::open(config.tensorrt_dir.as_deref()).ok();
    let library = library.map(|library| Library {
        name: LibraryName::TensorrtRtx,
        version: library.version().to_owned(),
    });
    library.into_iter().collect()
}

/// What a component is asked for so much music; `width` is that of a condition's states.
fn shapes(component: Component, seconds: f64, batch: u64, tokens: u64, width: u64) -> anyhow::Result<Shapes> {
    ensure!(
        seconds.is_finite() && seconds > 0.0 && seconds <= 1e6,
        "{seconds} seconds of music: it must be more than 0 and at most 1000000"
    );
    let frames = (seconds * FRAME_RATE).ceil() as u64;
    Ok(match component {
        Component::Decoder => Shapes::decoder_of_width(batch, frames, tokens, width),
        Component::VaeEncode => Shapes::vae_encode((seconds * SAMPLE_RATE).ceil() as u64),
        Component::VaeDecode => Shapes::vae_decode(frames),
    })
}

/// The engines of a folder, and the pod that they were held against.
struct Known {
    folder: PathBuf,
    pod: Pod,
    registry: Registry,
}

impl Known {
    fn look(arguments: &Arguments, config: &Config, device: &Device, look: Look) -> anyhow::Result<Self> {
        let named = arguments.engines_dir.is_some();
        let folder = arguments.folder(config);
        let pod = Pod {
            compute_capability: arguments.gpu(device)?,
            libraries: libraries(config),
            checkpoints: BTreeMap::new(),
        };
        let mut known = Self {
            folder,
            pod,
            registry: Registry::new(),
        };
        // The folder that nobody named need not be there: then there are no engines.
        if named || known.folder.exists() {
            known.scan(config.acestep_models_dir.as_deref(), look)?;
        }
        Ok(known)
    }

    /// Looks at the folder, and reads gigabytes of weights only for an engine that fits in everything else.
    fn scan(&mut self, models: Option<&Path>, look: Look) -> anyhow::Result<()> {
        match models {
            Some(models) => {
                let weights = |component| weights(models, component);
                self.registry.scan_beside(&self.folder, &mut self.pod, look, weights)?;
            }
            None => self.registry.scan(&self.folder, &self.pod, look)?,
        }
        Ok(())
    }

    fn table(&self) -> String {
        let found = self.registry.found();
        let folder = self.folder.display();
        if found.is_empty() {
            return format!("there are no engines in {folder}\n");
        }
        let rows = found.iter().map(|one| {
            let metadata = one.metadata.as_ref();
            let bytes = metadata.map(|metadata| metadata.weights_bytes.saturating_add(metadata.workspace_bytes));
            [
                one.name.clone(),
                metadata.map_or("?".into(), |metadata| metadata.component.name().into()),
                metadata.map_or("?".into(), |metadata| metadata.precision.name().into()),
                bytes.map_or("?".into(), |bytes| (bytes / 1_000_000).to_string()),
                one.misfit
                    .as_ref()
                    .map_or_else(|| "yes".into(), |misfit| format!("no: {misfit}")),
            ]
        });
        let head = ["ENGINE", "COMPONENT", "PRECISION", "DEVICE MB", "FITS"].map(str::to_owned);
        let table = columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        format!("engines in {folder}\n{table}")
    }

    fn json(&self) -> Value {
        let engine = |found: &Found| {
            let words = found.misfit.as_ref().map(ToString::to_string);
            json!({
                "name": found.name,
                "metadata": found.metadata,
                "fits": found.misfit.is_none(),
                "misfit": found.misfit,
                "reason": words,
            })
        };
        let checkpoints: BTreeMap<&str, &Digest> = self
            .pod
            .checkpoints
            .iter()
            .map(|(component, digest)| (component.name(), digest))
            .collect();
        json!({
            "folder": self.folder.display().to_string(),
            "pod": {
                "compute_capability": self.pod.compute_capability,
                "libraries": self.pod.libraries,
                "checkpoints": checkpoints,
            },
            "engines": self.registry.found().iter().map(engine).collect::<Vec<_>>(),
        })
    }

    /// In a line, what would serve on an empty device of that budget. This program always has the eager modules.
    fn choose(&self, component: Component, shapes: &Shapes, budget_bytes: u64) -> anyhow::Result<String> {
        let room = Room {
            budget_bytes,
            used_bytes: 0,
        };
        let built = self.registry.engines();
        Ok(
            match choose_engine(component, shapes, built, None, room, Eager::There) {
                Choice::Engine { engine, .. } => format!(
                    "{}: it takes {} ({} MB)",
                    engine.name,
                    engine.profile,
                    engine.device_bytes() / 1_000_000
                ),
                Choice::Eager => format!("the eager module: no engine that fits takes {shapes} and finds room"),
                Choice::NoRoom {
                    engine,
                    available_bytes,
                } => bail!(
                    "no engine that takes {shapes} finds room: {} asks for {} bytes of {available_bytes}",
                    engine.name,
                    engine.device_bytes()
                ),
                Choice::NotBuilt { command: Some(command) } => bail!("engine_not_built: {command} builds it"),
                Choice::NotBuilt { command: None } => {
                    bail!("engine_not_built: no profile that is built takes {shapes}")
                }
            },
        )
    }
}

/// Rows under each other, every column as wide as its widest word; the last is left ragged.
fn columns<const COUNT: usize>(rows: &[[String; COUNT]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COUNT).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (word, width) in row.iter().zip(&widths) {
            // Writing into a string cannot fail.
            let _ = write!(line, "{word:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
