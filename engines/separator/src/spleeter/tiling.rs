//! How a layer's work is cut into tiles. The cut depends on sizes only, never on threads: sums are then the same bits everywhere.

/// Columns (places of the output) that are multiplied together.
const COLUMNS_MAX: usize = 256;
/// Output channels of one tile at most, where a layer has few places.
const GROUP_CHANNELS_MAX: usize = 64;
/// Layers with so many tiles of rows need no cut by channels.
const ROW_TILES_MIN: usize = 8;

/// A layer's cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    /// Rows of a tile.
    pub(crate) rows: usize,
    /// Groups of output channels.
    pub(crate) groups: usize,
    /// Output channels in a group.
    pub(crate) group_channels: usize,
    /// Tiles in all.
    pub(crate) tiles: usize,
}

impl Tiling {
    /// The cut of `height` × `width` places with so many output channels.
    pub(crate) fn of(height: usize, width: usize, channels: usize) -> Self {
        let rows = (COLUMNS_MAX / width).clamp(1, height);
        let row_tiles = height.div_ceil(rows);
        let groups = if row_tiles >= ROW_TILES_MIN || !channels.is_multiple_of(GROUP_CHANNELS_MAX) {
            1
        } else {
            channels / GROUP_CHANNELS_MAX
        };
        Self {
            rows,
            groups,
            group_channels: channels / groups,
            tiles: row_tiles * groups,
        }
    }

    /// One tile of the cut, in the order rows first, then groups.
    pub(crate) fn tile(&self, index: usize, rows: usize) -> Tile {
        Tile {
            first_row: index / self.groups * self.rows,
            rows,
            first_channel: index % self.groups * self.group_channels,
            channels: self.group_channels,
        }
    }
}

/// A part of a layer's output that one thread works out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) first_channel: usize,
    pub(crate) channels: usize,
}
