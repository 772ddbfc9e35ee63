//! Between a spectrum and the bands that a network sees: features on the way in, masks on the way out.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::args::{parameter, parameter_values, values};

/// Values of a row are padded to a multiple of this, so that a row of 16-bit values is whole 16-byte loads.
const ALIGN: usize = 8;

/// How the bins of a spectrum are shared out among bands, and where each band's rows lie in a buffer.
///
/// A band sees, of each frame, `bins · channels · 2` values in the order (bin, channel, re/im). Bands of one *group* are padded to the
/// width of its widest and lie one after another, so a group is one matrix [bands, rows, width] of a batched product. The buffer is all
/// groups, [rows · total] values: band b has its rows of `width(b)` values from `rows · offset(b)` on. rows = batch · frames.
#[derive(Clone, Debug)]
pub struct BandLayout {
    bands: Vec<Band>,
    groups: Vec<Range<usize>>,
    bins: usize,
    channels: usize,
    total: usize,
    /// Of each bin the first band that covers it, and how many do.
    cover: Vec<[u32; 2]>,
    #[cfg(feature = "cuda")]
    tables: Option<Tables>,
}

/// The layout on a CUDA device: bands as [start, values, width, offset], bins as in `cover`; u32.
#[cfg(feature = "cuda")]
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) bands: Tensor,
    pub(crate) cover: Tensor,
}

/// One band; sizes in values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    start: usize,
    values: usize,
    width: usize,
    offset: usize,
}

impl BandLayout {
    /// Bands as ranges of bins, in groups of neighbours (ranges of bands), for spectra of so many bins and channels, used on a device.
    ///
    /// # Errors
    /// If a bin has no band, if bands or groups are out of order, or if the device has no room.
    pub fn new(
        ranges: &[Range<usize>],
        groups: &[Range<usize>],
        bins: usize,
        channels: usize,
        #[cfg_attr(not(feature = "cuda"), allow(unused_variables, reason = "the CPU needs no tables"))] device: &Device,
    ) -> Result<Self> {
        let mut bands = Vec::with_capacity(ranges.len());
        let mut total = 0;
        for group in groups {
            if group.start != bands.len() || group.is_empty() || group.end > ranges.len() {
                bail!(
                    "band groups {groups:?} do not share out {} bands in order",
                    ranges.len()
                )
            }
            let ranges = &ranges[group.clone()];
            let values = |range: &Range<usize>| range.len() * channels * 2;
            let width = ranges.iter().map(values).max().unwrap_or(0).next_multiple_of(ALIGN);
            for range in ranges {
                bands.push(Band {
                    start: range.start,
                    values: values(range),
                    width,
                    offset: total,
                });
                total += width;
            }
        }
        if bands.len() != ranges.len() {
            bail!("band groups {groups:?} leave some of {} bands out", ranges.len())
        }
        let cover = cover(ranges, bins)?;
        Ok(Self {
            #[cfg(feature = "cuda")]
            tables: device.is_cuda().then(|| tables(&bands, &cover, device)).transpose()?,
            bands,
            groups: groups.to_vec(),
            bins,
            channels,
            total,
            cover,
        })
    }

    /// How many bands there are.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// The groups, as ranges of bands.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    /// Values of a row of this band, without padding.
    pub fn values(&self, band: usize) -> usize {
        self.bands[band].values
    }

    /// Values of a row of this band, with padding.
    pub fn width(&self, band: usize) -> usize {
        self.bands[band].width
    }

    /// Values of all rows before this band's, for one frame.
    pub fn offset(&self, band: usize) -> usize {
        self.bands[band].offset
    }

    /// Values of all bands for one frame, with padding.
    pub fn total(&self) -> usize {
        self.total
    }

    /// A group's matrix in the buffer: a view [bands, rows, width].
    ///
    /// # Errors
    /// If the buffer is not one of `rows` rows.
    pub fn group(&self, buffer: &Tensor, group: usize, rows: usize) -> Result<Tensor> {
        let bands = self.groups[group].clone();
        let (offset, width) = (self.bands[bands.start].offset, self.bands[bands.start].width);
        buffer
            .narrow(0, rows * offset, rows * width * bands.len())?
            .reshape((bands.len(), rows, width))
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn bins(&self) -> usize {
        self.bins
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn tables(&self) -> Option<&Tables> {
        self.tables.as_ref()
    }

    /// Batch and frames of a spectrum [batch, channels, frames, bins, 2].
    pub(crate) fn extent(&self, op: &str, spectrum: &Layout) -> Result<(usize, usize)> {
        match *spectrum.dims() {
            [batch, channels, frames, bins, 2] if channels == self.channels && bins == self.bins => Ok((batch, frames)),
            _ => bail!(
                "{op}: the spectrum is {:?} instead of [batch, {}, frames, {}, 2]",
                spectrum.shape(),
                self.channels,
                self.bins
            ),
        }
    }

    /// Where a spectrum has (row, bin, channel).
    fn at(&self, frames: usize, row: usize, bin: usize, channel: usize) -> usize {
        (((row / frames * self.channels + channel) * frames + row % frames) * self.bins + bin) * 2
    }
}

/// Which bands cover each bin: the first, and how many. Bands are in order, so they are neighbours.
fn cover(ranges: &[Range<usize>], bins: usize) -> Result<Vec<[u32; 2]>> {
    let in_order = |pair: &[Range<usize>]| pair[0].start <= pair[1].start && pair[0].end <= pair[1].end;
    if !ranges.windows(2).all(in_order) || ranges.iter().any(|range| range.is_empty() || range.end > bins) {
        bail!("bands {ranges:?} are empty, out of order or beyond {bins} bins")
    }
    (0..bins)
        .map(|bin| {
            let covers = |range: &Range<usize>| range.contains(&bin);
            match ranges.iter().position(covers) {
                Some(first) => Ok([first as u32, ranges.iter().filter(|range| covers(range)).count() as u32]),
                None => bail!("bin {bin} is in none of the bands {ranges:?}"),
            }
        })
        .collect()
}

#[cfg(feature = "cuda")]
fn tables(bands: &[Band], cover: &[[u32; 2]], device: &Device) -> Result<Tables> {
    let rows: Vec<u32> = bands
        .iter()
        .flat_map(|band| {
            [
                band.start as u32,
                band.values as u32,
                band.width as u32,
                band.offset as u32,
            ]
        })
        .collect();
    Ok(Tables {
        bands: Tensor::from_vec(rows, (bands.len(), 4), device)?,
        cover: Tensor::from_vec(cover.concat(), (cover.len(), 2), device)?,
    })
}

/// Gathers each band's values of a spectrum and normalises them: `x / √(mean(x²) + eps) · γ` over the values of one band and frame.
///
/// spectrum: [batch, channels, frames, bins, 2] f32; gamma: [total] f32, a band's values from its `offset` on. Returns the buffer
/// [rows · total] in the given type (f32 on the CPU), its padding zero.
///
/// # Errors
/// If shapes do not match.
pub fn band_features(spectrum: &Tensor, gamma: &Tensor, eps: f32, layout: &BandLayout, dtype: DType) -> Result<Tensor> {
    spectrum.apply_op1_no_bwd(&BandFeatures {
        gamma: gamma.clone(),
        eps,
        layout: layout.clone(),
        dtype,
    })
}

/// Multiplies each bin of a spectrum by its mask: the average of the masks of the bands that cover it, as a complex factor.
///
/// spectrum: [batch, channels, frames, bins, 2] f32; masks: a buffer [rows · total] of the layout, whose padding is not read. Returns
/// a spectrum.
///
/// # Errors
/// If shapes do not match.
pub fn apply_masks(spectrum: &Tensor, masks: &Tensor, layout: &BandLayout) -> Result<Tensor> {
    spectrum.apply_op2_no_bwd(masks, &ApplyMasks { layout: layout.clone() })
}

pub(crate) struct BandFeatures {
    pub(crate) gamma: Tensor,
    pub(crate) eps: f32,
    pub(crate) layout: BandLayout,
    pub(crate) dtype: DType,
}

impl BandFeatures {
    pub(crate) const NAME: &str = "band_features";

    /// Batch and frames; checks γ.
    pub(crate) fn extent(&self, spectrum: &Layout) -> Result<(usize, usize)> {
        parameter(Self::NAME, "gamma", &self.gamma, self.layout.total)?;
        self.layout.extent(Self::NAME, spectrum)
    }
}

impl CustomOp1 for BandFeatures {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, frames) = self.extent(layout)?;
        if self.dtype != DType::F32 {
            bail!("{}: on the CPU features are f32, not {:?}", Self::NAME, self.dtype)
        }
        let spectrum = values(Self::NAME, storage, layout)?;
        let gamma = parameter_values(&self.gamma)?;
        let bands = &self.layout;
        let rows = batch * frames;
        let mut out = vec![0f32; rows * bands.total];
        let mut rest = out.as_mut_slice();
        for band in &bands.bands {
            let (block, others) = rest.split_at_mut(rows * band.width);
            rest = others;
            let gamma = &gamma[band.offset..][..band.values];
            block.par_chunks_mut(band.width).enumerate().for_each(|(row, out)| {
                for (i, pair) in out[..band.values].chunks_mut(2).enumerate() {
                    let at = bands.at(frames, row, band.start + i / bands.channels, i % bands.channels);
                    pair.copy_from_slice(&spectrum[at..at + 2]);
                }
                let mean = out.iter().map(|value| value * value).sum::<f32>() / band.values as f32;
                let scale = 1.0 / (mean + self.eps).sqrt();
                out.iter_mut()
                    .zip(gamma)
                    .for_each(|(value, gamma)| *value *= scale * gamma);
            });
        }
        Ok((CpuStorage::F32(out), Shape::from(rows * bands.total)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::band_features(self, storage, layout)
    }
}

pub(crate) struct ApplyMasks {
    pub(crate) layout: BandLayout,
}

impl ApplyMasks {
    pub(crate) const NAME: &str = "apply_masks";

    /// Batch and frames; checks the masks' size.
    pub(crate) fn extent(&self, spectrum: &Layout, masks: &Layout) -> Result<(usize, usize)> {
        let (batch, frames) = self.layout.extent(Self::NAME, spectrum)?;
        if masks.shape().elem_count() != batch * frames * self.layout.total {
            bail!(
                "{}: masks {:?} are not {} rows of {}",
                Self::NAME,
                masks.shape(),
                batch * frames,
                self.layout.total
            )
        }
        Ok((batch, frames))
    }

    /// The complex mask of one (row, bin, channel).
    fn mask(&self, masks: &[f32], rows: usize, row: usize, bin: usize, channel: usize) -> (f32, f32) {
        let [first, count] = self.layout.cover[bin];
        let (mut re, mut im) = (0.0, 0.0);
        for band in &self.layout.bands[first as usize..][..count as usize] {
            let value = ((bin - band.start) * self.layout.channels + channel) * 2;
            let at = rows * band.offset + row * band.width + value;
            re += masks[at];
            im += masks[at + 1];
        }
        (re / count as f32, im / count as f32)
    }
}

impl CustomOp2 for ApplyMasks {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        spectrum: &CpuStorage,
        spectrum_layout: &Layout,
        masks: &CpuStorage,
        masks_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, frames) = self.extent(spectrum_layout, masks_layout)?;
        let spectrum = values(Self::NAME, spectrum, spectrum_layout)?;
        let masks = values(Self::NAME, masks, masks_layout)?;
        let bands = &self.layout;
        let mut out = vec![0f32; spectrum.len()];
        out.par_chunks_mut(bands.bins * 2)
            .zip(spectrum.par_chunks(bands.bins * 2))
            .enumerate()
            .for_each(|(line, (out, spectrum))| {
                let (channel, frame) = (line / frames % bands.channels, line % frames);
                let row = line / frames / bands.channels * frames + frame;
                for (bin, (out, x)) in out.chunks_mut(2).zip(spectrum.chunks(2)).enumerate() {
                    let (re, im) = self.mask(masks, batch * frames, row, bin, channel);
                    out[0] = x[0] * re - x[1] * im;
                    out[1] = x[0] * im + x[1] * re;
                }
            });
        Ok((CpuStorage::F32(out), spectrum_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        spectrum: &candle_core::CudaStorage,
        spectrum_layout: &Layout,
        masks: &candle_core::CudaStorage,
        masks_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::apply_masks(self, spectrum, spectrum_layout, masks, masks_layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::testing::{assert_near, random};
    use crate::rms_norm;

    const BINS: usize = 11;

    /// Bins 2, 3, 6 are in two bands.
    fn layout() -> BandLayout {
        let bands = [0..4, 2..7, 6..9, 9..11];
        BandLayout::new(&bands, &[0..2, 2..4], BINS, 2, &Device::Cpu).unwrap()
    }

    /// A band's values with candle's own operations: [batch, channels, frames, bins, 2] → [batch · frames, bins · channels · 2].
    fn gathered(spectrum: &Tensor, band: &Band) -> Tensor {
        let (batch, _, frames, ..) = spectrum.dims5().unwrap();
        let bins = spectrum.narrow(3, band.start, band.values / 4).unwrap();
        bins.permute((0, 2, 3, 1, 4))
            .unwrap()
            .reshape((batch * frames, band.values))
            .unwrap()
    }

    #[test]
    fn features_are_gathered_bins_normalised_by_band() {
        let layout = layout();
        let spectrum = random(&[2, 2, 3, BINS, 2], 1);
        let gamma = random(&[layout.total()], 2);
        let features = band_features(&spectrum, &gamma, 1e-6, &layout, DType::F32).unwrap();
        for (number, group) in layout.groups().iter().enumerate() {
            let matrix = layout.group(&features, number, 6).unwrap();
            for (i, band) in group.clone().enumerate() {
                let band = &layout.bands[band];
                let rows = matrix.get(i).unwrap();
                let gamma = gamma.narrow(0, band.offset, band.values).unwrap();
                let expected = rms_norm(&gathered(&spectrum, band), &gamma, 1e-6).unwrap();
                assert_near(&rows.narrow(1, 0, band.values).unwrap(), &expected, 1e-6);
                let padding = rows.narrow(1, band.values, band.width - band.values).unwrap();
                assert_eq!(
                    padding.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap(),
                    0.0
                );
            }
        }
    }

    #[test]
    fn a_mask_is_the_average_of_the_bands_that_cover_the_bin() {
        let layout = layout();
        let (batch, frames) = (2, 3);
        let rows = batch * frames;
        let spectrum = random(&[batch, 2, frames, BINS, 2], 1);
        let masks = random(&[rows * layout.total()], 2);
        let mut sum = Tensor::zeros((batch, frames, BINS, 2, 2), DType::F32, &Device::Cpu).unwrap();
        let mut covering = vec![0f32; BINS];
        for band in &layout.bands {
            let bins = band.values / 4;
            let block = masks
                .narrow(0, rows * band.offset, rows * band.width)
                .unwrap()
                .reshape((rows, band.width));
            let block = block.unwrap().narrow(1, 0, band.values).unwrap().contiguous().unwrap();
            let block = block.reshape((batch, frames, bins, 2, 2)).unwrap();
            sum = (sum + block.pad_with_zeros(2, band.start, BINS - band.start - bins).unwrap()).unwrap();
            covering[band.start..band.start + bins]
                .iter_mut()
                .for_each(|count| *count += 1.0);
        }
        assert!(covering.contains(&2.0));
        let covering = Tensor::from_vec(covering, (1, 1, BINS, 1, 1), &Device::Cpu).unwrap();
        let mask = sum.broadcast_div(&covering).unwrap().permute((0, 3, 1, 2, 4)).unwrap();
        let parts = |x: &Tensor| (x.narrow(4, 0, 1).unwrap(), x.narrow(4, 1, 1).unwrap());
        let ((x_re, x_im), (m_re, m_im)) = (parts(&spectrum), parts(&mask));
        let re = (x_re.mul(&m_re).unwrap() - x_im.mul(&m_im).unwrap()).unwrap();
        let im = (x_re.mul(&m_im).unwrap() + x_im.mul(&m_re).unwrap()).unwrap();
        let expected = Tensor::cat(&[re, im], 4).unwrap();
        assert_near(&apply_masks(&spectrum, &masks, &layout).unwrap(), &expected, 1e-6);
    }

    #[test]
    fn bands_that_leave_a_bin_out_are_refused() {
        let new = |ranges: &[Range<usize>], group: Range<usize>| {
            BandLayout::new(ranges, &[group], BINS, 2, &Device::Cpu)
                .unwrap_err()
                .to_string()
        };
        assert!(new(&[0..4, 5..11], 0..2).contains("bin 4"));
        assert!(new(&[0..4, 4..11], 0..1).contains("leave some"));
        assert!(new(&[0..4, 4..12], 0..2).contains("beyond"));
    }
}
