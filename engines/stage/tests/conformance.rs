//! The simulated and the cpu stage do alike what every stage must.

use std::sync::Arc;

use greenroom_stage::{
    CpuStage, MemoryModel, SimulatedStage,
    conformance::{CAPACITY, SCENARIOS, Subject},
};

#[test]
fn the_cpu_stage_conforms() {
    for (name, scenario) in SCENARIOS {
        println!("{name}");
        let stage = CpuStage::new(CAPACITY);
        scenario(&Subject {
            stage: &stage,
            inject: &|fault| stage.with_model(|model| model.inject(fault)),
        });
    }
}

#[test]
fn the_simulated_stage_conforms() {
    for (name, scenario) in SCENARIOS {
        println!("{name}");
        let stage = SimulatedStage::new(MemoryModel::new(CAPACITY), Arc::new(|_| {}));
        scenario(&Subject {
            stage: &stage,
            inject: &|fault| stage.with_model(|model| model.inject(fault)),
        });
    }
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
