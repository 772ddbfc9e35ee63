//! The published shape's network on a GPU compared with itself on the CPU in f32, since the golden tensors are compared on the CPU alone.

use candle_core::{DType, Device, Result, Tensor};
use greenroom_kernels::Conformity;
use greenroom_weights::{CopiedWeights, HostWeights, PackedImage, RandomTensors, uniform};

use crate::{Oobleck, OobleckConfig, OobleckError, pack};

/// Latent frames that are compared: more than either network looks at.
const FRAMES: usize = 30;

/// Encodes a sound and decodes a window, in single precision and in the type that a GPU's networks have. Its rounding adds up over some 70
/// layers: to 6e-2 where each step of a layer rounds (measured of the reference on these weights), to less where sums stay in f32.
///
/// # Errors
/// If the device fails; a wrong result is no error but a [`Conformity`] that does not hold.
pub fn conformance(device: &Device) -> std::result::Result<Vec<Conformity>, OobleckError> {
    let config = OobleckConfig::public();
    let image = |dtype| PackedImage::in_memory(|builder| pack(&config, &RandomTensors { seed: 3 }, dtype, builder));
    let mut found = Vec::new();
    for (dtype, bound) in [(DType::F32, 1e-4), (DType::BF16, 6e-2)] {
        let image = image(dtype)?;
        let here = Oobleck::new(&config, &HostWeights::new(&image))?;
        let there = Oobleck::new(&config, &CopiedWeights::new(&image, device))?;
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

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

fn distance(actual: &[f32], expected: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let off = squares(&mut actual.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
    (off / squares(&mut expected.iter().map(|value| f64::from(*value)))).sqrt()
}
