//! An engine on the device: loaded, run and refitted.
//!
//! No test has run this: TensorRT for RTX refuses to load an engine on the GPUs that there are to test on (compute capability 9.0). So there is
//! as little of it as will do, in the order in which it is used: [`Plan::load`], [`Plan::run`], and [`Plan::refit`] when LoRAs change.

use std::ffi::c_void;

use greenroom_compiled::Component;
use half::bf16;
use trtx::{
    CudaEngine, DataType, ExecutionContext, Logger, Refitter, Runtime,
    trtx_sys::{TensorFormat, TensorIOMode, TensorLocation, Weights, nvinfer1},
};

use crate::{
    Tensorrt, TensorrtError,
    build::dimensions,
    log::Log,
    ports::{self, Port},
};

/// Of the weights that a refit lacks, so many are named.
const MISSING_NAMED: i32 = 4;

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

/// Where a tensor lies for one run: contiguous f32 on the device.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// Its name, one of the component's.
    pub name: &'a str,
    /// Its dimensions.
    pub shape: &'a [u64],
    /// The device's address of its first value.
    pub address: u64,
}

/// Values of a matrix in system RAM, [inputs, outputs].
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// In single precision.
    F32(&'a [f32]),
    /// As `bfloat16`.
    Bf16(&'a [bf16]),
}

impl Values<'_> {
    fn raw(&self) -> Weights {
        let (type_, values, count) = match self {
            Self::F32(values) => (nvinfer1::DataType::kFLOAT, values.as_ptr().cast(), values.len()),
            Self::Bf16(values) => (nvinfer1::DataType::kBF16, values.as_ptr().cast(), values.len()),
        };
        Weights {
            type_,
            values,
            count: count as i64,
        }
    }
}

/// An engine with its execution context. It belongs to one thread at a time, whose current CUDA context is the device's, dropping included.
pub struct Plan {
    // In the order in which they have to go.
    context: ExecutionContext<'static>,
    engine: CudaEngine<'static>,
    _runtime: Runtime<'static>,
    stream: SharedStream,
    component: Component,
    logger: &'static Logger,
    log: Log,
}

// SAFETY: TensorRT ties its objects to a device and not to a thread; what it forbids is two threads in one context, or in one engine that is
// refitted, at a time. A plan has all of its engine to itself (there is no second context of it), it is moved whole, and everything that it
// does takes it by `&mut`: so whoever has it is the only one. The logger, of which the library keeps a pointer, is `Sync` and never freed.
unsafe impl Send for Plan {}

impl Plan {
    /// Loads a component's engine onto the current device, weights and workspace. There is a plan with a context or none: a null context is an
    /// error, and nothing is kept of it.
    ///
    /// # Errors
    /// `Load`, also for an engine that takes or gives anything else than the component; `Context`.
    pub fn load(
        _library: &Tensorrt,
        component: Component,
        file: &[u8],
        stream: SharedStream,
    ) -> Result<Self, TensorrtError> {
        let log = Log::default();
        let failed = |error: trtx::Error| TensorrtError::Load {
            words: log.words(&error),
        };
        // The library wants a logger for as long as anything of it lives: a few bytes are given away for each engine.
        let logger: &'static Logger = Box::leak(Box::new(log.logger().map_err(failed)?));
        let mut runtime = Runtime::new(logger).map_err(failed)?;
        let mut engine = runtime.deserialize_cuda_engine(file).map_err(failed)?;
        let ports = ports(&engine).map_err(failed)?;
        ports::check(component, &ports).map_err(|words| TensorrtError::Load { words })?;
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
            component,
            logger,
            log,
        })
    }

    /// Lets the engine run on the shared stream, after what is on it; nobody waits. Every tensor of the engine is bound anew for each run: no
    /// address of an earlier one is used.
    ///
    /// # Errors
    /// `Tensor`, such as for a shape outside the profile, or an output of another shape than the engine gives; `Run`.
    ///
    /// # Safety
    /// At each address there are as many f32 as the shape says, until the run is done on the stream; meanwhile what is on no other stream
    /// writes to inputs or uses the output.
    pub unsafe fn run(&mut self, inputs: &[Bound<'_>], output: &Bound<'_>) -> Result<(), TensorrtError> {
        self.expect_all(inputs, output)?;
        for input in inputs {
            let shape = dimensions(input.shape).and_then(|shape| self.context.set_input_shape(input.name, &shape));
            shape.map_err(|error| self.refused(input.name, &error))?;
            // SAFETY: the caller's promise; the library does not write to inputs.
            unsafe { self.bind(input) }?;
        }
        self.expect_shape(output)?;
        // SAFETY: the caller's promise; the engine gives as many values as the shape says, it was just asked.
        unsafe { self.bind(output) }?;
        // SAFETY: the stream is one of this device (`SharedStream::new`); `expect_all` has seen that every tensor is bound.
        unsafe { self.context.enqueue_v3(self.stream.0) }.map_err(|error| TensorrtError::Run {
            words: self.log.words(&error),
        })
    }

    /// Puts other values into matrices, by their names in the checkpoint; in force for the runs that follow. Always the base and what LoRAs add to
    /// it, never a difference to what is there. Waits until it is done.
    ///
    /// # Errors
    /// `Weights`, such as for an engine that was not built to be refitted: nothing has changed. `Refit`: what is in it then is not known; load
    /// it again.
    ///
    /// # Safety
    /// No run of this plan is under way.
    pub unsafe fn refit(&mut self, matrices: &[(&str, Values<'_>)]) -> Result<(), TensorrtError> {
        let refused = |error: trtx::Error| TensorrtError::Weights {
            words: self.log.words(&error),
        };
        let mut refitter = Refitter::new(&self.engine, self.logger).map_err(refused)?;
        for (name, values) in matrices {
            let place = nvinfer1::TensorLocation::kHOST;
            // SAFETY: the values are in system RAM, of that type and number, and outlive the refitter, which goes at the end.
            unsafe { refitter.set_named_weights_with_location(name, values.raw(), place) }.map_err(refused)?;
        }
        // Asked before anything is changed: an engine may have merged a matrix with others, and takes all of them or none.
        let missing = refitter.missing_weights(MISSING_NAMED).map_err(refused)?;
        if !missing.is_empty() {
            return Err(TensorrtError::Weights {
                words: format!("it wants {} as well", missing.join(", ")),
            });
        }
        refitter.refit_cuda_engine().map_err(|error| TensorrtError::Refit {
            words: self.log.words(&error),
        })
    }

    /// # Safety
    /// As [`Plan::run`], of this tensor.
    unsafe fn bind(&mut self, tensor: &Bound<'_>) -> Result<(), TensorrtError> {
        let address = tensor.address as *mut c_void;
        // SAFETY: the caller's promise.
        let bound = unsafe { self.context.set_tensor_address(tensor.name, address) };
        bound.map_err(|error| self.refused(tensor.name, &error))
    }

    /// Whether these are the engine's tensors, each once: `load` has seen that it has the component's.
    fn expect_all(&self, inputs: &[Bound<'_>], output: &Bound<'_>) -> Result<(), TensorrtError> {
        let given = |name: &str| inputs.iter().filter(|input| input.name == name).count() == 1;
        let needed = self.component.inputs();
        if inputs.len() == needed.len()
            && needed.iter().all(|(name, _)| given(name))
            && output.name == self.component.output().0
        {
            return Ok(());
        }
        Err(TensorrtError::Run {
            words: format!("a run of {} takes and gives other tensors", self.component),
        })
    }

    /// Whether the engine gives this shape for the inputs' shapes.
    fn expect_shape(&self, output: &Bound<'_>) -> Result<(), TensorrtError> {
        let given = self.context.tensor_shape(output.name);
        let given = given.map_err(|error| self.refused(output.name, &error))?;
        let sizes = &given.d[..usize::try_from(given.nbDims).unwrap_or(0).min(given.d.len())];
        let same = |(size, wanted): (&i64, &u64)| u64::try_from(*size) == Ok(*wanted);
        if sizes.len() == output.shape.len() && sizes.iter().zip(output.shape).all(same) {
            return Ok(());
        }
        Err(TensorrtError::Tensor {
            name: output.name.to_owned(),
            words: format!("the engine gives {sizes:?} where {:?} is expected", output.shape),
        })
    }

    fn refused(&self, name: &str, error: &trtx::Error) -> TensorrtError {
        TensorrtError::Tensor {
            name: name.to_owned(),
            words: self.log.words(error),
        }
    }
}

/// What an engine takes and gives.
fn ports(engine: &CudaEngine<'_>) -> trtx::Result<Vec<Port>> {
    let count = engine.nb_io_tensors()?;
    let port = |index: i32| {
        let name = engine.io_tensor_name(index)?;
        Ok(Port {
            rank: engine.tensor_shape(&name)?.len(),
            is_input: engine.tensor_io_mode(&name)? == TensorIOMode::kINPUT,
            is_plain: engine.tensor_data_type(&name)? == DataType::kFLOAT
                && engine.tensor_format(&name)? == TensorFormat::kLINEAR
                && engine.tensor_location(&name)? == TensorLocation::kDEVICE,
            name,
        })
    };
    (0..count).map(port).collect()
}
