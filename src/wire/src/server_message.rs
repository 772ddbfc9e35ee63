//! What the server says in text (wire §3, §5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::{client_message::ReferenceKind, error_code::ErrorCode, http::LoraEntry};

/// A text frame of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The session is live; the initial buffer follows.
    Ready(Ready),
    /// The session could not start or broke; the socket closes 1011.
    Error {
        /// For a program.
        code: ErrorCode,
        /// For a person.
        message: String,
        /// How to build the engine that is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        build_command: Option<String>,
        /// Length of the source that no engine covers, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        duration_s: Option<f64>,
    },
    /// The effective parameters of the slice before it.
    ParamsUpdate {
        /// By their names.
        #[ts(type = "Record<string, number | string>")]
        params: BTreeMap<String, Value>,
    },
    /// The new source plays; its initial buffer follows.
    SwapReady {
        /// Seconds.
        duration: f64,
        /// Hertz.
        sample_rate: u32,
        /// Samples a frame.
        channels: u16,
        /// Beats a minute.
        bpm: u32,
        /// Musical key.
        key: String,
        /// `2`, `3`, `4` or `6`.
        time_signature: String,
        /// The source's name; empty for audio that the client sent without one.
        fixture_name: String,
        /// The source, whatever it is called: what is said of its stems says the same. Only to clients that want it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        source_id: Option<String>,
    },
    /// The swap came to nothing; the session plays on.
    SwapFailed {
        /// For a person.
        error: String,
        /// For a program.
        code: ErrorCode,
        /// How to build the engine that is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        build_command: Option<String>,
    },
    /// One binary f16 frame per stem follows, in this order, with nothing in between.
    StemAssets {
        /// Whose stems; empty for audio that the client sent without a name.
        fixture_name: String,
        /// Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        source_id: Option<String>,
        /// Hertz.
        sample_rate: u32,
        /// Samples a frame.
        channels: u16,
        /// Frames per channel.
        frames: u64,
        /// Their names, in order.
        stems: Vec<String>,
        /// Empty for a late push (overlay only: never a mode change), else the mode that plays.
        source_mode: String,
    },
    /// The stems are not to be had.
    StemFailed {
        /// Whose stems; empty for audio that the client sent without a name.
        fixture_name: String,
        /// Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        source_id: Option<String>,
        /// For a person.
        error: String,
        /// For a program.
        code: ErrorCode,
    },
    /// How far the stems are; only to clients that want it.
    StemProgress {
        /// Whose stems; empty for audio that the client sent without a name.
        fixture_name: String,
        /// Whose stems, as `ready` or `swap_ready` said it. Only to clients that want it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        source_id: Option<String>,
        /// Chunks done.
        done: u32,
        /// Chunks in all; 0 while unknown.
        total: u32,
        /// What they are doing.
        state: StemState,
    },
    /// Who is on the GPU; only to clients that want it.
    Vram(Vram),
    /// Knobs that the control side changed.
    ParamsEcho {
        /// By their names.
        #[ts(type = "Record<string, number | string | boolean>")]
        raw: BTreeMap<String, Value>,
    },
    /// The prompt blend that the control side set.
    PromptBlendEcho {
        /// 0 (A) to 1 (B).
        value: f64,
    },
    /// The prompt is in force.
    PromptApplied {
        /// Its tags.
        tags: String,
    },
    /// The depth in force.
    DepthApplied {
        /// Slots in flight.
        value: u32,
    },
    /// The LoRAs and their states.
    LoraCatalog {
        /// All of them.
        catalog: Vec<LoraEntry>,
    },
    /// The timbre source is in force.
    TimbreSet {
        /// Its name.
        name: String,
        /// Seconds.
        duration: f64,
    },
    /// There is no timbre source any more.
    TimbreCleared,
    /// The timbre source could not be used.
    TimbreFailed {
        /// For a person.
        error: String,
        /// For a program.
        code: ErrorCode,
    },
    /// The structure source is in force.
    StructureSet {
        /// Its name.
        name: String,
        /// Seconds.
        duration: f64,
    },
    /// There is no structure source any more.
    StructureCleared,
    /// The structure source could not be used.
    StructureFailed {
        /// For a person.
        error: String,
        /// For a program.
        code: ErrorCode,
    },
    /// The upload is usable now.
    UploadOk(UploadOk),
    /// The upload came to nothing.
    UploadFailed {
        /// For a person.
        error: String,
        /// For a program.
        code: ErrorCode,
    },
}

/// What a session starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Ready {
    /// Seconds.
    pub duration: f64,
    /// Hertz.
    pub sample_rate: u32,
    /// Samples a frame.
    pub channels: u16,
    /// Where LoRAs are read from.
    pub lora_dir: Option<String>,
    /// All of them.
    pub lora_catalog: Vec<LoraEntry>,
    /// Those that are being enabled.
    pub lora_pending_enable: Vec<String>,
    /// Beats a minute.
    pub bpm: u32,
    /// Musical key.
    pub key: String,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: String,
    /// What generates.
    pub checkpoint: String,
    /// Its size: `2B`, `5B`, or null.
    pub checkpoint_scale: Option<String>,
    /// Slots in flight.
    pub pipeline_depth: u32,
    /// Most slots in flight.
    pub max_pipeline_depth: u32,
    /// This session.
    pub session_id: String,
    /// What plays, whatever it is called: what is said of its stems says the same. Only to clients that want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub source_id: Option<String>,
}

/// What an upload became.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct UploadOk {
    /// Its name in the library.
    pub name: String,
    /// Beats a minute.
    pub bpm: u32,
    /// Musical key.
    pub key: String,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: String,
    /// Seconds, after trimming.
    pub duration_s: f64,
    /// Frames per channel, after trimming.
    pub samples: u64,
    /// Whether stems follow.
    pub stems_pending: bool,
}

/// What stems are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum StemState {
    /// Nobody asked for them.
    Absent,
    /// Waiting for the separator.
    Queued,
    /// Being made.
    Ripping,
    /// Being written.
    Saving,
    /// At hand.
    Ready,
    /// Not to be had.
    Failed,
}

/// Who is on the GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
pub struct Vram {
    /// The last step of the placement: `before`, `parked`, `loaded`, `separated`, `released`, `restored`.
    pub phase: String,
    /// Every weight group.
    pub groups: Vec<VramGroup>,
    /// The compiled engines on the device, at most one a component but for a moment; their bytes are among those of workspaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<VramEngine>>")]
    pub engines: Vec<VramEngine>,
    /// Bytes that residents and workspaces may fill.
    pub budget_bytes: u64,
    /// Bytes of workspaces.
    pub workspace_bytes: u64,
    /// Bytes of resident weights.
    pub resident_bytes: u64,
}

/// One compiled engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct VramEngine {
    /// `decoder`, `vae_encode`, `vae_decode`.
    pub component: String,
    /// Its name.
    pub name: String,
    /// Bytes of weights and workspace.
    pub bytes: u64,
}

/// One weight group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct VramGroup {
    /// Its name.
    pub name: String,
    /// `parked`, `restoring`, `resident`, `parking`.
    pub state: String,
    /// Bytes of weights.
    pub bytes: u64,
}

impl ServerMessage {
    /// `timbre_set` or `structure_set`.
    #[must_use]
    pub fn reference_set(kind: ReferenceKind, name: String, duration: f64) -> Self {
        match kind {
            ReferenceKind::Timbre => Self::TimbreSet { name, duration },
            ReferenceKind::Structure => Self::StructureSet { name, duration },
        }
    }

    /// `timbre_cleared` or `structure_cleared`.
    #[must_use]
    pub const fn reference_cleared(kind: ReferenceKind) -> Self {
        match kind {
            ReferenceKind::Timbre => Self::TimbreCleared,
            ReferenceKind::Structure => Self::StructureCleared,
        }
    }

    /// `timbre_failed` or `structure_failed`.
    #[must_use]
    pub fn reference_failed(kind: ReferenceKind, code: ErrorCode, error: String) -> Self {
        match kind {
            ReferenceKind::Timbre => Self::TimbreFailed { error, code },
            ReferenceKind::Structure => Self::StructureFailed { error, code },
        }
    }

    /// The text frame.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Numbers are finite and keys are strings, so this cannot fail; a frame that says so is better than none.
        serde_json::to_string(self)
            .unwrap_or_else(|error| format!("{{\"type\":\"error\",\"code\":\"internal\",\"message\":\"{error}\"}}"))
    }
}
