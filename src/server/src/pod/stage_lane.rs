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
            Ok(StageOrder::LoadEngine { job, slot, engine }) => load_engine(shared, &job, slot, engine),
            Ok(StageOrder::UnloadEngine { job, slot, engine }) => unload_engine(shared, &job, slot, engine),
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

/// No kind of engine can be loaded in this build: whoever asks goes on with the eager modules, or is told.
fn load_engine(shared: &Shared, job: &Job, slot: Component, engine: EngineId) {
    let (slot, engine) = (slot.name(), engine.0);
    let message = format!("engine {engine} for {slot} cannot be loaded: this build has no library that runs engines");
    job.run(
        &shared.events,
        || Err(JobError::new(Failure::EngineNotBuilt, message)),
        |_| {},
    );
}

/// Nothing was loaded, so there is nothing to free.
fn unload_engine(shared: &Shared, job: &Job, slot: Component, engine: EngineId) {
    let (slot, engine) = (slot.name(), engine.0);
    let message = format!("engine {engine} for {slot} was never loaded");
    job.run(
        &shared.events,
        || Err(JobError::new(Failure::Internal, message)),
        |_| {},
    );
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
