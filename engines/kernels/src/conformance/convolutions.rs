//! Convolutions, at sizes that leave rests of tiles and of stages.

use candle_core::{DType, Result, Tensor};

use super::Comparison;
use crate::{
    Convolution, ConvolutionLayer, ResidualUnit, convolve, convolve_onto, convolve_sound, convolve_to_sound,
    convolve_trunk,
};

impl Comparison {
    pub(super) fn convolutions(&mut self, dtype: DType) -> Result<()> {
        // Few rows for the small tile, many for the large one; one stage of the sum and many.
        for (shape, rows, inputs, outputs) in [
            (Convolution::same(7, 1), 25, 64, 200),
            (Convolution::same(7, 9), 20_001, 128, 136),
            (Convolution::same(1, 1), 17_000, 128, 128),
            (Convolution::same(7, 3), 1_501, 64, 64),
            (Convolution::same(3, 1), 301, 320, 64),
            (Convolution::down(2), 34_002, 128, 128),
            (Convolution::down(10), 250, 128, 256),
            (Convolution::up(10), 26, 256, 128),
            (Convolution::up(2), 16_501, 128, 128),
        ] {
            self.convolution(dtype, shape, rows, [inputs, outputs])?;
        }
        // The width that is done in one pass on some GPUs, with one row of the last block; and one that is not.
        for (rows, channels, dilation) in [(25, 128, 9), (2_561, 128, 3), (301, 256, 1)] {
            self.unit(dtype, rows, channels, dilation)?;
        }
        self.sounds(dtype)
    }

    fn unit(&mut self, dtype: DType, rows: usize, channels: usize, dilation: usize) -> Result<()> {
        let (dilated, on_dilated) = self.layers(dtype, Convolution::same(7, dilation), [channels; 2])?;
        let (pointwise, on_pointwise) = self.layers(dtype, Convolution::same(1, 1), [channels; 2])?;
        let (between, on_between) = self.parameter(&[2, channels])?;
        let (next, on_next) = self.parameter(&[2, channels])?;
        let (trunk, on_trunk) = self.data(&[2, rows, channels], dtype)?;
        let unit = ResidualUnit {
            dilated,
            between,
            pointwise,
            next,
        };
        let on_unit = ResidualUnit {
            dilated: on_dilated,
            between: on_between,
            pointwise: on_pointwise,
            next: on_next,
        };
        let (actual, expected) = (on_unit.forward(on_trunk)?, unit.forward(trunk)?);
        let name = format!("residual unit of {rows} x {channels}, dilation {dilation}");
        self.compare_within(&name, dtype, 2.0 * super::bound(dtype), &actual, &expected)
    }

    /// The same layer on the CPU and on the device.
    fn layers(
        &self,
        dtype: DType,
        shape: Convolution,
        [inputs, outputs]: [usize; 2],
    ) -> Result<(ConvolutionLayer, ConvolutionLayer)> {
        let columns = shape.upsampling * outputs;
        let scale = ((shape.taps * inputs) as f64).sqrt().recip();
        let rounded = (super::random(&[columns, shape.taps * inputs])? * scale)?.to_dtype(dtype)?;
        let (bias, on_bias) = self.parameter(&[outputs])?;
        let layer = |weight, bias| ConvolutionLayer {
            shape,
            weight,
            bias: Some(bias),
        };
        Ok((
            layer(rounded.to_dtype(DType::F32)?, bias),
            layer(rounded.to_device(&self.device)?, on_bias),
        ))
    }

    fn convolution(&mut self, dtype: DType, shape: Convolution, rows: usize, widths: [usize; 2]) -> Result<()> {
        let kernel = match (shape.upsampling, shape.stride) {
            (1, 1) => format!("{} taps, {} apart", shape.taps, shape.dilation),
            (1, stride) => format!("one row of {stride}"),
            (upsampling, _) => format!("{upsampling} rows of one"),
        };
        let name = |part: &str| format!("{part} of {rows} x {} to {}, {kernel}", widths[0], widths[1]);
        let ((x, on_x), (snake, on_snake)) = (self.data(&[rows, widths[0]], dtype)?, self.parameter(&[2, widths[1]])?);
        let (layer, on_layer) = self.layers(dtype, shape, widths)?;
        let (actual, expected) = (convolve(&on_x, &on_layer, None)?, convolve(&x, &layer, None)?);
        self.compare(&name("convolve"), dtype, &actual, &expected)?;
        let actual = convolve(&on_x, &on_layer, Some(&on_snake))?;
        self.compare(
            &name("convolve, curved"),
            dtype,
            &actual,
            &convolve(&x, &layer, Some(&snake))?,
        )?;
        let on_trunk = convolve_trunk(&on_x, &on_layer, &on_snake)?;
        let trunk = convolve_trunk(&x, &layer, &snake)?;
        self.compare(&name("convolve_trunk"), dtype, &on_trunk, &trunk)?;
        // A second pass onto what is there: the sums are of rounded parts.
        let on_trunk = convolve_onto(on_trunk, &on_x, &on_layer, &on_snake)?;
        let trunk = convolve_onto(trunk, &x, &layer, &snake)?;
        self.compare_within(
            &name("convolve_onto"),
            dtype,
            2.0 * super::bound(dtype),
            &on_trunk,
            &trunk,
        )
    }

    fn sounds(&mut self, dtype: DType) -> Result<()> {
        let (sound, on_sound) = self.parameter(&[3_001, 2])?;
        let (snake, on_snake) = self.parameter(&[2, 128])?;
        let (layer, on_layer) = self.layers(DType::F32, Convolution::same(7, 1), [2, 128])?;
        let actual = convolve_sound(&on_sound, &on_layer, &on_snake, dtype)?;
        let expected = convolve_sound(&sound, &layer, &snake, DType::F32)?;
        self.compare("convolve_sound", dtype, &actual, &expected)?;
        let (x, on_x) = self.data(&[3_001, 128], dtype)?;
        let (layer, on_layer) = self.layers(DType::F32, Convolution::same(7, 1), [128, 2])?;
        let unbiased = |layer| ConvolutionLayer { bias: None, ..layer };
        let actual: Tensor = convolve_to_sound(&on_x, &unbiased(on_layer))?;
        let expected = convolve_to_sound(&x, &unbiased(layer))?;
        self.compare("convolve_to_sound", dtype, &actual, &expected)
    }
}
