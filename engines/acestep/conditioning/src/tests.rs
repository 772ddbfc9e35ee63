//! The networks against diffusers', transformers' and vector-quantize-pytorch's (see ../../goldens/make.py).

use std::{collections::HashMap, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use greenroom_weights::{HostWeights, PackedImage, RandomTensors, uniform};

use crate::{Conditioner, ConditionerConfig, Qwen3Config, Semantic, TextEncoder, pack_conditioner, pack_text_encoder};

const BOUND: f64 = 1e-4;

pub(crate) const PUBLIC_TEXT: Qwen3Config = Qwen3Config {
    vocab_size: 151_669,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
};

const TINY_TEXT: Qwen3Config = Qwen3Config {
    vocab_size: 64,
    hidden_size: 24,
    intermediate_size: 40,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
};

pub(crate) fn public() -> ConditionerConfig {
    ConditionerConfig {
        hidden_size: 2048,
        intermediate_size: 6144,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        head_dim: 128,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        sliding_window: 128,
        text_hidden_dim: 1024,
        timbre_hidden_dim: 64,
        audio_acoustic_hidden_dim: 64,
        num_lyric_encoder_hidden_layers: 8,
        num_timbre_encoder_hidden_layers: 4,
        num_attention_pooler_hidden_layers: 2,
        pool_window_size: 5,
        fsq_dim: 2048,
        fsq_input_levels: vec![8, 8, 8, 5, 5, 5],
        fsq_input_num_quantizers: 1,
    }
}

fn tiny() -> ConditionerConfig {
    ConditionerConfig {
        hidden_size: 32,
        intermediate_size: 48,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        sliding_window: 3,
        text_hidden_dim: 24,
        timbre_hidden_dim: 8,
        audio_acoustic_hidden_dim: 8,
        num_lyric_encoder_hidden_layers: 3,
        num_timbre_encoder_hidden_layers: 4,
        fsq_dim: 32,
        ..public()
    }
}

fn given(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(uniform(name, 2, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

fn goldens(file: &str) -> HashMap<String, Tensor> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens").join(file);
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn assert_near(name: &str, actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims(), "{name}");
    let norm = |tensor: &Tensor| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
    };
    let off = norm(&(actual - expected).unwrap()) / norm(expected);
    assert!(off <= BOUND, "{name}: {off:.1e}");
}

#[test]
fn texts_are_encoded_as_by_another_implementation() {
    let image = PackedImage::in_memory(|builder| {
        pack_text_encoder(&TINY_TEXT, &RandomTensors { seed: 1 }, DType::F32, builder)
    });
    let encoder = TextEncoder::new(&TINY_TEXT, &HostWeights::new(&image.unwrap())).unwrap();
    let goldens = goldens("text.safetensors");
    for length in [1, 7, 150] {
        let ids: Vec<u32> = (0..length).map(|place| (place * 37 + 11) % 64).collect();
        assert_near(
            "states",
            &encoder.encode(&ids).unwrap(),
            &goldens[&format!("states.{length}")],
        );
        assert_near(
            "embeddings",
            &encoder.embed(&ids).unwrap(),
            &goldens[&format!("embeddings.{length}")],
        );
    }
    let refused = encoder.encode(&[3, 64]).unwrap_err().to_string();
    assert!(refused.contains("64"), "{refused}");
}

fn conditioner_weights() -> std::sync::Arc<PackedImage> {
    PackedImage::in_memory(|builder| pack_conditioner(&tiny(), &RandomTensors { seed: 1 }, DType::F32, builder))
        .unwrap()
}

#[test]
fn conditions_are_encoded_as_by_another_implementation() {
    let image = conditioner_weights();
    let conditioner = Conditioner::new(&tiny(), &HostWeights::new(&image)).unwrap();
    let goldens = goldens("conditioner.safetensors");
    for (case, (text, lyrics, timbre)) in [(7, 5, 30), (1, 11, 3), (12, 1, 1)].into_iter().enumerate() {
        let states = conditioner
            .states(
                &given(&format!("text.{case}"), &[text, 24]),
                &given(&format!("lyrics.{case}"), &[lyrics, 24]),
                &given(&format!("timbre.{case}"), &[timbre, 8]),
            )
            .unwrap();
        assert_near(&format!("case {case}"), &states, &goldens[&format!("states.{case}")]);
    }
}

#[test]
fn hints_are_drawn_as_by_another_implementation() {
    let image = conditioner_weights();
    let semantic = Semantic::new(&tiny(), &HostWeights::new(&image)).unwrap();
    let goldens = goldens("semantic.safetensors");
    for frames in [5, 65] {
        let hints = semantic
            .hints(&given(&format!("latents.{frames}"), &[frames, 8]))
            .unwrap();
        assert_near(
            &format!("{frames} frames"),
            &hints,
            &goldens[&format!("hints.{frames}")],
        );
    }
    let refused = semantic.hints(&given("latents", &[7, 8])).unwrap_err().to_string();
    assert!(refused.contains("multiple of 5"), "{refused}");
}

#[test]
fn levels_are_those_of_another_implementation_up_to_their_edges() {
    let image = conditioner_weights();
    let semantic = Semantic::new(&tiny(), &HostWeights::new(&image)).unwrap();
    let goldens = goldens("semantic.safetensors");
    // From far beyond the outermost levels through every one between them.
    let values: Vec<f32> = (-400..=400).flat_map(|place| [place as f32 * 0.007_5; 6]).collect();
    let values = Tensor::from_vec(values, (801, 6), &Device::Cpu).unwrap();
    let levels = semantic.levels(&values).unwrap();
    assert_near("levels", &levels, &goldens["levels"]);
}
