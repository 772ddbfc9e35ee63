//! Compiled engines: fast and rigid programs for one component of the generator, each good for a range of shapes.
//!
//! A [`Registry`] knows which engines there are: files with [`Metadata`] beside them in a folder, and CUDA graphs that were captured in
//! this process. What does not fit this pod is listed with its [`Misfit`] and never offered. [`choose`] says which one serves a shape: one
//! pure function, so that no cache can ever answer with an engine that happens to be there.
#![forbid(unsafe_code)]

mod cache;
mod choice;
mod component;
mod digest;
mod fit;
mod metadata;
mod prewarm;
mod profile;
mod registry;
mod standard;

pub use cache::{cached_share, forget};
pub use choice::{BuildCommand, Choice, Eager, Load, Resident, Room, choose};
pub use component::Component;
pub use digest::Digest;
pub use fit::{Misfit, Pod};
pub use metadata::{ComputeCapability, EngineFile, Library, LibraryName, Metadata, MetadataError, Precision, SCHEMA};
pub use prewarm::{Prewarm, Warmed, warm};
pub use profile::{PUBLIC_WIDTH, Profile, ProfileError, Range, Shapes};
pub use registry::{Engine, Found, Look, Origin, Registry, RegistryError};
pub use standard::{Length, Target, standard_profile, standard_profile_of_width};

/// The Python script that writes a component as ONNX. It is in the program, so that a pod needs no checkout to build its engines.
pub const EXPORT_SCRIPT: &str = include_str!("../export/export.py");
