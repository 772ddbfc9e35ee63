//! What happens to audio and spectra.

use candle_core::{CudaStorage, DType, Layout, Result, Shape, backend::BackendStorage, bail};

use super::launch::{Launch, SHARED_UNASKED, suffix, uninitialised};
use crate::{
    bands::{ApplyMasks, BandFeatures, BandLayout, Tables},
    fourier::{Frames, Spectra},
    frames::OverlapAdd,
};

/// Threads of a block, as in common.cuh.
const THREADS: usize = 256;

/// Lengths that kernels transform: powers of two in these bounds.
const SHORTEST_FRAME: usize = 8;
const LONGEST_FRAME: usize = 4096;

/// Threads of a block that transforms a frame of n samples, and its shared memory in bytes: two buffers of n/2 points with a gap after
/// every 16, as in fourier.cuh.
fn transform(op: &str, n: usize) -> Result<(u32, usize)> {
    if !n.is_power_of_two() || !(SHORTEST_FRAME..=LONGEST_FRAME).contains(&n) {
        bail!("{op}: kernels transform powers of two from {SHORTEST_FRAME} to {LONGEST_FRAME}, not frames of {n}")
    }
    Ok(((n / 8) as u32, 2 * (n / 2 + n / 32) * 2 * size_of::<f32>()))
}

/// `spectra`.
pub(crate) fn spectra(op: &Spectra, audio: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (extent, shape) = op.extent(layout)?;
    only_f32(Spectra::NAME, audio)?;
    let (threads, shared) = transform(Spectra::NAME, extent.window)?;
    let values = shape.elem_count();
    let out = uninitialised(audio.device(), DType::F32, values)?;
    let launch = Launch::new(Spectra::NAME, audio.device(), "spectra_f32")?
        .data(audio, layout)?
        .parameter(&op.window)?
        .result(&out, values)?
        .int(extent.samples)?
        .int(extent.frames)?
        .int(extent.window)?
        .int(op.hop)?;
    // SAFETY: arguments as in fourier.cuh; samples reach further than half a window, so that mirrored positions are inside.
    unsafe { launch.run(values / (extent.window + 2), threads, shared)? };
    Ok((out, shape))
}

/// `frames`.
pub(crate) fn frames(spectra: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (samples, shape) = Frames::extent(layout)?;
    only_f32(Frames::NAME, spectra)?;
    let (threads, shared) = transform(Frames::NAME, samples)?;
    let values = shape.elem_count();
    let out = uninitialised(spectra.device(), DType::F32, values)?;
    let launch = Launch::new(Frames::NAME, spectra.device(), "frames_f32")?
        .data(spectra, layout)?
        .result(&out, values)?
        .int(samples)?;
    // SAFETY: arguments as in fourier.cuh; a block reads one spectrum and writes one frame.
    unsafe { launch.run(values / samples, threads, shared)? };
    Ok((out, shape))
}

/// `overlap_add`.
pub(crate) fn overlap_add(op: &OverlapAdd, frames: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (extent, shape) = op.extent(layout)?;
    only_f32(OverlapAdd::NAME, frames)?;
    let values = shape.elem_count();
    let out = uninitialised(frames.device(), DType::F32, values)?;
    let launch = Launch::new(OverlapAdd::NAME, frames.device(), "overlap_add_f32")?
        .data(frames, layout)?
        .parameter(&op.window)?
        .result(&out, values)?
        .unsigned(values)?
        .int(extent.samples)?
        .int(extent.frames)?
        .int(extent.window)?
        .int(op.hop)?;
    // SAFETY: arguments as in spectrum.cuh; a sample reads only frames that there are.
    unsafe { launch.run(values.div_ceil(THREADS), THREADS as u32, 0)? };
    Ok((out, shape))
}

/// `band_features`.
pub(crate) fn band_features(
    op: &BandFeatures,
    spectrum: &CudaStorage,
    layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let (batch, frames) = op.extent(layout)?;
    only_f32(BandFeatures::NAME, spectrum)?;
    let (bands, rows) = (&op.layout, batch * frames);
    let tables = tables(BandFeatures::NAME, bands)?;
    let shared = bands.bins() * bands.channels() * 2 * size_of::<f32>();
    if shared > SHARED_UNASKED {
        bail!(
            "{}: a frame of {shared} bytes does not fit in shared memory ({SHARED_UNASKED})",
            BandFeatures::NAME
        )
    }
    let values = rows * bands.total();
    let out = uninitialised(spectrum.device(), op.dtype, values)?;
    let name = format!("band_features_{}", suffix(BandFeatures::NAME, op.dtype)?);
    let launch = Launch::new(BandFeatures::NAME, spectrum.device(), &name)?
        .data(spectrum, layout)?
        .parameter(&tables.bands)?
        .parameter(&op.gamma)?
        .result(&out, values)?
        .int(frames)?
        .int(rows)?
        .int(bands.bins())?
        .int(bands.channels())?
        .int(bands.bands())?
        .float(op.eps);
    // SAFETY: arguments as in spectrum.cuh; the layout has checked that bands lie within the bins, and shared memory holds a frame.
    unsafe { launch.run(rows, THREADS as u32, shared)? };
    Ok((out, Shape::from(values)))
}

/// `apply_masks`.
pub(crate) fn apply_masks(
    op: &ApplyMasks,
    spectrum: &CudaStorage,
    spectrum_layout: &Layout,
    masks: &CudaStorage,
    masks_layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    let (batch, frames) = op.extent(spectrum_layout, masks_layout)?;
    only_f32(ApplyMasks::NAME, spectrum)?;
    let (bands, rows) = (&op.layout, batch * frames);
    let tables = tables(ApplyMasks::NAME, bands)?;
    let values = spectrum_layout.shape().elem_count();
    let out = uninitialised(spectrum.device(), DType::F32, values)?;
    let name = format!("apply_masks_{}", suffix(ApplyMasks::NAME, masks.dtype())?);
    let launch = Launch::new(ApplyMasks::NAME, spectrum.device(), &name)?
        .data(spectrum, spectrum_layout)?
        .data(masks, masks_layout)?
        .parameter(&tables.bands)?
        .parameter(&tables.cover)?
        .result(&out, values)?
        .int(frames)?
        .int(rows)?
        .int(bands.bins())?
        .int(bands.channels())?;
    // SAFETY: arguments as in spectrum.cuh; masks have rows · total values, and every bin has a band.
    unsafe { launch.run((rows * bands.bins()).div_ceil(THREADS), THREADS as u32, 0)? };
    Ok((out, spectrum_layout.shape().clone()))
}

fn only_f32(op: &str, storage: &CudaStorage) -> Result<()> {
    if storage.dtype() != DType::F32 {
        bail!("{op}: audio and spectra are f32, not {:?}", storage.dtype())
    }
    Ok(())
}

fn tables<'a>(op: &str, layout: &'a BandLayout) -> Result<&'a Tables> {
    match layout.tables() {
        Some(tables) => Ok(tables),
        None => bail!("{op}: the band layout was made for the CPU; make it for the GPU its data is on"),
    }
}
