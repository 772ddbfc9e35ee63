//! Activations of one layer, laid out so that tiles of rows and channels can be written by different threads without sharing.

/// Zeros on either side of every row, so that a filter may reach over the edge without asking.
const MARGIN: usize = 1;

/// Values `[height][channels][width]`, each row with a zero margin of one value left and right.
///
/// Rows come before channels: a band of rows is then one piece of memory, and safe to hand to a thread.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    height: usize,
    channels: usize,
    width: usize,
    values: Vec<f32>,
}

impl Plane {
    /// All zeros.
    pub(crate) fn new(height: usize, channels: usize, width: usize) -> Self {
        Self {
            height,
            channels,
            width,
            values: vec![0.0; height * channels * (width + 2 * MARGIN)],
        }
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Length of a row with its margins.
    fn stride(&self) -> usize {
        self.width + 2 * MARGIN
    }

    /// One row of one channel with its margins: `width + 2` values, the first of the row proper at index 1.
    pub(crate) fn row_with_margins(&self, y: usize, channel: usize) -> &[f32] {
        let stride = self.stride();
        &self.values[(y * self.channels + channel) * stride..][..stride]
    }

    /// As [`row_with_margins`](Self::row_with_margins), or nothing above the first and below the last row.
    pub(crate) fn row_if_there(&self, y: isize, channel: usize) -> Option<&[f32]> {
        let y = usize::try_from(y).ok().filter(|y| *y < self.height)?;
        Some(self.row_with_margins(y, channel))
    }

    /// One row of one channel, `width` values.
    pub(crate) fn row(&self, y: usize, channel: usize) -> &[f32] {
        &self.row_with_margins(y, channel)[MARGIN..MARGIN + self.width]
    }

    /// The rows `y` of all channels, `channels · (width + 2)` values each.
    pub(crate) fn bands_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let band = self.channels * self.stride();
        self.values.chunks_exact_mut(band)
    }

    /// Cuts the plane into tiles of `rows` rows (the last may have fewer) and one of `groups` equal groups of channels, in the order
    /// rows first, then groups. A tile is a list of its rows, each `channels / groups · (width + 2)` values.
    pub(crate) fn tiles_mut(&mut self, rows: usize, groups: usize) -> Vec<Vec<&mut [f32]>> {
        let piece = self.channels / groups * self.stride();
        let mut tiles = Vec::new();
        tiles.resize_with(self.height.div_ceil(rows) * groups, || Vec::with_capacity(rows));
        for (y, band) in self.bands_mut().enumerate() {
            for (group, row) in band.chunks_exact_mut(piece).enumerate() {
                tiles[y / rows * groups + group].push(row);
            }
        }
        tiles
    }

    /// Bytes of the values.
    pub(crate) fn bytes(&self) -> u64 {
        (self.values.len() * size_of::<f32>()) as u64
    }
}

/// The part of a tile's row that belongs to its channel `channel`, margins cut off.
pub(crate) fn channel_of(row: &mut [f32], channel: usize, width: usize) -> &mut [f32] {
    let start = channel * (width + 2 * MARGIN) + MARGIN;
    &mut row[start..start + width]
}
