//! Memory of a device: who is on it, who is in system RAM, and the proof that it adds up.
//!
//! A [`Stage`] moves weight groups and admits workspaces; it holds no tensors. What a group consists of is a [`Tenant`]'s matter: the
//! stage tells it to come in or to leave. One pure [`MemoryModel`] says what a device of a given size would do, faults included; the
//! stages here carry it out, so that what is proved of the model speaks for them.
#![forbid(unsafe_code)]

pub mod conformance;
mod cpu;
mod error;
mod model;
mod platform;
mod simulated;
mod slot;
mod stage;

pub use cpu::CpuStage;
pub use error::StageError;
pub use model::{Fault, MemoryModel, ModelGroup, Reading};
pub use simulated::{Hook, SimulatedStage, StageOperation};
pub use slot::{ModuleLease, ModuleSlot, NotResident};
pub use stage::{DeviceHome, GroupClass, Home, HostImage, Stage, Tenant, Workspace};
