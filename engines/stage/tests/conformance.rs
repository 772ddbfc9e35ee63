//! The simulated and the cpu stage do alike what every stage must.

use std::sync::Arc;

use greenroom_stage::{
    CpuStage, Fault, MemoryModel, SimulatedStage, Stage,
    conformance::{CAPACITY, Injection, SCENARIOS, Subject},
};

/// Runs the list, each scenario on a stage of its own.
#[allow(clippy::print_stdout, reason = "a failure shall show which scenario it was")]
fn conforms<S: Stage>(fresh: impl Fn() -> S, inject: impl Fn(&S, Fault)) {
    for (name, scenario) in SCENARIOS {
        println!("{name}");
        let stage = fresh();
        let allocation = || inject(&stage, Fault::Allocation(0));
        let halfway = || inject(&stage, Fault::HalfRestore);
        let host = || inject(&stage, Fault::HostMemory);
        let restore_steps: [Injection<'_>; 3] = [
            ("no memory", &allocation),
            ("half of it is mapped", &halfway),
            ("no host memory", &host),
        ];
        scenario(&Subject {
            stage: &stage,
            granule: 1,
            inject: &|fault| inject(&stage, fault),
            restore_steps: &restore_steps,
            park_steps: &[("no host memory", &host)],
            read_back: &|home| panic!("this stage has no addresses, and gave {home:?}"),
        });
    }
}

#[test]
fn the_cpu_stage_conforms() {
    conforms(
        || CpuStage::new(CAPACITY),
        |stage, fault| stage.with_model(|model| model.inject(fault)),
    );
}

#[test]
fn the_simulated_stage_conforms() {
    conforms(
        || SimulatedStage::new(MemoryModel::new(CAPACITY), Arc::new(|_| {})),
        |stage, fault| stage.with_model(|model| model.inject(fault)),
    );
}

#[test]
fn memory_that_is_freed_late_is_not_given_twice() {
    let mut model = MemoryModel::new(100);
    model.register("dit", 60).unwrap();
    model.register("separator", 50).unwrap();
    model.delay_frees(true);
    model.restore("dit").unwrap();
    model.park("dit").unwrap();
    assert!(model.restore("separator").is_err(), "the free is not back yet");
    model.complete_frees();
    model.restore("separator").unwrap();
}
