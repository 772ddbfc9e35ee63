//! TensorRT for RTX as this machine has it: whether its engines run here, and in words why not. To be without is no failure: the networks run as
//! they are.

#[cfg(all(feature = "cuda", feature = "tensorrt"))]
mod plans;

use std::fmt;

use greenroom_compiled::ComputeCapability;
#[cfg(any(test, all(feature = "cuda", feature = "tensorrt")))]
use greenroom_generator::LoadError;
use greenroom_tensorrt::{GPUS, Tensorrt, TensorrtError};

use crate::config::Config;
#[cfg(all(feature = "cuda", feature = "tensorrt"))]
pub(super) use plans::plans;

/// What there is of the library, beside this GPU.
pub struct Found {
    library: Result<Tensorrt, TensorrtError>,
    gpu: Option<ComputeCapability>,
}

impl Found {
    /// Opens the library, if it is there.
    #[must_use]
    pub fn open(config: &Config, gpu: Option<ComputeCapability>) -> Self {
        Self {
            library: Tensorrt::open(config.tensorrt_dir.as_deref()),
            gpu,
        }
    }

    /// The library, if engines run here.
    #[cfg_attr(
        not(all(feature = "cuda", feature = "tensorrt")),
        allow(dead_code, reason = "no engines run in such a program")
    )]
    pub(super) fn running(self) -> Option<Tensorrt> {
        self.library
            .ok()
            .filter(|_| self.gpu.is_some_and(|gpu| GPUS.contains(&gpu)))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.library {
            Ok(library) => write!(formatter, "{} ({})", library.version(), on(self.gpu)),
            Err(error) => write!(formatter, "none ({error})"),
        }
    }
}

fn on(gpu: Option<ComputeCapability>) -> String {
    match gpu {
        None => "it builds engines here, and there is no GPU to run them".into(),
        Some(gpu) if GPUS.contains(&gpu) => format!("its engines run on this GPU, of compute capability {gpu}"),
        Some(gpu) => {
            format!("its engines do not run on this GPU, of compute capability {gpu}: the networks run as they are")
        }
    }
}

/// What the director knows of a failed load. The library has no codes, only words.
#[cfg(any(test, all(feature = "cuda", feature = "tensorrt")))]
fn load_error(engine: &str, error: &TensorrtError) -> LoadError {
    match error {
        error if error.is_out_of_memory() => LoadError::OutOfMemory(engine.into()),
        TensorrtError::Context { .. } => LoadError::NullContext(engine.into()),
        error => LoadError::Failed(format!("{engine}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_load_is_what_the_director_knows() {
        let context = |words: &str| TensorrtError::Context { words: words.into() };
        let load = |words: &str| TensorrtError::Load { words: words.into() };
        let known = |error| load_error("decoder", &error);
        assert_eq!(
            known(context("Failed to create ExecutionContext")),
            LoadError::NullContext("decoder".into())
        );
        for short in [context("Cuda Runtime (out of memory)"), load("OutOfMemory")] {
            assert_eq!(known(short), LoadError::OutOfMemory("decoder".into()));
        }
        assert!(matches!(known(load("another version")), LoadError::Failed(said) if said.contains("another version")));
    }

    #[test]
    fn a_gpu_that_engines_do_not_run_on_is_said_and_no_failure() {
        let gpu = |major, minor| Some(ComputeCapability { major, minor });
        assert!(on(gpu(8, 9)).starts_with("its engines run on this GPU"));
        assert!(on(gpu(9, 0)).starts_with("its engines do not run on this GPU, of compute capability 9.0"));
        assert!(on(None).contains("no GPU to run them"));
    }

    #[test]
    fn a_library_that_is_not_there_is_said_and_no_failure() {
        let config = crate::config::Settings {
            tensorrt_dir: Some("/nowhere".into()),
            ..crate::config::Settings::default()
        };
        let found = Found::open(&config.resolve().unwrap(), None);
        assert!(found.to_string().starts_with("none ("), "{found}");
        assert!(found.running().is_none());
    }
}
