//! What can go wrong with the library.

use std::{io, path::PathBuf};

use greenroom_compiled::ComputeCapability;

use crate::{GPUS, INSTALL};

/// Why TensorRT did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TensorrtError {
    /// The program has no code for it.
    #[error(
        "this program was built without TensorRT: build it with `cargo build --release --package greenroom --features tensorrt`"
    )]
    NotBuiltIn,
    /// The library is not there, or cannot be opened.
    #[error(
        "TensorRT for RTX cannot be opened ({words}): get it with `{INSTALL}`, and name the folder tensorrt_rtx_libs that it makes with \
         --tensorrt-dir"
    )]
    Library {
        /// What the system said.
        words: String,
    },
    /// The library is too old or too new.
    #[error("TensorRT for RTX {here} is here, and this program is for {wanted}: get it with `{INSTALL}`")]
    Version {
        /// The version that was found.
        here: String,
        /// The one that is needed.
        wanted: String,
    },
    /// Nobody can build for these GPUs.
    #[error(
        "TensorRT for RTX builds no engines for compute capability {asked}: it does for {}",
        list(GPUS)
    )]
    Gpu {
        /// What was asked for.
        asked: ComputeCapability,
    },
    /// The network is not one that it takes.
    #[error("{path} is no network that TensorRT takes: {words}")]
    Network {
        /// The ONNX file.
        path: PathBuf,
        /// What the library said.
        words: String,
    },
    /// It could not make an engine.
    #[error("TensorRT could not build the engine: {words}")]
    Build {
        /// What the library said.
        words: String,
    },
    /// It built an engine and did not say what that takes.
    #[error(
        "TensorRT built an engine without saying how much memory it takes: this program does not know what this version says"
    )]
    Memory,
    /// The engine could not be written.
    #[error("the engine could not be written: {0}")]
    Write(#[from] io::Error),
    /// The engine's file is none for this machine.
    #[error("TensorRT could not load the engine: {words}")]
    Load {
        /// What the library said.
        words: String,
    },
    /// There is no execution context: mostly for want of memory. Nothing of the engine is kept.
    #[error("TensorRT gave no execution context: {words}")]
    Context {
        /// What the library said.
        words: String,
    },
    /// A tensor was refused.
    #[error("TensorRT refused the tensor {name}: {words}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What the library said.
        words: String,
    },
    /// The engine did not run.
    #[error("TensorRT could not run the engine: {words}")]
    Run {
        /// What the library said.
        words: String,
    },
    /// The engine takes no other weights, or not these. Its own are as they were.
    #[error("TensorRT does not take other weights for the engine: {words}")]
    Weights {
        /// What the library said.
        words: String,
    },
    /// Putting weights into the engine failed halfway: what is in it now is not known.
    #[error("TensorRT could not change the engine's weights: {words}")]
    Refit {
        /// What the library said.
        words: String,
    },
}

impl TensorrtError {
    /// Whether device memory ran out: the library says so in words alone, those of its own allocator or of CUDA.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        let (Self::Load { words } | Self::Context { words }) = self else {
            return false;
        };
        let words = words.to_lowercase();
        ["out of memory", "outofmemory", "cudaerrormemoryallocation"]
            .iter()
            .any(|sign| words.contains(sign))
    }
}

fn list(gpus: &[ComputeCapability]) -> String {
    let words: Vec<String> = gpus.iter().map(ComputeCapability::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_load_that_says_so_was_short_of_memory() {
        let load = |words: &str| TensorrtError::Load { words: words.into() };
        let context = |words: &str| TensorrtError::Context { words: words.into() };
        for words in [
            "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
            "Requested amount of GPU memory (16 bytes) could not be allocated: OutOfMemory",
        ] {
            assert!(load(words).is_out_of_memory() && context(words).is_out_of_memory());
            let run = TensorrtError::Run { words: words.into() };
            assert!(!run.is_out_of_memory());
        }
        assert!(!load("the engine is of another version").is_out_of_memory());
        assert!(!context("Failed to create ExecutionContext").is_out_of_memory());
    }
}
