//! Kernels by name, device addresses of tensors, and the launch that brings them together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use candle_core::{
    CudaDevice, CudaStorage, DType, Layout, Result, Storage, Tensor,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        CudaStorageSlice, WrapErr,
        cudarc::{
            driver::{
                CudaContext, CudaFunction, CudaModule, DevicePtr, LaunchConfig, PushKernelArg,
                sys::CUfunction_attribute_enum,
            },
            nvrtc::Ptx,
        },
    },
};
use half::{bf16, f16};

/// Every kernel, for every architecture it was compiled for.
const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// Bytes that a thread loads at once, where data has to begin.
const PACK_BYTES: usize = 16;

/// Shared memory that a kernel may have without asking for more.
pub(super) const SHARED_UNASKED: usize = 48 << 10;

/// The kernels as one context has them.
struct Loaded {
    context: Arc<CudaContext>,
    module: Arc<CudaModule>,
    functions: HashMap<String, CudaFunction>,
}

/// A kernel of the device's context; the first one asked for loads all of them.
fn function(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    static LOADED: OnceLock<Mutex<Vec<Loaded>>> = OnceLock::new();
    let stream = device.cuda_stream();
    let context = stream.context();
    let mut loaded = LOADED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let at = match loaded
        .iter()
        .position(|loaded| loaded.context.cu_ctx() == context.cu_ctx())
    {
        Some(at) => at,
        None => {
            if IMAGE.is_empty() {
                bail!(
                    "the program has no GPU kernels: it was built with a stand-in compiler; build it with NVIDIA's nvcc"
                )
            }
            let module = context.load_module(Ptx::from_binary(IMAGE.to_vec())).w()?;
            loaded.push(Loaded {
                context: context.clone(),
                module,
                functions: HashMap::new(),
            });
            loaded.len() - 1
        }
    };
    let Loaded { module, functions, .. } = &mut loaded[at];
    if let Some(function) = functions.get(name) {
        return Ok(function.clone());
    }
    let function = module.load_function(name).w()?;
    functions.insert(name.to_owned(), function.clone());
    Ok(function)
}

/// What a kernel takes.
enum Argument {
    Address(u64),
    Signed(i32),
    Unsigned(u32),
    Float(f32),
}

/// A kernel and its arguments, in the order the kernel names them.
pub(super) struct Launch {
    op: &'static str,
    device: CudaDevice,
    function: CudaFunction,
    arguments: Vec<Argument>,
}

impl Launch {
    pub(super) fn new(op: &'static str, device: &CudaDevice, kernel: &str) -> Result<Self> {
        Ok(Self {
            op,
            device: device.clone(),
            function: function(device, kernel)?,
            arguments: Vec::new(),
        })
    }

    /// Contiguous data of a type that kernels know, on the kernel's device, on a 16-byte boundary.
    pub(super) fn data(self, storage: &CudaStorage, layout: &Layout) -> Result<Self> {
        self.data_from(storage, layout, 0)
    }

    /// The same, from so many values after its first.
    pub(super) fn data_from(mut self, storage: &CudaStorage, layout: &Layout, offset: usize) -> Result<Self> {
        let address = self.address(storage, layout)? + (offset * storage.dtype().size_in_bytes()) as u64;
        if !address.is_multiple_of(PACK_BYTES as u64) {
            bail!(
                "{}: {:?} begins between 16-byte boundaries; copy it first",
                self.op,
                layout.shape()
            )
        }
        self.arguments.push(Argument::Address(address));
        Ok(self)
    }

    /// A result that is contiguous from its first byte on.
    pub(super) fn result(self, storage: &CudaStorage, values: usize) -> Result<Self> {
        self.data(storage, &Layout::contiguous(values))
    }

    /// The second half of a result.
    pub(super) fn second_result(self, storage: &CudaStorage, values: usize) -> Result<Self> {
        self.data(storage, &Layout::contiguous_with_offset(values, values))
    }

    /// A parameter tensor; its shape has been checked.
    pub(super) fn parameter(self, tensor: &Tensor) -> Result<Self> {
        self.parameter_from(tensor, 0)
    }

    /// The same, from so many values after its first.
    pub(super) fn parameter_from(self, tensor: &Tensor, offset: usize) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => self.data_from(storage, layout, offset),
            _ => bail!(
                "{}: a parameter {:?} is not on the GPU its data is on",
                self.op,
                layout.shape()
            ),
        }
    }

    /// A parameter that kernels can do without.
    pub(super) fn optional(self, tensor: Option<&Tensor>) -> Result<Self> {
        match tensor {
            Some(tensor) => self.parameter(tensor),
            None => Ok(self.nothing()),
        }
    }

    /// In place of data that kernels can do without.
    pub(super) fn nothing(mut self) -> Self {
        self.arguments.push(Argument::Address(0));
        self
    }

    /// A few numbers, read one at a time.
    pub(super) fn indices(mut self, storage: &CudaStorage, layout: &Layout) -> Result<Self> {
        let address = self.address(storage, layout)?;
        self.arguments.push(Argument::Address(address));
        Ok(self)
    }

    /// A size or index that kernels take as `int`.
    pub(super) fn int(mut self, value: usize) -> Result<Self> {
        match i32::try_from(value) {
            Ok(value) => self.arguments.push(Argument::Signed(value)),
            Err(_) => bail!("{}: a size of {value} is more than kernels count to", self.op),
        }
        Ok(self)
    }

    /// A bound that kernels take as `int`, or none.
    pub(super) fn int_or_all(mut self, value: Option<usize>) -> Result<Self> {
        match value {
            Some(value) => self.int(value),
            None => {
                self.arguments.push(Argument::Signed(-1));
                Ok(self)
            }
        }
    }

    /// A size that kernels take as `unsigned`.
    pub(super) fn unsigned(mut self, value: usize) -> Result<Self> {
        match u32::try_from(value) {
            Ok(value) => self.arguments.push(Argument::Unsigned(value)),
            Err(_) => bail!("{}: a size of {value} is more than kernels count to", self.op),
        }
        Ok(self)
    }

    pub(super) fn float(mut self, value: f32) -> Self {
        self.arguments.push(Argument::Float(value));
        self
    }

    fn address(&self, storage: &CudaStorage, layout: &Layout) -> Result<u64> {
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!(
                "{}: {:?} is not contiguous; call `contiguous()` on it first",
                self.op,
                layout.shape()
            )
        };
        if storage.device.id() != self.device.id() {
            bail!("{}: {:?} is on another device", self.op, layout.shape())
        }
        let stream = self.device.cuda_stream();
        let (address, size) = match &storage.slice {
            CudaStorageSlice::F16(slice) => (slice.device_ptr(&stream).0, size_of::<f16>()),
            CudaStorageSlice::BF16(slice) => (slice.device_ptr(&stream).0, size_of::<bf16>()),
            CudaStorageSlice::F32(slice) => (slice.device_ptr(&stream).0, size_of::<f32>()),
            CudaStorageSlice::U32(slice) => (slice.device_ptr(&stream).0, size_of::<u32>()),
            _ => bail!("{}: kernels know f16, bf16 and f32, not this type", self.op),
        };
        Ok(address + (start * size) as u64)
    }

    /// Starts so many blocks; none is nothing to do.
    ///
    /// # Safety
    /// The arguments are those of the kernel, in order and type, and the sizes among them describe the memory behind the addresses.
    pub(super) unsafe fn run(self, blocks: usize, threads: u32, shared_bytes: usize) -> Result<()> {
        let Ok(blocks) = u32::try_from(blocks) else {
            bail!("{}: {blocks} blocks are more than a launch can have", self.op)
        };
        if blocks == 0 {
            return Ok(());
        }
        if shared_bytes > SHARED_UNASKED {
            let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            self.function.set_attribute(attribute, shared_bytes as i32).w()?;
        }
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(&self.function);
        for argument in &self.arguments {
            match argument {
                Argument::Address(value) => builder.arg(value),
                Argument::Signed(value) => builder.arg(value),
                Argument::Unsigned(value) => builder.arg(value),
                Argument::Float(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: shared_bytes as u32,
        };
        // SAFETY: the caller's promise about arguments and sizes; the addresses are of tensors that outlive this call, and what is freed
        // afterwards is freed on the same stream, behind the kernel.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Memory for a result; its kernel writes all of it.
pub(super) fn uninitialised(device: &CudaDevice, dtype: DType, values: usize) -> Result<CudaStorage> {
    // SAFETY: every operation writes each value of its result before anybody reads it (conformance compares them all).
    unsafe {
        Ok(match dtype {
            DType::F16 => CudaStorage::wrap_cuda_slice(device.alloc::<f16>(values)?, device.clone()),
            DType::BF16 => CudaStorage::wrap_cuda_slice(device.alloc::<bf16>(values)?, device.clone()),
            DType::F32 => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(values)?, device.clone()),
            other => bail!("kernels know f16, bf16 and f32, not {other:?}"),
        })
    }
}

/// What a type is called in kernels' names.
pub(super) fn suffix(op: &str, dtype: DType) -> Result<&'static str> {
    Ok(match dtype {
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::F32 => "f32",
        other => bail!("{op}: kernels know f16, bf16 and f32, not {other:?}"),
    })
}

/// How many 16-byte packs so many values are.
pub(super) fn packs(op: &str, dtype: DType, values: usize) -> Result<usize> {
    let bytes = values * dtype.size_in_bytes();
    if !bytes.is_multiple_of(PACK_BYTES) {
        bail!("{op}: rows of {values} {dtype:?} are not whole packs of 16 bytes; pad them")
    }
    Ok(bytes / PACK_BYTES)
}
