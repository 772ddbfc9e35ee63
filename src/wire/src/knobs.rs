//! The knobs (wire §8): one table says their kinds, ranges, defaults and when they take effect.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Values that a curve may have; longer ones are refused.
const CURVE_VALUES_MAX: usize = 16_384;
/// Moves of a knob that are smaller than this are none; of the others every move counts.
const LEAST_MOVES: [(&str, f64); 3] = [("shift", 0.05), ("hint_strength", 0.02), (LORA_STRENGTH, 0.02)];
/// How the strength of a LoRA is named, before its id.
const LORA_STRENGTH: &str = "lora_str_";
/// What a `lora_str_<id>` may be at most.
const LORA_STRENGTH_MAX: f64 = 2.0;

/// When a change is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Part of the request of the next generation.
    NextSlot,
    /// On all slots in flight.
    NextTick,
    /// The ring of slots is rebuilt.
    RebuildsRing,
}

/// What a knob's value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number within a range.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Where it starts.
        default: f64,
    },
    /// A whole number within a range.
    Integer {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Where it starts.
        default: f64,
    },
    /// One of these words.
    Choice {
        /// The words.
        words: &'static [&'static str],
        /// Where it starts.
        default: &'static str,
    },
    /// A switch.
    Switch {
        /// Where it starts.
        default: bool,
    },
    /// A curve over the source; none at first.
    Curve,
}

/// One knob.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knob {
    /// Its name in `params.raw`.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// When a change is heard.
    pub effect: Effect,
}

/// A knob's value after clamping.
#[derive(Clone, Debug, PartialEq)]
pub enum KnobValue {
    /// A number within its range.
    Number(f64),
    /// A switch.
    Switch(bool),
    /// A word of its list.
    Choice(String),
    /// A curve: one value is a constant, several are resampled to the source's latent frames.
    Curve(Vec<f32>),
}

const fn number(name: &'static str, min: f64, max: f64, default: f64, effect: Effect) -> Knob {
    Knob {
        name,
        kind: Kind::Number { min, max, default },
        effect,
    }
}

const fn integer(name: &'static str, min: f64, max: f64, default: f64, effect: Effect) -> Knob {
    Knob {
        name,
        kind: Kind::Integer { min, max, default },
        effect,
    }
}

const fn choice(name: &'static str, words: &'static [&'static str], default: &'static str, effect: Effect) -> Knob {
    Knob {
        name,
        kind: Kind::Choice { words, default },
        effect,
    }
}

const fn gain(name: &'static str) -> Knob {
    number(name, 0.0, 3.0, 1.0, Effect::NextTick)
}

const fn curve(name: &'static str, effect: Effect) -> Knob {
    Knob {
        name,
        kind: Kind::Curve,
        effect,
    }
}

/// Every knob but `lora_str_<id>`.
pub const KNOBS: [Knob; 39] = [
    number("denoise", 0.0, 1.0, 0.0, Effect::NextSlot),
    number("sde_amp", 0.0, 1.0, 0.0, Effect::NextSlot),
    integer("seed", 0.0, 4_294_967_295.0, 0.0, Effect::NextSlot),
    number("feedback", 0.0, 1.0, 0.0, Effect::NextSlot),
    integer("feedback_depth", 1.0, 8.0, 1.0, Effect::NextSlot),
    number("shift", 1.0, 6.0, 3.5, Effect::NextSlot),
    number("periodicity", 0.0, 12.5, 0.0, Effect::NextTick),
    number("hint_strength", 0.0, 1.0, 1.0, Effect::NextSlot),
    number("x0_target", 0.0, 1.0, 0.0, Effect::NextTick),
    integer("steps_override", 1.0, 16.0, 8.0, Effect::RebuildsRing),
    choice(
        "rcfg_mode",
        &["off", "initialize", "self", "full"],
        "off",
        Effect::NextSlot,
    ),
    number("guidance_scale", 0.0, 15.0, 1.0, Effect::NextSlot),
    number("cfg_rescale", 0.0, 1.0, 0.0, Effect::NextTick),
    gain("ch_g0"),
    gain("ch_g1"),
    gain("ch_g2"),
    gain("ch_g3"),
    gain("ch_g4"),
    gain("ch_g5"),
    gain("ch_g6"),
    gain("ch_g7"),
    gain("ch13"),
    gain("ch14"),
    gain("ch19"),
    gain("ch23"),
    gain("ch29"),
    gain("ch56"),
    Knob {
        name: "dcw_enabled",
        kind: Kind::Switch { default: true },
        effect: Effect::NextTick,
    },
    choice(
        "dcw_mode",
        &["low", "high", "double", "pix"],
        "double",
        Effect::NextTick,
    ),
    choice("dcw_wavelet", &["haar", "db4", "sym8", "db8"], "haar", Effect::NextTick),
    number("dcw_scaler", 0.0, 0.5, 0.05, Effect::NextTick),
    number("dcw_high_scaler", 0.0, 0.5, 0.02, Effect::NextTick),
    number("dcw_mult_blend", 0.0, 1.0, 0.0, Effect::NextTick),
    number("dcw_mag_phase", 0.0, 1.0, 0.0, Effect::NextTick),
    number("dcw_soft_thresh", 0.0, 0.3, 0.0, Effect::NextTick),
    curve("sde_denoise_curve", Effect::NextTick),
    curve("velocity_scale_curve", Effect::NextTick),
    curve("x0_target_curve", Effect::NextSlot),
    curve("initial_noise_curve", Effect::NextSlot),
];

/// The knob of that name.
#[must_use]
pub fn knob(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

impl Knob {
    /// Where it starts; a curve has no start.
    #[must_use]
    pub fn default_value(&self) -> Option<KnobValue> {
        match self.kind {
            Kind::Number { default, .. } | Kind::Integer { default, .. } => Some(KnobValue::Number(default)),
            Kind::Choice { default, .. } => Some(KnobValue::Choice(default.into())),
            Kind::Switch { default } => Some(KnobValue::Switch(default)),
            Kind::Curve => None,
        }
    }

    /// Reads a value: clamped to the range; `None` if it is of the wrong type.
    #[must_use]
    pub fn read(&self, value: &Value) -> Option<KnobValue> {
        match self.kind {
            Kind::Number { min, max, .. } => finite(value).map(|number| KnobValue::Number(number.clamp(min, max))),
            Kind::Integer { min, max, .. } => {
                finite(value).map(|number| KnobValue::Number(number.round().clamp(min, max)))
            }
            Kind::Choice { words, .. } => {
                let word = value.as_str()?;
                words.contains(&word).then(|| KnobValue::Choice(word.into()))
            }
            Kind::Switch { .. } => value.as_bool().map(KnobValue::Switch),
            Kind::Curve => read_curve(value),
        }
    }
}

/// Reads `params.raw`: the values that are fine, clamped, and how many others were ignored.
#[must_use]
pub fn read_raw(raw: &Map<String, Value>) -> (BTreeMap<String, KnobValue>, u32) {
    let mut values = BTreeMap::new();
    let mut ignored = 0;
    for (name, value) in raw {
        let read = match knob(name) {
            Some(knob) => knob.read(value),
            None if name
                .strip_prefix(LORA_STRENGTH)
                .is_some_and(|id| !id.is_empty() && id.len() <= 200) =>
            {
                finite(value).map(|strength| KnobValue::Number(strength.clamp(0.0, LORA_STRENGTH_MAX)))
            }
            None => None,
        };
        match read {
            Some(read) => {
                values.insert(name.clone(), read);
            }
            None => ignored += 1,
        }
    }
    (values, ignored)
}

/// Whether a knob that goes from one number to another has not been moved, as far as anybody is to hear.
#[must_use]
pub fn is_no_move(name: &str, from: f64, to: f64) -> bool {
    let least = LEAST_MOVES
        .iter()
        .find(|(knob, _)| name == *knob || (*knob == LORA_STRENGTH && name.starts_with(knob)));
    // A hair less, so that a move of just that much counts whatever its rounding.
    least.is_some_and(|(_, least)| (to - from).abs() < least - 1e-9)
}

/// The defaults of all knobs that have one.
#[must_use]
pub fn defaults() -> BTreeMap<String, KnobValue> {
    KNOBS
        .iter()
        .filter_map(|knob| Some((knob.name.to_owned(), knob.default_value()?)))
        .collect()
}

/// Rounds to two digits, as `params_update` carries numbers.
#[must_use]
pub fn two_digits(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// What is finite as f64 may still be infinite as f32.
fn finite_f32(value: &Value) -> Option<f32> {
    value
        .as_f64()
        .map(|number| number as f32)
        .filter(|number| number.is_finite())
}

/// `{"type":"constant","value":v}`, `{"type":"raw","values":[…]}`, or a bare number as a constant.
fn read_curve(value: &Value) -> Option<KnobValue> {
    if let Some(constant) = finite_f32(value) {
        return Some(KnobValue::Curve(vec![constant]));
    }
    let values = match value.get("type")?.as_str()? {
        "constant" => vec![finite_f32(value.get("value")?)?],
        "raw" => {
            let values = value
                .get("values")?
                .as_array()
                .filter(|values| values.len() <= CURVE_VALUES_MAX)?;
            values.iter().map(finite_f32).collect::<Option<Vec<_>>>()?
        }
        _ => return None,
    };
    (!values.is_empty()).then_some(KnobValue::Curve(values))
}
