//! Measures the autoencoder: `cargo run --release -p greenroom-oobleck --example speed -- cpu|gpu [width] [seconds]`. Weights are random.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use greenroom_oobleck::{Oobleck, OobleckConfig, pack};
use greenroom_weights::{PackedImage, RandomTensors, WeightSource, WeightsError, uniform};

/// An image's tensors, copied to a device.
struct Copies<'a> {
    image: &'a PackedImage,
    device: Device,
}

impl WeightSource for Copies<'_> {
    fn device(&self) -> &Device {
        &self.device
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let entry = self.image.layout().find(name, shape)?;
        let bytes = &self.image.bytes()[entry.offset..entry.offset + entry.bytes()];
        Tensor::from_raw_buffer(bytes, entry.dtype, shape, &self.device).map_err(|source| WeightsError::Tensor {
            name: name.into(),
            source,
        })
    }
}

fn milliseconds(runs: usize, mut work: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[runs / 2])
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let gpu = arguments.next().as_deref() == Some("gpu");
    let width: usize = arguments.next().map_or(8, |text| text.parse().expect("a width"));
    let seconds: usize = arguments.next().map_or(60, |text| text.parse().expect("seconds"));
    let config = OobleckConfig {
        encoder_hidden_size: width,
        decoder_channels: width,
        ..OobleckConfig::public()
    };
    let (device, dtype) = if gpu {
        (Device::new_cuda(0).expect("a GPU"), DType::BF16)
    } else {
        (Device::Cpu, DType::F32)
    };
    let tensors = RandomTensors { seed: 1 };
    let image = PackedImage::in_memory(|builder| pack(&config, &tensors, dtype, builder)).expect("an image");
    let network = Oobleck::new(
        &config,
        &Copies {
            image: &image,
            device: device.clone(),
        },
    )
    .expect("a network");
    let sound = uniform("sound", 1, 2 * 48_000 * seconds);
    let mut latents = None;
    let mut encode = || {
        latents = Some(
            network
                .encode::<candle_core::Error>(&sound, &mut || Ok(()))
                .expect("latents"),
        );
    };
    encode();
    println!(
        "encode {seconds} s: {:?} ms",
        milliseconds(if gpu { 5 } else { 2 }, encode)
    );
    let latents = latents.expect("it was encoded");
    let mut first = 0;
    let decode = || {
        first += 9;
        network.decode_window(&latents, first, 9, true).expect("sound");
    };
    println!("window: {:?} ms", milliseconds(20, decode));
}
