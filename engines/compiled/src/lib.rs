//! Compiled engines: fast and rigid programs for one component of the generator, each good for a range of shapes.
//!
//! A [`Registry`] knows which engines there are: files with [`Metadata`] beside them in a folder, and CUDA graphs that were captured in
//! this process. What does not fit this pod is listed with its [`Misfit`] and never offered.
#![forbid(unsafe_code)]

mod component;
mod digest;
mod fit;
mod metadata;
mod profile;
mod registry;
mod standard;

pub use component::Component;
pub use digest::Digest;
pub use fit::{Misfit, Pod};
pub use metadata::{ComputeCapability, EngineFile, Library, LibraryName, Metadata, MetadataError, Precision, SCHEMA};
pub use profile::{Profile, ProfileError, Range, Shapes};
pub use registry::{Engine, Found, Look, Origin, Registry, RegistryError};
pub use standard::{Length, standard_profile};
