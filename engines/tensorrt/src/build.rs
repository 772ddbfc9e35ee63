//! Building an engine.

use std::{collections::HashMap, io::Write, ops::ControlFlow, path::Path, sync::Mutex};

use greenroom_compiled::{ComputeCapability, Profile};
use trtx::{
    Builder, BuilderConfig, BuilderFlag, ComputeCapability as Gpu, OnnxParser, OptProfileSelector,
    interfaces::MonitorProgress, optimization_profile::OptimizationProfile, trtx_sys::Dims64,
};

use crate::{BuildRequest, DeviceMemory, Step, Tensorrt, TensorrtError, check_gpus, log::Log};

/// Of the ONNX parser's log: what is more than a warning.
const WARNINGS: i32 = 2;

impl Tensorrt {
    /// Builds an engine and writes it to `out`; `say` hears how far it is, from whichever thread. No GPU is needed but for `refit`.
    ///
    /// # Errors
    /// `Gpu`, `Network`, `Build`, `Memory`, `Write`; what was written then is no engine.
    pub fn build(
        &self,
        request: &BuildRequest<'_>,
        out: &mut dyn Write,
        say: impl Fn(Step) + Send + Sync + 'static,
    ) -> Result<DeviceMemory, TensorrtError> {
        check_gpus(request.gpus)?;
        let log = Log::default();
        let failed = |error: trtx::Error| TensorrtError::Build {
            words: log.words(&error),
        };
        let logger = log.logger().map_err(failed)?;
        let mut builder = Builder::new(&logger).map_err(failed)?;
        // Types are the network's own: the library knows no other kind of network.
        let network = builder.create_network(0).map_err(failed)?;
        let mut parser = OnnxParser::new(network, &logger).map_err(failed)?;
        parse(&mut parser, request.onnx, &log)?;
        let mut config = builder.create_config().map_err(failed)?;
        configure(&mut config, request).map_err(failed)?;
        let mut profile = builder.creata_optimization_profile().map_err(failed)?;
        set_shapes(&mut profile, request.profile).map_err(failed)?;
        config.add_optimization_profile(&mut profile).map_err(failed)?;
        config
            .set_progress_monitor(Box::new(Monitor {
                phases: Mutex::default(),
                say,
            }))
            .map_err(failed)?;
        let plan = builder
            .build_serialized_network(parser.network_mut(), &mut config)
            .map_err(failed)?;
        out.write_all(&plan)?;
        log.memory().ok_or(TensorrtError::Memory)
    }
}

fn parse(parser: &mut OnnxParser<'_>, onnx: &Path, log: &Log) -> Result<(), TensorrtError> {
    let network = |words: String| TensorrtError::Network {
        path: onnx.into(),
        words,
    };
    let path = onnx.to_str().ok_or_else(|| network("its path is no text".into()))?;
    // From the file, not from its bytes: the weights beside it are found by its path.
    parser
        .parse_from_file(path, WARNINGS)
        .map_err(|error| network(log.words(&error)))
}

fn configure(config: &mut BuilderConfig<'_>, request: &BuildRequest<'_>) -> trtx::Result<()> {
    let gpus: Vec<Gpu> = request.gpus.iter().filter_map(|gpu| target(*gpu)).collect();
    config.set_nb_compute_capabilities(gpus.len() as i32)?;
    for (index, gpu) in (0..).zip(gpus) {
        config.set_compute_capability(gpu, index)?;
    }
    if request.refit {
        config.set_flag(BuilderFlag::kREFIT);
    }
    Ok(())
}

/// The library's name of a GPU; there is one for all of `GPUS`.
fn target(gpu: ComputeCapability) -> Option<Gpu> {
    match (gpu.major, gpu.minor) {
        (8, 0) => Some(Gpu::kSM80),
        (8, 6) => Some(Gpu::kSM86),
        (8, 9) => Some(Gpu::kSM89),
        (12, 0) => Some(Gpu::kSM120),
        (12, 1) => Some(Gpu::kSM121),
        _ => None,
    }
}

fn set_shapes(into: &mut OptimizationProfile<'_>, profile: &Profile) -> trtx::Result<()> {
    for range in profile.ranges() {
        for (bound, sizes) in [
            (OptProfileSelector::kMIN, &range.min),
            (OptProfileSelector::kOPT, &range.opt),
            (OptProfileSelector::kMAX, &range.max),
        ] {
            into.set_dimensions(&range.name, bound, &dimensions(sizes)?)?;
        }
    }
    Ok(())
}

/// Sizes as the library has them.
pub(crate) fn dimensions(sizes: &[u64]) -> trtx::Result<Dims64> {
    let sizes: Option<Vec<i64>> = sizes.iter().map(|size| i64::try_from(*size).ok()).collect();
    let sizes = sizes.ok_or_else(|| trtx::Error::InvalidArgument("a dimension is too large".into()))?;
    Ok(Dims64::from_slice(&sizes))
}

/// Tells what the library is at.
struct Monitor<S> {
    /// Pieces of each phase that has begun.
    phases: Mutex<HashMap<String, u64>>,
    say: S,
}

impl<S: Fn(Step) + Send + Sync> Monitor<S> {
    fn tell(&self, phase: &str, done: u64) {
        // Poisoned or not, there is no more in it than numbers.
        let phases = self.phases.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of = phases.get(phase).copied().unwrap_or(0);
        drop(phases);
        (self.say)(Step {
            what: phase.to_owned(),
            done,
            of,
        });
    }
}

impl<S: Fn(Step) + Send + Sync> MonitorProgress for Monitor<S> {
    fn phase_start(&self, phase: &str, _parent: Option<&str>, pieces: i32) {
        let mut phases = self.phases.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        phases.insert(phase.to_owned(), u64::try_from(pieces).unwrap_or(0));
        drop(phases);
        self.tell(phase, 0);
    }

    fn step_complete(&self, phase: &str, piece: i32) -> ControlFlow<()> {
        self.tell(phase, u64::try_from(piece).map_or(0, |piece| piece + 1));
        ControlFlow::Continue(())
    }

    fn phase_finish(&self, _phase: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GPUS;

    #[test]
    fn the_library_has_a_name_for_every_gpu_that_is_offered() {
        assert!(GPUS.iter().all(|gpu| target(*gpu).is_some()));
        assert!(target(ComputeCapability { major: 9, minor: 0 }).is_none());
    }

    #[test]
    fn a_phase_is_told_with_its_pieces() {
        let (sender, heard) = std::sync::mpsc::channel();
        let monitor = Monitor {
            phases: Mutex::default(),
            say: move |step: Step| sender.send((step.what, step.done, step.of)).unwrap(),
        };
        monitor.phase_start("Building", None, 2);
        assert!(monitor.step_complete("Building", 0).is_continue());
        monitor.phase_finish("Building");
        let heard: Vec<_> = heard.try_iter().collect();
        assert_eq!(heard, [("Building".to_owned(), 0, 2), ("Building".to_owned(), 1, 2)]);
    }
}
