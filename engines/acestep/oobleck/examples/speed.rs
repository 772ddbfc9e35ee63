//! Measures the autoencoder on the CPU: `cargo run --release -p greenroom-oobleck --example speed -- [width] [seconds]`. Weights are random.

#![allow(clippy::print_stdout)] // It is a report.

use std::time::Instant;

use candle_core::DType;
use greenroom_oobleck::{Oobleck, OobleckConfig, pack};
use greenroom_weights::{HostWeights, PackedImage, RandomTensors, uniform};

/// Windows that are decoded.
const WINDOWS: usize = 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual| arguments.next().map_or(usual, |text| text.parse().expect("a number"));
    let (width, seconds): (usize, usize) = (number(8), number(60));
    let config = OobleckConfig {
        encoder_hidden_size: width,
        decoder_channels: width,
        ..OobleckConfig::public()
    };
    let tensors = RandomTensors { seed: 1 };
    let image = PackedImage::in_memory(|builder| pack(&config, &tensors, DType::F32, builder)).expect("an image");
    let network = Oobleck::new(&config, &HostWeights::new(&image)).expect("a network");
    let sound = uniform("sound", 1, 2 * config.sampling_rate as usize * seconds);

    let (started, mut looked, mut longest) = (Instant::now(), Instant::now(), 0.0_f64);
    let mut look = || {
        longest = longest.max(looked.elapsed().as_secs_f64());
        looked = Instant::now();
        Ok::<_, candle_core::Error>(())
    };
    let latents = network.encode(&sound, &mut look).expect("latents");
    println!(
        "encode {seconds} s: {:.3} s, looking up every {longest:.3} s",
        started.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    for window in 0..WINDOWS {
        network.decode_window(&latents, 9 * window, 9, true).expect("sound");
    }
    let milliseconds = started.elapsed().as_secs_f64() * 1e3 / WINDOWS as f64;
    println!("decode 9 frames: {milliseconds:.2} ms");
}
