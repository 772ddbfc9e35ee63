//! What every stage must do alike. Each scenario is an ordinary function over a fresh stage of [`CAPACITY`] granules that has the groups
//! of [`tenants`]; a granule is a byte where the figures are a model's, and what a device maps at a time where they are a device's. The
//! faults come in whatever way the stage has of showing them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::{
    error::StageError,
    model::Fault,
    slot::{ModuleLease, ModuleSlot, NotResident},
    stage::{DeviceHome, GroupClass, Home, HostImage, Stage, Tenant},
};

/// Granules of the stage that scenarios run on.
pub const CAPACITY: u64 = 100;

/// What makes one coming operation fail.
pub type Injection<'a> = (&'static str, &'a dyn Fn());

/// A stage under test, and how to show it a fault.
pub struct Subject<'a> {
    /// The stage, with nobody registered.
    pub stage: &'a dyn Stage,
    /// Bytes of a granule.
    pub granule: u64,
    /// Shows it a fault at the next occasion.
    pub inject: &'a dyn Fn(Fault),
    /// Each makes the next restore fail, at another of its steps.
    pub restore_steps: &'a [Injection<'a>],
    /// Each makes the next park fail before it has changed anything.
    pub park_steps: &'a [Injection<'a>],
    /// Reads what a device holds at an address that it gave to a tenant.
    pub read_back: &'a dyn Fn(DeviceHome) -> Vec<u8>,
}

/// A tenant whose module is where its weights are.
pub struct Counted {
    name: &'static str,
    class: GroupClass,
    image: Arc<Vec<u8>>,
    slot: ModuleSlot<Contents>,
    built: AtomicU32,
    refuses: AtomicBool,
}

/// Where the weights of a resident group are.
enum Contents {
    Ram(Vec<u8>),
    Device(DeviceHome),
}

impl Counted {
    fn new(name: &'static str, class: GroupClass, bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            name,
            class,
            image: Arc::new(pattern(name, bytes)),
            slot: ModuleSlot::new(name),
            built: AtomicU32::new(0),
            refuses: AtomicBool::new(false),
        })
    }

    /// Lets the next attach fail.
    fn refuse_once(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// How often its modules came into being.
    fn built(&self) -> u32 {
        self.built.load(Ordering::Relaxed)
    }

    /// Asserts that every byte is where the modules find it.
    fn assert_contents(&self, subject: &Subject<'_>) {
        let Ok(module) = self.slot.lease() else {
            panic!("{} is not resident", self.name)
        };
        let found = match &*module {
            Contents::Ram(bytes) => bytes.clone(),
            Contents::Device(home) => (subject.read_back)(*home),
        };
        let differs = found
            .iter()
            .zip(self.image.iter())
            .position(|(found, wanted)| found != wanted);
        assert_eq!(found.len(), self.image.len(), "{} has another length", self.name);
        assert_eq!(differs, None, "{} is another in this place", self.name);
    }
}

/// Bytes that no other group and no other place has, so that whatever is in the wrong place shows.
fn pattern(name: &str, bytes: u64) -> Vec<u8> {
    let mut state = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A tenant's image as the stage sees it.
struct Image(Arc<Vec<u8>>);

impl AsRef<[u8]> for Image {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
        self.image.len() as u64
    }

    fn image(&self) -> Option<Arc<HostImage>> {
        Some(Arc::new(Image(Arc::clone(&self.image))))
    }

    fn attach(&self, home: &Home) -> Result<(), String> {
        if self.refuses.swap(false, Ordering::Relaxed) {
            return Err("it was told to".into());
        }
        self.built.fetch_add(1, Ordering::Relaxed);
        self.slot.fill(match home {
            Home::Ram => Contents::Ram(self.image.to_vec()),
            Home::Device(home) => Contents::Device(*home),
        });
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// The groups that scenarios use, in granules: `dit` 60, `vae` 20, `separator` 50.
#[must_use]
pub fn tenants(granule: u64) -> [Arc<Counted>; 3] {
    [
        Counted::new("dit", GroupClass::Eager, 60 * granule),
        Counted::new("vae", GroupClass::Eager, 20 * granule),
        Counted::new("separator", GroupClass::Separator, 50 * granule),
    ]
}

/// A scenario: panics where a stage does not conform.
pub type Scenario = fn(&Subject<'_>);

/// The list.
pub const SCENARIOS: [(&str, Scenario); 13] = [
    ("restore makes modules and park takes them away", restore_and_park),
    ("every byte is there after every restore", contents),
    (
        "a group that does not fit stays parked and fits later",
        out_of_memory_in_restore,
    ),
    (
        "a restore that failed at any step leaves nothing and can be tried again",
        failed_restore_is_retried,
    ),
    (
        "modules that could not be built leave nothing and can be tried again",
        failed_build_is_retried,
    ),
    (
        "a park that failed leaves the group in use and can be tried again",
        failed_park_is_retried,
    ),
    ("what is parked is free before the next load", free_is_visible),
    ("a leased group cannot be parked", lease_against_park),
    (
        "leases on several groups are had together or not at all, and each holds its own",
        leases_on_several_groups,
    ),
    ("several groups share the device", several_groups),
    ("a workspace is given back when dropped", workspace_is_given_back),
    ("a workspace that failed takes nothing", failed_workspace_is_retried),
    ("after a sticky error nothing works", sticky_error),
];

fn register(subject: &Subject<'_>) -> [Arc<Counted>; 3] {
    let tenants = tenants(subject.granule);
    for tenant in &tenants {
        assert_eq!(subject.stage.register(Arc::clone(tenant) as Arc<dyn Tenant>), Ok(()));
    }
    tenants
}

fn assert_empty(subject: &Subject<'_>, after: &str) {
    let reading = subject.stage.read();
    assert!(reading.resident.is_empty(), "{after}: {reading:?}");
    assert_eq!(reading.free, CAPACITY * subject.granule, "{after}: something is left");
}

fn restore_and_park(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    assert!(dit.slot.lease().is_err(), "a group begins parked");
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert!(dit.slot.lease().is_ok());
    assert_eq!(subject.stage.read().resident.get("dit"), Some(&(60 * subject.granule)));
    assert!(matches!(
        subject.stage.restore("dit"),
        Err(StageError::WrongState { .. })
    ));
    assert!(dit.slot.lease().is_ok(), "it is where it was");
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert!(dit.slot.lease().is_err());
    assert_empty(subject, "after a park");
    assert!(matches!(subject.stage.park("dit"), Err(StageError::WrongState { .. })));
    assert!(matches!(
        subject.stage.restore("nobody"),
        Err(StageError::NotRegistered(_))
    ));
    assert!(matches!(
        subject.stage.register(dit),
        Err(StageError::RegisteredTwice(_))
    ));
}

fn contents(subject: &Subject<'_>) {
    let [dit, vae, separator] = register(subject);
    for round in 1..=3 {
        assert_eq!(subject.stage.restore("dit"), Ok(()));
        assert_eq!(subject.stage.restore("vae"), Ok(()));
        dit.assert_contents(subject);
        vae.assert_contents(subject);
        assert_eq!(subject.stage.park("dit"), Ok(()));
        vae.assert_contents(subject);
        assert_eq!(subject.stage.restore("separator"), Ok(()));
        separator.assert_contents(subject);
        vae.assert_contents(subject);
        assert_eq!(subject.stage.park("vae"), Ok(()));
        assert_eq!(subject.stage.park("separator"), Ok(()));
        assert_eq!(dit.built(), round);
    }
}

fn out_of_memory_in_restore(subject: &Subject<'_>) {
    let [dit, _, separator] = register(subject);
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    let (needed, free) = (50 * subject.granule, 40 * subject.granule);
    assert_eq!(
        subject.stage.restore("separator"),
        Err(StageError::OutOfMemory { needed, free })
    );
    assert!(separator.slot.lease().is_err());
    dit.assert_contents(subject);
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert_eq!(subject.stage.restore("separator"), Ok(()));
    separator.assert_contents(subject);
}

fn failed_restore_is_retried(subject: &Subject<'_>) {
    let [dit, vae, _] = register(subject);
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    let before = subject.stage.read();
    for (step, fail) in subject.restore_steps {
        fail();
        assert!(subject.stage.restore("dit").is_err(), "{step}");
        assert!(dit.slot.lease().is_err(), "{step}");
        assert_eq!(subject.stage.read(), before, "{step}: something is left");
        vae.assert_contents(subject);
        assert_eq!(subject.stage.restore("dit"), Ok(()), "after {step}");
        dit.assert_contents(subject);
        assert_eq!(subject.stage.park("dit"), Ok(()));
    }
}

fn failed_build_is_retried(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    for _ in 0..2 {
        dit.refuse_once();
        assert!(matches!(
            subject.stage.restore("dit"),
            Err(StageError::BuildFailed { .. })
        ));
        assert!(dit.slot.lease().is_err());
        assert_empty(subject, "after modules that could not be built");
        assert_eq!(subject.stage.restore("dit"), Ok(()));
        dit.assert_contents(subject);
        assert_eq!(subject.stage.park("dit"), Ok(()));
    }
}

fn failed_park_is_retried(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    for (step, fail) in subject.park_steps {
        assert_eq!(subject.stage.restore("dit"), Ok(()));
        let before = subject.stage.read();
        fail();
        assert!(subject.stage.park("dit").is_err(), "{step}");
        assert_eq!(subject.stage.read(), before, "{step}");
        dit.assert_contents(subject);
        assert_eq!(subject.stage.park("dit"), Ok(()), "after {step}");
        assert!(dit.slot.lease().is_err());
        assert_empty(subject, step);
    }
}

fn free_is_visible(subject: &Subject<'_>) {
    register(subject);
    for _ in 0..20 {
        for group in ["dit", "separator"] {
            assert_eq!(subject.stage.restore(group), Ok(()));
            assert_eq!(subject.stage.park(group), Ok(()));
            assert_empty(subject, group);
        }
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
    dit.assert_contents(subject);
    drop(lease);
    assert_eq!(subject.stage.park("dit"), Ok(()));
}

/// All of these or none, as work asks for what it names.
fn lease_all(tenants: &[&Counted]) -> Result<Vec<ModuleLease<Contents>>, NotResident> {
    tenants.iter().map(|tenant| tenant.slot.lease()).collect()
}

fn leases_on_several_groups(subject: &Subject<'_>) {
    let [dit, vae, _] = register(subject);
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    assert_eq!(lease_all(&[&vae, &dit]).err().map(|parked| parked.group), Some("dit"));
    assert_eq!(subject.stage.park("vae"), Ok(()), "what was had of them is given back");
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    let Ok(mut leases) = lease_all(&[&vae, &dit]) else {
        panic!("both are resident")
    };
    for group in ["vae", "dit"] {
        assert!(matches!(subject.stage.park(group), Err(StageError::InUse { .. })));
    }
    drop(leases.pop());
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert!(matches!(subject.stage.park("vae"), Err(StageError::InUse { .. })));
    vae.assert_contents(subject);
    drop(leases);
    assert_eq!(subject.stage.park("vae"), Ok(()));
    assert_empty(subject, "after the last lease");
}

fn several_groups(subject: &Subject<'_>) {
    let [dit, vae, _] = register(subject);
    assert_eq!(subject.stage.restore("dit"), Ok(()));
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    assert!(dit.slot.lease().is_ok() && vae.slot.lease().is_ok());
    assert_eq!(subject.stage.read().free, 20 * subject.granule);
    assert_eq!(subject.stage.park("dit"), Ok(()));
    assert!(dit.slot.lease().is_err() && vae.slot.lease().is_ok());
}

fn workspace_is_given_back(subject: &Subject<'_>) {
    register(subject);
    let Ok(room) = subject.stage.admit(90 * subject.granule) else {
        panic!("there is room")
    };
    assert_eq!(subject.stage.read().workspace, 90 * subject.granule);
    assert!(matches!(
        subject.stage.restore("vae"),
        Err(StageError::OutOfMemory { .. })
    ));
    drop(room);
    assert_empty(subject, "after a workspace");
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    assert!(matches!(
        subject.stage.admit(81 * subject.granule),
        Err(StageError::OutOfMemory { .. })
    ));
    assert!(subject.stage.admit(80 * subject.granule).is_ok());
}

fn failed_workspace_is_retried(subject: &Subject<'_>) {
    register(subject);
    (subject.inject)(Fault::Allocation(0));
    assert!(matches!(
        subject.stage.admit(subject.granule),
        Err(StageError::OutOfMemory { .. })
    ));
    assert_empty(subject, "after a workspace that failed");
    assert!(subject.stage.admit(CAPACITY * subject.granule).is_ok());
}

fn sticky_error(subject: &Subject<'_>) {
    let [dit, ..] = register(subject);
    assert_eq!(subject.stage.restore("vae"), Ok(()));
    (subject.inject)(Fault::DeviceLost);
    assert!(matches!(subject.stage.restore("dit"), Err(StageError::DeviceLost(_))));
    assert!(dit.slot.lease().is_err());
    assert!(matches!(subject.stage.restore("dit"), Err(StageError::DeviceLost(_))));
    assert!(matches!(subject.stage.park("vae"), Err(StageError::DeviceLost(_))));
    assert!(matches!(subject.stage.admit(1), Err(StageError::DeviceLost(_))));
}
