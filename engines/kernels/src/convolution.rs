//! Convolutions over time, with what follows them: bias, residual sum, Snake.
//!
//! Data is [rows, channels], a row a moment. Every convolution is one matrix product, whose rows of data are views of neighbouring input
//! rows: nothing is copied to make them. So is the transposed one, if its kernel is twice its stride: a product row is then `stride`
//! output rows, and needs two input rows.

mod host;
pub(crate) mod sound;

use candle_core::{CpuStorage, CustomOp1, InplaceOp2, Layout, Result, Shape, Storage, Tensor, bail};

pub use sound::{convolve_sound, convolve_to_sound};

use crate::args::{parameter, values, values_mut};
use host::Planes;

/// How a convolution goes over its input. Before and after the input are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Input rows under the kernel.
    pub taps: usize,
    /// Input rows from one tap to the next.
    pub dilation: usize,
    /// Input rows from one product row to the next.
    pub stride: usize,
    /// Zero rows at either end that count as input.
    pub padding: usize,
    /// Output rows that a product row is: more than 1 for a transposed convolution.
    pub upsampling: usize,
    /// Output rows that are left out at either end.
    pub crop: usize,
}

impl Convolution {
    /// As many rows out as in; `taps` is odd.
    #[must_use]
    pub const fn same(taps: usize, dilation: usize) -> Self {
        Self {
            taps,
            dilation,
            stride: 1,
            padding: (taps - 1) * dilation / 2,
            upsampling: 1,
            crop: 0,
        }
    }

    /// One row out of `stride`, by a kernel twice as long.
    #[must_use]
    pub const fn down(stride: usize) -> Self {
        Self {
            taps: 2 * stride,
            dilation: 1,
            stride,
            padding: stride.div_ceil(2),
            upsampling: 1,
            crop: 0,
        }
    }

    /// `stride` rows out of one, by a transposed kernel of twice that: the weights are [stride · out, 2 · in], the first tap being what the
    /// row before gives to its second `stride` rows.
    #[must_use]
    pub const fn up(stride: usize) -> Self {
        Self {
            taps: 2,
            dilation: 1,
            stride: 1,
            padding: 1,
            upsampling: stride,
            crop: stride.div_ceil(2),
        }
    }

    /// Rows of the matrix product.
    #[must_use]
    pub fn product_rows(&self, rows: usize) -> usize {
        let covered = (self.taps - 1) * self.dilation + 1;
        (rows + 2 * self.padding)
            .checked_sub(covered)
            .map_or(0, |left| left / self.stride + 1)
    }

    /// Rows that come out of so many.
    #[must_use]
    pub fn output_rows(&self, rows: usize) -> usize {
        (self.product_rows(rows) * self.upsampling).saturating_sub(2 * self.crop)
    }
}

/// A convolution with its parameters.
#[derive(Clone, Debug)]
pub struct ConvolutionLayer {
    /// How it goes over its input.
    pub shape: Convolution,
    /// [upsampling · channels out, taps · channels in], of the data's type.
    pub weight: Tensor,
    /// [channels out] f32.
    pub bias: Option<Tensor>,
}

/// `conv(x) + bias`, x: [rows, in] → [output rows, out]; with `snake` the curve of it instead.
///
/// `snake`: [2, out] f32, each channel's frequency f and weight w of `y + w · sin²(f · y)`.
///
/// # Errors
/// If shapes or types do not match, or no row would come out.
pub fn convolve(x: &Tensor, layer: &ConvolutionLayer, snake: Option<&Tensor>) -> Result<Tensor> {
    let output = if snake.is_some() { Output::Curved } else { Output::Raw };
    x.apply_op1_no_bwd(&Convolve::new(layer, snake, output))
}

/// The beginning of a trunk [2, output rows, out]: `conv(x) + bias`, then the same through `snake`. Residual units add to the first and
/// read the second.
///
/// # Errors
/// As [`convolve`].
pub fn convolve_trunk(x: &Tensor, layer: &ConvolutionLayer, snake: &Tensor) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Convolve::new(layer, Some(snake), Output::Both))
}

/// The end of a residual unit: adds `conv(x) + bias` to the trunk's first half and writes the sum through `snake` to the second. The
/// trunk, [2, rows, out], is overwritten and given back.
///
/// # Errors
/// As [`convolve`], or if the trunk is not as long and wide as what is added.
pub fn convolve_onto(trunk: Tensor, x: &Tensor, layer: &ConvolutionLayer, snake: &Tensor) -> Result<Tensor> {
    trunk.inplace_op2(x, &Convolve::new(layer, Some(snake), Output::Onto))?;
    Ok(trunk)
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Raw,
    Curved,
    /// A trunk.
    Both,
    /// A trunk that is there already.
    Onto,
}

pub(crate) struct Convolve {
    pub(crate) layer: ConvolutionLayer,
    pub(crate) snake: Option<Tensor>,
    pub(crate) output: Output,
}

/// Sizes of one convolution, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) rows_in: usize,
    pub(crate) channels_in: usize,
    pub(crate) product_rows: usize,
    pub(crate) rows_out: usize,
    pub(crate) channels_out: usize,
}

impl Extent {
    /// Columns of the matrix product.
    pub(crate) fn columns(&self, shape: &Convolution) -> usize {
        self.channels_out * shape.upsampling
    }

    /// Values of the result.
    pub(crate) fn values(&self) -> usize {
        self.rows_out * self.channels_out
    }
}

impl Convolve {
    pub(crate) const NAME: &str = "convolve";

    fn new(layer: &ConvolutionLayer, snake: Option<&Tensor>, output: Output) -> Self {
        Self {
            layer: layer.clone(),
            snake: snake.cloned(),
            output,
        }
    }

    /// Checks the input and all parameters.
    pub(crate) fn extent(&self, layout: &Layout) -> Result<Extent> {
        let shape = &self.layer.shape;
        let &[rows_in, channels_in] = layout.dims() else {
            bail!("{}: the input {:?} is not [rows, channels]", Self::NAME, layout.shape())
        };
        let (columns, sum) = self.layer.weight.dims2()?;
        if columns == 0 || !columns.is_multiple_of(shape.upsampling) || sum != shape.taps * channels_in || sum == 0 {
            bail!(
                "{}: weights {:?} do not go with {channels_in} channels, {} taps and {} rows out of one",
                Self::NAME,
                self.layer.weight.shape(),
                shape.taps,
                shape.upsampling
            )
        }
        if !self.layer.weight.is_contiguous() {
            bail!("{}: the weights are not contiguous", Self::NAME)
        }
        let rows_out = shape.output_rows(rows_in);
        if rows_out == 0 {
            bail!("{}: nothing comes out of {rows_in} rows", Self::NAME)
        }
        let channels_out = columns / shape.upsampling;
        if let Some(bias) = &self.layer.bias {
            parameter(Self::NAME, "the bias", bias, channels_out)?;
        }
        if let Some(snake) = &self.snake {
            parameter(Self::NAME, "snake", snake, 2 * channels_out)?;
        }
        Ok(Extent {
            rows_in,
            channels_in,
            product_rows: shape.product_rows(rows_in),
            rows_out,
            channels_out,
        })
    }

    /// Asks that the trunk has room for what is added to it.
    pub(crate) fn check_trunk(&self, trunk: &Layout, extent: &Extent) -> Result<()> {
        if trunk.dims() != [2, extent.rows_out, extent.channels_out] {
            bail!(
                "{}: a trunk {:?} cannot take [{}, {}]",
                Self::NAME,
                trunk.shape(),
                extent.rows_out,
                extent.channels_out
            )
        }
        Ok(())
    }

    /// The shape of the result.
    pub(crate) fn result(&self, extent: &Extent) -> Shape {
        let (rows, channels) = (extent.rows_out, extent.channels_out);
        match self.output {
            Output::Raw | Output::Curved => Shape::from((rows, channels)),
            Output::Both | Output::Onto => Shape::from((2, rows, channels)),
        }
    }

    fn run_on_host(&self, x: &[f32], extent: &Extent, planes: Planes<'_>) -> Result<()> {
        let (weight, weight_layout) = self.layer.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else {
            bail!("{}: the weights are not on the CPU, as the data is", Self::NAME)
        };
        let channels = extent.channels_out;
        let work = host::Work {
            x,
            weights: values(Self::NAME, weight, weight_layout)?,
            bias: match &self.layer.bias {
                Some(bias) => bias.to_vec1()?,
                None => vec![0.0; channels],
            },
            snake: match &self.snake {
                Some(snake) => snake.flatten_all()?.to_vec1()?,
                None => Vec::new(),
            },
            shape: self.layer.shape,
            extent: *extent,
        };
        work.run(planes);
        Ok(())
    }
}

impl CustomOp1 for Convolve {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let extent = self.extent(layout)?;
        let x = values(Self::NAME, storage, layout)?;
        let shape = self.result(&extent);
        let mut out = vec![0f32; shape.elem_count()];
        let planes = match self.output {
            Output::Raw => Planes::Raw(&mut out),
            Output::Curved => Planes::Curved(&mut out),
            Output::Both | Output::Onto => Planes::both(&mut out, false),
        };
        self.run_on_host(x, &extent, planes)?;
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::convolve(self, storage, layout)
    }
}

impl InplaceOp2 for Convolve {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        trunk: &mut CpuStorage,
        trunk_layout: &Layout,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> Result<()> {
        let extent = self.extent(layout)?;
        self.check_trunk(trunk_layout, &extent)?;
        let x = values(Self::NAME, storage, layout)?;
        let planes = Planes::both(values_mut(Self::NAME, trunk, trunk_layout)?, true);
        self.run_on_host(x, &extent, planes)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        trunk: &mut candle_core::CudaStorage,
        trunk_layout: &Layout,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<()> {
        crate::cuda::convolve_onto(self, trunk, trunk_layout, storage, layout)
    }
}

#[cfg(test)]
mod tests;
