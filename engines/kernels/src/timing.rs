//! How long operations of a transformer take on a GPU, each by itself, at the shapes of ACE-Step's networks.

use std::sync::Arc;

use candle_core::{
    DType, Device, Result, Tensor, bail,
    cuda_backend::{
        CudaDevice, WrapErr,
        cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags_enum, CUstreamCaptureMode},
    },
};

use crate::{
    Adaptive, Gate, Heads, Mask, cross_attention, norm_rotary, residual_norm, rotary_frequencies, rotary_table,
    self_attention, swiglu,
};

/// Heads of the diffusion transformer, and of its text encoder.
const HEADS: Heads = Heads {
    queries: 16,
    keys: 8,
    dim: 128,
};
/// Width of the transformer, and of its feed-forwards.
const WIDTH: usize = 2048;
const INNER: usize = 6144;
/// Patches of a minute, and rows of its condition.
const PATCHES: usize = 750;
const CONDITION: usize = 83;
/// Calls of an operation in a graph, and replays of it that are timed.
const CALLS: usize = 20;
const REPLAYS: usize = 5;
const EPS: f32 = 1e-6;

/// What an operation takes, called again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// The operation and its shape.
    pub name: String,
    /// One call, on average.
    pub microseconds: f64,
    /// What it has to read and write at least, by the second. An H100 has 3350 GB/s.
    pub gigabytes_per_second: f64,
    /// What it multiplies and adds, by the second; nothing where that is little. An H100 has 989 in 16 bits.
    pub teraflops: f64,
}

/// Times every operation in bf16. The device's tensors are ordered by its one stream (`disable_event_tracking`), as a lane's are: calls are
/// recorded as a graph, so that what the host takes to launch them does not count.
///
/// # Errors
/// If the device is no GPU, or fails.
pub fn timings(device: &Device) -> Result<Vec<Timing>> {
    let Device::Cuda(cuda) = device else {
        bail!("timings are of a GPU's kernels, and the device is {device:?}")
    };
    let mut bench = Bench {
        device: device.clone(),
        cuda: cuda.clone(),
        found: Vec::new(),
    };
    for batch in [1, 4, 8] {
        bench.self_attention("all", batch, PATCHES, Mask::None)?;
        bench.self_attention("window", batch, PATCHES, Mask::Window(128))?;
        bench.cross_attention(batch)?;
        bench.steps(batch)?;
    }
    bench.self_attention("causal", 1, 70, Mask::Causal)?;
    bench.self_attention("five rows", 600, 5, Mask::None)?;
    bench.self_attention("six rows", 600, 6, Mask::None)?;
    bench.self_attention("window", 1, 6000, Mask::Window(128))?;
    Ok(bench.found)
}

struct Bench {
    device: Device,
    cuda: CudaDevice,
    found: Vec<Timing>,
}

/// Pairs of a query and a key that it looks at.
fn pairs(length: usize, mask: Mask) -> usize {
    match mask {
        Mask::None => length * length,
        Mask::Causal => length * (length + 1) / 2,
        Mask::Window(reach) => (0..length)
            .map(|query| (query + reach + 1).min(length) - query.saturating_sub(reach))
            .sum(),
    }
}

impl Bench {
    fn data(&self, dims: &[usize]) -> Result<Tensor> {
        Tensor::randn(0f32, 1.0, dims, &self.device)?.to_dtype(DType::BF16)
    }

    /// Times what moves so many values of two bytes and multiplies so often.
    fn time<T>(&mut self, name: String, values: usize, products: usize, call: impl Fn() -> Result<T>) -> Result<()> {
        call()?; // Kernels are loaded now.
        let stream = self.cuda.cuda_stream();
        stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .w()?;
        let called = (0..CALLS).try_for_each(|_| call().map(drop));
        // The capture ends also if a call failed.
        let graph = stream
            .end_capture(CUgraphInstantiate_flags_enum::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH)
            .w();
        called?;
        let Some(graph) = graph? else {
            bail!("{name}: nothing was captured")
        };
        graph.launch().w()?;
        let event = || {
            Arc::clone(&stream)
                .record_event(Some(CUevent_flags::CU_EVENT_DEFAULT))
                .w()
        };
        let begin = event()?;
        for _ in 0..REPLAYS {
            graph.launch().w()?;
        }
        let milliseconds = begin.elapsed_ms(&event()?).w()?;
        let seconds = f64::from(milliseconds) / 1e3 / (CALLS * REPLAYS) as f64;
        self.found.push(Timing {
            name,
            microseconds: seconds * 1e6,
            gigabytes_per_second: 2e-9 * values as f64 / seconds,
            teraflops: 2e-12 * products as f64 / seconds,
        });
        Ok(())
    }

    fn self_attention(&mut self, what: &str, sequences: usize, length: usize, mask: Mask) -> Result<()> {
        let columns = HEADS.query_columns() + 2 * HEADS.key_columns();
        let rows = sequences * length;
        let qkv = self.data(&[rows, columns])?;
        let products = 2 * sequences * HEADS.query_columns() * pairs(length, mask);
        let name = format!("self_attention, {what}, {sequences} x {length}");
        self.time(name, rows * (columns + HEADS.query_columns()), products, || {
            self_attention(&qkv, HEADS, length, mask)
        })
    }

    fn cross_attention(&mut self, batch: usize) -> Result<()> {
        let columns = HEADS.query_columns();
        let (q, memory) = (
            self.data(&[batch * PATCHES, columns])?,
            self.data(&[batch, CONDITION, 2 * HEADS.key_columns()])?,
        );
        let lengths = Tensor::new(vec![CONDITION as u32; batch], &self.device)?;
        let values = 2 * batch * PATCHES * columns + memory.elem_count();
        let products = 2 * batch * PATCHES * CONDITION * columns;
        let name = format!("cross_attention, {batch} x {PATCHES} to {CONDITION}");
        self.time(name, values, products, || {
            cross_attention(&q, &memory, &lengths, HEADS, PATCHES)
        })
    }

    /// What only moves memory.
    fn steps(&mut self, batch: usize) -> Result<()> {
        let rows = batch * PATCHES;
        let (x, delta) = (self.data(&[rows, WIDTH])?, self.data(&[rows, WIDTH])?);
        let modulation = Tensor::randn(0f32, 1.0, (batch, 6, WIDTH), &self.device)?;
        let gamma = Tensor::randn(0f32, 1.0, WIDTH, &self.device)?;
        let gate = |gate| Gate {
            modulation: &modulation,
            gate,
        };
        let adaptive = Adaptive {
            modulation: &modulation,
            shift: 3,
            scale: 4,
        };
        self.time(format!("residual_norm, {rows} x {WIDTH}"), 4 * rows * WIDTH, 0, || {
            residual_norm(&x, Some((&delta, Some(gate(2)))), &gamma, Some(adaptive), PATCHES, EPS)
        })?;
        let columns = HEADS.query_columns() + 2 * HEADS.key_columns();
        let qkv = self.data(&[rows, columns])?;
        let gamma = Tensor::randn(0f32, 1.0, HEADS.dim, &self.device)?;
        let rotary = rotary_table(&rotary_frequencies(HEADS.dim, 1e6), PATCHES, &self.device)?;
        let moved = 2 * rows * (columns - HEADS.key_columns());
        self.time(format!("norm_rotary, {rows} x {columns}"), moved, 0, || {
            norm_rotary(qkv.clone(), &gamma, &gamma, &rotary, HEADS, PATCHES, EPS)
        })?;
        let both = self.data(&[rows, 2 * INNER])?;
        self.time(format!("swiglu, {rows} x {}", 2 * INNER), 3 * rows * INNER, 0, || {
            swiglu(&both)
        })
    }
}
