//! Convolutions over time.

use candle_core::{
    CudaStorage, DType, Layout, Result, Shape,
    backend::BackendStorage,
    bail,
    cuda_backend::{WrapErr, cudarc::driver::sys::CUdevice_attribute},
};

use super::launch::{Launch, packs, suffix, uninitialised};
use crate::convolution::{
    Convolve, Extent, Output,
    sound::{SOUND_CHANNELS, SOUND_TAPS, SoundIn, SoundOut},
};

/// GPUs that multiply by warpgroups.
pub(super) const GROUPED_CAPABILITY: (i32, i32) = (9, 0);
/// Threads of a block that has no tile, as in common.cuh.
const THREADS: u32 = 256;
/// Threads of a block with a tile, channels that it sums at a time, and how many stages of both operands are in shared memory
/// (convolution.cuh).
const TILE_THREADS: u32 = 128;
const DEPTH: usize = 64;
const STAGES: usize = 3;
/// Product rows and columns of a block: the large ones read less, the small ones occupy more of the GPU where there is little to do.
const LARGE_TILE: usize = 128;
const SMALL_TILE: usize = 64;
/// Rows of a block: of sound that comes in, and of sound that goes out (sound.cuh).
const SOUND_IN_ROWS: usize = 512;
const SOUND_OUT_ROWS: usize = THREADS as usize / 4;

/// `convolve` and `convolve_trunk`.
pub(crate) fn convolve(op: &Convolve, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let extent = op.extent(layout)?;
    let (shape, values) = (op.result(&extent), extent.values());
    let out = uninitialised(x.device(), x.dtype(), shape.elem_count())?;
    let first = Layout::contiguous(values);
    let second = Layout::contiguous_with_offset(values, values);
    let (raw, curved) = match op.output {
        Output::Raw => (Some(&first), None),
        Output::Curved => (None, Some(&first)),
        Output::Both | Output::Onto => (Some(&first), Some(&second)),
    };
    run(op, &extent, x, layout, &out, [raw, curved])?;
    Ok((out, shape))
}

/// `convolve_onto`.
pub(crate) fn convolve_onto(
    op: &Convolve,
    trunk: &mut CudaStorage,
    trunk_layout: &Layout,
    x: &CudaStorage,
    layout: &Layout,
) -> Result<()> {
    let extent = op.extent(layout)?;
    op.check_trunk(trunk_layout, &extent)?;
    let Some((start, _)) = trunk_layout.contiguous_offsets() else {
        bail!(
            "{}: the trunk {:?} is not contiguous",
            Convolve::NAME,
            trunk_layout.shape()
        )
    };
    let values = extent.values();
    let raw = Layout::contiguous_with_offset(values, start);
    let curved = Layout::contiguous_with_offset(values, start + values);
    run(op, &extent, x, layout, trunk, [Some(&raw), Some(&curved)])
}

/// The kernel for a product, and how it is started.
struct Plan {
    kernel: String,
    blocks: usize,
    threads: u32,
    shared_bytes: usize,
}

impl Plan {
    fn new(extent: &Extent, columns: usize, x: &CudaStorage) -> Result<Self> {
        let blocks = |tile: usize| extent.product_rows.div_ceil(tile) * columns.div_ceil(tile);
        let dtype = x.dtype();
        if dtype == DType::F32 {
            return Ok(Self {
                kernel: "convolution_plain_f32".into(),
                blocks: blocks(SMALL_TILE),
                threads: THREADS,
                shared_bytes: 0,
            });
        }
        if !extent.channels_in.is_multiple_of(DEPTH) {
            bail!(
                "{}: kernels sum {DEPTH} channels at a time, and {} are not a multiple of that",
                Convolve::NAME,
                extent.channels_in
            )
        }
        let stream = x.device().cuda_stream();
        let context = stream.context();
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(attribute).w()? as usize;
        let large = columns > SMALL_TILE && blocks(LARGE_TILE) >= multiprocessors;
        let tile = if large { LARGE_TILE } else { SMALL_TILE };
        let grouped = context.compute_capability().w()? == GROUPED_CAPABILITY;
        let kind = if grouped { "_grouped" } else { "" };
        Ok(Self {
            kernel: format!("convolution{kind}_{tile}_{}", suffix(Convolve::NAME, dtype)?),
            blocks: blocks(tile),
            threads: TILE_THREADS,
            shared_bytes: STAGES * 2 * tile * DEPTH * dtype.size_in_bytes(),
        })
    }
}

/// Writes the sums, or what `op.output` asks of them, to the places that `planes` names in `out`.
fn run(
    op: &Convolve,
    extent: &Extent,
    x: &CudaStorage,
    layout: &Layout,
    out: &CudaStorage,
    planes: [Option<&Layout>; 2],
) -> Result<()> {
    let (dtype, shape) = (x.dtype(), &op.layer.shape);
    if op.layer.weight.dtype() != dtype || out.dtype() != dtype {
        bail!(
            "{}: data is {dtype:?}, weights {:?} and the result {:?}; they have to be of one type",
            Convolve::NAME,
            op.layer.weight.dtype(),
            out.dtype()
        )
    }
    packs(Convolve::NAME, dtype, extent.channels_out)?;
    let columns = extent.columns(shape);
    let plan = Plan::new(extent, columns, x)?;
    let mut launch = Launch::new(Convolve::NAME, x.device(), &plan.kernel)?
        .data(x, layout)?
        .parameter(&op.layer.weight)?
        .optional(op.layer.bias.as_ref())?
        .optional(op.snake.as_ref())?;
    for plane in planes {
        launch = match plane {
            Some(layout) => launch.data(out, layout)?,
            None => launch.optional(None)?,
        };
    }
    for size in [
        extent.rows_in,
        extent.channels_in,
        extent.product_rows,
        columns,
        extent.rows_out,
        extent.channels_out,
        shape.taps,
        shape.dilation,
        shape.stride,
        shape.padding,
        shape.crop,
        usize::from(op.output == Output::Onto),
    ] {
        launch = launch.int(size)?;
    }
    // SAFETY: arguments as in convolution.cuh; `extent` has checked that weights, bias and curve have the sizes that it gives, and every
    // plane holds rows_out · channels_out values.
    unsafe { launch.run(plan.blocks, plan.threads, plan.shared_bytes) }
}

/// `convolve_sound`.
pub(crate) fn convolve_sound(op: &SoundIn, sound: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let extent = op.extent(layout)?;
    if sound.dtype() != DType::F32 {
        bail!("{}: a sound is f32, not {:?}", SoundIn::NAME, sound.dtype())
    }
    if packs(SoundIn::NAME, op.dtype, extent.channels_out)? > THREADS as usize {
        bail!(
            "{}: {} channels are more than a block has",
            SoundIn::NAME,
            extent.channels_out
        )
    }
    let (shape, values) = (op.op.result(&extent), extent.values());
    let out = uninitialised(sound.device(), op.dtype, shape.elem_count())?;
    let shared = SOUND_TAPS * SOUND_CHANNELS * extent.channels_out * size_of::<f32>();
    let name = format!("sound_in_{}", suffix(SoundIn::NAME, op.dtype)?);
    let launch = Launch::new(SoundIn::NAME, sound.device(), &name)?
        .data(sound, layout)?
        .parameter(&op.op.layer.weight)?
        .optional(op.op.layer.bias.as_ref())?
        .optional(op.op.snake.as_ref())?
        .result(&out, values)?
        .second_result(&out, values)?
        .int(extent.rows_out)?
        .int(extent.channels_out)?;
    // SAFETY: arguments as in sound.cuh; `extent` has checked the parameters' sizes, and both halves hold rows · channels values.
    unsafe { launch.run(extent.rows_out.div_ceil(SOUND_IN_ROWS), THREADS, shared)? };
    Ok((out, shape))
}

/// `convolve_to_sound`.
pub(crate) fn convolve_to_sound(op: &SoundOut, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let extent = op.extent(layout)?;
    packs(SoundOut::NAME, x.dtype(), extent.channels_in)?;
    let out = uninitialised(x.device(), DType::F32, extent.values())?;
    let name = format!("sound_out_{}", suffix(SoundOut::NAME, x.dtype())?);
    let launch = Launch::new(SoundOut::NAME, x.device(), &name)?
        .data(x, layout)?
        .parameter(&op.op.layer.weight)?
        .result(&out, extent.values())?
        .int(extent.rows_out)?
        .int(extent.channels_in)?;
    // SAFETY: arguments as in sound.cuh; the weights are [2, 7 · channels], the sound has two values a row.
    unsafe { launch.run(extent.rows_out.div_ceil(SOUND_OUT_ROWS), THREADS, 0)? };
    Ok((out, op.op.result(&extent)))
}
