//! Against candle's own convolutions, which know nothing of products.

use candle_core::{D, Device};

use super::*;
use crate::args::testing::{assert_near, random};

/// Candle's layout, [1, channels, rows], and back.
fn channels_first(x: &Tensor) -> Tensor {
    x.t().unwrap().unsqueeze(0).unwrap().contiguous().unwrap()
}

fn channels_last(x: &Tensor) -> Tensor {
    x.squeeze(0).unwrap().t().unwrap().contiguous().unwrap()
}

/// A kernel [out, in, taps] as the operation wants it.
fn packed(kernel: &Tensor) -> Tensor {
    let (out, inputs, taps) = kernel.dims3().unwrap();
    let kernel = kernel.transpose(1, 2).unwrap().contiguous().unwrap();
    kernel.reshape((out, taps * inputs)).unwrap()
}

/// A transposed kernel [in, out, 2 · stride] as the operation wants it.
fn packed_transposed(kernel: &Tensor, stride: usize) -> Tensor {
    let (inputs, out, _) = kernel.dims3().unwrap();
    let half = |from| kernel.narrow(2, from, stride).unwrap();
    // [in, out, stride] each; the row before comes first.
    let taps = Tensor::stack(&[half(stride), half(0)], 0).unwrap();
    let taps = taps.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
    taps.reshape((stride * out, 2 * inputs)).unwrap()
}

fn curved(x: &Tensor, snake: &Tensor) -> Tensor {
    let (frequency, weight) = (snake.get(0).unwrap(), snake.get(1).unwrap());
    let sine = x.broadcast_mul(&frequency).unwrap().sin().unwrap();
    (x + sine.sqr().unwrap().broadcast_mul(&weight).unwrap()).unwrap()
}

fn layer(shape: Convolution, weight: Tensor, channels: usize) -> ConvolutionLayer {
    ConvolutionLayer {
        shape,
        weight,
        bias: Some(random(&[channels], 3)),
    }
}

#[test]
fn a_convolution_is_candles_at_every_length() {
    // Shorter than the kernel, one block, several with a rest.
    for rows in [1, 5, 300, 2_000] {
        for (taps, dilation) in [(7, 1), (7, 3), (7, 9), (1, 1), (3, 1)] {
            let (x, kernel) = (random(&[rows, 6], 1), random(&[10, 6, taps], 2));
            let layer = layer(Convolution::same(taps, dilation), packed(&kernel), 10);
            let padding = (taps - 1) * dilation / 2;
            let expected = channels_first(&x).conv1d(&kernel, padding, 1, dilation, 1).unwrap();
            let bias = layer.bias.as_ref().unwrap();
            let expected = channels_last(&expected).broadcast_add(bias).unwrap();
            assert_near(&convolve(&x, &layer, None).unwrap(), &expected, 1e-5);
        }
    }
}

#[test]
fn strides_take_rows_together_and_apart() {
    for (stride, rows) in [(2, 14), (4, 1_200), (5, 1_000), (10, 30)] {
        let (x, kernel) = (random(&[rows, 6], 1), random(&[9, 6, 2 * stride], 2));
        let down = layer(Convolution::down(stride), packed(&kernel), 9);
        let padding = stride.div_ceil(2);
        let expected = channels_first(&x).conv1d(&kernel, padding, stride, 1, 1).unwrap();
        let bias = down.bias.as_ref().unwrap();
        let expected = channels_last(&expected).broadcast_add(bias).unwrap();
        assert_near(&convolve(&x, &down, None).unwrap(), &expected, 1e-5);

        let kernel = random(&[6, 9, 2 * stride], 4);
        let up = layer(Convolution::up(stride), packed_transposed(&kernel, stride), 9);
        let expected = channels_first(&x)
            .conv_transpose1d(&kernel, padding, 0, stride, 1, 1)
            .unwrap();
        let expected = channels_last(&expected).broadcast_add(bias).unwrap();
        assert_near(&convolve(&x, &up, None).unwrap(), &expected, 1e-5);
    }
}

#[test]
fn a_trunk_carries_the_sum_and_its_curve() {
    let (x, snake) = (random(&[700, 6], 1), random(&[2, 10], 5));
    let first = layer(Convolution::up(4), packed_transposed(&random(&[6, 10, 8], 2), 4), 10);
    let trunk = convolve_trunk(&x, &first, &snake).unwrap();
    let expected = convolve(&x, &first, None).unwrap();
    assert_near(&trunk.get(0).unwrap(), &expected, 1e-6);
    assert_near(&trunk.get(1).unwrap(), &curved(&expected, &snake), 1e-5);
    assert_near(
        &convolve(&x, &first, Some(&snake)).unwrap(),
        &curved(&expected, &snake),
        1e-5,
    );

    let (h, next) = (random(&[2_800, 12], 6), random(&[2, 10], 7));
    let second = layer(Convolution::same(1, 1), random(&[10, 12], 8), 10);
    let expected = (expected + convolve(&h, &second, None).unwrap()).unwrap();
    let trunk = convolve_onto(trunk, &h, &second, &next).unwrap();
    assert_near(&trunk.get(0).unwrap(), &expected, 1e-6);
    assert_near(&trunk.get(1).unwrap(), &curved(&expected, &next), 1e-5);
}

#[test]
fn sounds_go_in_and_come_out() {
    let (sound, snake) = (random(&[900, 2], 1), random(&[2, 8], 2));
    let kernel = random(&[8, 2, 7], 3);
    let first = layer(Convolution::same(7, 1), packed(&kernel), 8);
    let trunk = convolve_sound(&sound, &first, &snake, candle_core::DType::F32).unwrap();
    assert_near(&trunk, &convolve_trunk(&sound, &first, &snake).unwrap(), 0.0);

    let last = ConvolutionLayer {
        bias: None,
        ..layer(Convolution::same(7, 1), packed(&random(&[2, 8, 7], 4)), 2)
    };
    let curved = trunk.get(1).unwrap();
    let out = convolve_to_sound(&curved, &last).unwrap();
    assert_eq!(out.dims(), [900, 2]);
    assert_near(&out, &convolve(&curved, &last, None).unwrap(), 0.0);
    assert!(convolve_sound(&curved, &first, &snake, candle_core::DType::F32).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = random(&[20, 6], 1);
    let refused = |x: &Tensor, shape, weight: &Tensor| {
        let layer = layer(shape, weight.clone(), 10);
        convolve(x, &layer, None).unwrap_err().to_string()
    };
    let weight = random(&[10, 18], 2);
    assert!(refused(&x, Convolution::same(1, 1), &weight).contains("do not go with"));
    assert!(refused(&x.narrow(0, 0, 1).unwrap(), Convolution::down(2), &random(&[10, 24], 2)).contains("nothing"));
    let layer = layer(Convolution::same(3, 1), weight, 10);
    let trunk = Tensor::zeros((2, 19, 10), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(convolve_onto(trunk, &x, &layer, &random(&[2, 10], 3)).is_err());
    assert_eq!(x.dim(D::Minus1).unwrap(), 6);
}
