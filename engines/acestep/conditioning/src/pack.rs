//! The checkpoints' tensors as the networks take them: projections with the same inputs one below the other.

use std::collections::HashMap;

use candle_core::DType;
use greenroom_weights::{BuildError, ImageBuilder, Key, Tensors};

use crate::{
    config::{ConditionerConfig, Qwen3Config},
    layout::{conditioner_keys, text_encoder_keys},
};

/// Number of what is packed here: changes whenever a name, a shape, the order or the folding does.
pub const LAYOUT_VERSION: u32 = 1;

/// Projections that are packed as one.
const FUSED: [(&str, &[&str]); 2] = [
    (
        "self_attn.in",
        &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ),
    ("mlp.in", &["mlp.gate_proj", "mlp.up_proj"]),
];
/// Tensors that no network here looks at.
const UNUSED: [&str; 2] = ["null_condition_emb", "encoder.timbre_encoder.special_token"];

/// Packs the text encoder.
///
/// # Errors
/// If a tensor is missing, or the image cannot be written.
pub fn pack_text_encoder(
    config: &Qwen3Config,
    tensors: &dyn Tensors,
    dtype: DType,
    builder: &mut ImageBuilder<'_>,
) -> Result<(), BuildError> {
    pack(&text_encoder_keys(config), tensors, dtype, builder)
}

/// Packs condition encoder, semantic tokenizer and detokenizer.
///
/// # Errors
/// If a tensor is missing, or the image cannot be written.
pub fn pack_conditioner(
    config: &ConditionerConfig,
    tensors: &dyn Tensors,
    dtype: DType,
    builder: &mut ImageBuilder<'_>,
) -> Result<(), BuildError> {
    pack(&conditioner_keys(config), tensors, dtype, builder)
}

fn pack(keys: &[Key], tensors: &dyn Tensors, dtype: DType, builder: &mut ImageBuilder<'_>) -> Result<(), BuildError> {
    let by_name: HashMap<&str, &Key> = keys.iter().map(|key| (key.name.as_str(), key)).collect();
    for key in keys {
        if UNUSED.contains(&key.name.as_str()) {
            continue;
        }
        match fused(&key.name) {
            Some((first, to, parts)) if first => {
                let stem = key.name.trim_end_matches(&format!("{}.weight", parts[0]));
                let mut values = Vec::new();
                for part in parts {
                    let name = format!("{stem}{part}.weight");
                    let part = by_name
                        .get(name.as_str())
                        .ok_or_else(|| format!("{name} is not packed"))?;
                    values.extend(tensors.values(part)?);
                }
                let inputs = key.shape[1];
                builder.tensor(&format!("{stem}{to}"), &[values.len() / inputs, inputs], dtype, &values)?;
            }
            Some(_) => {}
            None => {
                // Quantising decides between levels, so that what leads to it is not rounded.
                let precise = key.shape.len() != 2 || key.name.contains("quantizer.");
                let dtype = if precise { DType::F32 } else { dtype };
                builder.tensor(&key.name, &key.shape, dtype, &tensors.values(key)?)?;
            }
        }
    }
    Ok(())
}

/// Whether a tensor is packed with others: as the first of them, under which name, and which they are.
fn fused(name: &str) -> Option<(bool, &'static str, &'static [&'static str])> {
    FUSED.iter().find_map(|(to, parts)| {
        let place = parts
            .iter()
            .position(|part| name.ends_with(&format!("{part}.weight")))?;
        Some((place == 0, *to, *parts))
    })
}
