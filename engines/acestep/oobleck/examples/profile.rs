//! Temporary: each layer on a GPU.
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use greenroom_kernels::{
    Convolution, ConvolutionLayer, ResidualUnit, convolve, convolve_onto, convolve_sound, convolve_to_sound,
    convolve_trunk,
};

fn main() {
    let device = Device::new_cuda(0).unwrap();
    if std::env::args().nth(1).is_none() {
        let started = Instant::now();
        for found in greenroom_kernels::conformance(&device).unwrap() {
            if found.name.contains("convol") || found.name.contains("unit") {
                println!(
                    "{} {} {:.2e} of {:.1e}",
                    if found.holds() { "ok " } else { "BAD" },
                    found.name,
                    found.error,
                    found.bound
                );
            }
        }
        println!("conformance {:.1} s", started.elapsed().as_secs_f64());
    }
    let random = |dims: &[usize], dtype| {
        Tensor::randn(0f32, 0.02, dims, &device)
            .unwrap()
            .to_dtype(dtype)
            .unwrap()
    };
    let time = |name: &str, flops: f64, bytes: f64, work: &mut dyn FnMut()| {
        work();
        device.synchronize().unwrap();
        let runs = 5;
        let started = Instant::now();
        for _ in 0..runs {
            work();
        }
        device.synchronize().unwrap();
        let seconds = started.elapsed().as_secs_f64() / runs as f64;
        println!(
            "{name}: {:.1} us {:.0} TFLOP/s {:.0} GB/s",
            seconds * 1e6,
            flops / seconds * 1e-12,
            bytes / seconds * 1e-9
        );
    };
    for (what, scale) in [("encode tile of 264 frames", 264), ("window of 25", 25)] {
        println!("{what}");
        for (channels, rate) in [(128, 1920), (128, 960), (256, 240), (512, 60), (1024, 10)] {
            let rows = rate * scale;
            let (c, r) = (channels as f64, rows as f64);
            let snake = random(&[2, channels], DType::F32);
            let x = random(&[rows, channels], DType::BF16);
            let layer = |shape: Convolution, inputs: usize, outputs: usize| ConvolutionLayer {
                shape,
                weight: random(&[outputs * shape.upsampling, shape.taps * inputs], DType::BF16),
                bias: Some(random(&[outputs], DType::F32)),
            };
            let wide = layer(Convolution::same(7, 9), channels, channels);
            time(
                &format!("k7 {channels} x {rows}"),
                14.0 * c * c * r,
                4.0 * c * r,
                &mut || {
                    convolve(&x, &wide, Some(&snake)).unwrap();
                },
            );
            let point = layer(Convolution::same(1, 1), channels, channels);
            let trunk = random(&[2, rows, channels], DType::BF16);
            time(
                &format!("k1 {channels} x {rows}"),
                2.0 * c * c * r,
                8.0 * c * r,
                &mut || {
                    convolve_onto(trunk.clone(), &x, &point, &snake).unwrap();
                },
            );
            if channels == 128 {
                let unit = ResidualUnit {
                    dilated: wide.clone(),
                    between: snake.clone(),
                    pointwise: point.clone(),
                    next: snake.clone(),
                };
                time(
                    &format!("unit {channels} x {rows}"),
                    16.0 * c * c * r,
                    8.0 * c * r,
                    &mut || {
                        unit.forward(trunk.clone()).unwrap();
                    },
                );
            }
        }
        for (upper, lower, ratio, rate) in [
            (128, 128, 2, 960),
            (128, 256, 4, 240),
            (256, 512, 4, 60),
            (512, 1024, 6, 10),
            (1024, 2048, 10, 1),
        ] {
            let rows = rate * scale;
            let flops = 4.0 * (upper * lower * ratio * rows) as f64;
            let snake = random(&[2, lower], DType::F32);
            let x = random(&[rows * ratio, upper], DType::BF16);
            let shape = Convolution::down(ratio);
            let down = ConvolutionLayer {
                shape,
                weight: random(&[lower, 2 * ratio * upper], DType::BF16),
                bias: None,
            };
            time(&format!("down {upper} {lower} x {rows}"), flops, 0.0, &mut || {
                convolve_trunk(&x, &down, &snake).unwrap();
            });
            let snake = random(&[2, upper], DType::F32);
            let x = random(&[rows, lower], DType::BF16);
            let shape = Convolution::up(ratio);
            let up = ConvolutionLayer {
                shape,
                weight: random(&[upper * ratio, 2 * lower], DType::BF16),
                bias: None,
            };
            time(&format!("up {lower} {upper} x {rows}"), flops, 0.0, &mut || {
                convolve_trunk(&x, &up, &snake).unwrap();
            });
        }
        let rows = 1920 * scale;
        let sound = random(&[rows, 2], DType::F32);
        let shape = Convolution::same(7, 1);
        let first = ConvolutionLayer {
            shape,
            weight: random(&[128, 14], DType::F32),
            bias: Some(random(&[128], DType::F32)),
        };
        let snake = random(&[2, 128], DType::F32);
        time("sound in", 0.0, 512.0 * rows as f64, &mut || {
            convolve_sound(&sound, &first, &snake, DType::BF16).unwrap();
        });
        let x = random(&[rows, 128], DType::BF16);
        let last = ConvolutionLayer {
            shape,
            weight: random(&[2, 896], DType::F32),
            bias: None,
        };
        time("sound out", 0.0, 256.0 * rows as f64, &mut || {
            convolve_to_sound(&x, &last).unwrap();
        });
    }
}
