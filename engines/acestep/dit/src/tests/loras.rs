//! LoRAs against a checkpoint that has their products added.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Tensor};
use greenroom_weights::{
    CheckpointError, HostWeights, Key, PackedImage, RandomTensors, Tensors, WeightSource, WeightsError,
};
use tempfile::TempDir;

use super::{TINY, error, given, tiny, tiny_image, velocities};
use crate::{Adaptation, AdaptedWeights, Dit, Lora, LoraProblem, LoraSet, pack};

const RANK: usize = 4;
/// What of the tiny network LoRAs change here: a matrix of every kind, as outputs and inputs.
pub(super) const CHANGED: [(&str, usize, usize); 11] = [
    ("condition_embedder", 32, 32),
    ("time_embed.time_proj", 192, 32),
    ("layers.0.self_attn.q_proj", 32, 32),
    ("layers.0.self_attn.v_proj", 16, 32),
    ("layers.1.self_attn.o_proj", 32, 32),
    ("layers.1.cross_attn.q_proj", 32, 32),
    ("layers.1.cross_attn.k_proj", 16, 32),
    ("layers.2.cross_attn.v_proj", 16, 32),
    ("layers.2.mlp.gate_proj", 48, 32),
    ("layers.0.mlp.up_proj", 48, 32),
    ("layers.0.mlp.down_proj", 32, 48),
];

type Matrices = HashMap<String, Tensor>;

/// Every half of a LoRA, by its name in the file.
fn matrices(seed: &str, prefix: &str) -> Matrices {
    CHANGED
        .iter()
        .flat_map(|(parameter, outputs, inputs)| {
            let half = |half: &str, shape: &[usize]| {
                let values = (given(&format!("{seed}.{parameter}.{half}"), shape) * 0.2).unwrap();
                (
                    format!("base_model.model.{prefix}{parameter}.lora_{half}.weight"),
                    values,
                )
            };
            [half("A", &[RANK, *inputs]), half("B", &[*outputs, RANK])]
        })
        .collect()
}

fn write(folder: &Path, name: &str, matrices: &Matrices) -> PathBuf {
    let path = folder.join(name);
    candle_core::safetensors::save(matrices, &path).unwrap();
    path
}

pub(super) fn lora(seed: &str) -> Arc<Lora> {
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "lora.safetensors", &matrices(seed, ""));
    Arc::new(Lora::open(&path, &TINY).unwrap())
}

/// The checkpoint with products added to it, one value at a time.
pub(super) struct Added<'a>(pub(super) &'a [(&'a str, f64)]);

impl Tensors for Added<'_> {
    fn values(&self, key: &Key) -> Result<Vec<f32>, CheckpointError> {
        let mut values = RandomTensors { seed: 1 }.values(key)?;
        let Some((parameter, outputs, inputs)) = CHANGED
            .iter()
            .find(|(parameter, _, _)| key.name == format!("decoder.{parameter}.weight"))
        else {
            return Ok(values);
        };
        for (seed, strength) in self.0 {
            let half = |half: &str, shape: &[usize]| {
                let values = (given(&format!("{seed}.{parameter}.{half}"), shape) * 0.2).unwrap();
                values.to_vec2::<f32>().unwrap()
            };
            let (down, up) = (half("A", &[RANK, *inputs]), half("B", &[*outputs, RANK]));
            for (place, value) in values.iter_mut().enumerate() {
                let (row, column) = (place / inputs, place % inputs);
                let product: f64 = (0..RANK)
                    .map(|index| f64::from(up[row][index]) * f64::from(down[index][column]))
                    .sum();
                *value = (f64::from(*value) + strength * product) as f32;
            }
        }
        Ok(values)
    }
}

fn added(loras: &[(&str, f64)]) -> Tensor {
    let image = PackedImage::in_memory(|builder| pack(&TINY, &Added(loras), DType::F32, builder)).unwrap();
    heard(&HostWeights::new(&image))
}

fn heard(weights: &dyn WeightSource) -> Tensor {
    velocities(&Arc::new(Dit::new(&TINY, weights, 64).unwrap()), 21, 3)
}

fn adapted(set: &LoraSet) -> Tensor {
    heard(&AdaptedWeights::new(&HostWeights::new(&tiny_image()), set))
}

#[test]
fn a_lora_is_a_checkpoint_with_its_product_added() {
    let warm = lora("warm");
    let base = velocities(&tiny(), 21, 3);
    for strength in [0.5, 1.0, 2.0] {
        let actual = adapted(&LoraSet::new([(Arc::clone(&warm), strength)]));
        let off = error(&actual, &added(&[("warm", strength)]));
        assert!(off <= 1e-6, "strength {strength}: {off:.1e}");
        assert!(error(&actual, &base) > 1e-3, "strength {strength} is not heard");
    }
}

#[test]
fn two_loras_add_up() {
    let set = LoraSet::new([(lora("warm"), 0.7), (lora("deep"), 1.3)]);
    let off = error(&adapted(&set), &added(&[("warm", 0.7), ("deep", 1.3)]));
    assert!(off <= 1e-6, "{off:.1e}");
}

#[test]
fn strength_zero_is_the_base_to_the_bit() {
    let set = LoraSet::new([(lora("warm"), 0.0)]);
    assert!(set.is_empty());
    assert_eq!(error(&adapted(&set), &velocities(&tiny(), 21, 3)), 0.0);
}

/// Tensors that stay where they are, as a group's are on a device.
struct Views(HashMap<String, Tensor>);

impl Views {
    fn of(image: &PackedImage) -> Self {
        let host = HostWeights::new(image);
        let views = image.layout().iter().map(|(name, entry)| {
            let tensor = host.tensor(name, &entry.shape).unwrap();
            (name.to_owned(), tensor)
        });
        Self(views.collect())
    }
}

impl WeightSource for Views {
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let tensor = self.0.get(name).ok_or_else(|| WeightsError::Unknown(name.into()))?;
        assert_eq!(tensor.dims(), shape);
        Ok(tensor.clone())
    }
}

#[test]
fn weights_in_place_become_what_each_set_asks_for_and_the_base_again() {
    let image = tiny_image();
    let (views, adaptation) = (Views::of(&image), Adaptation::default());
    let network = Arc::new(Dit::new(&TINY, &views, 64).unwrap());
    let base = velocities(&network, 21, 3);
    let (warm, deep) = (lora("warm"), lora("deep"));
    let first = LoraSet::new([(Arc::clone(&warm), 2.0)]);
    adaptation.begin(&image, &views, &first).unwrap();
    assert_eq!(error(&velocities(&network, 21, 3), &adapted(&first)), 0.0);
    let both = LoraSet::new([(warm, 0.5), (deep, 1.0)]);
    assert!(adaptation.change(&image, &views, &both).unwrap());
    assert_eq!(error(&velocities(&network, 21, 3), &adapted(&both)), 0.0);
    assert!(!adaptation.change(&image, &views, &both).unwrap());
    assert!(adaptation.change(&image, &views, &LoraSet::default()).unwrap());
    assert_eq!(error(&velocities(&network, 21, 3), &base), 0.0);
}

#[test]
fn names_with_the_decoder_before_them_are_the_same_matrices() {
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "long.safetensors", &matrices("warm", "decoder."));
    let long = LoraSet::new([(Arc::new(Lora::open(&path, &TINY).unwrap()), 1.0)]);
    assert_eq!(
        error(&adapted(&long), &adapted(&LoraSet::new([(lora("warm"), 1.0)]))),
        0.0
    );
}

#[test]
fn what_the_header_says_is_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("named.safetensors");
    let said = HashMap::from([("name".to_owned(), "Deep House".to_owned())]);
    safetensors::serialize_to_file(matrices("warm", ""), Some(said.clone()), &path).unwrap();
    let lora = Lora::open(&path, &TINY).unwrap();
    assert_eq!(lora.metadata(), &said.into_iter().collect::<BTreeMap<_, _>>());
    let values: usize = CHANGED
        .iter()
        .map(|(_, outputs, inputs)| RANK * (outputs + inputs))
        .sum();
    assert_eq!(lora.bytes(), 4 * values as u64);
}

/// What is wrong with a LoRA that was good before `spoil`.
fn problem(spoil: impl FnOnce(&mut Matrices)) -> LoraProblem {
    let mut matrices = matrices("warm", "");
    spoil(&mut matrices);
    let folder = TempDir::new().unwrap();
    let path = write(folder.path(), "spoilt.safetensors", &matrices);
    let error = Lora::open(&path, &TINY).unwrap_err();
    assert_eq!(error.path, path);
    error.problem
}

#[test]
fn every_fault_of_a_file_is_named() {
    let up = "base_model.model.condition_embedder.lora_B.weight";
    let down = "base_model.model.condition_embedder.lora_A.weight";
    let extra =
        |name: &'static str| move |matrices: &mut Matrices| drop(matrices.insert(name.into(), given("x", &[4, 4])));
    let wrong =
        |name: &'static str, tensor: Tensor| move |matrices: &mut Matrices| drop(matrices.insert(name.into(), tensor));
    assert!(matches!(problem(extra("q_proj.weight")), LoraProblem::Name(name) if name == "q_proj.weight"));
    let unknown = problem(extra("base_model.model.layers.9.self_attn.q_proj.lora_A.weight"));
    assert!(matches!(unknown, LoraProblem::Unknown(name) if name == "layers.9.self_attn.q_proj"));
    let half = problem(|matrices| drop(matrices.remove(up)));
    assert!(matches!(half, LoraProblem::Half(name) if name == "condition_embedder"));
    let wide = problem(wrong(down, given("x", &[RANK, 31])));
    assert!(matches!(wide, LoraProblem::Shape { name, needed, .. } if name == down && needed == "[rank, 32]"));
    let ranks = problem(wrong(up, given("x", &[32, RANK + 1])));
    assert!(matches!(ranks, LoraProblem::Shape { name, needed, .. } if name == up && needed == "[32, 4]"));
    let whole = problem(wrong(up, Tensor::zeros((32, RANK), DType::I64, &Device::Cpu).unwrap()));
    assert!(matches!(whole, LoraProblem::Type { name, found } if name == up && found == "I64"));
    let infinite = problem(wrong(
        up,
        Tensor::full(f32::INFINITY, (32, RANK), &Device::Cpu).unwrap(),
    ));
    assert!(matches!(infinite, LoraProblem::NotFinite(name) if name == up));
    assert!(matches!(problem(HashMap::clear), LoraProblem::Empty));
}

#[test]
fn a_file_that_is_not_there_or_is_none_is_named() {
    let folder = TempDir::new().unwrap();
    let missing = Lora::open(&folder.path().join("missing.safetensors"), &TINY).unwrap_err();
    assert!(matches!(missing.problem, LoraProblem::Io(_)), "{missing}");
    let path = folder.path().join("words.safetensors");
    std::fs::write(&path, "these are no weights").unwrap();
    let words = Lora::open(&path, &TINY).unwrap_err();
    assert!(matches!(words.problem, LoraProblem::Container(_)), "{words}");
    assert!(words.to_string().contains("words.safetensors"));
}
