//! Fused operations of the networks, as functions over candle tensors.
//!
//! Each has a plain implementation for the CPU (f32, rayon) and, with the feature `cuda`, one for NVIDIA GPUs (f16, bf16 and f32 data,
//! f32 arithmetic, one pass over memory). Inputs are contiguous. Data has the network's type; parameters (γ, biases, windows, rotary
//! angles) are f32 everywhere, since they are small and their rounding would be heard in every sample.
//!
//! On CUDA the last dimension of data is a multiple of 16 bytes and starts on 16 bytes: every load is that wide. What is not, is an error
//! that says so; weights are padded with zeros when they are packed.
#![deny(unsafe_code)]

mod adaptive;
mod args;
mod attention;
mod bands;
mod bias;
#[cfg(feature = "cuda")]
mod conformance;
mod convolution;
#[cfg(feature = "cuda")]
mod cuda;
mod fourier;
mod frames;
mod grouped;
mod matmul;
mod norm;
mod residual;
mod rows;
#[cfg(feature = "cuda")]
mod timing;

pub use adaptive::{Adaptive, Gate, norm_rotary, residual_norm, swiglu};
pub use attention::{Sequences, gated_rotary_attention, rotary_frequencies, rotary_table};
pub use bands::{BandLayout, apply_masks, band_features};
pub use bias::{bias_gelu, bias_glu, bias_tanh};
#[cfg(feature = "cuda")]
pub use conformance::{Conformity, conformance};
pub use convolution::{
    Convolution, ConvolutionLayer, convolve, convolve_onto, convolve_sound, convolve_to_sound, convolve_trunk,
};
pub use fourier::{frames, spectra};
pub use frames::{frame_count, overlap_add};
pub use grouped::{Heads, Mask, cross_attention, self_attention};
pub use norm::{add_rms_norm, add_rms_norm_twice, rms_norm};
pub use residual::ResidualUnit;
pub use rows::{linear, swap_leading};
#[cfg(feature = "cuda")]
pub use timing::{Timing, timings};
