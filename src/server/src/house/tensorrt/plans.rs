//! TensorRT's plans on the lanes of the GPU, as the generator takes them. It is compiled and read, and was never run: see `engines/tensorrt`.

use std::{fs, sync::Arc};

use candle_core::{Device, Tensor};
use greenroom_acestep::{Lanes, Plan, Plans, RefitError};
use greenroom_compiled::{Component, Engine, Library, LibraryName, Origin};
use greenroom_dit::Matrix;
use greenroom_generator::LoadError;
use greenroom_tensorrt::{LanePlan, Tensorrt, TensorrtError};

use super::load_error;

/// The library's plans, on these lanes.
pub(in crate::house) fn plans(library: Tensorrt, lanes: Lanes) -> Arc<dyn Plans> {
    Arc::new(TensorrtPlans { library, lanes })
}

struct TensorrtPlans {
    library: Tensorrt,
    lanes: Lanes,
}

impl Plans for TensorrtPlans {
    fn library(&self) -> Library {
        Library {
            name: LibraryName::TensorrtRtx,
            version: self.library.version().to_owned(),
        }
    }

    fn load(&self, engine: &Engine) -> Result<Box<dyn Plan>, LoadError> {
        let Origin::File { path, .. } = &engine.origin else {
            return Err(LoadError::Failed(format!("{} is no file", engine.name)));
        };
        let file = fs::read(path).map_err(|error| LoadError::Failed(format!("{}: {error}", path.display())))?;
        let lane = match engine.component {
            Component::VaeEncode => &self.lanes.work,
            Component::Decoder | Component::VaeDecode => &self.lanes.live,
        };
        let plan = LanePlan::load(&self.library, engine.component, &file, lane.device());
        plan.map(|plan| Box::new(OnLane(plan)) as Box<dyn Plan>)
            .map_err(|error| load_error(&engine.name, &error))
    }
}

struct OnLane(LanePlan);

impl Plan for OnLane {
    fn device(&self) -> &Device {
        self.0.device()
    }

    fn run(
        &mut self,
        inputs: &[(&'static str, &Tensor)],
        output: &'static str,
        shape: &[usize],
    ) -> candle_core::Result<Tensor> {
        self.0.run(inputs, output, shape)
    }

    fn refit(&mut self, matrices: &[Matrix]) -> Result<(), RefitError> {
        let matrices: Vec<(&str, &Tensor)> = matrices
            .iter()
            .map(|matrix| (matrix.name.as_str(), &matrix.values))
            .collect();
        self.0.refit(&matrices).map_err(|error| match error {
            TensorrtError::Weights { words } => RefitError::Refused(words),
            error => RefitError::Failed(error.to_string()),
        })
    }
}
