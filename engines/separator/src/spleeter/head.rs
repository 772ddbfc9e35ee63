//! The last two layers, which have too few channels for matrix products: filters are added up row by row.

use greenroom_sync::CancelFlag;
use rayon::prelude::*;

use super::{
    decoder::without_negatives,
    plane::{Plane, channel_of},
};

const KERNEL: usize = 5;
const MASK_KERNEL: usize = 4;

/// The last transposed 5×5 convolution with stride 2, to one channel; then bias, activation, normalisation.
#[derive(Debug)]
pub(crate) struct LastDecoder {
    /// `[inputs][5][5]`.
    pub(crate) filters: Vec<f32>,
    pub(crate) bias: f32,
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

impl LastDecoder {
    /// Expands the channels of `inputs`, one after the other, to `output`, of twice their height and width and one channel.
    pub(crate) fn run(&self, inputs: &[&Plane], output: &mut Plane, cancel: &CancelFlag) {
        let width = inputs[0].width();
        output
            .tiles_mut(2, 1)
            .into_par_iter()
            .enumerate()
            .for_each(|(y, mut rows)| {
                if cancel.is_raised() {
                    return;
                }
                let mut sums = vec![0.0; 4 * width];
                self.add_filters(inputs, y, &mut sums);
                for (row, sums) in rows.iter_mut().zip(sums.chunks_exact(2 * width)) {
                    let (even, odd) = sums.split_at(width);
                    let row = channel_of(row, 0, 2 * width);
                    for ((pair, even), odd) in row.chunks_exact_mut(2).zip(even).zip(odd) {
                        pair[0] = self.finish(*even);
                        pair[1] = self.finish(*odd);
                    }
                }
            });
    }

    /// Adds to `sums`, `[even row, odd row][even columns, odd columns][width]`, what the input rows around `y` contribute.
    fn add_filters(&self, inputs: &[&Plane], y: usize, sums: &mut [f32]) {
        let width = inputs[0].width();
        let channels = inputs
            .iter()
            .flat_map(|plane| (0..plane.channels()).map(move |channel| (*plane, channel)));
        for ((plane, channel), filter) in channels.zip(self.filters.chunks_exact(KERNEL * KERNEL)) {
            for dy in -1..=1_isize {
                let Some(source) = plane.row_if_there(y as isize + dy, channel) else {
                    continue;
                };
                for (row, sums) in sums.chunks_exact_mut(2 * width).enumerate() {
                    // As in `decoder`: this row of the filter, if it has such a row.
                    let ky = usize::try_from(row as isize + 1 - 2 * dy).ok();
                    let Some(taps) = ky.and_then(|ky| filter.chunks_exact(KERNEL).nth(ky)) else {
                        continue;
                    };
                    let (even, odd) = sums.split_at_mut(width);
                    add_taps(even, odd, source, taps);
                }
            }
        }
    }

    fn finish(&self, sum: f32) -> f32 {
        without_negatives(sum + self.bias) * self.scale + self.shift
    }
}

/// One filter row: taps 3 and 1 reach even columns, taps 4, 2 and 0 odd ones, from the left neighbour to the right one.
fn add_taps(even: &mut [f32], odd: &mut [f32], source: &[f32], taps: &[f32]) {
    let (left, here, right) = (source, &source[1..], &source[2..]);
    let sources = left.iter().zip(here).zip(right);
    for ((even, odd), ((left, here), right)) in even.iter_mut().zip(odd).zip(sources) {
        *even += taps[3] * left + taps[1] * here;
        *odd += taps[4] * left + taps[2] * here + taps[0] * right;
    }
}

/// The mask: 4×4 convolution with dilation 2, then the logistic function.
#[derive(Debug)]
pub(crate) struct MaskLayer {
    /// `[outputs][4][4]`.
    pub(crate) filters: Vec<f32>,
    /// `[outputs]`.
    pub(crate) bias: Vec<f32>,
}

impl MaskLayer {
    /// Masks of the size of `input`, one channel each for left and right; NaN wherever the network's output is not finite.
    pub(crate) fn run(&self, input: &Plane, masks: &mut Plane, cancel: &CancelFlag) {
        let width = input.width();
        masks
            .tiles_mut(1, 1)
            .into_par_iter()
            .enumerate()
            .for_each(|(y, mut rows)| {
                if cancel.is_raised() {
                    return;
                }
                for (channel, (filter, bias)) in self
                    .filters
                    .chunks_exact(MASK_KERNEL * MASK_KERNEL)
                    .zip(&self.bias)
                    .enumerate()
                {
                    let mask = channel_of(rows[0], channel, width);
                    mask.fill(*bias);
                    add_dilated(mask, input, y, filter);
                    mask.iter_mut().for_each(|value| *value = logistic(*value));
                }
            });
    }
}

fn add_dilated(sums: &mut [f32], input: &Plane, y: usize, filter: &[f32]) {
    let width = sums.len();
    for (ky, taps) in filter.chunks_exact(MASK_KERNEL).enumerate() {
        let Some(source) = input.row_if_there((y + 2 * ky) as isize - 3, 0) else {
            continue;
        };
        let source = &source[1..=width];
        for (kx, tap) in taps.iter().enumerate() {
            // Output column x looks at input column x + 2kx − 3.
            let (skip_output, skip_input) = (3_usize.saturating_sub(2 * kx), (2 * kx).saturating_sub(3));
            for (sum, value) in sums.iter_mut().skip(skip_output).zip(source.iter().skip(skip_input)) {
                *sum += tap * value;
            }
        }
    }
}

fn logistic(value: f32) -> f32 {
    if value.is_finite() {
        1.0 / (1.0 + (-value).exp())
    } else {
        f32::NAN
    }
}
