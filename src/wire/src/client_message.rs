//! What a client says while its session is live (wire §4).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    first_frame::{StemSourceMode, TEXT_BYTES_MAX, is_time_signature},
    knobs::{self, KnobValue},
};

/// A message, read and clamped.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Knobs and the playhead; about 125 a second.
    Params(Params),
    /// Play only this stretch; `None` for all.
    LoopBand(Option<(f64, f64)>),
    /// A prompt; answered by `prompt_applied`.
    Prompt(Prompt),
    /// Where between prompt A (0) and B (1).
    SetPromptBlend(f64),
    /// Slots in flight; answered by `depth_applied`.
    SetDepth(f64),
    /// Answered by `lora_catalog`.
    EnableLora {
        /// Which.
        id: String,
        /// How strong.
        strength: Option<f64>,
    },
    /// Answered by `lora_catalog`.
    DisableLora {
        /// Which.
        id: String,
    },
    /// How much of the timbre source.
    SetTimbreStrength(f64),
    /// One binary PCM frame follows.
    SetReference {
        /// Timbre or structure.
        kind: ReferenceKind,
        /// Its name.
        name: String,
    },
    /// A track of the server as reference.
    SetReferenceFixture {
        /// Timbre or structure.
        kind: ReferenceKind,
        /// Its name.
        name: String,
    },
    /// No reference any more.
    ClearReference(ReferenceKind),
    /// Another source; one binary PCM frame follows unless `use_server_source`.
    SwapSource(SwapSource),
}

/// What a reference is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// The sound.
    Timbre,
    /// The form.
    Structure,
}

/// Why a message was passed over: counted, never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Not a JSON object with a `type`.
    Malformed,
    /// A type that nobody knows.
    UnknownType,
    /// A known type whose fields make no sense.
    BadFields,
}

/// Knobs and the playhead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// Values that are fine, clamped.
    pub knobs: BTreeMap<String, KnobValue>,
    /// Values that were ignored.
    pub ignored: u32,
    /// Seconds into the source.
    pub playback_pos: Option<f64>,
}

/// A prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Prompt {
    /// Tags of prompt A.
    pub tags: String,
    /// Tags of prompt B.
    #[serde(default)]
    pub tags_b: Option<String>,
    /// Musical key.
    #[serde(default)]
    pub key: Option<String>,
    /// `2`, `3`, `4` or `6`.
    #[serde(default)]
    pub time_signature: Option<String>,
}

/// Another source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwapSource {
    /// A prompt that goes with it.
    pub tags: Option<String>,
    /// Musical key.
    pub key: Option<String>,
    /// `2`, `3`, `4` or `6`.
    pub time_signature: Option<String>,
    /// Its name.
    pub fixture_name: Option<String>,
    /// Which part of it.
    pub stem_source_mode: Option<StemSourceMode>,
    /// It is a track of the server.
    pub use_server_source: bool,
}

impl ClientMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// Why it is passed over.
    pub fn parse(text: &str) -> Result<Self, Ignored> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Ignored::Malformed);
        }
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
            return Err(Ignored::Malformed);
        };
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .ok_or(Ignored::Malformed)?
            .to_owned();
        Self::read(&kind, &object)
    }

    fn read(kind: &str, object: &Map<String, Value>) -> Result<Self, Ignored> {
        let name = || text(object, "name").ok_or(Ignored::BadFields);
        let id = || text(object, "id").filter(|id| !id.is_empty()).ok_or(Ignored::BadFields);
        let value = || number(object, "value").ok_or(Ignored::BadFields);
        Ok(match kind {
            "params" => Self::Params(read_params(object)?),
            "loop_band" => Self::LoopBand(read_loop_band(object)?),
            "prompt" => Self::Prompt(read_prompt(object)?),
            "set_prompt_blend" => Self::SetPromptBlend(value()?.clamp(0.0, 1.0)),
            "set_depth" => Self::SetDepth(value()?),
            "enable_lora" => Self::EnableLora {
                id: id()?,
                strength: number(object, "strength").map(|s| s.clamp(0.0, 2.0)),
            },
            "disable_lora" => Self::DisableLora { id: id()? },
            "set_timbre_strength" => Self::SetTimbreStrength(value()?.clamp(0.0, 1.0)),
            "set_timbre_source" => Self::SetReference {
                kind: ReferenceKind::Timbre,
                name: name()?,
            },
            "set_structure_source" => Self::SetReference {
                kind: ReferenceKind::Structure,
                name: name()?,
            },
            "set_timbre_fixture" => Self::SetReferenceFixture {
                kind: ReferenceKind::Timbre,
                name: name()?,
            },
            "set_structure_fixture" => Self::SetReferenceFixture {
                kind: ReferenceKind::Structure,
                name: name()?,
            },
            "clear_timbre_source" => Self::ClearReference(ReferenceKind::Timbre),
            "clear_structure_source" => Self::ClearReference(ReferenceKind::Structure),
            "swap_source" => Self::SwapSource(read_swap(object)),
            _ => return Err(Ignored::UnknownType),
        })
    }

    /// Whether a binary PCM frame belongs to this message.
    #[must_use]
    pub fn expects_audio(&self) -> bool {
        match self {
            Self::SetReference { .. } => true,
            Self::SwapSource(swap) => !swap.use_server_source,
            _ => false,
        }
    }
}

fn read_params(object: &Map<String, Value>) -> Result<Params, Ignored> {
    let empty = Map::new();
    let raw = match object.get("raw") {
        None | Some(Value::Null) => &empty,
        Some(Value::Object(raw)) => raw,
        Some(_) => return Err(Ignored::BadFields),
    };
    let (knobs, ignored) = knobs::read_raw(raw);
    let playback_pos = number(object, "playback_pos").filter(|seconds| *seconds >= 0.0);
    Ok(Params {
        knobs,
        ignored,
        playback_pos,
    })
}

/// Nulls lift the band; anything else that is no stretch of time is a mistake, and leaves the band as it is.
fn read_loop_band(object: &Map<String, Value>) -> Result<Option<(f64, f64)>, Ignored> {
    let given = |name: &str| object.get(name).is_some_and(|value| !value.is_null());
    if !given("start_sec") && !given("end_sec") {
        return Ok(None);
    }
    match (number(object, "start_sec"), number(object, "end_sec")) {
        (Some(start), Some(end)) if start >= 0.0 && end > start => Ok(Some((start, end))),
        _ => Err(Ignored::BadFields),
    }
}

fn read_prompt(object: &Map<String, Value>) -> Result<Prompt, Ignored> {
    Ok(Prompt {
        tags: text(object, "tags").ok_or(Ignored::BadFields)?,
        tags_b: text(object, "tags_b"),
        key: text(object, "key"),
        time_signature: meter(object),
    })
}

fn read_swap(object: &Map<String, Value>) -> SwapSource {
    SwapSource {
        tags: text(object, "tags"),
        key: text(object, "key"),
        time_signature: meter(object),
        fixture_name: text(object, "fixture_name"),
        stem_source_mode: text(object, "stem_source_mode").and_then(|mode| StemSourceMode::named(&mode)),
        use_server_source: object
            .get("use_server_source")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    }
}

fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn meter(object: &Map<String, Value>) -> Option<String> {
    text(object, "time_signature").filter(|meter| is_time_signature(meter))
}

fn number(object: &Map<String, Value>, name: &str) -> Option<f64> {
    object
        .get(name)
        .and_then(Value::as_f64)
        .filter(|number| number.is_finite())
}
