//! Differential correction in the wavelet domain (Yu et al., arXiv:2604.16044), with the three faders that DEMON adds to it.

use candle_core::{Device, Result, Tensor};

use crate::wavelet::Wavelet;

/// Keeps a division by a magnitude finite.
const EPSILON: f64 = 1e-8;
/// atan(x) / x in powers of x², for |x| ≤ 1 (Abramowitz & Stegun 4.4.49; off by at most 2e-8).
const ARCTANGENT: [f64; 9] = [
    1.0,
    -0.333_331_452_8,
    0.199_935_508_5,
    -0.142_088_994_4,
    0.106_562_639_3,
    -0.075_289_640_0,
    0.042_909_613_8,
    -0.016_165_736_7,
    0.002_866_225_7,
];

/// Pulls a step away from what the network takes for its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Correction {
    pub(crate) mode: CorrectionMode,
    pub(crate) wavelet: Wavelet,
    /// Of what changes slowly; of everything in the modes that know no other.
    pub(crate) scale: f64,
    /// Of what changes fast, in the mode `Double`.
    pub(crate) high_scale: f64,
    pub(crate) faders: Faders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorrectionMode {
    Low,
    High,
    Double,
    /// Without wavelets, and the same at all times.
    Pixel,
}

/// What else becomes of the coefficients of a band; at 0 each changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Faders {
    /// From a correction of the same size everywhere (0) to one in proportion to the coefficient (1).
    pub(crate) multiplicative: f64,
    /// From the coefficients themselves (0) to magnitude and phase of their analytic signal (1).
    pub(crate) analytic: f64,
    /// Differences up to this size are left as they are, and larger ones count for so much less.
    pub(crate) threshold: f64,
}

impl CorrectionMode {
    /// By its name on the wire.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "low" => Self::Low,
            "high" => Self::High,
            "double" => Self::Double,
            "pix" => Self::Pixel,
            _ => return None,
        })
    }
}

impl Correction {
    /// The length of the bands whose [`quadrature`] it takes, for so many frames; none where it takes none.
    pub(crate) fn analytic_length(&self, frames: usize) -> Option<usize> {
        let asked = self.faders.analytic > 0.0 && self.mode != CorrectionMode::Pixel;
        asked.then(|| self.wavelet.coefficients(frames))
    }

    /// `moved` after a step from time `now`, at which the network took `estimate` for the end. `quadrature` is that of
    /// [`Self::analytic_length`].
    pub(crate) fn apply(
        &self,
        moved: &Tensor,
        estimate: &Tensor,
        now: f64,
        quadrature: Option<&Tensor>,
    ) -> Result<Tensor> {
        let scales = match self.mode {
            CorrectionMode::Pixel => return moved + ((moved - estimate)? * self.scale)?,
            CorrectionMode::Low => [now * self.scale, 0.0],
            CorrectionMode::High => [0.0, (1.0 - now) * self.scale],
            CorrectionMode::Double => [now * self.scale, (1.0 - now) * self.high_scale],
        };
        if self.faders == Faders::default() {
            let difference = (moved - estimate)?;
            let slow = self.wavelet.low(&difference)?;
            return (moved + (difference * scales[1])?)? + (slow * (scales[0] - scales[1]))?;
        }
        let [slow, fast] = self.wavelet.split(moved)?;
        let [slow_end, fast_end] = self.wavelet.split(estimate)?;
        let corrected = [
            self.faders.corrected(&slow, &slow_end, scales[0], quadrature)?,
            self.faders.corrected(&fast, &fast_end, scales[1], quadrature)?,
        ];
        self.wavelet.joined(&corrected, moved.dim(0)?)
    }
}

impl Faders {
    /// Coefficients [windows, channels] of a band that are pulled away from those of the end.
    fn corrected(&self, band: &Tensor, end: &Tensor, scale: f64, quadrature: Option<&Tensor>) -> Result<Tensor> {
        if scale == 0.0 {
            return Ok(band.clone());
        }
        let difference = (band - end)?;
        let sign = difference.sign()?;
        let reduced = ((difference.abs()? - self.threshold)?.relu()? * &sign)?;
        let added = (band + (reduced * scale)?)?;
        let multiplied = (band * ((sign * scale)? + 1.0)?)?;
        let real = ((added * (1.0 - self.multiplicative))? + (multiplied * self.multiplicative)?)?;
        match quadrature {
            Some(quadrature) => {
                let turned = turned_away(band, end, scale, quadrature)?;
                (real * (1.0 - self.analytic))? + (turned * self.analytic)?
            }
            None => Ok(real),
        }
    }
}

/// Magnitude and phase of the band's analytic signal, both pulled away from those of the end: its real part.
fn turned_away(band: &Tensor, end: &Tensor, scale: f64, quadrature: &Tensor) -> Result<Tensor> {
    let (imaginary, end_imaginary) = (quadrature.matmul(band)?, quadrature.matmul(end)?);
    let magnitude = |real: &Tensor, imaginary: &Tensor| (real.sqr()? + imaginary.sqr()?)?.sqrt();
    let (before, aim) = (magnitude(band, &imaginary)?, magnitude(end, &end_imaginary)?);
    // The phase between both: that of one times the other's conjugate, whose real part the reference keeps from being 0.
    let end = (end + EPSILON)?;
    let along = ((band * &end)? + (&imaginary * &end_imaginary)?)?;
    let across = ((&imaginary * &end)? - (band * &end_imaginary)?)?;
    let turn = (phase(&along, &across)? * scale)?;
    let after = ((&before * (1.0 + scale))? - (aim * scale)?)?;
    let real = ((band * turn.cos()?)? - (imaginary * turn.sin()?)?)?;
    real * (after / (before + EPSILON)?)?
}

/// The angle of complex numbers, between -π and π.
fn phase(real: &Tensor, imaginary: &Tensor) -> Result<Tensor> {
    let (width, height) = (real.abs()?, imaginary.abs()?);
    let longer = width.maximum(&height)?;
    // Nothing has the angle 0.
    let slope = (width.minimum(&height)? / longer.maximum(f64::from(f32::MIN_POSITIVE))?)?;
    let square = slope.sqr()?;
    let mut sum = square.zeros_like()?;
    for power in ARCTANGENT.iter().rev() {
        sum = ((sum * &square)? + *power)?;
    }
    let angle = (sum * slope)?;
    let steep = height.gt(&width)?;
    let angle = steep.where_cond(&angle.affine(-1.0, std::f64::consts::FRAC_PI_2)?, &angle)?;
    let angle = real
        .lt(0.0)?
        .where_cond(&angle.affine(-1.0, std::f64::consts::PI)?, &angle)?;
    imaginary.lt(0.0)?.where_cond(&angle.neg()?, &angle)
}

/// The matrix [length, length] that turns every oscillation of a signal by a quarter: the imaginary part of its analytic signal (the
/// Hilbert transform of a loop, as one gets it from a discrete Fourier transform without its negative frequencies).
pub(crate) fn quadrature(length: usize, device: &Device) -> Result<Tensor> {
    let n = length as f64;
    let kernel = |distance: usize| {
        let angle = std::f64::consts::PI * distance as f64 / n;
        let odd = distance % 2 == 1;
        match (distance, length.is_multiple_of(2)) {
            (0, _) => 0.0,
            (_, true) if odd => 2.0 / (n * angle.tan()),
            (_, true) => 0.0,
            (_, false) => {
                let alternating = if odd { -1.0 } else { 1.0 };
                (angle.cos() - alternating) / (n * angle.sin())
            }
        }
    };
    let kernel: Vec<f32> = (0..length).map(|distance| kernel(distance) as f32).collect();
    let rows = (0..length).flat_map(|row| (0..length).map(move |column| (row + length - column) % length));
    let values: Vec<f32> = rows.map(|distance| kernel[distance]).collect();
    Tensor::from_vec(values, (length, length), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_those_of_the_library() {
        let points: Vec<(f32, f32)> = (-20..=20)
            .flat_map(|x| (-20..=20).map(move |y| (x as f32 * 0.37, y as f32 * 0.11)))
            .collect();
        let column = |of: fn(&(f32, f32)) -> f32| Tensor::new(points.iter().map(of).collect::<Vec<_>>(), &Device::Cpu);
        let angles = phase(&column(|point| point.0).unwrap(), &column(|point| point.1).unwrap()).unwrap();
        for ((x, y), angle) in points.iter().zip(angles.to_vec1::<f32>().unwrap()) {
            assert!((y.atan2(*x) - angle).abs() < 1e-6, "{x}, {y}: {angle}");
        }
    }

    #[test]
    fn a_quarter_turn_makes_a_sine_of_a_cosine() {
        for length in [16, 17] {
            let wave = |of: fn(f64) -> f64| {
                let at = |frame: usize| of(std::f64::consts::TAU * 3.0 * frame as f64 / length as f64) as f32;
                Tensor::from_vec((0..length).map(at).collect::<Vec<_>>(), (length, 1), &Device::Cpu).unwrap()
            };
            let turned = quadrature(length, &Device::Cpu)
                .unwrap()
                .matmul(&wave(f64::cos))
                .unwrap();
            let off = (turned - wave(f64::sin)).unwrap().abs().unwrap().max_all().unwrap();
            assert!(off.to_scalar::<f32>().unwrap() < 1e-6, "length {length}");
        }
    }
}
