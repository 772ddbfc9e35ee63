//! A checkpoint folder in the public layout, read strictly.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greenroom_compiled::Component;
use greenroom_conditioning::{ConditionerConfig, Qwen3Config, conditioner_keys, text_encoder_keys};
use greenroom_dit::DitConfig;
use greenroom_oobleck::OobleckConfig;
use greenroom_weights::{CheckpointFile, Key, RandomTensors, Tensors};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::{
    error::{AcestepError, io_error},
    silence,
};

/// Channels of a latent.
pub(crate) const LATENT_CHANNELS: usize = 64;
/// Samples a channel that one latent frame stands for.
pub(crate) const FRAME_SAMPLES: usize = 1920;

/// Folders of the three models.
pub(crate) const ACESTEP: &str = "acestep-v15-turbo";
pub(crate) const VAE: &str = "vae";
pub(crate) const TEXT_ENCODER: &str = "Qwen3-Embedding-0.6B";
/// Their weights.
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const VAE_WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// Where they lie, in a folder of models that has others too.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Shapes of all networks.
#[derive(Clone, Debug)]
pub struct Configs {
    /// Diffusion transformer.
    pub dit: DitConfig,
    /// Condition encoder, semantic tokenizer and detokenizer.
    pub conditioner: ConditionerConfig,
    /// Text encoder.
    pub text_encoder: Qwen3Config,
    /// Autoencoder.
    pub vae: OobleckConfig,
}

impl Configs {
    /// Whether the networks fit each other, and what is built here.
    fn check(&self) -> Result<(), String> {
        self.dit.check().map_err(|error| error.to_string())?;
        self.conditioner.check().map_err(|error| error.to_string())?;
        self.text_encoder.check().map_err(|error| error.to_string())?;
        self.vae.check().map_err(|error| error.to_string())?;
        let channels = [
            self.dit.audio_acoustic_hidden_dim,
            self.conditioner.audio_acoustic_hidden_dim,
            self.conditioner.timbre_hidden_dim,
            self.vae.latent_channels(),
        ];
        if channels.iter().any(|channels| *channels != LATENT_CHANNELS) {
            return Err(format!(
                "latents of {channels:?} channels; all networks have to have {LATENT_CHANNELS}"
            ));
        }
        if self.vae.frame_samples() != FRAME_SAMPLES {
            return Err(format!(
                "a latent frame of {} samples; it has to be {FRAME_SAMPLES}",
                self.vae.frame_samples()
            ));
        }
        if self.text_encoder.hidden_size != self.conditioner.text_hidden_dim {
            return Err(format!(
                "the text encoder's states are {} wide, and {} is expected",
                self.text_encoder.hidden_size, self.conditioner.text_hidden_dim
            ));
        }
        if self.conditioner.hidden_size != self.dit.hidden_size {
            return Err("condition encoder and transformer are not equally wide".into());
        }
        Ok(())
    }

    /// Every tensor of `acestep-v15-turbo/model.safetensors`.
    pub(crate) fn acestep_keys(&self) -> Vec<Key> {
        let mut keys = greenroom_dit::keys(&self.dit);
        keys.extend(conditioner_keys(&self.conditioner));
        keys
    }

    /// Every tensor of `Qwen3-Embedding-0.6B/model.safetensors`.
    pub(crate) fn text_encoder_keys(&self) -> Vec<Key> {
        text_encoder_keys(&self.text_encoder)
    }

    /// Every tensor of `vae/diffusion_pytorch_model.safetensors`.
    pub(crate) fn vae_keys(&self) -> Vec<Key> {
        greenroom_oobleck::keys(&self.vae)
    }
}

/// Where the values of a checkpoint come from.
pub(crate) struct Values {
    pub(crate) acestep: Box<dyn Tensors>,
    pub(crate) text_encoder: Box<dyn Tensors>,
    pub(crate) vae: Box<dyn Tensors>,
}

impl Values {
    /// All from the formula.
    pub(crate) fn random(random: RandomTensors) -> Self {
        Self {
            acestep: Box::new(random),
            text_encoder: Box::new(random),
            vae: Box::new(random),
        }
    }
}

/// A checkpoint that was looked at: its files are there, and are those of the networks that their configurations say.
pub(crate) struct Checkpoint {
    pub(crate) configs: Configs,
    pub(crate) values: Values,
    pub(crate) silence: Vec<f32>,
    pub(crate) tokenizer: PathBuf,
    /// Tells it from every other, in hexadecimal.
    pub(crate) stamp: String,
}

impl Checkpoint {
    /// Looks at every file of the folder; reads no weights.
    pub(crate) fn open(folder: &Path) -> Result<Self, AcestepError> {
        let folder = models_folder(folder);
        let (acestep, vae, text_encoder) = (folder.join(ACESTEP), folder.join(VAE), folder.join(TEXT_ENCODER));
        let main: PathBuf = acestep.join("config.json");
        let configs = Configs {
            dit: config(&main)?,
            conditioner: config(&main)?,
            text_encoder: config(&text_encoder.join("config.json"))?,
            vae: config(&vae.join("config.json"))?,
        };
        configs
            .check()
            .map_err(|reason| AcestepError::Config { path: main, reason })?;
        let tokenizer = present(text_encoder.join("tokenizer.json"))?;
        let files = [
            (acestep.join(WEIGHTS), configs.acestep_keys()),
            (text_encoder.join(WEIGHTS), configs.text_encoder_keys()),
            (vae.join(VAE_WEIGHTS), configs.vae_keys()),
        ];
        let mut digest = Sha256::new();
        let mut opened = Vec::new();
        for (path, keys) in files {
            let file = CheckpointFile::open(&present(path)?, &keys)?;
            digest.update(file.stamp()?);
            opened.push(file);
        }
        let silence = silence::read(&present(acestep.join("silence_latent.pt"))?)?;
        let [acestep, text_encoder, vae] = <[_; 3]>::try_from(opened).unwrap_or_else(|_| unreachable!("three files"));
        Ok(Self {
            configs,
            values: Values {
                acestep: Box::new(acestep),
                text_encoder: Box::new(text_encoder),
                vae: Box::new(vae),
            },
            silence,
            tokenizer,
            stamp: hexadecimal(&digest.finalize()),
        })
    }
}

/// Where the weights of a folder of models are, of the networks that can be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFiles {
    /// Of the diffusion transformer, and of the condition encoder in the same file.
    pub transformer: PathBuf,
    /// Of the autoencoder.
    pub autoencoder: PathBuf,
}

impl WeightFiles {
    /// In this folder of models; whether they are there is not looked at.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let folder = models_folder(folder);
        Self {
            transformer: folder.join(ACESTEP).join(WEIGHTS),
            autoencoder: folder.join(VAE).join(VAE_WEIGHTS),
        }
    }

    /// The file that a component's weights are in.
    #[must_use]
    pub fn of_component(&self, component: Component) -> &Path {
        match component {
            Component::Decoder => &self.transformer,
            Component::VaeEncode | Component::VaeDecode => &self.autoencoder,
        }
    }
}

/// How wide the diffusion transformer of a folder of models is: so are the states of its conditions.
///
/// # Errors
/// `Missing`, `Config`, `Io`.
pub fn transformer_width(folder: &Path) -> Result<usize, AcestepError> {
    let dit: DitConfig = config(&models_folder(folder).join(ACESTEP).join("config.json"))?;
    Ok(dit.hidden_size)
}

/// The folder that the three models lie in: this one, or the one in it.
fn models_folder(folder: &Path) -> PathBuf {
    let inner = folder.join(CHECKPOINTS);
    if inner.is_dir() { inner } else { folder.into() }
}

fn present(path: PathBuf) -> Result<PathBuf, AcestepError> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(AcestepError::Missing { path })
    }
}

fn config<C: DeserializeOwned>(path: &Path) -> Result<C, AcestepError> {
    let path = present(path.into())?;
    let text = fs::read(&path).map_err(|error| io_error(&path, error))?;
    serde_json::from_slice(&text).map_err(|error| AcestepError::Config {
        path,
        reason: error.to_string(),
    })
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
