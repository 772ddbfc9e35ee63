//! The list of what every stage must do, on this GPU, and what only a GPU can be asked.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use candle_core::{DType, Tensor};
use greenroom_stage::{
    DeviceHome, Fault, Stage, StageError, Tenant,
    conformance::{CAPACITY, Injection, SCENARIOS, Subject},
};
use greenroom_weights::{PackedImage, WeightSource};

use super::{
    gpu::{Gpu, GpuError},
    lane::{DeviceWeights, Lane},
    memory::Hold,
    tenant::Bytes,
};
use crate::{
    driver::{Driver, Severity},
    faults::{Faulty, Step},
    stage::CudaStage,
};

const OUT_OF_MEMORY: u32 = 2;
const INVALID_VALUE: u32 = 1;
const ILLEGAL_ADDRESS: u32 = 700;
/// Width of the square matrices that lanes multiply.
const WIDTH: usize = 2048;

/// One scenario and how it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What must be so.
    pub name: &'static str,
    /// Whether it is.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
    /// Where it is not so: why.
    pub detail: String,
}

/// What only a GPU can be asked.
type Scenario = fn(&Gpu) -> Result<(), GpuError>;

const ON_A_GPU: [(&str, Scenario); 6] = [
    (
        "addresses stay, and the driver has every byte back after a park",
        addresses_and_figures,
    ),
    (
        "when another holds the memory a restore fails cleanly, and works when it lets go",
        real_out_of_memory,
    ),
    (
        "two lanes compute with the same weights, after every restore",
        lanes_share_weights,
    ),
    (
        "a park waits for the work that reads the group, and spoils nothing",
        park_under_running_work,
    ),
    ("a workspace's memory is given back to the driver", workspace_is_trimmed),
    (
        "work that needs more than there is runs out of memory, and the next works",
        work_runs_out_of_memory,
    ),
];

/// Runs everything; needs some 2 GiB of the GPU. A scenario that fails does not keep the others from running.
#[must_use]
pub fn run(gpu: &Gpu) -> Vec<Line> {
    let shared = SCENARIOS.iter().map(|(name, scenario)| {
        line(name, || {
            let faulty = Faulty::new(gpu.driver());
            let budget = CAPACITY * gpu.driver().granule();
            let stage = CudaStage::over(Arc::clone(&faulty) as Arc<dyn Driver>, Some(budget))?;
            on_list(gpu, &faulty, &stage, *scenario);
            Ok(())
        })
    });
    let own = ON_A_GPU.iter().map(|(name, scenario)| line(name, || scenario(gpu)));
    shared.chain(own).collect()
}

/// Runs one scenario; a panic is its failure.
fn line(name: &'static str, scenario: impl FnOnce() -> Result<(), GpuError>) -> Line {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(scenario));
    let detail = match outcome {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).into()))
            .unwrap_or_else(|| "it panicked without words".into()),
    };
    Line {
        name,
        passed: detail.is_empty(),
        seconds: started.elapsed().as_secs_f64(),
        detail,
    }
}

/// A scenario of the common list, with a fault at every call of the driver.
fn on_list(gpu: &Gpu, faulty: &Arc<Faulty>, stage: &CudaStage, scenario: greenroom_stage::conformance::Scenario) {
    let fail = |step, code| {
        let faulty = Arc::clone(faulty);
        move || faulty.fail(step, code)
    };
    let nothing_free = fail(Step::Memory, OUT_OF_MEMORY);
    let create = fail(Step::Create, OUT_OF_MEMORY);
    let map = fail(Step::Map, OUT_OF_MEMORY);
    let release = fail(Step::Release, INVALID_VALUE);
    let grant = fail(Step::Grant, OUT_OF_MEMORY);
    let copy = fail(Step::Copy, INVALID_VALUE);
    let restore_steps: [Injection<'_>; 6] = [
        ("nothing is free", &nothing_free),
        ("create", &create),
        ("map", &map),
        ("release", &release),
        ("grant", &grant),
        ("copy", &copy),
    ];
    let finish = fail(Step::Finish, INVALID_VALUE);
    let unmap = fail(Step::Unmap, INVALID_VALUE);
    scenario(&Subject {
        stage,
        granule: gpu.driver().granule(),
        inject: &|fault| match fault {
            Fault::DeviceLost => faulty.fail(Step::Memory, ILLEGAL_ADDRESS),
            _ => faulty.fail(Step::Memory, OUT_OF_MEMORY),
        },
        restore_steps: &restore_steps,
        park_steps: &[("finish", &finish), ("unmap", &unmap)],
        read_back: &|home| read(gpu, home),
    });
}

fn read(gpu: &Gpu, home: DeviceHome) -> Vec<u8> {
    let mut bytes = vec![0; home.bytes as usize];
    if let Err(error) = gpu.read(home.address, &mut bytes) {
        panic!("what is on the device cannot be read: {error}");
    }
    bytes
}

/// A stage with one group of random bytes, not a whole number of granules.
fn one_group(gpu: &Gpu) -> Result<(CudaStage, Arc<Bytes>), GpuError> {
    let stage = gpu.stage(None)?;
    let group = Bytes::random("dit", (37 << 20) + 12_345, 7)?;
    stage.register(Arc::clone(&group) as Arc<dyn Tenant>)?;
    Ok((stage, group))
}

fn assert_contents(gpu: &Gpu, group: &Bytes) -> DeviceHome {
    let Some(home) = group.home() else {
        panic!("it is not on the device")
    };
    assert!(read(gpu, home) == group.image.bytes(), "other bytes are on the device");
    home
}

fn addresses_and_figures(gpu: &Gpu) -> Result<(), GpuError> {
    let (stage, group) = one_group(gpu)?;
    let granule = gpu.info().granule;
    let mapped = group.weights_bytes().next_multiple_of(granule);
    let before = stage.figures()?;
    let mut homes = Vec::new();
    for _ in 0..10 {
        stage.restore("dit")?;
        let figures = stage.figures()?;
        assert_eq!(figures.mapped, mapped, "whole granules are counted");
        assert_eq!(before.free - figures.free, mapped, "the driver counts the same");
        homes.push(assert_contents(gpu, &group));
        stage.park("dit")?;
        assert_eq!(stage.figures()?.free, before.free, "every byte is back");
    }
    assert!(homes.iter().all(|home| home == &homes[0]), "its addresses changed");
    Ok(())
}

fn real_out_of_memory(gpu: &Gpu) -> Result<(), GpuError> {
    let (stage, group) = one_group(gpu)?;
    let hold = Hold::all_but(gpu, 20 << 20)?;
    let before = stage.figures()?;
    assert!(before.foreign() >= hold.bytes(), "what another holds is seen");
    for _ in 0..3 {
        assert!(matches!(stage.restore("dit"), Err(StageError::OutOfMemory { .. })));
        assert!(group.home().is_none());
        assert_eq!(stage.figures()?, before, "something is left");
        assert!(matches!(stage.admit(30 << 20), Err(StageError::OutOfMemory { .. })));
    }
    let granule = gpu.info().granule;
    let refused = gpu.driver().create((before.free + granule).next_multiple_of(granule));
    assert_eq!(refused.map_err(|error| error.severity()), Err(Severity::OutOfMemory));
    drop(hold);
    stage.restore("dit")?;
    assert_contents(gpu, &group);
    stage.park("dit")?;
    Ok(())
}

/// A group with one square matrix of small numbers.
fn matrix(name: &'static str) -> Result<Arc<Bytes>, GpuError> {
    let values = (0..WIDTH * WIDTH)
        .map(|place| ((place * 7919 % 1021) as f32 - 510.0) / 16384.0)
        .collect::<Vec<_>>();
    let image = PackedImage::in_memory(|builder| {
        builder.tensor("ones", &[WIDTH], DType::F32, &vec![1.0; WIDTH])?;
        builder.tensor("weight", &[WIDTH, WIDTH], DType::F32, &values)?;
        Ok(())
    })?;
    Ok(Bytes::over(name, image))
}

/// The matrix on a lane. It stays valid for good, and may be used only while the group is on the device.
fn weight(lane: &Lane, group: &Bytes) -> Result<Tensor, GpuError> {
    let Some(home) = group.home() else {
        panic!("it is not on the device")
    };
    let weights = DeviceWeights::new(lane, home, &group.image)?;
    let tensor = weights.tensor("weight", &[WIDTH, WIDTH]);
    Ok(tensor.map_err(candle_core::Error::wrap)?)
}

/// Multiplies so often that the lane is busy for a while when this returns.
fn multiply(weight: &Tensor, times: usize) -> candle_core::Result<Tensor> {
    let mut values = Tensor::ones((WIDTH, WIDTH), DType::F32, weight.device())?;
    for _ in 0..times {
        values = values.matmul(weight)?.tanh()?;
    }
    values.sum_all()
}

fn lanes_share_weights(gpu: &Gpu) -> Result<(), GpuError> {
    let stage = gpu.stage(None)?;
    let group = matrix("dit")?;
    stage.register(Arc::clone(&group) as Arc<dyn Tenant>)?;
    let lanes = [Lane::open(gpu)?, Lane::open(gpu)?];
    stage.restore("dit")?;
    let weights = [weight(&lanes[0], &group)?, weight(&lanes[1], &group)?];
    let expected = multiply(&weights[0], 3)?.to_scalar::<f32>()?;
    assert!(expected.is_finite());
    for _ in 0..5 {
        for weight in &weights {
            assert_eq!(multiply(weight, 3)?.to_scalar::<f32>()?, expected);
        }
        stage.park("dit")?;
        stage.restore("dit")?;
    }
    stage.park("dit")?;
    Ok(())
}

fn park_under_running_work(gpu: &Gpu) -> Result<(), GpuError> {
    let stage = gpu.stage(None)?;
    let group = matrix("dit")?;
    stage.register(Arc::clone(&group) as Arc<dyn Tenant>)?;
    let lane = Lane::open(gpu)?;
    stage.restore("dit")?;
    let weight = weight(&lane, &group)?;
    let expected = multiply(&weight, 100)?.to_scalar::<f32>()?;
    for _ in 0..3 {
        let running = multiply(&weight, 100)?;
        assert!(!lane.is_idle()?, "nothing runs any more: this tries nothing");
        stage.park("dit")?;
        assert!(lane.is_idle()?, "the memory is gone and the work is not done");
        assert_eq!(running.to_scalar::<f32>()?, expected, "the weights went away under it");
        stage.restore("dit")?;
    }
    stage.park("dit")?;
    Ok(())
}

fn workspace_is_trimmed(gpu: &Gpu) -> Result<(), GpuError> {
    let stage = gpu.stage(None)?;
    let lane = Lane::open(gpu)?;
    // Kernels and libraries take what they need once.
    drop(Tensor::ones((WIDTH, WIDTH), DType::F32, lane.device())?.sqr()?);
    lane.synchronize()?;
    drop(stage.admit(1)?);
    let before = stage.settle()?;
    for _ in 0..3 {
        let room = stage.admit(256 << 20)?;
        let values = Tensor::zeros(48 << 20, DType::F32, lane.device())?;
        lane.synchronize()?;
        let during = stage.figures()?;
        assert!(during.pool.reserved >= 192 << 20, "it came from elsewhere: {during:?}");
        assert_eq!(during.foreign(), 0, "the pool's memory is ours");
        drop(values);
        // As whoever looks at its results has.
        lane.synchronize()?;
        drop(room);
        let after = stage.figures()?;
        assert_eq!(after.free, before.free, "something is left: {after:?}");
    }
    Ok(())
}

fn work_runs_out_of_memory(gpu: &Gpu) -> Result<(), GpuError> {
    let stage = gpu.stage(None)?;
    let lane = Lane::open(gpu)?;
    drop(stage.admit(1)?);
    let hold = Hold::all_but(gpu, 256 << 20)?;
    assert!(stage.admit(512 << 20).is_err(), "it is not there");
    // Work that takes more than it said.
    let room = stage.admit(64 << 20)?;
    let Err(error) = Tensor::zeros(512 << 20, DType::U8, lane.device()) else {
        panic!("more was given than there is")
    };
    assert_eq!(super::severity(&error), Severity::OutOfMemory, "{error}");
    drop(Tensor::zeros(32 << 20, DType::U8, lane.device())?);
    drop(room);
    drop(hold);
    let _room = stage.admit(512 << 20)?;
    drop(Tensor::zeros(512 << 20, DType::U8, lane.device())?);
    Ok(())
}
