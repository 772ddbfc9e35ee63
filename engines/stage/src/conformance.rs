//! What every stage must do alike. Each scenario is an ordinary function over a stage of [`CAPACITY`] bytes that has the groups of
//! [`tenants`]; the faults come through `inject`, in whatever way the stage has of showing them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    error::StageError,
    model::Fault,
    slot::ModuleSlot,
    stage::{GroupClass, Stage, Tenant},
};

/// Bytes of the stage that scenarios run on.
pub const CAPACITY: u64 = 100;

/// A stage under test, and how to show it a fault.
pub struct Subject<'a> {
    /// The stage, with nobody registered.
    pub stage: &'a dyn Stage,
    /// Shows it a fault at the next occasion.
    pub inject: &'a dyn Fn(Fault),
}

/// A tenant whose module is a number: how often it was built.
pub struct Counted {
    name: &'static str,
    class: GroupClass,
    weights_bytes: u64,
    slot: ModuleSlot<u32>,
    built: AtomicU32,
}

impl Counted {
    fn new(name: &'static str, class: GroupClass, weights_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            class,
            weights_bytes,
            slot: ModuleSlot::new(name),
            built: AtomicU32::new(0),
        })
    }
}

impl Tenant for Counted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> GroupClass {
        self.class
    }

    fn weights_bytes(&self) -> u64 {
        self.weights_bytes
    }

    fn attach(&self) -> Result<(), String> {
        self.slot.fill(self.built.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// The groups that scenarios use: `dit` 60 bytes, `vae` 20, `separator` 50.
#[must_use]
pub fn tenants() -> [Arc<Counted>; 3] {
    [
        Counted::new("dit", GroupClass::Eager, 60),
        Counted::new("vae", GroupClass::Eager, 20),
        Counted::new("separator", GroupClass::Separator, 50),
    ]
}

/// A scenario: panics where a stage does not conform.
pub type Scenario = fn(&Subject<'_>);

/// The list.
pub const SCENARIOS: [(&str, Scenario); 8] = [
    ("restore makes modules and park takes them away", restore_and_park),
    (
        "a group that does not fit stays parked and fits later",
        out_of_memory_in_restore,
    ),
    (
        "a restore that failed halfway leaves nothing and can be tried again",
        half_restore_is_retried,
    ),
    ("what is parked is free before the next load", free_is_visible),
    ("a leased group cannot be parked", lease_against_park),
    ("several groups share the device", several_groups),
    ("a workspace is given back when dropped", workspace_is_given_back),
    ("after a sticky error nothing works", sticky_error),
];

fn register(subject: &Subject<'_>) -> [Arc<Counted>; 3] {
    let tenants = tenants();
    for tenant in &tenants {
        assert_eq!(subject.stage.register(Arc::clone(tenant) as Arc<dyn Tenant>), Ok(()));
    }
    tenants
}

fn restore_and_park(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    assert!(dit.slot.lease().is_err(), "a group begins parked");
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert!(dit.slot.lease().is_ok());
    assert_eq!(subject.stage.read().resident.get("dit"), Some(&60));
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert!(dit.slot.lease().is_err());
    assert!(subject.stage.read().resident.is_empty());
    assert!(matches!(subject.stage.park("dit"), Err(StageError::WrongState { .. })));
    assert!(matches!(
        subject.stage.restore("nobody"),
        Err(StageError::NotRegistered(_))
    ));
}

fn out_of_memory_in_restore(subject: &Subject<'_>) {
    let [_, _, separator] = register(subject);
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert!(matches!(
        subject.stage.restore("separator"),
        Err(StageError::OutOfMemory { needed: 50, .. })
    ));
    assert!(separator.slot.lease().is_err());
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert_eq!(subject.stage.restore("separator"), Ok(()));
}

fn half_restore_is_retried(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    for fault in [Fault::HalfRestore, Fault::Allocation(0), Fault::HostMemory] {
        (subject.inject)(fault);
        assert!(subject.stage.restore("dit").is_err(), "{fault:?}");
        assert!(dit.slot.lease().is_err());
        assert_eq!(subject.stage.read().free, CAPACITY, "{fault:?} left something behind");
    }
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert!(dit.slot.lease().is_ok());
}

fn free_is_visible(subject: &Subject<'_>) {
    register(subject);
    for _ in 0..20 {
        assert_eq!(subject.stage.restore("dit"), Ok(()));
        assert_eq!(subject.stage.park("dit"), Ok(()));
        assert_eq!(subject.stage.restore("separator"), Ok(()));
        assert_eq!(subject.stage.park("separator"), Ok(()));
    }
}

fn lease_against_park(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    let Ok(lease) = dit.slot.lease() else {
        panic!("it is resident")
    };
    assert!(matches!(subject.stage.park("dit"), Err(StageError::InUse { .. })));
    assert!(dit.slot.lease().is_ok(), "it is still there");
    drop(lease);
    assert_eq!(subject.stage.park("dit"), Ok(()));
}

fn several_groups(subject: &Subject<'_>) {
    let [dit, vae, _] = register(subject);
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    assert!(dit.slot.lease().is_ok() && vae.slot.lease().is_ok());
    assert_eq!(subject.stage.read().free, 20);
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert!(dit.slot.lease().is_err() && vae.slot.lease().is_ok());
}

fn workspace_is_given_back(subject: &Subject<'_>) {
    register(subject);
    let Ok(room) = subject.stage.admit(90) else {
        panic!("there is room")
    };
    assert!(matches!(
        subject.stage.restore("vae"),
        Err(StageError::OutOfMemory { .. })
    ));
    drop(room);
    assert_eq!(subject.stage.restore("vae"), Ok(()));
}

fn sticky_error(subject: &Subject<'_>) {
    register(subject);
    (subject.inject)(Fault::DeviceLost);
    assert!(matches!(subject.stage.restore("dit"), Err(StageError::DeviceLost(_))));
    assert!(matches!(subject.stage.admit(1), Err(StageError::DeviceLost(_))));
}
