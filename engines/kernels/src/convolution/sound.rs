//! The first and the last convolution: between the two channels of a sound, in f32, and the network's data.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::{Convolution, ConvolutionLayer, Convolve, Extent, Output, host::Planes};
use crate::args::values;

/// Channels of a sound, and taps of both convolutions.
pub(crate) const SOUND_CHANNELS: usize = 2;
pub(crate) const SOUND_TAPS: usize = 7;

/// The beginning of a trunk, as [`convolve_trunk`](crate::convolve_trunk) makes it, from a sound: [samples, 2] f32 → [2, samples, out] of
/// `dtype`. The kernel has 7 taps; weights are f32.
///
/// # Errors
/// If shapes or types do not match.
pub fn convolve_sound(sound: &Tensor, layer: &ConvolutionLayer, snake: &Tensor, dtype: DType) -> Result<Tensor> {
    sound.apply_op1_no_bwd(&SoundIn {
        op: Convolve::new(layer, Some(snake), Output::Both),
        dtype,
    })
}

/// A sound from the network's data: [samples, in] → [samples, 2] f32, without a bias. The kernel has 7 taps; weights are f32.
///
/// # Errors
/// If shapes or types do not match.
pub fn convolve_to_sound(x: &Tensor, layer: &ConvolutionLayer) -> Result<Tensor> {
    x.apply_op1_no_bwd(&SoundOut {
        op: Convolve::new(layer, None, Output::Raw),
    })
}

pub(crate) struct SoundIn {
    pub(crate) op: Convolve,
    pub(crate) dtype: DType,
}

pub(crate) struct SoundOut {
    pub(crate) op: Convolve,
}

fn check_shape(name: &str, op: &Convolve) -> Result<()> {
    if op.layer.shape != Convolution::same(SOUND_TAPS, 1) || op.layer.weight.dtype() != DType::F32 {
        bail!("{name}: the kernel has {SOUND_TAPS} taps side by side and weights of f32")
    }
    Ok(())
}

impl SoundIn {
    pub(crate) const NAME: &str = "convolve_sound";

    pub(crate) fn extent(&self, layout: &Layout) -> Result<Extent> {
        check_shape(Self::NAME, &self.op)?;
        let extent = self.op.extent(layout)?;
        if extent.channels_in != SOUND_CHANNELS {
            bail!("{}: a sound has 2 channels, not {:?}", Self::NAME, layout.shape())
        }
        Ok(extent)
    }
}

impl SoundOut {
    pub(crate) const NAME: &str = "convolve_to_sound";

    pub(crate) fn extent(&self, layout: &Layout) -> Result<Extent> {
        check_shape(Self::NAME, &self.op)?;
        let extent = self.op.extent(layout)?;
        if extent.channels_out != SOUND_CHANNELS || self.op.layer.bias.is_some() {
            bail!("{}: a sound has 2 channels and no bias", Self::NAME)
        }
        Ok(extent)
    }
}

impl CustomOp1 for SoundIn {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let extent = self.extent(layout)?;
        if self.dtype != DType::F32 {
            bail!("{}: on the CPU data is f32", Self::NAME)
        }
        let mut trunk = vec![0f32; 2 * extent.values()];
        let sound = values(Self::NAME, storage, layout)?;
        self.op.run_on_host(sound, &extent, Planes::both(&mut trunk, false))?;
        Ok((CpuStorage::F32(trunk), self.op.result(&extent)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::convolve_sound(self, storage, layout)
    }
}

impl CustomOp1 for SoundOut {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let extent = self.extent(layout)?;
        let mut sound = vec![0f32; extent.values()];
        let x = values(Self::NAME, storage, layout)?;
        self.op.run_on_host(x, &extent, Planes::Raw(&mut sound))?;
        Ok((CpuStorage::F32(sound), self.op.result(&extent)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        crate::cuda::convolve_to_sound(self, storage, layout)
    }
}
