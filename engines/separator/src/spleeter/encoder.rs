//! A layer of the contracting half: 5×5 convolution with stride 2, as products over gathered columns.

use std::ops::Range;

use greenroom_sync::CancelFlag;
use rayon::prelude::*;

use super::{
    matmul::Product,
    plane::{Plane, channel_of},
    scratch::{Scratch, with_scratch},
    tiling::{Tile, Tiling},
};

const KERNEL: usize = 5;
const TAPS: usize = KERNEL * KERNEL;
/// Slope of the activation below zero.
const LEAK: f32 = 0.2;
/// Input channels whose columns are gathered at once: with 256 columns 400 KiB, which stays in the second-level cache.
const CHUNK_CHANNELS: usize = 16;

/// Weights of one layer. The convolution's result is kept as it is (the skip connection), and goes on normalised and activated.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Input channels.
    pub(crate) inputs: usize,
    /// `[outputs][inputs · 25]`.
    pub(crate) weights: Vec<f32>,
    /// `[outputs]`.
    pub(crate) bias: Vec<f32>,
    /// `[outputs]`, of the normalisation that follows.
    pub(crate) scale: Vec<f32>,
    /// `[outputs]`, of the normalisation that follows.
    pub(crate) shift: Vec<f32>,
}

/// Where the values of filter column `kx` are in a row that is stored as even columns, then odd columns: which half, and how far
/// from the margin's start. Output column `j` looks at input column `2j + kx − 1`.
const COLUMN_SOURCE: [(usize, usize); KERNEL] = [(1, 0), (0, 1), (1, 1), (0, 2), (1, 2)];

impl Encoder {
    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Convolves `input`, a split plane (channel `2c` holds the even columns of channel `c`, `2c + 1` the odd ones), into `raw`
    /// (half the height, `outputs()` channels); `next` gets the activated values as a split plane, if there is a next layer.
    ///
    /// A raised flag ends the work early; the planes then hold rubbish.
    pub(crate) fn run(&self, input: &Plane, raw: &mut Plane, next: Option<&mut Plane>, cancel: &CancelFlag) {
        let tiling = Tiling::of(raw.height(), raw.width(), self.outputs());
        let next_tiles = match next {
            Some(next) => next.tiles_mut(tiling.rows, tiling.groups),
            None => (0..tiling.tiles).map(|_| Vec::new()).collect(),
        };
        let width = raw.width();
        raw.tiles_mut(tiling.rows, tiling.groups)
            .into_par_iter()
            .zip(next_tiles)
            .enumerate()
            .for_each(|(index, (raw, next))| {
                let tile = tiling.tile(index, raw.len());
                with_scratch(|scratch| {
                    if let Some(sums) = self.convolve(input, &tile, scratch, cancel) {
                        self.store(sums, &tile, width, raw, next);
                    }
                });
            });
    }

    /// The sums of one tile, `[channels][rows · width]`; nothing if the flag was seen.
    fn convolve<'a>(
        &self,
        input: &Plane,
        tile: &Tile,
        scratch: &'a mut Scratch,
        cancel: &CancelFlag,
    ) -> Option<&'a [f32]> {
        let columns = tile.rows * input.width();
        let chunk = CHUNK_CHANNELS.min(self.inputs);
        let (gathered, sums) = scratch.buffers(chunk * TAPS * columns, tile.channels * columns);
        let length = self.inputs * TAPS;
        for first in (0..self.inputs).step_by(chunk) {
            if cancel.is_raised() {
                return None;
            }
            let channels = first..self.inputs.min(first + chunk);
            let product = Product {
                m: columns,
                n: tile.channels,
                k: channels.len() * TAPS,
                columns: gather(input, channels, tile, gathered),
                weights: &self.weights[tile.first_channel * length + first * TAPS..],
                weights_stride: length,
            };
            product.store(sums, first > 0);
        }
        Some(sums)
    }

    /// Writes the sums of a tile with bias to `raw`, and normalised and activated to `next`, if there is one.
    fn store(&self, sums: &[f32], tile: &Tile, width: usize, mut raw: Vec<&mut [f32]>, mut next: Vec<&mut [f32]>) {
        for (channel, sums) in sums.chunks_exact(tile.rows * width).enumerate() {
            let output = tile.first_channel + channel;
            let (bias, scale, shift) = (self.bias[output], self.scale[output], self.shift[output]);
            for (y, sums) in sums.chunks_exact(width).enumerate() {
                let raw = channel_of(raw[y], channel, width);
                for (value, sum) in raw.iter_mut().zip(sums) {
                    *value = sum + bias;
                }
                let Some(next) = next.get_mut(y) else { continue };
                for parity in 0..2 {
                    let half = channel_of(next, 2 * channel + parity, width / 2);
                    for (value, pair) in half.iter_mut().zip(raw.chunks_exact(2)) {
                        *value = leaky(pair[parity] * scale + shift);
                    }
                }
            }
        }
    }
}

fn leaky(value: f32) -> f32 {
    if value < 0.0 { LEAK * value } else { value }
}

/// Gathers what the filters of some channels see from each place of a tile: `[channel][ky][kx][rows · width]`.
fn gather<'a>(input: &Plane, channels: Range<usize>, tile: &Tile, gathered: &'a mut [f32]) -> &'a [f32] {
    let width = input.width();
    let mut lines = gathered.chunks_exact_mut(tile.rows * width);
    for (channel, ky) in channels.flat_map(|channel| (0..KERNEL).map(move |ky| (channel, ky))) {
        for ((parity, start), line) in COLUMN_SOURCE.into_iter().zip(&mut lines) {
            for (row, piece) in line.chunks_exact_mut(width).enumerate() {
                let y = (2 * (tile.first_row + row) + ky) as isize - 1;
                match input.row_if_there(y, 2 * channel + parity) {
                    Some(source) => piece.copy_from_slice(&source[start..start + width]),
                    None => piece.fill(0.0),
                }
            }
        }
    }
    gathered
}
