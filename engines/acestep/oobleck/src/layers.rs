//! What encoder and decoder are made of.

use candle_core::Tensor;
use greenroom_kernels::{Convolution, ConvolutionLayer, ResidualUnit};
use greenroom_weights::{WeightSource, WeightsError};

use crate::{
    config::{DILATIONS, TAPS},
    layout::unit,
};

/// Takes the tensors of a network from their source.
pub(crate) struct Parts<'a>(pub(crate) &'a dyn WeightSource);

impl Parts<'_> {
    /// A Snake, [2, channels].
    pub(crate) fn snake(&self, name: &str, channels: usize) -> Result<Tensor, WeightsError> {
        self.0.tensor(name, &[2, channels])
    }

    /// A convolution from so many channels to so many.
    pub(crate) fn convolution(
        &self,
        name: &str,
        shape: Convolution,
        [inputs, outputs]: [usize; 2],
        biased: bool,
    ) -> Result<ConvolutionLayer, WeightsError> {
        let weight = [shape.upsampling * outputs, shape.taps * inputs];
        let bias = biased.then(|| self.0.tensor(&format!("{name}.bias"), &[outputs]));
        Ok(ConvolutionLayer {
            shape,
            weight: self.0.tensor(&format!("{name}.weight"), &weight)?,
            bias: bias.transpose()?,
        })
    }

    /// The residual units of a block; `next` is the Snake that reads what they make.
    pub(crate) fn units(&self, block: &str, channels: usize, next: &Tensor) -> Result<Vec<ResidualUnit>, WeightsError> {
        let snakes = (1..DILATIONS.len()).map(|index| self.snake(&first_snake(block, index), channels));
        let mut snakes = snakes.collect::<Result<Vec<_>, _>>()?;
        snakes.push(next.clone());
        let units = DILATIONS.iter().zip(snakes).enumerate();
        units
            .map(|(index, (dilation, next))| {
                let name = unit(block, index);
                let widths = [channels; 2];
                let dilated = Convolution::same(TAPS, *dilation);
                Ok(ResidualUnit {
                    dilated: self.convolution(&format!("{name}.conv1"), dilated, widths, true)?,
                    between: self.snake(&format!("{name}.snake2"), channels)?,
                    pointwise: self.convolution(&format!("{name}.conv2"), Convolution::same(1, 1), widths, true)?,
                    next,
                })
            })
            .collect()
    }
}

/// The Snake that a block's unit begins with.
pub(crate) fn first_snake(block: &str, index: usize) -> String {
    format!("{}.snake1", unit(block, index))
}
