//! What the pure model shows where a device fails, and that nothing of a failure stays.
#![allow(clippy::unwrap_used, reason = "a test ends where it is wrong")]

use greenroom_stage::{Fault, MemoryModel, StageError};

fn model() -> MemoryModel {
    let mut model = MemoryModel::new(100);
    model.register("dit", 60).unwrap();
    model.register("vae", 10).unwrap();
    model
}

#[test]
fn a_null_context_is_seen_once_and_the_next_one_is_good() {
    let mut model = model();
    model.inject(Fault::NullContext);
    assert_eq!(model.create_context(), Ok(false));
    assert_eq!(model.create_context(), Ok(true));
}

#[test]
fn memory_that_another_process_holds_is_not_given_and_comes_back() {
    let mut model = model();
    model.set_foreign(50);
    assert_eq!(
        model.restore("dit"),
        Err(StageError::OutOfMemory { needed: 60, free: 50 })
    );
    assert_eq!((model.is_resident("dit"), model.resident_bytes()), (Some(false), 0));
    model.set_foreign(0);
    assert_eq!(model.restore("dit"), Ok(()));
    assert_eq!(model.resident_bytes(), 60);
}

#[test]
fn without_page_locked_memory_a_group_stays_where_it_is() {
    let mut model = model();
    model.restore("dit").unwrap();
    model.inject(Fault::HostMemory);
    assert_eq!(model.park("dit"), Err(StageError::HostMemory { group: "dit".into() }));
    assert_eq!(model.is_resident("dit"), Some(true));
    assert_eq!(model.park("dit"), Ok(()));
}

#[test]
fn an_allocation_that_fails_takes_nothing_and_the_retry_may_fail_too() {
    let mut model = model();
    model.inject(Fault::Allocation(0));
    model.inject(Fault::HalfRestore);
    assert!(matches!(model.restore("vae"), Err(StageError::OutOfMemory { .. })));
    assert!(matches!(model.restore("vae"), Err(StageError::OutOfMemory { .. })));
    assert_eq!((model.resident_bytes(), model.free_bytes()), (0, 100));
    assert_eq!(model.restore("vae"), Ok(()));
    let workspace = model.admit(90).unwrap();
    assert!(matches!(model.admit(1), Err(StageError::OutOfMemory { .. })));
    model.free_workspace(workspace);
    assert_eq!((model.workspace_bytes(), model.free_bytes()), (0, 90));
}
