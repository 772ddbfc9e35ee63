//! `greenroom separate`: a file's vocals and instruments as two WAVs.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use greenroom_audio::{Pcm, WavFormat};
use greenroom_director::Group;
use greenroom_separator::{BatchOutcome, Separator, Stems};
use greenroom_sync::CancelFlag;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::analyze;
use crate::{
    config::{DeviceChoice, Settings},
    device::Device,
    house::{self, OpenSeparator},
};

/// What to separate.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// File: mp3, flac, ogg, m4a or wav
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory for <name>.vocals.wav and <name>.instruments.wav
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Where model weights are kept
    #[arg(long, env = "GREENROOM_MODELS_DIR", value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Mel-Band RoFormer checkpoint, to separate with it instead of Spleeter
    #[arg(long, env = "MELBAND_ROFORMER_MODEL_PATH", value_name = "FILE")]
    melband_checkpoint: Option<PathBuf>,
    /// Where weights are and networks run
    #[arg(long, env = "GREENROOM_DEVICE", value_enum)]
    device: Option<DeviceChoice>,
    /// Write 16-bit instead of 32-bit float samples
    #[arg(long)]
    pcm16: bool,
    /// End with one line of JSON: seconds of work per second of audio, and the files
    #[arg(long)]
    json: bool,
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = Settings {
        models_dir: arguments.models_dir.clone(),
        melband_checkpoint: arguments.melband_checkpoint.clone(),
        device: arguments.device,
        // Nothing is separated twice.
        separator_ram_cache: Some(false),
        ..Settings::default()
    };
    let config = settings.resolve()?;
    let track = Arc::new(analyze::read(&arguments.file)?);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .context("no threads to work with")?;
    let device = Device::choose(&config)?;
    let OpenSeparator { separator, tenant } = OpenSeparator::open(&config, &device, Arc::new(pool))?;
    let stage = house::stage(&config, &device, device.budget_bytes())?;
    stage.register(tenant)?;
    stage.restore(Group::Separator.name())?;
    let started = Instant::now();
    let stems = separate(&*separator, Arc::clone(&track))?;
    let took = started.elapsed().as_secs_f64();
    fs::create_dir_all(&arguments.output).with_context(|| format!("{} cannot be made", arguments.output.display()))?;
    let format = if arguments.pcm16 {
        WavFormat::Pcm16 { dither: true }
    } else {
        WavFormat::Float32
    };
    let name = arguments
        .file
        .file_stem()
        .map_or_else(|| "track".into(), |stem| stem.to_string_lossy().into_owned());
    let mut files = Vec::new();
    for (stem, pcm) in [("vocals", &stems.vocals), ("instruments", &stems.instruments)] {
        let file = arguments.output.join(format!("{name}.{stem}.wav"));
        write(&file, pcm, format)?;
        files.push(file.display().to_string());
    }
    if arguments.json {
        let rtf = took / track.seconds();
        println!(
            "{}",
            json!({ "separation_rtf": rtf, "seconds": took, "duration_s": track.seconds(), "files": files })
        );
    } else {
        println!("{}\n{}", files[0], files[1]);
    }
    Ok(0)
}

fn separate(separator: &dyn Separator, track: Arc<Pcm>) -> anyhow::Result<Stems> {
    let mut rip = separator.begin(track)?;
    let (_, total) = rip.progress();
    let bar = ProgressBar::new(u64::from(total));
    if let Ok(style) = ProgressStyle::with_template("separating {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let never = CancelFlag::new();
    while rip.progress().0 < total {
        let outcome = rip.run_batch(&never)?;
        anyhow::ensure!(
            outcome == BatchOutcome::Done,
            "a batch was abandoned though nobody asked"
        );
        bar.set_position(u64::from(rip.progress().0));
    }
    bar.finish_and_clear();
    Ok(rip.finish()?)
}

fn write(path: &Path, pcm: &Pcm, format: WavFormat) -> anyhow::Result<()> {
    let what = || format!("{} cannot be written", path.display());
    let mut writer = BufWriter::new(File::create(path).with_context(what)?);
    greenroom_audio::write_wav(pcm, format, &mut writer).with_context(what)?;
    writer.flush().with_context(what)
}
