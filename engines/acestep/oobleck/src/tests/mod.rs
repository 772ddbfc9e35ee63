//! Parity with an independent implementation, whose numbers `goldens/make.py` wrote down, and of tiles and windows with the whole.

mod parts;
mod recordings;
mod stages;

use std::{fs, path::Path, sync::Arc};

use candle_core::{DType, Device, Tensor};
use greenroom_weights::{HostWeights, PackedImage, RandomTensors, WeightSource, uniform};
use safetensors::SafeTensors;

use super::{Oobleck, OobleckConfig, pack};

/// How near is near, as ‖a−b‖/‖b‖ and as the largest difference of the largest value.
const TOLERANCE: f64 = 1e-4;

/// The shapes of `goldens/make.py`.
fn config(ratios: &[usize], multiples: &[usize], [encoder, decoder, latent]: [usize; 3]) -> OobleckConfig {
    OobleckConfig {
        encoder_hidden_size: encoder,
        downsampling_ratios: ratios.into(),
        channel_multiples: multiples.into(),
        decoder_channels: decoder,
        decoder_input_channels: latent,
        ..OobleckConfig::public()
    }
}

fn narrow() -> OobleckConfig {
    config(&[2, 4], &[1, 2], [8, 8, 4])
}

fn rates() -> OobleckConfig {
    config(&[2, 4, 4, 6, 10], &[1, 1, 2, 2, 3], [8, 6, 4])
}

fn latent() -> OobleckConfig {
    config(&[4, 2], &[2, 1], [4, 4, 16])
}

fn image(config: &OobleckConfig, seed: u64) -> Arc<PackedImage> {
    PackedImage::in_memory(|builder| pack(config, &RandomTensors { seed }, DType::F32, builder)).unwrap()
}

fn network(config: &OobleckConfig, seed: u64) -> Oobleck {
    Oobleck::new(config, &HostWeights::new(&image(config, seed))).unwrap()
}

/// A tensor of an image.
fn tensor(image: &PackedImage, name: &str, shape: &[usize]) -> Tensor {
    HostWeights::new(image).tensor(name, shape).unwrap()
}

/// A named input, [rows, channels].
fn data(name: &str, seed: u64, rows: usize, channels: usize) -> Tensor {
    Tensor::from_vec(uniform(name, seed, rows * channels), (rows, channels), &Device::Cpu).unwrap()
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Latents of a named sound of so many frames.
fn encoded(network: &Oobleck, seed: u64, frames: usize) -> Tensor {
    let sound = uniform("sound", seed, 2 * frames * network.config().frame_samples());
    network.encode::<candle_core::Error>(&sound, &mut || Ok(())).unwrap()
}

/// ‖a−b‖/‖b‖, and the largest difference as a part of the largest value.
fn distance(actual: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(actual.len(), expected.len());
    let (mut square, mut error_square, mut largest, mut largest_error) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (actual, expected) in actual.iter().zip(expected) {
        let (expected, error) = (f64::from(*expected), f64::from(*actual) - f64::from(*expected));
        square += expected * expected;
        error_square += error * error;
        largest = largest.max(expected.abs());
        largest_error = largest_error.max(error.abs());
    }
    assert!(square > 0.0, "silence: nothing would be compared");
    ((error_square / square).sqrt(), largest_error / largest)
}

/// Asserts that values are those of a golden tensor.
fn assert_golden(name: &str, actual: &Tensor) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/autoencoder.safetensors");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    assert_eq!(view.shape(), actual.dims(), "{name}");
    let expected: Vec<f32> = view
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .copied()
        .map(f32::from_le_bytes)
        .collect();
    let (overall, worst) = distance(&list(actual), &expected);
    eprintln!("{name}: {overall:.1e} of all, {worst:.1e} of the largest");
    assert!(
        overall <= TOLERANCE && worst <= TOLERANCE,
        "{name}: {overall:.1e}, {worst:.1e}"
    );
}
