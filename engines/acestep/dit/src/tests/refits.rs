//! What is written into a compiled network, against a checkpoint that has the LoRAs' products added.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use greenroom_weights::{Key, PackedImage, RandomTensors, Tensors};

use super::{
    TINY, error,
    loras::{Added, CHANGED, lora},
    tiny_image,
};
use crate::{LoraSet, keys, pack, refit_matrices};

/// Matrices that share an input with one of `CHANGED`.
const BESIDE: [&str; 8] = [
    "layers.0.self_attn.k_proj",
    "layers.0.mlp.gate_proj",
    "layers.1.cross_attn.v_proj",
    "layers.2.cross_attn.k_proj",
    "layers.2.mlp.up_proj",
    "condition_embedder",
    "layers.0.self_attn.q_proj",
    "layers.0.mlp.up_proj",
];

fn refitted(before: &LoraSet, set: &LoraSet) -> BTreeMap<String, Tensor> {
    let matrices = refit_matrices(&TINY, &tiny_image(), before, set, DType::F32, &Device::Cpu).unwrap();
    matrices
        .into_iter()
        .map(|matrix| (matrix.name, matrix.values))
        .collect()
}

/// A matrix of the checkpoint, transposed.
fn exported(key: &Key, tensors: &dyn Tensors) -> Tensor {
    let values = Tensor::from_vec(tensors.values(key).unwrap(), &*key.shape, &Device::Cpu).unwrap();
    values.t().unwrap().contiguous().unwrap()
}

fn expect(matrices: &BTreeMap<String, Tensor>, tensors: &dyn Tensors, bound: f64) {
    let keys = keys(&TINY);
    for (name, values) in matrices {
        let key = keys
            .iter()
            .find(|key| key.name == *name)
            .expect("a tensor of the checkpoint");
        assert!(values.is_contiguous());
        let off = error(values, &exported(key, tensors));
        assert!(off <= bound, "{name}: {off:.1e}");
    }
}

#[test]
fn a_compiled_network_gets_the_base_and_what_loras_add() {
    let set = LoraSet::new([(lora("warm"), 0.7), (lora("deep"), 1.3)]);
    let matrices = refitted(&LoraSet::default(), &set);
    expect(&matrices, &Added(&[("warm", 0.7), ("deep", 1.3)]), 1e-6);
    let names: Vec<String> = CHANGED
        .iter()
        .map(|(matrix, ..)| *matrix)
        .chain(BESIDE)
        .map(|matrix| format!("decoder.{matrix}.weight"))
        .collect();
    assert!(names.iter().all(|name| matrices.contains_key(name)));
    assert!(matrices.keys().all(|name| names.contains(name)), "and no others");
}

#[test]
fn loras_that_are_taken_off_leave_the_base_to_the_bit() {
    let warm = LoraSet::new([(lora("warm"), 0.7)]);
    let matrices = refitted(&warm, &LoraSet::default());
    assert_eq!(matrices.len(), refitted(&LoraSet::default(), &warm).len());
    expect(&matrices, &RandomTensors { seed: 1 }, 0.0);
    assert!(refitted(&LoraSet::default(), &LoraSet::default()).is_empty());
}

#[test]
fn types_are_those_that_the_network_was_exported_in() {
    let image =
        PackedImage::in_memory(|builder| pack(&TINY, &RandomTensors { seed: 1 }, DType::BF16, builder)).unwrap();
    let (base, warm) = (LoraSet::default(), LoraSet::new([(lora("warm"), 0.7)]));
    let matrices = refit_matrices(&TINY, &image, &base, &warm, DType::BF16, &Device::Cpu).unwrap();
    for matrix in &matrices {
        let time = matrix.name.starts_with("decoder.time_embed.");
        assert_eq!(
            matrix.values.dtype(),
            if time { DType::F32 } else { DType::BF16 },
            "{}",
            matrix.name
        );
    }
    let refused = refit_matrices(&TINY, &image, &base, &warm, DType::F32, &Device::Cpu).unwrap_err();
    assert!(
        refused.to_string().contains("in f32, and the weights here are in bf16"),
        "{refused}"
    );
}
