//! The first frame of a connection (wire §2): it says what the connection is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest text frame that is read as a message, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// What a connection is.
#[derive(Clone, Debug, PartialEq)]
pub enum FirstFrame {
    /// An upload: one binary PCM frame follows.
    Upload(UploadHeader),
    /// A session; unless it names a track of the server, one binary PCM frame follows.
    Session(Box<SessionConfig>),
}

/// Why a first frame is none: the connection is closed 4003.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirstFrameError {
    /// No JSON object.
    #[error("the first frame must be a text frame that holds a JSON object")]
    NotAnObject,
    /// Too long.
    #[error("the first frame is longer than a megabyte")]
    TooLong,
}

/// What an upload says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct UploadHeader {
    /// The file's name.
    pub name: String,
    /// Its musical key, if the client knows better than the analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub key: Option<String>,
    /// `2`, `3`, `4` or `6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub time_signature: Option<String>,
}

/// Which part of a source is played, as the wire names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum StemSourceMode {
    /// All of it.
    Full,
    /// The singing.
    Vocals,
    /// The rest.
    Instruments,
}

/// What a session asks for. Every field is optional on the wire; a field of the wrong type counts as absent.
#[derive(Clone, Debug, PartialEq, Serialize, ts_rs::TS)]
pub struct SessionConfig {
    /// Open with stochastic sampling.
    pub sde: bool,
    /// Slots in flight.
    pub depth: u32,
    /// Steps a generation.
    pub steps: u32,
    /// Play a window of the source at a time.
    pub walk_window: bool,
    /// Its length in seconds.
    pub walk_window_s: f64,
    /// Musical key.
    pub key: Option<String>,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: Option<String>,
    /// LoRAs to enable.
    pub enabled_loras: Vec<String>,
    /// How strong each of them is to be, 0..2; the others are as strong as they are meant to be.
    pub lora_strengths: BTreeMap<String, f64>,
    /// The prompt.
    pub prompt: String,
    /// The other prompt.
    pub prompt_b: Option<String>,
    /// Name of the source: of a server track, or of what the client sends.
    pub fixture_name: Option<String>,
    /// Play the server's track of that name.
    pub use_server_fixture: bool,
    /// Which part of the source.
    pub stem_source_mode: Option<StemSourceMode>,
    /// Who asks; empty for nobody in particular.
    pub client_id: String,
    /// What of ours the client understands: the messages `stem_progress` and `vram`, and `source_id` in those of the protocol.
    pub wants: Vec<String>,
    /// Fields that had the wrong type, or a word that nobody knows.
    #[serde(skip)]
    pub ignored: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            sde: false,
            depth: 4,
            steps: 8,
            walk_window: false,
            walk_window_s: 60.0,
            key: None,
            time_signature: None,
            enabled_loras: Vec::new(),
            lora_strengths: BTreeMap::new(),
            prompt: "instrumental music".into(),
            prompt_b: None,
            fixture_name: None,
            use_server_fixture: false,
            stem_source_mode: None,
            client_id: String::new(),
            wants: Vec::new(),
            ignored: 0,
        }
    }
}

impl FirstFrame {
    /// Reads a first frame.
    ///
    /// # Errors
    /// If it is no JSON object.
    pub fn parse(text: &str) -> Result<Self, FirstFrameError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(FirstFrameError::TooLong);
        }
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
            return Err(FirstFrameError::NotAnObject);
        };
        if object.get("type").and_then(Value::as_str) == Some("upload_track") {
            return Ok(Self::Upload(UploadHeader {
                name: text_of(&object, "name").unwrap_or_default(),
                key: text_of(&object, "key"),
                time_signature: text_of(&object, "time_signature").filter(|meter| is_time_signature(meter)),
            }));
        }
        Ok(Self::Session(Box::new(SessionConfig::read(&object))))
    }
}

impl SessionConfig {
    fn read(object: &Map<String, Value>) -> Self {
        let mut fields = Fields { object, ignored: 0 };
        let default = Self::default();
        let mut config = Self {
            sde: fields.bool("sde").unwrap_or(default.sde),
            depth: fields
                .number("depth")
                .map_or(default.depth, |depth| depth.clamp(1.0, 64.0) as u32),
            steps: fields
                .number("steps")
                .map_or(default.steps, |steps| steps.clamp(1.0, 64.0) as u32),
            walk_window: fields.bool("walk_window").unwrap_or(default.walk_window),
            walk_window_s: fields.number("walk_window_s").unwrap_or(default.walk_window_s),
            key: fields.text("key"),
            time_signature: fields.read("time_signature", |value| {
                value
                    .as_str()
                    .filter(|meter| is_time_signature(meter))
                    .map(str::to_owned)
            }),
            enabled_loras: fields.texts("enabled_loras"),
            lora_strengths: fields.strengths("lora_strengths"),
            prompt: fields.text("prompt").unwrap_or(default.prompt),
            prompt_b: fields.text("prompt_b"),
            fixture_name: fields.text("fixture_name"),
            use_server_fixture: fields.bool("use_server_fixture").unwrap_or(false),
            stem_source_mode: fields.read("stem_source_mode", |value| StemSourceMode::named(value.as_str()?)),
            client_id: fields.text("client_id").unwrap_or_default(),
            wants: fields.texts("wants"),
            ignored: 0,
        };
        config.ignored = fields.ignored;
        config
    }

    /// Whether the client understands a message of ours.
    #[must_use]
    pub fn wants(&self, message: &str) -> bool {
        self.wants.iter().any(|want| want == message)
    }
}

impl StemSourceMode {
    /// The mode of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "full" => Some(Self::Full),
            "vocals" => Some(Self::Vocals),
            "instruments" => Some(Self::Instruments),
            _ => None,
        }
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Vocals => "vocals",
            Self::Instruments => "instruments",
        }
    }
}

/// Whether a time signature is one that the models know.
#[must_use]
pub fn is_time_signature(meter: &str) -> bool {
    matches!(meter, "2" | "3" | "4" | "6")
}

fn text_of(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Reads optional fields and counts those of the wrong type.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    ignored: u32,
}

impl Fields<'_> {
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.object.get(name).filter(|value| !value.is_null())?;
        let read = read(value);
        self.ignored += u32::from(read.is_none());
        read
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, |value| value.as_str().map(str::to_owned))
    }

    fn bool(&mut self, name: &str) -> Option<bool> {
        self.read(name, Value::as_bool)
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        self.read(name, |value| value.as_f64().filter(|number| number.is_finite()))
    }

    fn strengths(&mut self, name: &str) -> BTreeMap<String, f64> {
        let object = self.read(name, |value| value.as_object().cloned()).unwrap_or_default();
        let number = |value: Value| value.as_f64().filter(|number| number.is_finite());
        object
            .into_iter()
            .take(64)
            .filter_map(|(id, value)| Some((id, number(value)?.clamp(0.0, 2.0))))
            .collect()
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        let list = self.read(name, |value| value.as_array().cloned()).unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .take(64)
            .map(str::to_owned)
            .collect()
    }
}
