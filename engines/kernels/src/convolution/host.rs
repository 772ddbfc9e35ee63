//! Convolutions on the CPU: blocks of product rows in parallel, each a matrix product and what follows it.

use std::cell::RefCell;

use rayon::prelude::*;

use super::{Convolution, Extent};
use crate::matmul::Product;

/// Values of gathered input and of sums that a block should have at most: both then stay in the second-level cache.
const BLOCK_VALUES: usize = 64 << 10;
const BLOCK_ROWS: std::ops::RangeInclusive<usize> = 32..=512;

/// Where results go: one value of each a product value, less what is cropped.
pub(super) enum Planes<'a> {
    Raw(&'a mut [f32]),
    Curved(&'a mut [f32]),
    Both {
        raw: &'a mut [f32],
        curved: &'a mut [f32],
        /// Whether `raw` is added to.
        adds: bool,
    },
}

impl<'a> Planes<'a> {
    /// Of a trunk, whose halves they are.
    pub(super) fn both(trunk: &'a mut [f32], adds: bool) -> Self {
        let (raw, curved) = trunk.split_at_mut(trunk.len() / 2);
        Self::Both { raw, curved, adds }
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::Raw(raw) => {
                let (first, rest) = raw.split_at_mut(at.min(raw.len()));
                (Self::Raw(first), Self::Raw(rest))
            }
            Self::Curved(curved) => {
                let (first, rest) = curved.split_at_mut(at.min(curved.len()));
                (Self::Curved(first), Self::Curved(rest))
            }
            Self::Both { raw, curved, adds } => {
                let at = at.min(raw.len());
                let ((raw, raw_rest), (curved, curved_rest)) = (raw.split_at_mut(at), curved.split_at_mut(at));
                let rest = Self::Both {
                    raw: raw_rest,
                    curved: curved_rest,
                    adds,
                };
                (Self::Both { raw, curved, adds }, rest)
            }
        }
    }
}

/// One convolution.
pub(super) struct Work<'a> {
    /// [rows, channels in].
    pub(super) x: &'a [f32],
    /// [columns, taps · channels in].
    pub(super) weights: &'a [f32],
    /// [channels out].
    pub(super) bias: Vec<f32>,
    /// Frequencies, then weights; empty where nothing is curved.
    pub(super) snake: Vec<f32>,
    pub(super) shape: Convolution,
    pub(super) extent: Extent,
}

thread_local! {
    /// Gathered input and sums of a block: fresh memory for each would cost more than filling it.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Work<'_> {
    /// Values of a sum.
    fn sum(&self) -> usize {
        self.shape.taps * self.extent.channels_in
    }

    pub(super) fn run(&self, planes: Planes<'_>) {
        let columns = self.extent.columns(&self.shape);
        let block = (BLOCK_VALUES / self.sum().max(columns)).clamp(*BLOCK_ROWS.start(), *BLOCK_ROWS.end());
        // Blocks of product rows, each with its part of the result: the first one's lacks what is cropped, the last ends where the result does.
        let (mut blocks, mut rest, mut first) = (Vec::new(), planes, 0);
        while first < self.extent.product_rows {
            let rows = block.min(self.extent.product_rows - first);
            let skipped = (self.shape.crop * self.extent.channels_out).saturating_sub(first * columns);
            let (own, others) = rest.split_at((rows * columns).saturating_sub(skipped));
            blocks.push((first, rows, skipped, own));
            rest = others;
            first += rows;
        }
        blocks.into_par_iter().for_each(|(first, rows, skipped, planes)| {
            SCRATCH.with_borrow_mut(|(gathered, sums)| {
                sums.resize(rows * columns, 0.0);
                self.multiply(first, rows, gathered, sums);
                self.finish(sums, rows, skipped, planes);
            });
        });
    }

    /// Sums of so many product rows, column by column.
    fn multiply(&self, first: usize, rows: usize, gathered: &mut Vec<f32>, sums: &mut [f32]) {
        let (Convolution { stride, padding, .. }, channels) = (self.shape, self.extent.channels_in);
        let begin = first * stride;
        let end = (first + rows - 1) * stride + self.shape.taps;
        let inside = begin >= padding && end - padding <= self.extent.rows_in;
        // Taps side by side are one row already, unless some of it is thought.
        let (rows_of_data, step) = if self.shape.dilation == 1 && inside {
            (&self.x[(begin - padding) * channels..], stride * channels)
        } else {
            self.gather(first, rows, gathered);
            (gathered.as_slice(), self.sum())
        };
        let product = Product {
            m: rows,
            n: self.extent.columns(&self.shape),
            k: self.sum(),
            rows: rows_of_data,
            stride: step,
            weights: self.weights,
        };
        product.store(sums);
    }

    /// The input under each of so many product rows.
    fn gather(&self, first: usize, rows: usize, gathered: &mut Vec<f32>) {
        let channels = self.extent.channels_in;
        gathered.resize(rows * self.sum(), 0.0);
        for (index, taps) in gathered.chunks_exact_mut(self.sum()).enumerate() {
            let begin = (first + index) * self.shape.stride;
            for (tap, out) in taps.chunks_exact_mut(channels).enumerate() {
                let row = (begin + tap * self.shape.dilation).checked_sub(self.shape.padding);
                match row.filter(|row| *row < self.extent.rows_in) {
                    Some(row) => out.copy_from_slice(&self.x[row * channels..][..channels]),
                    None => out.fill(0.0),
                }
            }
        }
    }

    /// Bias, residual sum and curve, from sums [columns][rows] to this block's part of the result.
    fn finish(&self, sums: &[f32], rows: usize, skipped: usize, planes: Planes<'_>) {
        let channels = self.extent.channels_out;
        let columns = self.extent.columns(&self.shape);
        let place = |out: &mut [f32], adds: bool| {
            for (out, index) in out.chunks_exact_mut(channels).zip((skipped..).step_by(channels)) {
                let (row, column) = (index / columns, index % columns);
                for (channel, out) in out.iter_mut().enumerate() {
                    let value = sums[(column + channel) * rows + row] + self.bias[channel];
                    *out = if adds { *out + value } else { value };
                }
            }
        };
        match planes {
            Planes::Raw(raw) => place(raw, false),
            Planes::Curved(curved) => {
                place(curved, false);
                curved.chunks_exact_mut(channels).for_each(|row| self.curve(row));
            }
            Planes::Both { raw, curved, adds } => {
                place(raw, adds);
                curved.copy_from_slice(raw);
                curved.chunks_exact_mut(channels).for_each(|row| self.curve(row));
            }
        }
    }

    fn curve(&self, row: &mut [f32]) {
        let (frequencies, weights) = self.snake.split_at(row.len());
        for ((value, frequency), weight) in row.iter_mut().zip(frequencies).zip(weights) {
            *value += weight * squared_sine(frequency * *value);
        }
    }
}

/// sin²(x), whose period is π, to 2e-7. Written out so that the compiler makes vectors of it; the library's sine is a call a value.
fn squared_sine(x: f32) -> f32 {
    /// π in two parts, the first of so few bits that its multiples are exact.
    const PI: [f32; 2] = [3.140_625, 9.676_536e-4];
    /// Adding and subtracting it rounds to the nearest whole number.
    const ROUNDS: f32 = 12_582_912.0;
    let periods = (x * std::f32::consts::FRAC_1_PI + ROUNDS) - ROUNDS;
    let r = x - periods * PI[0] - periods * PI[1];
    // The sine's series, enough of it for −π/2..π/2.
    let s = r * r;
    let sine = r
        * (1.0
            + s * (-1.0 / 6.0
                + s * (1.0 / 120.0 + s * (-1.0 / 5_040.0 + s * (1.0 / 362_880.0 - s * (1.0 / 39_916_800.0))))));
    sine * sine
}

#[cfg(test)]
mod tests {
    use super::squared_sine;

    #[test]
    fn the_squared_sine_is_the_librarys() {
        for index in -40_000..40_000 {
            let x = index as f32 * 0.0137;
            let expected = f64::from(x).sin().powi(2);
            assert!((f64::from(squared_sine(x)) - expected).abs() < 1e-6, "{x}");
        }
    }
}
