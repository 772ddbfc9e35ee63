//! Checkpoints of weights that mean nothing, in the public layout: to run the whole pod without the real ones, and to time it.

use std::{collections::HashMap, fs, path::Path};

use clap::ValueEnum;
use greenroom_conditioning::write_tiny_tokenizer;
use greenroom_weights::{RandomTensors, uniform, write_random_checkpoint};
use serde_json::{Value, json};

use crate::{
    checkpoint::{ACESTEP, CHECKPOINTS, Configs, LATENT_CHANNELS, TEXT_ENCODER, VAE, VAE_WEIGHTS, WEIGHTS},
    error::{AcestepError, io_error},
    silence,
};

/// Frames of the public file: ten minutes.
const SILENCE_FRAMES_FULL: usize = 15_000;
/// A minute.
const SILENCE_FRAMES_TINY: usize = 1_500;

/// How large the networks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// The public shape with few and narrow layers: a CPU streams it live (about 2 MB)
    Tiny,
    /// The public shape: 2.4 billion parameters, 0.6 of the text encoder, 0.2 of the autoencoder (6.3 GB)
    Full,
}

impl Size {
    fn silence_frames(self) -> usize {
        match self {
            Self::Tiny => SILENCE_FRAMES_TINY,
            Self::Full => SILENCE_FRAMES_FULL,
        }
    }

    fn acestep(self) -> Value {
        let mut config = json!({
            "architectures": ["AceStepConditionGenerationModel"],
            "auto_map": {"AutoModel": "modeling_acestep_v15_turbo.AceStepConditionGenerationModel"},
            "model_type": "acestep",
            "is_turbo": true,
            "dtype": "bfloat16",
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000,
            "max_position_embeddings": 32768,
            "attention_bias": false,
            "use_sliding_window": true,
            "sliding_window": 128,
            "in_channels": 192,
            "audio_acoustic_hidden_dim": LATENT_CHANNELS,
            "patch_size": 2,
            "text_hidden_dim": 1024,
            "timbre_hidden_dim": LATENT_CHANNELS,
            "timbre_fix_frame": 750,
            "num_lyric_encoder_hidden_layers": 8,
            "num_timbre_encoder_hidden_layers": 4,
            "num_attention_pooler_hidden_layers": 2,
            "pool_window_size": 5,
            "fsq_dim": 2048,
            "fsq_input_levels": [8, 8, 8, 5, 5, 5],
            "fsq_input_num_quantizers": 1,
            "vocab_size": 64003,
        });
        if self == Self::Tiny {
            for (key, value) in [
                ("hidden_size", 64),
                ("intermediate_size", 128),
                ("num_hidden_layers", 4),
                ("num_attention_heads", 4),
                ("num_key_value_heads", 2),
                ("head_dim", 16),
                ("text_hidden_dim", 32),
                ("num_lyric_encoder_hidden_layers", 2),
                ("num_timbre_encoder_hidden_layers", 2),
                ("num_attention_pooler_hidden_layers", 1),
                ("fsq_dim", 64),
            ] {
                config[key] = value.into();
            }
        }
        config
    }

    fn text_encoder(self) -> Value {
        let mut config = json!({
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": 151_669,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": true,
            "torch_dtype": "bfloat16",
        });
        if self == Self::Tiny {
            for (key, value) in [
                ("vocab_size", 512),
                ("hidden_size", 32),
                ("intermediate_size", 64),
                ("num_hidden_layers", 2),
                ("num_attention_heads", 2),
                ("num_key_value_heads", 1),
                ("head_dim", 16),
            ] {
                config[key] = value.into();
            }
        }
        config
    }

    fn vae(self) -> Value {
        let width = match self {
            Self::Tiny => 8,
            Self::Full => 128,
        };
        json!({
            "_class_name": "AutoencoderOobleck",
            "encoder_hidden_size": width,
            "downsampling_ratios": [2, 4, 4, 6, 10],
            "channel_multiples": [1, 2, 4, 8, 16],
            "decoder_channels": width,
            "decoder_input_channels": LATENT_CHANNELS,
            "audio_channels": 2,
            "sampling_rate": 48_000,
        })
    }

    /// Shapes of the networks.
    ///
    /// # Errors
    /// `Config` if they are not consistent: a bug of this file.
    pub fn configs(self) -> Result<Configs, AcestepError> {
        fn parse<C: serde::de::DeserializeOwned>(value: &Value) -> Result<C, AcestepError> {
            C::deserialize(value).map_err(|error| AcestepError::Config {
                path: "config.json".into(),
                reason: error.to_string(),
            })
        }
        Ok(Configs {
            dit: parse(&self.acestep())?,
            conditioner: parse(&self.acestep())?,
            text_encoder: parse(&self.text_encoder())?,
            vae: parse(&self.vae())?,
        })
    }

    /// A latent of silence of that size.
    pub(crate) fn silence(self, random: RandomTensors) -> Vec<f32> {
        uniform("silence_latent", random.seed, self.silence_frames() * LATENT_CHANNELS)
    }
}

/// Writes a whole checkpoint folder; `say` is told each file before it is written.
///
/// # Errors
/// `Io`, such as for a full disk; files that are whole stay, no half file is left.
pub fn write_random(folder: &Path, size: Size, seed: u64, mut say: impl FnMut(&Path)) -> Result<(), AcestepError> {
    let random = RandomTensors { seed };
    let configs = size.configs()?;
    let checkpoints = folder.join(CHECKPOINTS);
    for (model, config, weights, keys) in [
        (ACESTEP, size.acestep(), WEIGHTS, configs.acestep_keys()),
        (TEXT_ENCODER, size.text_encoder(), WEIGHTS, configs.text_encoder_keys()),
        (VAE, size.vae(), VAE_WEIGHTS, configs.vae_keys()),
    ] {
        let model = checkpoints.join(model);
        fs::create_dir_all(&model).map_err(|error| io_error(&model, error))?;
        let path = model.join("config.json");
        fs::write(&path, format!("{config:#}\n")).map_err(|error| io_error(&path, error))?;
        let path = model.join(weights);
        say(&path);
        write_random_checkpoint(&path, &keys, random)?;
    }
    let path = checkpoints.join(ACESTEP).join("silence_latent.pt");
    say(&path);
    silence::write(&path, &size.silence(random))?;
    let path = checkpoints.join(TEXT_ENCODER).join("tokenizer.json");
    say(&path);
    write_tiny_tokenizer(&path, configs.text_encoder.vocab_size)
        .map_err(|error| AcestepError::Tokenizer(error.to_string()))
}

/// Rank of a random LoRA.
const LORA_RANK: usize = 8;

/// Writes a LoRA of random matrices for networks of that size, which are clearly heard at strength 1; at most 100 MB.
///
/// # Errors
/// `Lora`, such as for a full disk.
pub fn write_random_lora(path: &Path, size: Size, seed: u64) -> Result<(), AcestepError> {
    let metadata = HashMap::from([
        ("name".to_owned(), format!("Random weights, seed {seed}")),
        ("recommended_strength".to_owned(), "0.8".to_owned()),
        ("trigger_words".to_owned(), format!("[\"random {seed}\"]")),
    ]);
    let config = size.configs()?.dit;
    greenroom_dit::write_random_lora(path, &config, LORA_RANK, seed, metadata)
        .map_err(|error| AcestepError::Lora(Box::new(error)))
}
