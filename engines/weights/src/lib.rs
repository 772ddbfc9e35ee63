//! Packed weight images: the weights of one group as a device wants them, made once and kept on disk.
//!
//! A checkpoint cannot be copied to a device as it is: tensors are not aligned, types have to be cast, projections are fused. So an
//! engine writes each tensor once, in its final shape and type, through an [`ImageBuilder`]; the result is a [`PackedImage`], one block
//! of bytes that goes to the device in a single copy. Modules then take their tensors by name from a [`WeightSource`], which on the CPU
//! is [`HostWeights`] and on a GPU a view of the group's device memory.
#![deny(unsafe_code)]

mod builder;
mod cache;
mod checkpoint;
mod error;
mod image;
#[cfg(feature = "testing")]
mod keeping;
mod layout;
mod mapping;
mod random;
mod recorder;
mod source;

pub use builder::ImageBuilder;
pub use cache::ImageKey;
pub use checkpoint::{CheckpointError, CheckpointFile, Key, Spread, Tensors, write_random_checkpoint};
pub use error::{BuildError, ImageError, WeightsError};
pub use image::PackedImage;
#[cfg(feature = "testing")]
pub use keeping::KeepingLane;
pub use layout::{ALIGNMENT, Layout, TensorEntry};
pub use random::{RandomTensors, uniform};
pub use recorder::{Recordable, Recorder, Register, Registration};
pub use source::{CopiedWeights, DeviceLane, HostWeights, LaneWork, Recording, WeightSource};
