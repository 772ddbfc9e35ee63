//! The grid of the short-time spectrum and its division into bands.

use std::f32::consts::PI;

use realfft::num_complex::Complex32;

use crate::controls::CHANNELS;

/// Frames of audio a spectrum sees: 40 ms, fine enough to part the partials of a bass note.
pub(crate) const FRAME: usize = 1_920;
/// Frames of audio between two spectra; divides `POOL_FRAMES`, so that the grid closes around every loop.
pub(crate) const HOP: usize = 480;
/// Bins of a spectrum, 0 Hz and half the sample rate included.
pub(crate) const BINS: usize = FRAME / 2 + 1;
/// Distance of two bins in hertz.
pub(crate) const BIN_HZ: f32 = 25.0;

/// Energy bands are a third of an octave wide, but never narrower than this.
const BAND_BINS_MIN: usize = 4;
/// Borders of the eight gain groups in hertz.
const GROUP_EDGES_HZ: [f32; 9] = [20.0, 120.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 24_000.0];

/// Square root of a Hann window: applied before and after, shifted copies add up to `FRAME / HOP / 2`.
pub(crate) fn window() -> Vec<f32> {
    (0..FRAME)
        .map(|index| (PI * (index as f32 + 0.5) / FRAME as f32).sin())
        .collect()
}

/// Bands of the spectrum, and for each bin its place between band centres.
pub(crate) struct Bands {
    /// First bin of each band, and the end of the last.
    edges: Vec<usize>,
    /// For each bin: the band whose centre is at or under it, and the way to the next centre.
    places: Vec<(u16, f32)>,
}

impl Bands {
    pub(crate) fn new() -> Self {
        let mut edges = vec![0];
        let mut edge = 0;
        while edge < BINS {
            let third = (edge as f32 * (1.0_f32 / 3.0).exp2()).round() as usize;
            edge = third.max(edge + BAND_BINS_MIN);
            // A remainder too narrow for a band of its own joins the last one.
            if edge + BAND_BINS_MIN > BINS {
                edge = BINS;
            }
            edges.push(edge);
        }
        let centres = edges
            .windows(2)
            .map(|pair| (pair[0] + pair[1] - 1) as f32 / 2.0)
            .collect::<Vec<_>>();
        let places = (0..BINS)
            .map(|bin| {
                let above = centres.partition_point(|centre| *centre <= bin as f32);
                match above {
                    0 => (0, 0.0),
                    above if above == centres.len() => ((above - 1) as u16, 0.0),
                    above => {
                        let (left, right) = (centres[above - 1], centres[above]);
                        ((above - 1) as u16, (bin as f32 - left) / (right - left))
                    }
                }
            })
            .collect();
        Self { edges, places }
    }

    pub(crate) fn count(&self) -> usize {
        self.edges.len() - 1
    }

    /// Width of a band in bins.
    pub(crate) fn width(&self, band: usize) -> usize {
        self.edges[band + 1] - self.edges[band]
    }

    /// Middle of a band in hertz.
    pub(crate) fn centre_hz(&self, band: usize) -> f32 {
        (self.edges[band] + self.edges[band + 1] - 1) as f32 / 2.0 * BIN_HZ
    }

    /// Energy of a spectrum in each band.
    pub(crate) fn energies(&self, spectrum: &[Complex32], energies: &mut [f32]) {
        for (band, energy) in energies.iter_mut().enumerate() {
            *energy = spectrum[self.edges[band]..self.edges[band + 1]]
                .iter()
                .map(Complex32::norm_sqr)
                .sum();
        }
    }

    /// The value at a bin of a curve that is given at the bands' centres (its first and last value reach to the ends).
    pub(crate) fn between(&self, values: &[f32], bin: usize) -> f32 {
        let (band, way) = self.places[bin];
        let band = usize::from(band);
        let next = values[(band + 1).min(values.len() - 1)];
        values[band] * (1.0 - way) + next * way
    }
}

/// Gain of every bin for the gains of the 64 channels: eight groups of eight slices each, from low to high.
pub(crate) fn bin_gains(channels: &[f32; CHANNELS]) -> Vec<f32> {
    (0..BINS)
        .map(|bin| {
            let hz = (bin as f32 * BIN_HZ).clamp(GROUP_EDGES_HZ[0], GROUP_EDGES_HZ[8]);
            let group = GROUP_EDGES_HZ[1..8].partition_point(|edge| *edge <= hz);
            let (low, high) = (GROUP_EDGES_HZ[group], GROUP_EDGES_HZ[group + 1]);
            // Where a bin lies among the 64 slices; slice centres are at n + 0.5, and between them gains go over gradually.
            let slices_per_group = (CHANNELS / 8) as f32;
            let place = (group as f32 + (hz / low).log2() / (high / low).log2()) * slices_per_group - 0.5;
            let place = place.clamp(0.0, (CHANNELS - 1) as f32);
            let left = place as usize;
            let right = (left + 1).min(CHANNELS - 1);
            let way = place - left as f32;
            channels[left] * (1.0 - way) + channels[right] * way
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_every_bin_once() {
        let bands = Bands::new();
        assert_eq!((0..bands.count()).map(|band| bands.width(band)).sum::<usize>(), BINS);
        assert!((0..bands.count()).all(|band| bands.width(band) >= BAND_BINS_MIN));
        assert!((20..40).contains(&bands.count()), "{} bands", bands.count());
    }

    #[test]
    fn windows_add_up_evenly() {
        let window = window();
        for offset in 0..HOP {
            let sum: f32 = (0..FRAME / HOP).map(|step| window[offset + step * HOP].powi(2)).sum();
            assert!((sum - 2.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_group_gain_acts_on_its_band_alone() {
        let mut channels = [1.0; CHANNELS];
        channels[32..40].fill(3.0);
        let gains = bin_gains(&channels);
        let at = |hz: f32| gains[(hz / BIN_HZ) as usize];
        assert_eq!(at(1_500.0), 3.0);
        assert_eq!(at(700.0), 1.0);
        assert_eq!(at(3_000.0), 1.0);
        assert!(bin_gains(&[1.0; CHANNELS]).iter().all(|gain| *gain == 1.0));
    }
}
