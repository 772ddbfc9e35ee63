//! The operations on NVIDIA GPUs: shapes are checked here, the work is in `../../cuda`.
//!
//! A candle device has one stream, and everything of an operation belongs to one device: no events are needed between its kernels.
#![allow(unsafe_code, reason = "kernels are launched through the driver")]

mod convolutions;
mod launch;
mod networks;
mod residual;
mod spectra;
mod transformers;

pub(crate) use convolutions::{convolve, convolve_onto, convolve_sound, convolve_to_sound};
pub(crate) use networks::{attention, bias_curve, bias_glu, norm, swap_leading};
pub(crate) use residual::residual_unit;
pub(crate) use spectra::{apply_masks, band_features, frames, overlap_add, spectra};
pub(crate) use transformers::{cross_attention, norm_rotary, residual_norm, self_attention, swiglu};
