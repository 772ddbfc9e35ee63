//! A residual unit: two convolutions that add to a trunk.

use candle_core::{Result, Tensor};

use crate::{ConvolutionLayer, convolve, convolve_onto};

/// Adds to a trunk, [2, rows, channels], what two convolutions make of its curved half. The Snake that a unit begins with was applied by
/// whoever made the trunk, the one of what follows is applied here: each in the pass that has the values anyway.
#[derive(Clone, Debug)]
pub struct ResidualUnit {
    /// The convolution that looks around; as many rows and channels out as in.
    pub dilated: ConvolutionLayer,
    /// The Snake between the two, [2, channels] f32.
    pub between: Tensor,
    /// The convolution of each row by itself.
    pub pointwise: ConvolutionLayer,
    /// The Snake of what reads the trunk next, [2, channels] f32.
    pub next: Tensor,
}

impl ResidualUnit {
    /// The trunk after this unit.
    ///
    /// # Errors
    /// If shapes or types do not match.
    pub fn forward(&self, trunk: Tensor) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(trunk) = crate::cuda::residual_unit(self, &trunk)? {
            return Ok(trunk);
        }
        self.in_two_steps(trunk)
    }

    /// The same by one convolution after the other.
    pub(crate) fn in_two_steps(&self, trunk: Tensor) -> Result<Tensor> {
        let inner = convolve(&trunk.get(1)?, &self.dilated, Some(&self.between))?;
        convolve_onto(trunk, &inner, &self.pointwise, &self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Convolution,
        args::testing::{assert_near, random},
    };

    #[test]
    fn a_unit_adds_both_convolutions_to_its_trunk() {
        let layer = |taps, seed| ConvolutionLayer {
            shape: Convolution::same(taps, 3),
            weight: random(&[6, taps * 6], seed),
            bias: Some(random(&[6], seed + 1)),
        };
        let unit = ResidualUnit {
            dilated: layer(7, 1),
            between: random(&[2, 6], 3),
            pointwise: layer(1, 4),
            next: random(&[2, 6], 6),
        };
        let trunk = random(&[2, 50, 6], 7);
        let inner = convolve(&trunk.get(1).unwrap(), &unit.dilated, Some(&unit.between)).unwrap();
        let added = convolve(&inner, &unit.pointwise, None).unwrap();
        let expected = (trunk.get(0).unwrap() + added).unwrap();
        let actual = unit.forward(trunk.copy().unwrap()).unwrap();
        assert_near(&actual.get(0).unwrap(), &expected, 1e-6);
        assert_eq!(actual.dims(), [2, 50, 6]);
    }
}
