//! NVIDIA's TensorRT for RTX: builds engines from ONNX on any machine, and runs them on the GPUs that it knows.
//!
//! The library is opened when the program runs; a machine without it, and a program without the feature `tensorrt`, are told in words.
//! What runs an engine (`Plan`, and `LanePlan` over it) is written to be read: the library refuses the GPUs of the project's test machines, so
//! no test has run it.

mod error;
mod gpus;
mod memory;
mod ports;
mod request;

#[cfg(feature = "tensorrt")]
mod build;
#[cfg(all(feature = "cuda", feature = "tensorrt"))]
mod lane;
#[cfg(feature = "tensorrt")]
mod library;
#[cfg(feature = "tensorrt")]
mod log;
#[cfg(feature = "tensorrt")]
mod plan;
#[cfg(not(feature = "tensorrt"))]
mod without;

pub use error::TensorrtError;
pub use gpus::{GPUS, check_gpus};
#[cfg(all(feature = "cuda", feature = "tensorrt"))]
pub use lane::LanePlan;
#[cfg(feature = "tensorrt")]
pub use library::Tensorrt;
pub use memory::DeviceMemory;
#[cfg(feature = "tensorrt")]
pub use plan::{Bound, Plan, SharedStream, Values};
pub use request::{BuildRequest, Step};
#[cfg(not(feature = "tensorrt"))]
pub use without::Tensorrt;

/// How the library is had, for a person.
pub const INSTALL: &str = "python3 -m pip install tensorrt-rtx-cu13-libs==1.7.1.116";
