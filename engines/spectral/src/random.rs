//! Randomness as a function of place, not of order: the same seed and index give the same value whenever and from wherever it is asked for.

/// SplitMix64's finaliser: every input bit reaches every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// One stream of random values, addressed by index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RandomField(u64);

impl RandomField {
    /// The stream of this seed with this number; streams of one seed are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(
            mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(stream.wrapping_mul(0xd1b5_4a32_d192_ed03))
        ))
    }

    /// The value at an index, uniform in −1..1.
    pub(crate) fn at(self, index: u64) -> f32 {
        let bits = mix(self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        // The top 24 bits fill an f32's mantissa exactly.
        (bits >> 40) as f32 * (2.0 / 16_777_216.0) - 1.0
    }
}

/// A slowly wandering value for each bin of the spectrum: random at nodes in frequency and time, smooth in between, and
/// circular in time so that a loop joins.
pub(crate) struct WanderField {
    nodes: Vec<Node>,
    /// For each bin, the node at or under it and the way towards the next one.
    places: Vec<(u16, f32)>,
    random: RandomField,
    values: Vec<f32>,
}

struct Node {
    /// Random values around the loop.
    count: u64,
}

impl WanderField {
    /// Nodes at `spacing_octaves` from each other, never closer than `spacing_bins_min`; `period_s(frequency_hz)` apart in time.
    pub(crate) fn new(
        grid: &Grid,
        spacing_octaves: f32,
        spacing_bins_min: f32,
        period_s: impl Fn(f32) -> f32,
        random: RandomField,
    ) -> Self {
        let mut bins = vec![0.0_f32];
        let last = grid.bins as f32;
        while let Some(&bin) = bins.last()
            && bin < last
        {
            bins.push((bin * spacing_octaves.exp2()).max(bin + spacing_bins_min));
        }
        let nodes = bins
            .iter()
            .map(|bin| Node {
                count: (grid.loop_s / period_s((bin * grid.bin_hz).max(grid.bin_hz)))
                    .round()
                    .max(1.0) as u64,
            })
            .collect::<Vec<_>>();
        let mut places = Vec::with_capacity(grid.bins);
        let mut node = 0;
        for bin in 0..grid.bins {
            while bins[node + 1] <= bin as f32 {
                node += 1;
            }
            places.push((node as u16, (bin as f32 - bins[node]) / (bins[node + 1] - bins[node])));
        }
        let values = vec![0.0; nodes.len()];
        Self {
            nodes,
            places,
            random,
            values,
        }
    }

    /// Moves to a moment, given as the part of the loop that has passed (0..1).
    pub(crate) fn seek(&mut self, loop_part: f64) {
        for (index, (node, value)) in self.nodes.iter().zip(&mut self.values).enumerate() {
            let place = loop_part * node.count as f64;
            let step = place as u64 % node.count;
            let way = (place - place.floor()) as f32;
            let smooth = way * way * (3.0 - 2.0 * way);
            let at = |step: u64| self.random.at(((index as u64) << 32) | (step % node.count));
            *value = at(step) * (1.0 - smooth) + at(step + 1) * smooth;
        }
    }

    /// The value of a bin at the moment sought, in −1..1.
    pub(crate) fn at(&self, bin: usize) -> f32 {
        let (node, way) = self.places[bin];
        let node = usize::from(node);
        self.values[node] * (1.0 - way) + self.values[node + 1] * way
    }
}

/// The extent of the time-frequency plane that a field covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Bins of a frame, from 0 Hz up.
    pub(crate) bins: usize,
    /// Distance of two bins in hertz.
    pub(crate) bin_hz: f32,
    /// Length of the loop in seconds.
    pub(crate) loop_s: f32,
}
