//! A layer of the expanding half: transposed 5×5 convolution with stride 2.
//!
//! Rows and columns of the output fall into four phases (even or odd row, even or odd column). Each is an ordinary convolution of the
//! input, so every output value is written once and nothing is scattered: even phases see 2 rows (columns) of the input, odd ones 3.

use greenroom_sync::CancelFlag;
use rayon::prelude::*;

use super::{
    matmul::Product,
    plane::{Plane, channel_of},
    scratch::{Scratch, with_scratch},
    tiling::{Tile, Tiling},
};

const KERNEL: usize = 5;
/// Filter taps of all four phases.
const TAPS: usize = KERNEL * KERNEL;
/// Input channels whose columns are gathered at once: with 256 columns 288 KiB.
const CHUNK_CHANNELS: usize = 32;

/// The nine input places (row, column) around an output place, in an order in which each phase sees an unbroken run of them.
const NEIGHBOURS: [(isize, isize); 9] = [
    (-1, 1),
    (0, 1),
    (-1, -1),
    (-1, 0),
    (0, -1),
    (0, 0),
    (1, -1),
    (1, 0),
    (1, 1),
];

/// A quarter of the output: which rows and columns, and its run of the neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    row: usize,
    column: usize,
    neighbours: (usize, usize),
}

/// All four, with 4 + 6 + 6 + 9 = 25 taps.
const PHASES: [Phase; 4] = [
    Phase {
        row: 0,
        column: 0,
        neighbours: (2, 6),
    },
    Phase {
        row: 0,
        column: 1,
        neighbours: (0, 6),
    },
    Phase {
        row: 1,
        column: 0,
        neighbours: (2, 8),
    },
    Phase {
        row: 1,
        column: 1,
        neighbours: (0, 9),
    },
];

impl Phase {
    fn taps(&self) -> usize {
        self.neighbours.1 - self.neighbours.0
    }

    /// Places in the 5×5 filter, row-major, of this phase's neighbours.
    ///
    /// Input row `y` reaches output row `2y + ky − 1`; so output row `2i + row` hears input row `i + dy` through `ky = row + 1 − 2dy`.
    fn filter_places(&self) -> impl Iterator<Item = usize> {
        let place = |phase: usize, delta: isize| (phase as isize + 1 - 2 * delta) as usize;
        let (row, column) = (self.row, self.column);
        NEIGHBOURS[self.neighbours.0..self.neighbours.1]
            .iter()
            .map(move |(dy, dx)| place(row, *dy) * KERNEL + place(column, *dx))
    }
}

/// Weights of one layer: transposed convolution, bias, activation (no negative values), then normalisation.
#[derive(Debug)]
pub(crate) struct Decoder {
    inputs: usize,
    /// For each chunk of input channels, for each phase: `[outputs][neighbours · channels]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Decoder {
    /// Sorts the filters `[inputs][outputs][5][5]` by phases.
    pub(crate) fn new(filters: &[f32], bias: Vec<f32>, scale: Vec<f32>, shift: Vec<f32>) -> Self {
        let outputs = bias.len();
        let inputs = filters.len() / (outputs * TAPS);
        let mut weights = Vec::with_capacity(filters.len());
        for first in (0..inputs).step_by(CHUNK_CHANNELS) {
            for phase in PHASES {
                for output in 0..outputs {
                    for place in phase.filter_places() {
                        let channels = first..inputs.min(first + CHUNK_CHANNELS);
                        weights.extend(channels.map(|input| filters[(input * outputs + output) * TAPS + place]));
                    }
                }
            }
        }
        Self {
            inputs,
            weights,
            bias,
            scale,
            shift,
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Expands the channels of `inputs`, one after the other, to `output`, of twice their height and width.
    ///
    /// A raised flag ends the work early; the output then holds rubbish.
    pub(crate) fn run(&self, inputs: &[&Plane], output: &mut Plane, cancel: &CancelFlag) {
        let (height, width) = (inputs[0].height(), inputs[0].width());
        let tiling = Tiling::of(height, width, self.outputs());
        output
            .tiles_mut(2 * tiling.rows, tiling.groups)
            .into_par_iter()
            .enumerate()
            .for_each(|(index, output)| {
                let tile = tiling.tile(index, output.len() / 2);
                with_scratch(|scratch| {
                    if let Some(sums) = self.expand(inputs, &tile, scratch, cancel) {
                        self.store(sums, &tile, width, output);
                    }
                });
            });
    }

    /// The sums of one tile, `[phase][channels][rows · width]`; nothing if the flag was seen.
    fn expand<'a>(
        &self,
        inputs: &[&Plane],
        tile: &Tile,
        scratch: &'a mut Scratch,
        cancel: &CancelFlag,
    ) -> Option<&'a [f32]> {
        let columns = tile.rows * inputs[0].width();
        let part = tile.channels * columns;
        let (gathered, sums) = scratch.buffers(NEIGHBOURS.len() * CHUNK_CHANNELS * columns, PHASES.len() * part);
        for first in (0..self.inputs).step_by(CHUNK_CHANNELS) {
            if cancel.is_raised() {
                return None;
            }
            let channels = CHUNK_CHANNELS.min(self.inputs - first);
            gather(inputs, first, channels, tile, gathered);
            let mut weights = &self.weights[first * self.outputs() * TAPS..];
            for (phase, sums) in PHASES.iter().zip(sums.chunks_exact_mut(part)) {
                let length = phase.taps() * channels;
                let product = Product {
                    m: columns,
                    n: tile.channels,
                    k: length,
                    columns: &gathered[phase.neighbours.0 * channels * columns..],
                    weights: &weights[tile.first_channel * length..],
                    weights_stride: length,
                };
                product.store(sums, first > 0);
                weights = &weights[self.outputs() * length..];
            }
        }
        Some(sums)
    }

    /// Interleaves the phases of a tile, with bias, activation and normalisation.
    fn store(&self, sums: &[f32], tile: &Tile, width: usize, mut rows: Vec<&mut [f32]>) {
        let columns = tile.rows * width;
        for channel in 0..tile.channels {
            let output = tile.first_channel + channel;
            let (bias, scale, shift) = (self.bias[output], self.scale[output], self.shift[output]);
            let finish = |sum: f32| without_negatives(sum + bias) * scale + shift;
            for (y, row) in rows.iter_mut().enumerate() {
                let sums_of = |column: usize| {
                    let phase = y % 2 * 2 + column;
                    &sums[(phase * tile.channels + channel) * columns + y / 2 * width..][..width]
                };
                let row = channel_of(row, channel, 2 * width);
                for ((pair, even), odd) in row.chunks_exact_mut(2).zip(sums_of(0)).zip(sums_of(1)) {
                    pair[0] = finish(*even);
                    pair[1] = finish(*odd);
                }
            }
        }
    }
}

/// Gathers the neighbours of each place of a tile: `[neighbour][channel][rows · width]`.
fn gather(inputs: &[&Plane], first_channel: usize, channels: usize, tile: &Tile, gathered: &mut [f32]) {
    let width = inputs[0].width();
    let mut lines = gathered.chunks_exact_mut(tile.rows * width);
    for (dy, dx) in NEIGHBOURS {
        let start = (1 + dx) as usize;
        for (channel, line) in (first_channel..first_channel + channels).zip(&mut lines) {
            let (plane, channel) = plane_of(inputs, channel);
            for (row, piece) in line.chunks_exact_mut(width).enumerate() {
                match plane.row_if_there((tile.first_row + row) as isize + dy, channel) {
                    Some(source) => piece.copy_from_slice(&source[start..start + width]),
                    None => piece.fill(0.0),
                }
            }
        }
    }
}

/// The plane that holds a channel of the planes put one after the other, and the channel's number in it.
fn plane_of<'a>(inputs: &[&'a Plane], mut channel: usize) -> (&'a Plane, usize) {
    let mut plane = inputs[0];
    for next in &inputs[1..] {
        if channel < plane.channels() {
            break;
        }
        channel -= plane.channels();
        plane = next;
    }
    (plane, channel)
}

/// NaN passes, unlike with `f32::max`: it must be seen at the end.
pub(super) fn without_negatives(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}
