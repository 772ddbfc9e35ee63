//! The stage's logic over a simulated driver: the conformance list with a fault at every call, and what the list does not ask.
#![allow(clippy::unwrap_used, reason = "a test ends where it is wrong")]

use std::sync::Arc;

use greenroom_stage::{
    DeviceHome, Fault, GroupClass, Home, HostImage, ModuleSlot, Stage, StageError, Tenant,
    conformance::{CAPACITY, Injection, SCENARIOS, Subject},
};

use crate::{
    driver::{Driver, DriverError, Severity, severity_of},
    faults::{Faulty, Step},
    simulated::{GRANULE, SimulatedDriver},
    stage::CudaStage,
};

const OUT_OF_MEMORY: u32 = 2;
const ILLEGAL_ADDRESS: u32 = 700;
const INVALID_VALUE: u32 = 1;

/// A stage whose budget is smaller than its device.
fn stage(granules: u64) -> (Arc<SimulatedDriver>, Arc<Faulty>, CudaStage) {
    let device = SimulatedDriver::new(granules);
    let faulty = Faulty::new(Arc::clone(&device) as Arc<dyn Driver>);
    let stage = CudaStage::over(Arc::clone(&faulty) as Arc<dyn Driver>, Some(CAPACITY * GRANULE)).unwrap();
    (device, faulty, stage)
}

#[test]
fn it_conforms_with_a_fault_at_every_call() {
    for (name, scenario) in SCENARIOS {
        println!("{name}");
        let (device, faulty, stage) = stage(CAPACITY + 50);
        let fail = |step, code| {
            let faulty = Arc::clone(&faulty);
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
            stage: &stage,
            granule: GRANULE,
            inject: &|fault| match fault {
                Fault::DeviceLost => faulty.fail(Step::Memory, ILLEGAL_ADDRESS),
                _ => faulty.fail(Step::Memory, OUT_OF_MEMORY),
            },
            restore_steps: &restore_steps,
            park_steps: &[("finish", &finish), ("unmap", &unmap)],
            read_back: &|home| device.read(home.address, home.bytes),
        });
        drop(stage);
        let (used, reserved, _) = device.holdings();
        assert_eq!((used, reserved), (0, 0), "{name}: something is left");
    }
}

struct Weights {
    image: Option<Arc<Vec<u8>>>,
    slot: ModuleSlot<Home>,
}

struct Image(Arc<Vec<u8>>);

impl AsRef<[u8]> for Image {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn weights(bytes: Option<u64>) -> Arc<Weights> {
    Arc::new(Weights {
        image: bytes.map(|bytes| Arc::new((0..bytes).map(|byte| byte as u8).collect())),
        slot: ModuleSlot::new("dit"),
    })
}

impl Tenant for Weights {
    fn name(&self) -> &'static str {
        "dit"
    }

    fn class(&self) -> GroupClass {
        GroupClass::Eager
    }

    fn weights_bytes(&self) -> u64 {
        self.image.as_ref().map_or(1000, |image| image.len() as u64)
    }

    fn image(&self) -> Option<Arc<HostImage>> {
        let image = self.image.clone()?;
        Some(Arc::new(Image(image)))
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        self.slot.fill(*home);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

impl Weights {
    fn home(&self) -> DeviceHome {
        match *self.slot.lease().unwrap() {
            Home::Device(home) => home,
            Home::Ram => panic!("it is in RAM"),
        }
    }
}

#[test]
fn addresses_stay_and_what_is_counted_is_whole_granules() {
    let (device, _, stage) = stage(CAPACITY);
    let dit = weights(Some(3 * GRANULE + 5));
    stage.register(Arc::clone(&dit) as Arc<dyn Tenant>).unwrap();
    let free = stage.figures().unwrap().free;
    let mut homes = Vec::new();
    for _ in 0..5 {
        stage.restore("dit").unwrap();
        assert_eq!(stage.read().resident["dit"], 4 * GRANULE);
        let figures = stage.figures().unwrap();
        assert_eq!((figures.mapped, free - figures.free), (4 * GRANULE, 4 * GRANULE));
        assert_eq!(figures.foreign(), 0);
        homes.push(dit.home());
        assert_eq!(
            device.read(dit.home().address, dit.home().bytes),
            **dit.image.as_ref().unwrap()
        );
        stage.park("dit").unwrap();
        assert_eq!(stage.figures().unwrap().free, free);
    }
    assert!(homes.iter().all(|home| home == &homes[0]));
    assert_eq!(device.finished(), [homes[0].address; 5], "its users are waited for");
    assert_eq!(device.holdings().2, 1, "an image is pinned once");
}

#[test]
fn what_others_hold_of_the_budget_is_not_given() {
    let (device, _, stage) = stage(CAPACITY + 20);
    let dit = weights(Some(60 * GRANULE));
    stage.register(dit).unwrap();
    device.set_foreign(20 * GRANULE);
    assert_eq!(stage.read().free, CAPACITY * GRANULE, "what is not ours may be used");
    assert_eq!(stage.figures().unwrap().foreign(), 20 * GRANULE);
    device.set_foreign(70 * GRANULE);
    let (needed, free) = (60 * GRANULE, 50 * GRANULE);
    assert_eq!(stage.restore("dit"), Err(StageError::OutOfMemory { needed, free }));
    assert!(stage.admit(51 * GRANULE).is_err());
    let room = stage.admit(50 * GRANULE).unwrap();
    assert_eq!(stage.read().free, 0);
    drop(room);
    device.set_foreign(0);
    stage.restore("dit").unwrap();
    let settled = stage.settle().unwrap();
    assert_eq!(settled.foreign(), 0);
}

#[test]
fn a_workspace_that_ends_trims_the_pool_to_those_that_are_left() {
    let (device, _, stage) = stage(CAPACITY);
    let first = stage.admit(3 * GRANULE).unwrap();
    let second = stage.admit(5 * GRANULE).unwrap();
    drop(first);
    drop(second);
    assert_eq!(device.trims(), [5 * GRANULE, 0]);
    assert_eq!(
        device.drains(),
        0,
        "a tick's end does not wait for an upload on another lane"
    );
}

#[test]
fn what_lanes_are_about_to_free_is_waited_for_where_there_is_no_room_without_it() {
    let (device, _, stage) = stage(CAPACITY);
    stage.register(weights(Some(60 * GRANULE))).unwrap();
    let fill = || {
        device.set_pool(80 * GRANULE, 80 * GRANULE);
        device.set_pending(80 * GRANULE);
    };
    fill();
    drop(stage.admit(30 * GRANULE).unwrap());
    assert_eq!(device.drains(), 1);
    fill();
    stage.restore("dit").unwrap();
    assert_eq!(stage.figures().unwrap().pool.reserved, 0);
    assert!(device.drains() > 1);
    // What is in use for good is no room, however long anybody waits.
    device.set_pool(20 * GRANULE, 20 * GRANULE);
    assert!(stage.admit(30 * GRANULE).is_err());
}

#[test]
fn what_the_pool_keeps_is_given_to_a_group_that_needs_it() {
    let (device, _, stage) = stage(CAPACITY);
    stage.register(weights(Some(60 * GRANULE))).unwrap();
    device.set_pool(90 * GRANULE, 10 * GRANULE);
    assert_eq!(stage.read().free, 90 * GRANULE, "work uses 10 that nobody admitted");
    stage.restore("dit").unwrap();
    assert_eq!(stage.figures().unwrap().pool.reserved, 10 * GRANULE);
    assert_eq!(stage.read().free, 30 * GRANULE);
    let room = stage.admit(30 * GRANULE).unwrap();
    assert_eq!(stage.read().free, 10 * GRANULE, "what work uses is of its workspace");
    drop(room);
}

#[test]
fn what_a_library_takes_by_itself_is_counted_once() {
    let (device, _, stage) = stage(CAPACITY);
    stage.register(weights(Some(60 * GRANULE))).unwrap();
    // The pool keeps what the library is about to take.
    device.set_pool(90 * GRANULE, 0);
    let room = stage.admit_beside(30 * GRANULE).unwrap();
    assert_eq!(device.trims(), [0], "the pool keeps nothing for it");
    device.set_foreign(30 * GRANULE);
    assert_eq!(stage.figures().unwrap().foreign(), 0);
    assert_eq!(stage.read().free, 70 * GRANULE);
    stage.restore("dit").unwrap();
    assert_eq!(stage.read().free, 10 * GRANULE);
    // More than it said is as if another process had it.
    device.set_foreign(35 * GRANULE);
    assert_eq!(stage.read().free, 5 * GRANULE);
    device.set_foreign(0);
    drop(room);
    assert_eq!(stage.read().free, 40 * GRANULE);
}

#[test]
fn modules_without_an_image_live_in_ram_and_take_nothing_of_the_device() {
    let (device, _, stage) = stage(CAPACITY);
    let dit = weights(None);
    stage.register(Arc::clone(&dit) as Arc<dyn Tenant>).unwrap();
    stage.restore("dit").unwrap();
    assert!(matches!(*dit.slot.lease().unwrap(), Home::Ram));
    assert_eq!(stage.read().free, CAPACITY * GRANULE);
    assert_eq!(device.holdings(), (0, 0, 0));
    stage.park("dit").unwrap();
    assert!(dit.slot.lease().is_err());
}

#[test]
fn an_image_that_cannot_be_locked_is_not_registered() {
    let (_, faulty, stage) = stage(CAPACITY);
    faulty.fail(Step::Pin, OUT_OF_MEMORY);
    let dit = weights(Some(GRANULE));
    assert_eq!(
        stage.register(Arc::clone(&dit) as Arc<dyn Tenant>),
        Err(StageError::HostMemory { group: "dit".into() })
    );
    stage.register(dit).unwrap();
}

#[test]
fn a_move_that_can_be_neither_done_nor_undone_loses_the_device() {
    let (device, faulty, stage) = stage(CAPACITY);
    stage.register(weights(Some(GRANULE))).unwrap();
    faulty.fail(Step::Copy, INVALID_VALUE);
    faulty.fail(Step::Unmap, INVALID_VALUE);
    assert!(matches!(stage.restore("dit"), Err(StageError::Refused { .. })));
    assert!(matches!(stage.restore("dit"), Err(StageError::DeviceLost(_))));
    drop(stage);
    assert_eq!(device.holdings().0, 0, "what could not be undone is undone at the end");
}

#[test]
fn a_lane_that_lost_the_device_is_believed() {
    let (_, _, stage) = stage(CAPACITY);
    stage.register(weights(Some(GRANULE))).unwrap();
    stage.lose("a kernel read where nothing is");
    assert_eq!(
        stage.restore("dit"),
        Err(StageError::DeviceLost("a kernel read where nothing is".into()))
    );
}

#[test]
fn errors_mean_what_they_mean() {
    for (code, severity) in [
        (2, Severity::OutOfMemory),
        (214, Severity::Lost),
        (700, Severity::Lost),
        (719, Severity::Lost),
        (999, Severity::Lost),
        (1, Severity::Refused),
        (712, Severity::Refused),
        (801, Severity::Refused),
    ] {
        assert_eq!(severity_of(code), severity, "{code}");
    }
    let error = DriverError {
        call: "cuMemMap",
        code: 1,
        words: "invalid argument".into(),
    };
    assert_eq!(error.to_string(), "cuMemMap: invalid argument (1)");
}
