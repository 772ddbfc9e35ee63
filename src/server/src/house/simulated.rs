//! A device for tests on sockets: its moves take their time, and now and then one fails in a way that may be tried again.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use greenroom_stage::{Fault, MemoryModel, SimulatedStage, StageOperation};

/// One operation in so many fails; a prime, so that every kind of operation has its turn.
const FAULT_EVERY: u64 = 61;
/// What fails then, one after the other.
const FAULTS: [Fault; 3] = [Fault::Allocation(0), Fault::HalfRestore, Fault::HostMemory];
/// Shortest time of a move; the longest is four times as much.
const MOVE: Duration = Duration::from_millis(4);

/// A device of so many bytes.
pub(super) fn device(budget_bytes: u64) -> SimulatedStage {
    let itself: Arc<OnceLock<SimulatedStage>> = Arc::default();
    let (within, operations) = (Arc::clone(&itself), AtomicU64::new(0));
    let hook = move |operation: &StageOperation| {
        let number = operations.fetch_add(1, Ordering::Relaxed) + 1;
        if !matches!(operation, StageOperation::Admit(_)) {
            // Bytes on a bus: the one place where the house takes longer than it must.
            thread::sleep(MOVE * (1 + number as u32 % 4));
        }
        let Some(stage) = within.get().filter(|_| number.is_multiple_of(FAULT_EVERY)) else {
            return;
        };
        let fault = FAULTS[(number / FAULT_EVERY) as usize % FAULTS.len()];
        tracing::info!(?operation, ?fault, "the simulated device fails on purpose");
        stage.with_model(|model| model.inject(fault));
    };
    let stage = SimulatedStage::new(MemoryModel::new(budget_bytes), Arc::new(hook));
    itself.get_or_init(|| stage.clone());
    stage
}
