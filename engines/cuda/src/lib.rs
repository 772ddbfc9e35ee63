//! The stage of an NVIDIA GPU.
//!
//! A weight group is one range of device addresses that is reserved for good, and a page-locked image in system RAM that never changes.
//! Parking unmaps the memory behind the addresses; restoring maps other memory there and copies the image into it. So modules are built
//! once, over addresses that stay, and nothing is ever copied from the device.
//!
//! [`CudaStage`] is that logic over any [`Driver`], and is tested over one that is only a simulation. The real driver, the lanes that
//! compute, the conformance list and the measurements are there with the feature `cuda`; a program built with it starts where there is
//! no GPU, and [`Gpu::open`] says what is missing.
#![deny(unsafe_code)]

mod driver;
mod faults;
mod ledger;
#[cfg(feature = "cuda")]
mod nvidia;
#[cfg(test)]
mod simulated;
mod stage;
#[cfg(test)]
mod tests;

pub use driver::{Driver, DriverError, Handle, Memory, Pool, Severity};
pub use faults::{Faulty, Step};
pub use ledger::Figures;
#[cfg(feature = "cuda")]
pub use nvidia::{DeviceWeights, Gpu, GpuError, GpuInfo, Hold, Lane, bench, conformance, severity};
pub use stage::CudaStage;
