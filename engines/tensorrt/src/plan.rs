//! An engine on the device: loaded, fed, run and refitted.
//!
//! No test has run this: TensorRT for RTX refuses to load an engine on the GPUs that there are to test on (compute capability 9.0). So there is
//! as little of it as will do, in the order in which it is used: [`Plan::load`], [`Plan::input`] and [`Plan::output`], [`Plan::run`], and
//! [`Plan::refit`] when LoRAs change.

use std::ffi::c_void;

use half::bf16;
use trtx::{
    CudaEngine, ExecutionContext, Logger, Refitter, Runtime,
    trtx_sys::{Weights, nvinfer1},
};

use crate::{Tensorrt, TensorrtError, build::dimensions, log::Log};

/// The one CUDA stream that all engines of a lane run on, so that what one writes the next may read.
#[derive(Clone, Copy, Debug)]
pub struct SharedStream(*mut c_void);

impl SharedStream {
    /// A `CUstream`.
    ///
    /// # Safety
    /// It is a stream of the device that engines are loaded on, and outlives every [`Plan`] that it is given to.
    #[must_use]
    pub unsafe fn new(raw: *mut c_void) -> Self {
        Self(raw)
    }
}

/// An engine with its execution context. It belongs to one thread.
pub struct Plan {
    // In the order in which they have to go.
    context: ExecutionContext<'static>,
    engine: CudaEngine<'static>,
    _runtime: Runtime<'static>,
    stream: SharedStream,
    logger: &'static Logger,
    log: Log,
}

impl Plan {
    /// Loads an engine's file onto the current device, weights and workspace. There is a plan with a context or none: a null context is an
    /// error, and nothing is kept of it.
    ///
    /// # Errors
    /// `Load`, `Context`.
    pub fn load(_library: &Tensorrt, file: &[u8], stream: SharedStream) -> Result<Self, TensorrtError> {
        let log = Log::default();
        let failed = |error: trtx::Error| TensorrtError::Load {
            words: log.words(&error),
        };
        // The library wants a logger for as long as anything of it lives: a few bytes are given away for each engine.
        let logger: &'static Logger = Box::leak(Box::new(log.logger().map_err(failed)?));
        let mut runtime = Runtime::new(logger).map_err(failed)?;
        let mut engine = runtime.deserialize_cuda_engine(file).map_err(failed)?;
        let context = engine
            .create_execution_context()
            .map_err(|error| TensorrtError::Context {
                words: log.words(&error),
            })?;
        Ok(Self {
            context,
            engine,
            _runtime: runtime,
            stream,
            logger,
            log,
        })
    }

    /// An input for the runs that follow: its shape, and where it lies on the device.
    ///
    /// # Errors
    /// `Tensor`, such as for a shape outside the profile.
    ///
    /// # Safety
    /// At `address` there are as many values of the input's type as the shape says, until the last of those runs is done.
    pub unsafe fn input(&mut self, name: &str, shape: &[u64], address: *const c_void) -> Result<(), TensorrtError> {
        let set = dimensions(shape).and_then(|shape| self.context.set_input_shape(name, &shape));
        // SAFETY: the caller's promise; the library does not write to inputs.
        let set = set.and_then(|()| unsafe { self.context.set_tensor_address(name, address.cast_mut()) });
        set.map_err(|error| self.refused(name, &error))
    }

    /// Where the runs that follow write an output.
    ///
    /// # Errors
    /// `Tensor`.
    ///
    /// # Safety
    /// At `address` there is room for the output at the inputs' shapes, which nothing else uses until the last of those runs is done.
    pub unsafe fn output(&mut self, name: &str, address: *mut c_void) -> Result<(), TensorrtError> {
        // SAFETY: the caller's promise.
        unsafe { self.context.set_tensor_address(name, address) }.map_err(|error| self.refused(name, &error))
    }

    /// Lets the engine run on the shared stream, after what is on it; nobody waits.
    ///
    /// # Errors
    /// `Run`, such as for an input that was never given.
    ///
    /// # Safety
    /// The promises of [`Plan::input`] and [`Plan::output`] hold, for every tensor of the engine.
    pub unsafe fn run(&mut self) -> Result<(), TensorrtError> {
        // SAFETY: the stream is one of this device (`SharedStream::new`), the tensors are as the caller says.
        unsafe { self.context.enqueue_v3(self.stream.0) }.map_err(|error| TensorrtError::Run {
            words: self.log.words(&error),
        })
    }

    /// Puts other values into matrices, by their names in the checkpoint, each [inputs, outputs]; in force for the runs that follow. Always the
    /// base and what LoRAs add to it, never a difference to what is there. Waits until it is done.
    ///
    /// # Errors
    /// `Refit`, such as for an engine that was not built to be refitted; what is in it then is not known: load it again.
    ///
    /// # Safety
    /// No run of this plan is under way.
    pub unsafe fn refit(&mut self, matrices: &[(&str, &[bf16])]) -> Result<(), TensorrtError> {
        let failed = |error: trtx::Error| TensorrtError::Refit {
            words: self.log.words(&error),
        };
        let mut refitter = Refitter::new(&self.engine, self.logger).map_err(failed)?;
        for (name, values) in matrices {
            let weights = Weights {
                type_: nvinfer1::DataType::kBF16,
                values: values.as_ptr().cast(),
                count: values.len() as i64,
            };
            let place = nvinfer1::TensorLocation::kHOST;
            // SAFETY: the values are in system RAM, of that type and number, and outlive the refitter, which goes at the end.
            unsafe { refitter.set_named_weights_with_location(name, weights, place) }.map_err(failed)?;
        }
        refitter.refit_cuda_engine().map_err(failed)
    }

    fn refused(&self, name: &str, error: &trtx::Error) -> TensorrtError {
        TensorrtError::Tensor {
            name: name.to_owned(),
            words: self.log.words(error),
        }
    }
}
