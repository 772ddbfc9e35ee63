//! Configuration: a flag goes over an environment variable, which goes over the TOML file, which goes over the default.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use greenroom_director::{Limits, Policy, Uploads};
use greenroom_wire::constants;
use serde::Deserialize;

const GIGABYTE: f64 = 1e9;

/// What makes the music.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorChoice {
    /// Seeded spectral resynthesis of the source; needs no checkpoint.
    Spectral,
    /// ACE-Step 1.5: a diffusion model, from the checkpoints in --acestep-models-dir.
    Acestep,
    /// Spectral's sound through real modules in every weight group, parked and restored like a model's: to watch the stage.
    Weighted,
}

/// When eager weights make room for the separator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyChoice {
    /// Always: the separator and eager weights are never on the device together.
    #[value(aliases = ["1", "true", "on"])]
    #[serde(alias = "on")]
    Always,
    /// Only when claimable memory is under the reserve.
    Auto,
    /// Never.
    #[value(aliases = ["0", "false", "off"])]
    #[serde(alias = "off")]
    Never,
}

/// What becomes of uploads when their session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadsChoice {
    /// Another session's start, or 30 s without the client, removes them.
    Wipe,
    /// They stay for whoever comes, also over a restart.
    Keep,
}

/// Where weights are and networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The GPU where there is one and the engines can use it, else the CPU.
    #[default]
    Auto,
    /// The CPU and system RAM.
    Cpu,
    /// The first NVIDIA GPU; an error where there is none.
    Cuda,
}

/// Which stage moves weights, whatever the device.
#[cfg(feature = "simulated-stage")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageChoice {
    /// The device's own.
    #[default]
    Cpu,
    /// A device whose moves take their time, and now and then fail.
    Simulated,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Every setting, from whichever source; what is absent there is `None`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Address to listen on
    #[arg(long, env = "GREENROOM_HOST", value_name = "ADDRESS", help_heading = "Network")]
    pub host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one and prints it
    #[arg(long, short, env = "GREENROOM_PORT", help_heading = "Network")]
    pub port: Option<u16>,
    /// Key that every client must give (?apiKey=, X-Api-Key or Bearer)
    #[arg(long, env = "GREENROOM_API_KEY", hide_env_values = true, help_heading = "Network")]
    pub api_key: Option<String>,
    /// Origins beside its own from which pages may connect (repeat, or separate by commas)
    #[arg(
        long,
        env = "GREENROOM_ALLOWED_ORIGINS",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub allowed_origins: Option<Vec<String>>,

    /// Where tracks are kept
    #[arg(long, env = "GREENROOM_DATA_DIR", value_name = "DIR", help_heading = "Files")]
    pub data_dir: Option<PathBuf>,
    /// Where fetched model weights are kept
    #[arg(long, env = "GREENROOM_MODELS_DIR", value_name = "DIR", help_heading = "Files")]
    pub models_dir: Option<PathBuf>,
    /// The built page
    #[arg(long, env = "GREENROOM_WEB_DIR", value_name = "DIR", help_heading = "Files")]
    pub web_dir: Option<PathBuf>,
    /// Mel-Band RoFormer checkpoint of production pods
    #[arg(
        long,
        env = "MELBAND_ROFORMER_MODEL_PATH",
        value_name = "FILE",
        help_heading = "Files"
    )]
    pub melband_checkpoint: Option<PathBuf>,
    /// Directory of ACE-Step 1.5's checkpoints, for --generator acestep (`greenroom checkpoint random` writes one to try)
    #[arg(long, env = "ACESTEP_MODELS_DIR", value_name = "DIR", help_heading = "Files")]
    pub acestep_models_dir: Option<PathBuf>,
    /// Directory of LoRAs for --generator acestep: files that end in .safetensors, and folders as PEFT writes them
    #[arg(long, env = "GREENROOM_LORA_DIR", value_name = "DIR", help_heading = "Files")]
    pub lora_dir: Option<PathBuf>,
    /// Folder of compiled engines for --generator acestep [default: the folder "engines" where fetched models are kept]
    #[arg(long, env = "GREENROOM_ENGINES_DIR", value_name = "DIR", help_heading = "Files")]
    pub engines_dir: Option<PathBuf>,
    /// Folder of TensorRT for RTX's libraries, for compiled engines [default: where the system looks for libraries]
    #[arg(long, env = "GREENROOM_TENSORRT_DIR", value_name = "DIR", help_heading = "Files")]
    pub tensorrt_dir: Option<PathBuf>,

    /// What makes the music
    #[arg(
        long,
        env = "GREENROOM_GENERATOR",
        value_enum,
        help_heading = "Engines and placement"
    )]
    pub generator: Option<GeneratorChoice>,
    /// Where weights are and networks run
    #[arg(long, env = "GREENROOM_DEVICE", value_enum, help_heading = "Engines and placement")]
    pub device: Option<DeviceChoice>,
    /// Which stage moves weights
    #[cfg(feature = "simulated-stage")]
    #[arg(long, value_enum, hide = true, help_heading = "Engines and placement")]
    pub stage: Option<StageChoice>,
    /// When eager weights make room for the separator
    #[arg(
        long,
        env = "DEMON_MELBAND_VRAM_PARK",
        value_enum,
        help_heading = "Engines and placement"
    )]
    pub park_policy: Option<PolicyChoice>,
    /// With policy auto: gigabytes that must stay claimable
    #[arg(
        long,
        env = "DEMON_MELBAND_VRAM_RESERVE_GB",
        value_name = "GB",
        help_heading = "Engines and placement"
    )]
    pub park_reserve_gb: Option<f64>,
    /// Keep Spleeter's weights in RAM between rips (Mel-Band RoFormer's are a mapped file in any case)
    #[arg(
        long,
        env = "DEMON_MELBAND_RAM_CACHE",
        value_name = "BOOL",
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Engines and placement"
    )]
    pub separator_ram_cache: Option<bool>,
    /// Gigabytes of device memory that weights and workspaces may fill
    #[arg(
        long,
        env = "GREENROOM_MEMORY_BUDGET_GB",
        value_name = "GB",
        help_heading = "Engines and placement"
    )]
    pub memory_budget_gb: Option<f64>,
    /// Seconds without input after which generation rests
    #[arg(
        long,
        env = "DEMON_IDLE_PAUSE_S",
        value_name = "SECONDS",
        help_heading = "Engines and placement"
    )]
    pub idle_pause_s: Option<f64>,
    /// Warm the engines up before the pod says that it is ready
    #[arg(
        long,
        env = "DEMON_STARTUP_WARMUP",
        value_name = "BOOL",
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Engines and placement"
    )]
    pub startup_warmup: Option<bool>,

    /// What becomes of uploads when their session is over
    #[arg(long, env = "GREENROOM_UPLOADS", value_enum, help_heading = "Limits")]
    pub uploads: Option<UploadsChoice>,
    /// Longest source in seconds; longer audio is trimmed
    #[arg(
        long,
        env = "GREENROOM_SOURCE_SECONDS_MAX",
        value_name = "SECONDS",
        help_heading = "Limits"
    )]
    pub source_seconds_max: Option<u32>,
    /// Largest body of an upload in megabytes
    #[arg(long, env = "GREENROOM_BODY_MB_MAX", value_name = "MB", help_heading = "Limits")]
    pub body_mb_max: Option<u64>,
    /// Most uploaded tracks
    #[arg(long, env = "GREENROOM_TRACKS_MAX", value_name = "COUNT", help_heading = "Limits")]
    pub tracks_max: Option<usize>,
    /// Gigabytes that the data directory may fill
    #[arg(long, env = "GREENROOM_DATA_GB_MAX", value_name = "GB", help_heading = "Limits")]
    pub data_gb_max: Option<f64>,
    /// Most uploads at once
    #[arg(
        long,
        env = "GREENROOM_UPLOADS_AT_ONCE_MAX",
        value_name = "COUNT",
        help_heading = "Limits"
    )]
    pub uploads_at_once_max: Option<usize>,

    /// How the log is written
    #[arg(long, env = "GREENROOM_LOG_FORMAT", value_enum, help_heading = "Log")]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as info or greenroom=debug
    #[arg(long, env = "GREENROOM_LOG", value_name = "FILTER", help_heading = "Log")]
    pub log: Option<String>,
}

/// Everything decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Key that every client must give.
    pub api_key: Option<String>,
    /// Origins beside its own.
    pub allowed_origins: Vec<String>,
    /// Where tracks are kept.
    pub data_dir: PathBuf,
    /// Where model weights are kept.
    pub models_dir: PathBuf,
    /// The built page.
    pub web_dir: PathBuf,
    /// Mel-Band RoFormer checkpoint.
    pub melband_checkpoint: Option<PathBuf>,
    /// ACE-Step checkpoints.
    pub acestep_models_dir: Option<PathBuf>,
    /// LoRAs.
    pub lora_dir: Option<PathBuf>,
    /// Compiled engines; none = a folder of the models directory, if it is there.
    pub engines_dir: Option<PathBuf>,
    /// TensorRT's libraries.
    pub tensorrt_dir: Option<PathBuf>,
    /// What makes the music.
    pub generator: GeneratorChoice,
    /// Where weights are and networks run.
    pub device: DeviceChoice,
    /// Which stage moves weights.
    #[cfg(feature = "simulated-stage")]
    pub stage: StageChoice,
    /// When eager weights make room.
    pub policy: Policy,
    /// Keep the separator's weights in RAM.
    pub separator_ram_cache: bool,
    /// Bytes that weights and workspaces may fill; none = a share of what the machine has.
    pub memory_budget_bytes: Option<u64>,
    /// Time without input after which generation rests.
    pub idle_pause: Duration,
    /// Warm up before ready.
    pub startup_warmup: bool,
    /// What becomes of uploads.
    pub uploads: Uploads,
    /// Longest source in seconds.
    pub source_seconds_max: u32,
    /// Largest body of an upload in bytes.
    pub body_bytes_max: u64,
    /// Most tracks, uploads at once, handshakes.
    pub limits: Limits,
    /// Bytes that the data directory may fill.
    pub data_bytes_max: u64,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: String,
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that means nothing; the message names both.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("the configuration {} is not valid", path.display()))
    }

    /// These settings, and those of `under` where these have none.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        macro_rules! over {
            ($($(#[$condition:meta])? $field:ident),+ $(,)?) => {
                Self { $($(#[$condition])? $field: self.$field.or(under.$field)),+ }
            };
        }
        over!(
            host,
            port,
            api_key,
            allowed_origins,
            data_dir,
            models_dir,
            web_dir,
            melband_checkpoint,
            acestep_models_dir,
            lora_dir,
            engines_dir,
            tensorrt_dir,
            generator,
            device,
            #[cfg(feature = "simulated-stage")]
            stage,
            park_policy,
            park_reserve_gb,
            separator_ram_cache,
            memory_budget_gb,
            idle_pause_s,
            startup_warmup,
            uploads,
            source_seconds_max,
            body_mb_max,
            tracks_max,
            data_gb_max,
            uploads_at_once_max,
            log_format,
            log,
        )
    }

    /// Everything decided.
    ///
    /// # Errors
    /// If a value makes no sense; the message says which and what would.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let reserve_gb = positive("park-reserve-gb", self.park_reserve_gb.unwrap_or(6.0))?;
        let idle_pause_s = positive("idle-pause-s", self.idle_pause_s.unwrap_or(20.0))?;
        let data_gb_max = positive("data-gb-max", self.data_gb_max.unwrap_or(20.0))?;
        let budget_gb = self
            .memory_budget_gb
            .map(|gigabytes| positive("memory-budget-gb", gigabytes))
            .transpose()?;
        let source_seconds_max = self.source_seconds_max.unwrap_or(constants::SOURCE_SECONDS_MAX);
        ensure!(
            (1..=constants::DECODED_SECONDS_MAX).contains(&source_seconds_max),
            "source-seconds-max is {source_seconds_max}: it must be 1 to {}",
            constants::DECODED_SECONDS_MAX
        );
        let api_key = self.api_key.filter(|key| !key.is_empty());
        let default = Limits::default();
        Ok(Config {
            host: self.host.unwrap_or(IpAddr::from([127, 0, 0, 1])),
            port: self.port.unwrap_or(constants::PORT),
            api_key,
            allowed_origins: self.allowed_origins.unwrap_or_default(),
            data_dir: self
                .data_dir
                .unwrap_or_else(|| home(".local/share/greenroom", "XDG_DATA_HOME", "greenroom")),
            models_dir: self
                .models_dir
                .unwrap_or_else(|| home(".cache/greenroom/models", "XDG_CACHE_HOME", "greenroom/models")),
            web_dir: self.web_dir.unwrap_or_else(|| PathBuf::from("web/dist")),
            melband_checkpoint: self.melband_checkpoint,
            acestep_models_dir: self.acestep_models_dir,
            lora_dir: self.lora_dir,
            engines_dir: self.engines_dir,
            tensorrt_dir: self.tensorrt_dir,
            generator: self.generator.unwrap_or(GeneratorChoice::Spectral),
            device: self.device.unwrap_or_default(),
            #[cfg(feature = "simulated-stage")]
            stage: self.stage.unwrap_or_default(),
            policy: match self.park_policy.unwrap_or(PolicyChoice::Always) {
                PolicyChoice::Always => Policy::Always,
                PolicyChoice::Auto => Policy::Auto {
                    reserve_bytes: (reserve_gb * GIGABYTE) as u64,
                },
                PolicyChoice::Never => Policy::Never,
            },
            separator_ram_cache: self.separator_ram_cache.unwrap_or(true),
            memory_budget_bytes: budget_gb.map(|gigabytes| (gigabytes * GIGABYTE) as u64),
            idle_pause: Duration::from_secs_f64(idle_pause_s),
            startup_warmup: self.startup_warmup.unwrap_or(true),
            uploads: match self.uploads.unwrap_or(UploadsChoice::Wipe) {
                UploadsChoice::Wipe => Uploads::Wipe,
                UploadsChoice::Keep => Uploads::Keep,
            },
            source_seconds_max,
            body_bytes_max: self
                .body_mb_max
                .unwrap_or(256)
                .saturating_mul(1 << 20)
                .min(constants::FRAME_BYTES_MAX as u64),
            limits: Limits {
                tracks: self.tracks_max.unwrap_or(default.tracks).max(1),
                uploads: self.uploads_at_once_max.unwrap_or(default.uploads).max(1),
                ..default
            },
            data_bytes_max: (data_gb_max * GIGABYTE) as u64,
            log_format: self.log_format.unwrap_or(LogFormat::Text),
            log: self.log.unwrap_or_else(|| "info".into()),
        })
    }
}

fn positive(name: &str, value: f64) -> anyhow::Result<f64> {
    ensure!(
        value.is_finite() && value > 0.0,
        "{name} is {value}: it must be more than 0"
    );
    Ok(value)
}

/// A directory of the user's, where the desktop's convention puts it.
fn home(below_home: &str, variable: &str, below_variable: &str) -> PathBuf {
    if let Some(base) = std::env::var_os(variable).filter(|base| !base.is_empty()) {
        return PathBuf::from(base).join(below_variable);
    }
    std::env::var_os("HOME").map_or_else(
        || PathBuf::from(".greenroom").join(below_variable),
        |home| PathBuf::from(home).join(below_home),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_over_the_file_which_goes_over_the_default() {
        let file: Settings = toml::from_str("port = 2000\npark-policy = \"auto\"\npark-reserve-gb = 2.5").unwrap();
        let flags = Settings {
            port: Some(3000),
            ..Settings::default()
        };
        let config = flags.over(file).resolve().unwrap();
        assert_eq!(config.port, 3000);
        assert_eq!(
            config.policy,
            Policy::Auto {
                reserve_bytes: 2_500_000_000
            }
        );
        assert_eq!(config.limits.tracks, 64);
    }

    #[test]
    fn a_file_with_a_word_that_means_nothing_is_refused() {
        let error = toml::from_str::<Settings>("prot = 2000").unwrap_err();
        assert!(error.to_string().contains("prot"), "{error}");
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        for (settings, word) in [
            (
                Settings {
                    park_reserve_gb: Some(-1.0),
                    ..Settings::default()
                },
                "park-reserve-gb",
            ),
            (
                Settings {
                    source_seconds_max: Some(0),
                    ..Settings::default()
                },
                "source-seconds-max",
            ),
            (
                Settings {
                    idle_pause_s: Some(f64::NAN),
                    ..Settings::default()
                },
                "idle-pause-s",
            ),
        ] {
            assert!(settings.resolve().unwrap_err().to_string().contains(word));
        }
    }
}
