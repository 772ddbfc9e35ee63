//! What of a signal changes slowly and what fast, as a wavelet sees it.

use candle_core::{Result, Tensor};

/// Orthonormal wavelets of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wavelet {
    Haar,
    Daubechies4,
    Symlet8,
    Daubechies8,
}

/// Sums of pairs.
const HAAR: [f64; 2] = [std::f64::consts::FRAC_1_SQRT_2; 2];
/// Low-pass filters (Daubechies 1992), in the order in which they reconstruct.
const DAUBECHIES_4: [f64; 8] = [
    0.230_377_813_308_896_5,
    0.714_846_570_552_915_7,
    0.630_880_767_929_858_9,
    -0.027_983_769_416_859_854,
    -0.187_034_811_719_093_09,
    0.030_841_381_835_560_764,
    0.032_883_011_666_885_2,
    -0.010_597_401_785_069_032,
];
const SYMLET_8: [f64; 16] = [
    0.001_889_950_332_759_460_9,
    -0.000_302_920_514_721_366_8,
    -0.014_952_258_337_048_23,
    0.003_808_752_013_890_615,
    0.049_137_179_673_607_506,
    -0.027_219_029_917_056_003,
    -0.051_945_838_107_709_04,
    0.364_441_894_835_331_4,
    0.777_185_751_700_523_5,
    0.481_359_651_258_372_2,
    -0.061_273_359_067_658_524,
    -0.143_294_238_350_809_7,
    0.007_607_487_324_917_605,
    0.031_695_087_811_492_98,
    -0.000_542_132_331_791_148_1,
    -0.003_382_415_951_006_125_6,
];
const DAUBECHIES_8: [f64; 16] = [
    0.054_415_842_243_104_01,
    0.312_871_590_914_299_95,
    0.675_630_736_297_289_8,
    0.585_354_683_654_206_7,
    -0.015_829_105_256_349_306,
    -0.284_015_542_961_546_9,
    0.000_472_484_573_913_282_8,
    0.128_747_426_620_478_47,
    -0.017_369_301_001_807_547,
    -0.044_088_253_930_794_755,
    0.013_981_027_917_398_282,
    0.008_746_094_047_405_777,
    -0.004_870_352_993_451_574,
    -0.000_391_740_373_376_947_05,
    0.000_675_449_406_450_569_3,
    -0.000_117_476_784_124_769_53,
];

impl Wavelet {
    /// By its name on the wire.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "haar" => Self::Haar,
            "db4" => Self::Daubechies4,
            "sym8" => Self::Symlet8,
            "db8" => Self::Daubechies8,
            _ => return None,
        })
    }

    /// The projection of x [frames, channels] on what the low-pass filter keeps; what is beyond the ends counts as 0. The rest is what the
    /// high-pass filter keeps, since the wavelets are orthonormal.
    pub(crate) fn low(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Haar => haar_low(x),
            _ => spread(&analysed(x, self.filter())?, self.filter(), x.dim(0)?),
        }
    }

    /// Coefficients of the slow and the fast band of x [frames, channels]: [`Self::coefficients`] of each.
    pub(crate) fn split(self, x: &Tensor) -> Result<[Tensor; 2]> {
        Ok([analysed(x, self.filter())?, analysed(x, &self.high_pass())?])
    }

    /// The signal of so many frames that has these coefficients.
    pub(crate) fn joined(self, bands: &[Tensor; 2], frames: usize) -> Result<Tensor> {
        let [slow, fast] = bands;
        spread(slow, self.filter(), frames)? + spread(fast, &self.high_pass(), frames)?
    }

    /// Coefficients of a band of so many frames.
    pub(crate) fn coefficients(self, frames: usize) -> usize {
        windows(frames, self.filter().len())
    }

    fn filter(self) -> &'static [f64] {
        match self {
            Self::Haar => &HAAR,
            Self::Daubechies4 => &DAUBECHIES_4,
            Self::Symlet8 => &SYMLET_8,
            Self::Daubechies8 => &DAUBECHIES_8,
        }
    }

    /// The low-pass filter backwards, every other tap turned over.
    fn high_pass(self) -> Vec<f64> {
        let signs = [1.0, -1.0].into_iter().cycle();
        self.filter()
            .iter()
            .rev()
            .zip(signs)
            .map(|(tap, sign)| sign * tap)
            .collect()
    }
}

/// Means of pairs.
fn haar_low(x: &Tensor) -> Result<Tensor> {
    let (frames, channels) = x.dims2()?;
    let padded = if frames % 2 == 0 {
        x.clone()
    } else {
        x.pad_with_zeros(0, 0, 1)?
    };
    let pairs = frames.div_ceil(2);
    let means = padded.reshape((pairs, 2, channels))?.mean_keepdim(1)?;
    means
        .broadcast_as((pairs, 2, channels))?
        .reshape((2 * pairs, channels))?
        .narrow(0, 0, frames)
}

/// Windows of a filter that touch a signal, at even places.
fn windows(frames: usize, taps: usize) -> usize {
    frames.div_ceil(2) + taps / 2 - 1
}

/// Filtered, every other value kept: [windows, channels].
fn analysed(x: &Tensor, filter: &[f64]) -> Result<Tensor> {
    let (frames, channels) = x.dims2()?;
    let (half, windows) = (filter.len() / 2, windows(frames, filter.len()));
    let front = filter.len() - 2;
    let length = 2 * (windows + half - 1);
    let padded = x.pad_with_zeros(0, front, length - front - frames)?;
    let phases = padded.reshape((length / 2, 2, channels))?;
    let phase = |parity: usize| phases.narrow(1, parity, 1)?.squeeze(1)?.contiguous();
    let phases = [phase(0)?, phase(1)?];
    let mut coarse = Tensor::zeros((windows, channels), x.dtype(), x.device())?;
    for (tap, weight) in filter.iter().enumerate() {
        coarse = (coarse + (phases[tap % 2].narrow(0, tap / 2, windows)? * *weight)?)?;
    }
    Ok(coarse)
}

/// Coefficients spread over so many frames by the filter that they were made with.
fn spread(coefficients: &Tensor, filter: &[f64], frames: usize) -> Result<Tensor> {
    let (windows, channels) = coefficients.dims2()?;
    let half = filter.len() / 2;
    let length = 2 * (windows + half - 1);
    let phase = |parity: usize| -> Result<Tensor> {
        let mut phase = Tensor::zeros((length / 2, channels), coefficients.dtype(), coefficients.device())?;
        for tap in (parity..filter.len()).step_by(2) {
            let shift = tap / 2;
            let part = coefficients.pad_with_zeros(0, shift, half - 1 - shift)?;
            phase = (phase + (part * filter[tap])?)?;
        }
        Ok(phase)
    };
    let both = Tensor::stack(&[phase(0)?, phase(1)?], 1)?;
    both.reshape((length, channels))?.narrow(0, filter.len() - 2, frames)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use greenroom_weights::uniform;

    use super::*;

    const ALL: [Wavelet; 4] = [
        Wavelet::Haar,
        Wavelet::Daubechies4,
        Wavelet::Symlet8,
        Wavelet::Daubechies8,
    ];

    fn signal(frames: usize) -> Tensor {
        Tensor::from_vec(uniform("signal", 2, frames * 3), (frames, 3), &Device::Cpu).unwrap()
    }

    fn off(actual: &Tensor, expected: &Tensor) -> f32 {
        let norm = |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        norm(&(actual - expected).unwrap()) / norm(expected)
    }

    #[test]
    fn what_is_kept_is_what_another_implementation_keeps() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/wavelets.safetensors");
        let goldens = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        for (wavelet, name) in ALL.into_iter().zip(["haar", "db4", "sym8", "db8"]) {
            assert_eq!(Wavelet::named(name), Some(wavelet));
            for frames in [40, 41, 3, 1] {
                let low = wavelet.low(&signal(frames)).unwrap();
                let off = off(&low, &goldens[&format!("{name}.{frames}")]);
                assert!(off < 1e-6, "{name}, {frames} frames: {off:.1e}");
            }
        }
    }

    #[test]
    fn both_bands_together_are_the_signal() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/wavelets.safetensors");
        let goldens = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        for (wavelet, name) in ALL.into_iter().zip(["haar", "db4", "sym8", "db8"]) {
            for frames in [40, 41, 3, 1] {
                let bands = wavelet.split(&signal(frames)).unwrap();
                for (band, which) in bands.iter().zip(["slow", "fast"]) {
                    assert_eq!(band.dim(0).unwrap(), wavelet.coefficients(frames));
                    let off = off(band, &goldens[&format!("{name}.{frames}.{which}")]);
                    assert!(off < 1e-6, "{name}, {which} of {frames} frames: {off:.1e}");
                }
                let off = off(&wavelet.joined(&bands, frames).unwrap(), &signal(frames));
                assert!(off < 1e-6, "{name}, {frames} frames: {off:.1e}");
            }
        }
    }

    #[test]
    fn what_was_kept_once_is_kept_again() {
        for wavelet in ALL {
            // Of an even number of pairs only: a last frame without a partner is half of a pair.
            let low = Wavelet::low(wavelet, &signal(40)).unwrap();
            let inner = |x: &Tensor| x.narrow(0, 16, 8).unwrap();
            let again = wavelet.low(&low).unwrap();
            assert!(off(&inner(&again), &inner(&low)) < 1e-5, "{wavelet:?}");
        }
    }
}
