//! Which bins belong to which mel band.

use std::ops::Range;

use candle_core::Device;
use greenroom_kernels::BandLayout;

use super::{
    config::{CHANNELS, MelbandConfig},
    error::MelbandError,
};

/// Values of a bin: two channels, each real and imaginary.
const VALUES: usize = CHANNELS * 2;
/// Bands computed together are padded to the widest of them; a group ends where that would waste more than a part in so many.
const WASTE: usize = 6;

/// Neighbouring bins, heard together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    /// The first bin.
    pub(crate) start: usize,
    /// Bins.
    pub(crate) count: usize,
}

impl Band {
    /// Values of the band in one spectrum.
    pub(crate) fn width(self) -> usize {
        self.count * VALUES
    }
}

/// Neighbouring bands that are computed as one batch, padded to `width` values each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BandGroup {
    /// The first band.
    pub(crate) first: usize,
    /// Bands.
    pub(crate) count: usize,
    /// Values of the widest, rounded up to what the kernels load at once.
    pub(crate) width: usize,
}

/// All bands, low to high.
#[derive(Clone, Debug)]
pub(crate) struct Bands {
    pub(crate) bands: Vec<Band>,
    pub(crate) groups: Vec<BandGroup>,
    bins: usize,
}

impl Bands {
    /// The bins under each triangle of a mel filter bank on Slaney's scale from 0 Hz to half the rate. The triangles touch 0 at the first
    /// and the last bin, which all the same belong to the first and the last band.
    pub(crate) fn of(config: &MelbandConfig) -> Self {
        let bins = config.bins();
        let top_hz = f64::from(config.sample_rate) / 2.0;
        let edge_hz = |index: usize| hertz(mel(top_hz) * index as f64 / (config.bands + 1) as f64);
        let bands: Vec<Band> = (0..config.bands)
            .map(|band| {
                let (low, high) = (edge_hz(band), edge_hz(band + 2));
                let within = |bin: &usize| {
                    let hz = top_hz * *bin as f64 / (bins - 1) as f64;
                    let forced = (band == 0 && *bin == 0) || (band + 1 == config.bands && *bin + 1 == bins);
                    forced || (low < hz && hz < high)
                };
                let start = (0..bins).find(within).unwrap_or(bins);
                let count = (start..bins).take_while(within).count();
                Band { start, count }
            })
            .collect();
        let groups = groups(&bands);
        Self { bands, groups, bins }
    }

    /// Whether every bin has a band and every band a bin.
    pub(crate) fn check(&self) -> Result<(), MelbandError> {
        if let Some(empty) = self.bands.iter().position(|band| band.count == 0) {
            return Err(MelbandError::Config(format!(
                "band {empty} has no bin: fewer bands or a longer window are needed"
            )));
        }
        let covering = self.covering();
        if let Some(bin) = covering.iter().position(|bands| bands.is_empty() || bands.len() > 2) {
            return Err(MelbandError::Config(format!(
                "bin {bin} is in {} bands instead of one or two",
                covering[bin].len()
            )));
        }
        Ok(())
    }

    /// The bands of each bin.
    pub(crate) fn covering(&self) -> Vec<Vec<usize>> {
        let mut covering = vec![Vec::new(); self.bins];
        for (index, band) in self.bands.iter().enumerate() {
            for bands in &mut covering[band.start..band.start + band.count] {
                bands.push(index);
            }
        }
        covering
    }

    /// The bands and groups as the kernels take them, for a device.
    pub(crate) fn layout(&self, device: &Device) -> candle_core::Result<BandLayout> {
        let ranges: Vec<Range<usize>> = self
            .bands
            .iter()
            .map(|band| band.start..band.start + band.count)
            .collect();
        let groups: Vec<Range<usize>> = self
            .groups
            .iter()
            .map(|group| group.first..group.first + group.count)
            .collect();
        BandLayout::new(&ranges, &groups, self.bins, CHANNELS, device)
    }

    /// Values of one spectrum in all groups, padding included.
    pub(crate) fn padded(&self) -> usize {
        self.groups.iter().map(|group| group.count * group.width).sum()
    }
}

/// Cuts the bands into groups of neighbours.
fn groups(bands: &[Band]) -> Vec<BandGroup> {
    let mut groups: Vec<BandGroup> = Vec::new();
    let mut exact = 0;
    for (index, band) in bands.iter().enumerate() {
        if let Some(group) = groups.last_mut() {
            let width = group.width.max(band.width());
            let padded = (group.count + 1) * width;
            if padded <= (exact + band.width()) * (WASTE + 1) / WASTE {
                (group.width, group.count) = (width, group.count + 1);
                exact += band.width();
                continue;
            }
        }
        exact = band.width();
        groups.push(BandGroup {
            first: index,
            count: 1,
            width: exact,
        });
    }
    for group in &mut groups {
        // Sixteen bytes of half precision.
        group.width = group.width.next_multiple_of(8);
    }
    groups
}

/// Slaney's scale: linear up to 1 kHz, logarithmic above.
const LINEAR_HZ_PER_MEL: f64 = 200.0 / 3.0;
const LOG_FROM_HZ: f64 = 1000.0;
const LOG_FROM_MEL: f64 = LOG_FROM_HZ / LINEAR_HZ_PER_MEL;

/// Mels per factor of e above 1 kHz.
fn log_step() -> f64 {
    6.4_f64.ln() / 27.0
}

fn mel(hz: f64) -> f64 {
    if hz < LOG_FROM_HZ {
        hz / LINEAR_HZ_PER_MEL
    } else {
        LOG_FROM_MEL + (hz / LOG_FROM_HZ).ln() / log_step()
    }
}

fn hertz(mel: f64) -> f64 {
    if mel < LOG_FROM_MEL {
        mel * LINEAR_HZ_PER_MEL
    } else {
        LOG_FROM_HZ * ((mel - LOG_FROM_MEL) * log_step()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public checkpoint's bands as start+count.
    const PUBLIC: &str = "0+7 4+6 7+6 10+6 13+6 16+6 19+6 22+6 25+6 28+6 31+6 34+6 37+6 40+6 43+6 46+7 49+7 53+7 56+9 60+9 65+9 \
        69+10 74+10 79+11 84+13 90+13 97+13 103+15 110+16 118+17 126+19 135+20 145+20 155+22 165+24 177+26 189+28 203+29 217+31 232+33 \
        248+36 265+39 284+41 304+44 325+47 348+50 372+54 398+57 426+61 455+66 487+71 521+76 558+80 597+86 638+93 683+99 731+105 782+113 \
        836+122 895+130";

    #[test]
    fn the_public_bands_are_those_of_the_checkpoint() {
        let bands = Bands::of(&MelbandConfig::PUBLIC);
        let written: Vec<String> = bands
            .bands
            .iter()
            .map(|band| format!("{}+{}", band.start, band.count))
            .collect();
        assert_eq!(written.join(" "), PUBLIC);
        assert_eq!(bands.bands.iter().map(|band| band.count).sum::<usize>(), 1979);
        bands.check().unwrap();
    }

    #[test]
    fn groups_are_few_and_their_padding_is_small() {
        let bands = Bands::of(&MelbandConfig::PUBLIC);
        let exact: usize = bands.bands.iter().map(|band| band.width()).sum();
        assert!(bands.padded() < exact * 7 / 6, "{} values for {exact}", bands.padded());
        assert!(bands.groups.len() <= 9, "{} groups", bands.groups.len());
        let layout = bands.layout(&Device::Cpu).unwrap();
        assert_eq!(layout.total(), bands.padded());
        for group in &bands.groups {
            for band in group.first..group.first + group.count {
                assert_eq!(layout.width(band), group.width);
                assert_eq!(layout.values(band), bands.bands[band].width());
            }
        }
    }

    #[test]
    fn bands_that_leave_a_bin_out_are_refused() {
        let narrow = MelbandConfig {
            window: 256,
            ..MelbandConfig::PUBLIC
        };
        assert!(Bands::of(&narrow).check().is_err());
    }
}
