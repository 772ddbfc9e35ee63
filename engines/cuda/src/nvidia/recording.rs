//! A lane's work as a CUDA graph: one launch where there were hundreds.

use candle_core::{Result, bail, cuda_backend::WrapErr};
use cudarc::driver::{
    CudaGraph,
    sys::{CUgraphInstantiate_flags as Instantiate, CUstreamCaptureMode as Mode},
};
use greenroom_weights::{LaneWork, Recording};

use super::lane::Lane;

/// A graph, instantiated and on the device.
struct Graph(CudaGraph);

#[allow(unsafe_code, reason = "the driver's handles are pointers")]
// SAFETY: a graph may be launched and destroyed by any thread as long as no two do so at a time; it has one owner, and what it offers takes
// the driver's context along. It holds no reference to a tensor: its addresses are kept valid by whoever repeats it.
unsafe impl Send for Graph {}

impl Recording for Graph {
    fn repeat(&self) -> Result<()> {
        self.0.launch().w()
    }
}

/// Does the work twice: so that its kernels are loaded and what it sends to the device stays there, and then for the graph.
pub(super) fn record(lane: &Lane, work: &LaneWork) -> Result<Box<dyn Recording>> {
    let device = lane.cuda();
    let stream = device.cuda_stream();
    let _uploads_stay = device.enable_cuda_graph_htod_cache();
    work()?;
    let (worked, graph) = {
        let _nobody_looks = lane.entry().hold_for_recording();
        stream.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).w()?;
        let worked = work();
        // A capture is ended whatever became of it.
        let graph = stream
            .end_capture(Instantiate::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH)
            .w();
        (worked, graph)
    };
    // Drops during a capture, above all one that failed, may have left an error that is not the next caller's.
    let left = stream.context().check_err().w();
    worked?;
    let graph = graph?;
    left?;
    let Some(graph) = graph else {
        bail!("nothing was recorded")
    };
    graph.upload().w()?;
    Ok(Box::new(Graph(graph)))
}
