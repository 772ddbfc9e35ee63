//! Bodies of the HTTP routes (wire §7).

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::server_message::StemState;

/// `GET /api/server-info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct ServerInfo {
    /// Whether there is no generator.
    pub no_backend: bool,
    /// Whether the page hides what a visitor must not touch.
    pub kiosk: bool,
    /// The mode that the page starts in.
    pub default_mode: Option<String>,
    /// `{"state": "loading"}` while boot or weights on their way in keep `/readyz` from saying yes; null once they do not.
    #[ts(type = "Record<string, unknown> | null")]
    pub warmup: Option<serde_json::Value>,
    /// Names of the server's own tracks.
    pub server_side_fixtures: Vec<String>,
}

/// `GET /api/loras`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Loras {
    /// Where they are read from.
    pub dir: Option<String>,
    /// Where else.
    pub extra_dirs: Vec<String>,
    /// What they are for.
    pub checkpoint: String,
    /// Its size.
    pub checkpoint_scale: Option<String>,
    /// All of them.
    pub loras: Vec<LoraEntry>,
}

/// One LoRA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct LoraEntry {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// `registered`, `loading`, `enabled`, `failed`.
    pub state: String,
    /// How strong, 0..2; of one that is not enabled, how strong it would be.
    pub strength: f64,
    /// Bytes on the device.
    pub materialized_bytes: u64,
    /// Why it cannot be used, where its state is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub error: Option<String>,
    /// What its file says of it.
    pub metadata: LoraMetadata,
}

/// What a LoRA's file says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
pub struct LoraMetadata {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// For a person.
    pub description: String,
    /// The word that calls it up.
    pub primary_trigger_word: String,
    /// All such words.
    pub trigger_words: Vec<String>,
    /// How strong it is meant to be.
    pub recommended_strength: Option<f64>,
    /// Steps it is meant for.
    pub recommended_steps: Option<u32>,
    /// Shift it is meant for.
    pub recommended_shift: Option<f64>,
    /// Guidance it is meant for.
    pub recommended_guidance: Option<f64>,
    /// Its genre.
    pub primary_genre: String,
    /// Other genres.
    pub secondary_genres: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Moods.
    pub moods: Vec<String>,
    /// The model it was made for.
    pub base_model: String,
    /// That model's size: `2B`, `5B`, or null.
    pub base_model_scale: Option<String>,
    /// Whether the file says anything.
    pub has_metadata: bool,
}

/// `GET /api/engines`, and what `POST /api/engines/scan` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct EngineList {
    /// All that are known.
    pub engines: Vec<EngineEntry>,
}

/// One compiled engine or captured graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct EngineEntry {
    /// Its name.
    pub name: String,
    /// `decoder`, `vae_encode`, `vae_decode`; null where its file does not say.
    pub component: Option<String>,
    /// `offered`, `loaded`, `unfit`, `graph`.
    pub state: String,
    /// Bytes on the device: of one that is not loaded, those that it would take.
    pub bytes: u64,
    /// Why it is not used, where its state is `unfit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub error: Option<String>,
}

/// `GET /api/tracks/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct TrackState {
    /// Its name.
    pub name: String,
    /// Beats a minute.
    pub bpm: u32,
    /// Musical key.
    pub key: String,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: String,
    /// Seconds.
    pub duration_s: f64,
    /// Frames per channel.
    pub samples: u64,
    /// What its stems are doing.
    pub stems: StemState,
    /// Chunks done.
    pub stems_done: u32,
    /// Chunks in all; 0 while unknown.
    pub stems_total: u32,
}

/// The body of a refused HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct HttpError {
    /// For a person.
    pub error: String,
    /// For a program.
    pub code: crate::error_code::ErrorCode,
}
