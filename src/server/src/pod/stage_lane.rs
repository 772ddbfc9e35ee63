//! The stage thread: moves weight groups, one at a time.

use std::{sync::Arc, time::Duration};

use greenroom_director::{Component, EngineId, Event, Failure, Group, Outcome};
use greenroom_stage::StageError;
use greenroom_sync::{Mailbox, ReceiveError};

use super::{
    job::{Job, JobError},
    shared::Shared,
};

/// How often the memory of other processes is looked at while nothing moves.
const FOREIGN_MEMORY_INTERVAL: Duration = Duration::from_secs(5);

/// What the stage thread is asked to do.
#[derive(Debug)]
pub(super) enum StageOrder {
    /// Bring a group's weights onto the device.
    Restore { job: Job, group: Group },
    /// Take them off.
    Park { job: Job, group: Group },
    /// Load an engine.
    LoadEngine {
        job: Job,
        slot: Component,
        engine: EngineId,
    },
    /// Free it.
    UnloadEngine {
        job: Job,
        slot: Component,
        engine: EngineId,
    },
}

/// Runs until the mailbox is closed.
pub(super) fn run(shared: &Arc<Shared>, orders: &Mailbox<StageOrder>) {
    let mut foreign = 0;
    loop {
        match orders.receive(FOREIGN_MEMORY_INTERVAL) {
            Ok(StageOrder::Restore { job, group }) => move_group(shared, &job, || shared.stage.restore(group.name())),
            Ok(StageOrder::Park { job, group }) => move_group(shared, &job, || shared.stage.park(group.name())),
            Ok(StageOrder::LoadEngine { job, slot, engine }) => {
                job.run(&shared.events, || shared.load_engine(slot, engine), |_| {});
            }
            Ok(StageOrder::UnloadEngine { job, slot, engine }) => {
                job.run(&shared.events, || shared.unload_engine(slot, engine), |_| {});
            }
            Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
            Err(ReceiveError::Closed) => return,
        }
        let bytes = shared.stage.read().foreign;
        if std::mem::replace(&mut foreign, bytes) != bytes {
            shared.events.tell_blocking(Event::ForeignMemory { bytes });
        }
    }
}

fn move_group(shared: &Shared, job: &Job, moving: impl FnOnce() -> Result<(), StageError>) {
    let moving = || moving().map(|()| Outcome::Done).map_err(JobError::from);
    job.run(&shared.events, moving, |_| {});
}

impl From<StageError> for JobError {
    fn from(error: StageError) -> Self {
        let message = error.to_string();
        match error {
            StageError::OutOfMemory { .. } | StageError::HostMemory { .. } => Self::new(Failure::OutOfMemory, message),
            StageError::DeviceLost(_) => Self::new(Failure::DeviceLost, message),
            _ => Self::new(Failure::Internal, message),
        }
    }
}
