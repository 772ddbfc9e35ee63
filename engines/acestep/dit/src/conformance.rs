//! Whole generations on a GPU compared with the same on the CPU in f32, since the golden tensors are compared on the CPU alone.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_kernels::Conformity;
use greenroom_weights::{CopiedWeights, DeviceLane, HostWeights, PackedImage, RandomTensors, WeightSource, uniform};

use crate::{Dit, DitConfig, DitError, Runner, pack};

/// The published network, less wide and less deep: heads, windows and turns as there.
const CONFIG: DitConfig = DitConfig {
    hidden_size: 512,
    intermediate_size: 1536,
    num_hidden_layers: 6,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 128,
    in_channels: 192,
    audio_acoustic_hidden_dim: 64,
    patch_size: 2,
    sliding_window: 128,
    rope_theta: 1e6,
    rms_norm_eps: 1e-6,
};
/// Frames of a generation: more tokens than a window has, and an odd last one.
const FRAMES: usize = 401;
/// States of each slot's prompt.
const STATES: [usize; 2] = [83, 40];
/// Eight steps, shift 3.
const SCHEDULE: [f64; 9] = [1.0, 21.0 / 22.0, 0.9, 5.0 / 6.0, 0.75, 9.0 / 14.0, 0.5, 0.3, 0.0];

/// Generates two slots in eight steps: in single precision and in that of a GPU's networks against the CPU's single precision, whose weights
/// were never rounded; and recorded by the lane against not recorded, where nothing may differ.
///
/// # Errors
/// If the device fails; a wrong result is no error but a [`Conformity`] that does not hold.
pub fn conformance(lane: &Arc<dyn DeviceLane>) -> std::result::Result<Vec<Conformity>, DitError> {
    let image = |dtype| PackedImage::in_memory(|builder| pack(&CONFIG, &RandomTensors { seed: 3 }, dtype, builder));
    let single = image(DType::F32)?;
    let expected = generated(&network(&HostWeights::new(&single))?, Runner::default())?;
    let mut found = Vec::new();
    for (dtype, bound) in [(DType::F32, 1e-4), (DType::BF16, 2e-2)] {
        let image = image(dtype)?;
        let network = network(&CopiedWeights::new(&image, lane.device()))?;
        let eager = generated(&network, Runner::default())?;
        let recorded = generated(&network, Runner::recording(Arc::clone(lane)))?;
        for (how, error, bound) in [
            ("eager against the CPU", distance(&eager, &expected), bound),
            ("recorded against eager", distance(&recorded, &eager), 0.0),
        ] {
            found.push(Conformity {
                name: format!("dit, a generation {}, {how}", dtype.as_str()),
                error,
                bound,
            });
        }
    }
    Ok(found)
}

fn network(weights: &dyn WeightSource) -> std::result::Result<Arc<Dit>, DitError> {
    Ok(Arc::new(Dit::new(&CONFIG, weights, FRAMES)?))
}

fn given(name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::from_vec(uniform(name, 3, shape.iter().product()), shape, device)
}

/// Both slots after the last step.
fn generated(network: &Arc<Dit>, mut runner: Runner) -> Result<Vec<f32>> {
    let (device, slots) = (network.device(), STATES.len());
    let channels = CONFIG.audio_acoustic_hidden_dim;
    let prompts = STATES
        .iter()
        .map(|states| network.memory(&given("states", &[*states, CONFIG.hidden_size], device)?))
        .collect::<Result<Vec<_>>>()?;
    let context = given("context", &[slots, FRAMES, 2 * channels], device)?;
    let mut latents = given("noise", &[slots, FRAMES, channels], device)?;
    for step in SCHEDULE.windows(2) {
        let velocity = runner.on(network).velocity(&Batch {
            latents: &latents,
            times: &vec![step[0] as f32; slots],
            context: &context,
            prompts: &prompts,
        })?;
        latents = (latents + (velocity * (step[1] - step[0]))?)?;
    }
    latents.flatten_all()?.to_vec1()
}

/// ‖a − b‖ / ‖b‖.
fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let off = squares(&mut actual.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    (off / squares(&mut expected.iter().map(|value| f64::from(*value)))).sqrt()
}
