//! What is to be built, and how far it is.

use std::path::Path;

use greenroom_compiled::{ComputeCapability, Profile};

/// An engine that is to be built.
#[derive(Clone, Copy, Debug)]
pub struct BuildRequest<'a> {
    /// The network. Types of its operations are those that the engine computes in.
    pub onnx: &'a Path,
    /// The shapes that it shall take.
    pub profile: &'a Profile,
    /// The GPUs that it shall run on.
    pub gpus: &'a [ComputeCapability],
    /// Whether its weights can be changed later. To build such an engine the library runs a part of it: it takes a GPU.
    pub refit: bool,
}

/// A part of the work, which may have parts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, in the library's words.
    pub what: String,
    /// Pieces that are done.
    pub done: u64,
    /// Pieces there are.
    pub of: u64,
}
