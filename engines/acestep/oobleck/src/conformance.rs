//! The published shape's network on a GPU compared with itself on the CPU in f32, since the golden tensors are compared on the CPU alone.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use greenroom_kernels::Conformity;
use greenroom_weights::{CopiedWeights, DeviceLane, HostWeights, PackedImage, RandomTensors, uniform};

use crate::{Oobleck, OobleckConfig, OobleckError, Windows, pack};

/// Latent frames that are compared: more than either network looks at.
const FRAMES: usize = 30;

/// Encodes a sound and decodes a window, in single precision and in the type that a GPU's networks have. Its rounding adds up over some 70
/// layers: to 6e-2 where each step of a layer rounds (measured of the reference on these weights), to less where sums stay in f32. A window
/// that the lane recorded is compared with one that it did not: nothing may differ.
///
/// # Errors
/// If the device fails; a wrong result is no error but a [`Conformity`] that does not hold.
pub fn conformance(lane: &Arc<dyn DeviceLane>) -> std::result::Result<Vec<Conformity>, OobleckError> {
    let config = OobleckConfig::public();
    let image = |dtype| PackedImage::in_memory(|builder| pack(&config, &RandomTensors { seed: 3 }, dtype, builder));
    let mut found = Vec::new();
    for (dtype, bound) in [(DType::F32, 1e-4), (DType::BF16, 6e-2)] {
        let image = image(dtype)?;
        let here = Oobleck::new(&config, &HostWeights::new(&image))?;
        let there = Arc::new(Oobleck::new(&config, &CopiedWeights::new(&image, lane.device()))?);
        found.push(Conformity {
            name: format!("oobleck, recorded window {}", dtype.as_str()),
            error: recorded_distance(lane, &there)?,
            bound: 0.0,
        });
        for (part, error) in distances(&config, &here, &there)? {
            found.push(Conformity {
                name: format!("oobleck, {part} {}", dtype.as_str()),
                error,
                bound,
            });
        }
    }
    Ok(found)
}

/// How far what `there` makes is from what `here` makes, ‖a−b‖/‖b‖.
fn distances(config: &OobleckConfig, here: &Oobleck, there: &Oobleck) -> Result<Vec<(&'static str, f64)>> {
    let sound = uniform("sound", 3, FRAMES * config.frame_samples() * config.audio_channels);
    let encode = |network: &Oobleck| network.encode::<candle_core::Error>(&sound, &mut || Ok(()));
    let (expected, actual) = (encode(here)?, encode(there)?);
    let decode = |network: &Oobleck| network.decode_window(&expected.to_device(network.device())?, 0, 9, true);
    Ok(vec![
        ("latents", distance(&values(&actual)?, &values(&expected)?)),
        ("sound", distance(&decode(there)?, &decode(here)?)),
    ])
}

/// How far windows that repeat a recording are from others, where they are farthest.
fn recorded_distance(lane: &Arc<dyn DeviceLane>, network: &Arc<Oobleck>) -> Result<f64> {
    let channels = network.config().latent_channels();
    let latents = Tensor::from_vec(
        uniform("latents", 3, FRAMES * channels),
        (FRAMES, channels),
        network.device(),
    )?;
    let mut windows = Windows::recording(Arc::clone(lane));
    let mut worst = 0.0_f64;
    for first in [0, 5, 25, 11, 20, 7] {
        let expected = network.decode_window(&latents, first, 9, true)?;
        worst = worst.max(distance(
            &windows.decode(network, &network.window(&latents, first..first + 9, true)?)?,
            &expected,
        ));
    }
    Ok(worst)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let off = squares(&mut actual.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    (off / squares(&mut expected.iter().map(|value| f64::from(*value)))).sqrt()
}
