//! The network against diffusers' (see ../../goldens/make.py).

mod loras;
mod recordings;
mod refits;
mod streams;

use std::{path::PathBuf, sync::Arc};

use candle_core::{DType, Device, Tensor};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_weights::{HostWeights, PackedImage, RandomTensors, uniform};

use crate::{Dit, DitConfig, Memory, Runner, pack};

pub(crate) const PUBLIC: DitConfig = DitConfig {
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    in_channels: 192,
    audio_acoustic_hidden_dim: 64,
    patch_size: 2,
    sliding_window: 128,
    rope_theta: 1e6,
    rms_norm_eps: 1e-6,
};

pub(crate) const TINY: DitConfig = DitConfig {
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    in_channels: 24,
    audio_acoustic_hidden_dim: 8,
    patch_size: 2,
    sliding_window: 3,
    rope_theta: 1e6,
    rms_norm_eps: 1e-6,
};

/// States of each prompt, and its time.
const SLOTS: [(usize, f32); 3] = [(5, 1.0), (9, 0.45), (1, 0.3)];
/// Eight steps, shift 3.
const SCHEDULE: [f64; 9] = [1.0, 21.0 / 22.0, 0.9, 5.0 / 6.0, 0.75, 9.0 / 14.0, 0.5, 0.3, 0.0];
const BOUND: f64 = 1e-4;

pub(crate) fn tiny_image() -> Arc<PackedImage> {
    PackedImage::in_memory(|builder| pack(&TINY, &RandomTensors { seed: 1 }, DType::F32, builder)).unwrap()
}

pub(crate) fn tiny() -> Arc<Dit> {
    Arc::new(Dit::new(&TINY, &HostWeights::new(&tiny_image()), 64).unwrap())
}

pub(crate) fn given(name: &str, shape: &[usize]) -> Tensor {
    let values = uniform(name, 2, shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn goldens() -> std::collections::HashMap<String, Tensor> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens/transformer.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// ‖a − b‖ / ‖b‖.
pub(crate) fn error(actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(actual.dims(), expected.dims());
    let norm = |tensor: &Tensor| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
    };
    norm(&(actual - expected).unwrap()) / norm(expected)
}

fn stacked(name: &str, frames: usize, channels: usize) -> Tensor {
    let slots: Vec<Tensor> = (0..SLOTS.len())
        .map(|slot| given(&format!("{name}.{frames}.{slot}"), &[frames, channels]))
        .collect();
    Tensor::stack(&slots, 0).unwrap()
}

pub(crate) fn prompts(network: &Dit) -> Vec<Arc<Memory>> {
    (0..SLOTS.len())
        .map(|slot| {
            network
                .memory(&given(&format!("states.{slot}"), &[SLOTS[slot].0, TINY.hidden_size]))
                .unwrap()
        })
        .collect()
}

/// Velocities of the first `slots` slots in one forward.
fn velocities(network: &Arc<Dit>, frames: usize, slots: usize) -> Tensor {
    let channels = TINY.audio_acoustic_hidden_dim;
    let batch = |name: &str, channels: usize| stacked(name, frames, channels).narrow(0, 0, slots).unwrap();
    let times: Vec<f32> = SLOTS.iter().map(|(_, time)| *time).collect();
    Runner::default()
        .on(network)
        .velocity(&Batch {
            latents: &batch("latents", channels),
            times: &times[..slots],
            context: &batch("context", 2 * channels),
            prompts: &prompts(network)[..slots],
        })
        .unwrap()
}

#[test]
fn velocities_are_those_of_another_implementation() {
    let (network, goldens) = (tiny(), goldens());
    for frames in [21, 8] {
        let velocities = velocities(&network, frames, SLOTS.len());
        for slot in 0..SLOTS.len() {
            let off = error(
                &velocities.get(slot).unwrap(),
                &goldens[&format!("velocity.{frames}.{slot}")],
            );
            assert!(off <= BOUND, "{frames} frames, slot {slot}: {off:.1e}");
        }
    }
}

#[test]
fn a_slot_does_not_depend_on_who_else_is_in_the_batch() {
    let network = tiny();
    let all = velocities(&network, 21, SLOTS.len());
    let alone = velocities(&network, 21, 1);
    let off = error(&all.get(0).unwrap(), &alone.get(0).unwrap());
    assert!(off <= 1e-6, "{off:.1e}");
}

#[test]
fn a_whole_generation_is_that_of_another_implementation() {
    let (network, goldens) = (tiny(), goldens());
    let channels = TINY.audio_acoustic_hidden_dim;
    let prompts = prompts(&network);
    for (slot, prompt) in prompts.iter().enumerate() {
        let mut latents = given(&format!("noise.{slot}"), &[1, 21, channels]);
        let context = given(&format!("context.21.{slot}"), &[1, 21, 2 * channels]);
        let mut runner = Runner::default();
        for step in SCHEDULE.windows(2) {
            let batch = Batch {
                latents: &latents,
                times: &[step[0] as f32],
                context: &context,
                prompts: std::slice::from_ref(prompt),
            };
            let velocity = runner.on(&network).velocity(&batch).unwrap();
            latents = (&latents + (velocity * (step[1] - step[0])).unwrap()).unwrap();
        }
        let off = error(&latents.get(0).unwrap(), &goldens[&format!("generation.{slot}")]);
        assert!(off <= BOUND, "slot {slot}: {off:.1e}");
    }
}

#[test]
fn other_prompts_are_heard_at_once() {
    let network = tiny();
    let channels = TINY.audio_acoustic_hidden_dim;
    let prompts = prompts(&network);
    let (latents, context) = (
        given("latents", &[1, 8, channels]),
        given("context", &[1, 8, 2 * channels]),
    );
    let mut runner = Runner::default();
    let mut with = |prompt: &Arc<Memory>| {
        let batch = Batch {
            latents: &latents,
            times: &[0.5],
            context: &context,
            prompts: std::slice::from_ref(prompt),
        };
        runner.on(&network).velocity(&batch).unwrap()
    };
    let (first, second, again) = (with(&prompts[0]), with(&prompts[1]), with(&prompts[0]));
    assert!(error(&second, &first) > 1e-3);
    assert_eq!(error(&again, &first), 0.0);
}
