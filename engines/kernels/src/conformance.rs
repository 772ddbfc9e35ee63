//! Every kernel compared with its plain counterpart, on whatever GPU there is.

mod convolutions;
mod transformers;

use candle_core::{DType, Device, Result, Tensor};

use crate::{
    BandLayout, Sequences, add_rms_norm, add_rms_norm_twice, apply_masks, band_features, bias_gelu, bias_glu,
    bias_tanh, frame_count, frames, gated_rotary_attention, overlap_add, rms_norm, rotary_frequencies, rotary_table,
    spectra, swap_leading,
};

const EPS: f32 = 1e-6;
const TYPES: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

/// One kernel on one type of data: how far it is from the CPU's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Conformity {
    /// The operation and the type.
    pub name: String,
    /// The larger of ‖a−b‖/‖b‖ and max|a−b|/max|b|; not a number if a value was not.
    pub error: f64,
    /// What the error may be.
    pub bound: f64,
}

impl Conformity {
    /// Whether the kernel does what it should.
    pub fn holds(&self) -> bool {
        self.error <= self.bound
    }
}

/// Compares every operation on the device with the CPU's, on fresh random inputs of odd sizes.
///
/// # Errors
/// If the device fails; a wrong result is no error but a [`Conformity`] that does not hold.
pub fn conformance(device: &Device) -> Result<Vec<Conformity>> {
    let mut all = Comparison {
        device: device.clone(),
        found: Vec::new(),
    };
    for dtype in TYPES {
        all.norms(dtype)?;
        all.curves(dtype)?;
        all.attention(dtype)?;
        all.bands(dtype)?;
        all.convolutions(dtype)?;
        all.transformers(dtype)?;
    }
    all.fourier()?;
    all.overlaps()?;
    Ok(all.found)
}

struct Comparison {
    device: Device,
    found: Vec<Conformity>,
}

/// How far rounding alone may take a result.
fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 1e-5,
    }
}

fn random(dims: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, dims, &Device::Cpu)
}

impl Comparison {
    /// The same values on both sides: rounded to the type, then f32 on the CPU and that type on the device.
    fn data(&self, dims: &[usize], dtype: DType) -> Result<(Tensor, Tensor)> {
        let rounded = random(dims)?.to_dtype(dtype)?;
        Ok((rounded.to_dtype(DType::F32)?, rounded.to_device(&self.device)?))
    }

    fn parameter(&self, dims: &[usize]) -> Result<(Tensor, Tensor)> {
        self.data(dims, DType::F32)
    }

    fn compare(&mut self, name: &str, dtype: DType, actual: &Tensor, expected: &Tensor) -> Result<()> {
        self.compare_within(name, dtype, bound(dtype), actual, expected)
    }

    fn compare_within(
        &mut self,
        name: &str,
        dtype: DType,
        bound: f64,
        actual: &Tensor,
        expected: &Tensor,
    ) -> Result<()> {
        let actual = actual
            .to_dtype(DType::F32)?
            .to_device(&Device::Cpu)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let expected = expected.flatten_all()?.to_vec1::<f32>()?;
        let (mut squares, mut off_squares, mut largest, mut off_largest) = (0f64, 0f64, 0f64, 0f64);
        for (actual, expected) in actual.iter().zip(&expected) {
            let (off, expected) = (f64::from(actual - expected), f64::from(*expected));
            squares += expected * expected;
            off_squares += off * off;
            largest = largest.max(expected.abs());
            // `max` would overlook what is not a number; the sum of squares does not.
            off_largest = off_largest.max(off.abs());
        }
        let norm = (off_squares / squares).sqrt();
        let error = if norm.is_nan() || actual.len() != expected.len() {
            f64::NAN
        } else {
            norm.max(off_largest / largest)
        };
        self.found.push(Conformity {
            name: format!("{name} {}", dtype.as_str()),
            error,
            bound,
        });
        Ok(())
    }

    fn norms(&mut self, dtype: DType) -> Result<()> {
        // Half a warp a row, a whole one, and a whole one with many packs.
        for width in [384, 512, 1280] {
            let ((x, on_x), (delta, on_delta)) = (self.data(&[101, width], dtype)?, self.data(&[101, width], dtype)?);
            let ((bias, on_bias), (gamma, on_gamma)) = (self.parameter(&[width])?, self.parameter(&[width])?);
            let (next, on_next) = self.parameter(&[width])?;
            let name = |part: &str| format!("{part} of {width}");
            self.compare(
                &name("rms_norm"),
                dtype,
                &rms_norm(&on_x, &on_gamma, EPS)?,
                &rms_norm(&x, &gamma, EPS)?,
            )?;
            let (on_sum, on_normed) = add_rms_norm(&on_x, &on_delta, None, &on_gamma, EPS)?;
            let (sum, normed) = add_rms_norm(&x, &delta, None, &gamma, EPS)?;
            self.compare(&name("add_rms_norm, sum"), dtype, &on_sum, &sum)?;
            self.compare(&name("add_rms_norm, norm"), dtype, &on_normed, &normed)?;
            let (on_out, on_y) = add_rms_norm_twice(&on_x, &on_delta, Some(&on_bias), &on_gamma, &on_next, EPS)?;
            let (out, y) = add_rms_norm_twice(&x, &delta, Some(&bias), &gamma, &next, EPS)?;
            self.compare(&name("add_rms_norm_twice, out"), dtype, &on_out, &out)?;
            self.compare(&name("add_rms_norm_twice, next"), dtype, &on_y, &y)?;
        }
        Ok(())
    }

    fn curves(&mut self, dtype: DType) -> Result<()> {
        let ((x, on_x), (bias, on_bias)) = (self.data(&[5, 37, 112], dtype)?, self.parameter(&[5, 112])?);
        self.compare("bias_glu", dtype, &bias_glu(&on_x, &on_bias)?, &bias_glu(&x, &bias)?)?;
        let (on_swapped, swapped) = (swap_leading(&on_x, Some(&on_bias))?, swap_leading(&x, Some(&bias))?);
        self.compare("swap_leading", dtype, &on_swapped, &swapped)?;
        self.compare(
            "bias_gelu",
            dtype,
            &bias_gelu(on_x.copy()?, &on_bias)?,
            &bias_gelu(x.copy()?, &bias)?,
        )?;
        self.compare("bias_tanh", dtype, &bias_tanh(on_x, &on_bias)?, &bias_tanh(x, &bias)?)
    }

    fn attention(&mut self, dtype: DType) -> Result<()> {
        // Shorter than a block of keys, exactly one, some with a rest.
        for frames in [1, 33, 64, 129, 801] {
            self.attention_of(dtype, frames, 1.0)?;
        }
        // Scores so far apart that the softmax changes its reference on the way.
        self.attention_of(dtype, 200, 3.5)
    }

    /// Along both axes, inputs being so large.
    fn attention_of(&mut self, dtype: DType, frames: usize, scale: f64) -> Result<()> {
        let (heads, dim, batch, bands) = (3, 64, 2, 5);
        let (gate, on_gate) = self.parameter(&[heads])?;
        let x = (random(&[batch * frames * bands, heads * (3 * dim + 1) + 5])? * scale)?.to_dtype(dtype)?;
        let (x, on_x) = (x.to_dtype(DType::F32)?, x.to_device(&self.device)?);
        let table = rotary_table(&rotary_frequencies(dim, 1e4), frames.max(bands), &Device::Cpu)?;
        let on_table = table.to_device(&self.device)?;
        for (axis, sequences) in [
            ("time", Sequences::over_time(batch, frames, bands)),
            ("bands", Sequences::over_bands(batch, frames, bands)),
        ] {
            let actual = gated_rotary_attention(&on_x, &on_gate, &on_table, heads, &sequences)?;
            let expected = gated_rotary_attention(&x, &gate, &table, heads, &sequences)?;
            let name = format!("attention over {axis}, {frames} frames, inputs of {scale}");
            // What rounding does to queries and keys, scores multiply.
            let bound = bound(dtype) * scale * scale;
            self.compare_within(&name, dtype, bound, &actual, &expected)?;
        }
        Ok(())
    }

    fn bands(&mut self, dtype: DType) -> Result<()> {
        let ranges = [0..4, 2..7, 6..29, 20..61, 61..97];
        let groups = [0..2, 2..5];
        let layout = BandLayout::new(&ranges, &groups, 97, 2, &Device::Cpu)?;
        let on_layout = BandLayout::new(&ranges, &groups, 97, 2, &self.device)?;
        let (batch, frames) = (2, 13);
        let (spectrum, on_spectrum) = self.parameter(&[batch, 2, frames, 97, 2])?;
        let (gamma, on_gamma) = self.parameter(&[layout.total()])?;
        let actual = band_features(&on_spectrum, &on_gamma, EPS, &on_layout, dtype)?;
        let expected = band_features(&spectrum, &gamma, EPS, &layout, DType::F32)?;
        self.compare("band_features", dtype, &actual, &expected)?;
        let (masks, on_masks) = self.data(&[batch * frames * layout.total()], dtype)?;
        let actual = apply_masks(&on_spectrum, &on_masks, &on_layout)?;
        self.compare("apply_masks", dtype, &actual, &apply_masks(&spectrum, &masks, &layout)?)
    }

    fn fourier(&mut self) -> Result<()> {
        // Points that are a power of four, points that are not, and the shortest.
        for (window, hop, samples) in [(2048, 441, 10_007), (1024, 100, 3001), (8, 2, 50)] {
            let (audio, on_audio) = self.parameter(&[2, samples])?;
            let (shape, on_shape) = self.parameter(&[window])?;
            let name = |part: &str| format!("{part} of {window}");
            let (actual, expected) = (spectra(&on_audio, &on_shape, hop)?, spectra(&audio, &shape, hop)?);
            self.compare(&name("spectra"), DType::F32, &actual, &expected)?;
            let (bins, on_bins) = self.parameter(&[2, 7, window / 2 + 1, 2])?;
            self.compare(&name("frames"), DType::F32, &frames(&on_bins)?, &frames(&bins)?)?;
        }
        Ok(())
    }

    fn overlaps(&mut self) -> Result<()> {
        let (window, hop, samples) = (2048, 441, 10_007);
        let (shape, on_shape) = self.parameter(&[window])?;
        let (frames, on_frames) = self.parameter(&[2, frame_count(samples, hop), window])?;
        // A window away from zero: what few frames cover is divided by little otherwise.
        let (shape, on_shape) = ((shape.abs()? + 0.5)?, (on_shape.abs()? + 0.5)?);
        let actual = overlap_add(&on_frames, &on_shape, hop, samples)?;
        self.compare(
            "overlap_add",
            DType::F32,
            &actual,
            &overlap_add(&frames, &shape, hop, samples)?,
        )
    }
}
