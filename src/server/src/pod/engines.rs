//! Compiled engines, as the director's jobs move them: what serves a track, what is loaded, whose files are read ahead.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use greenroom_compiled::Prewarm;
use greenroom_director::{Component, Engine, EngineId, Engines, Event, Failure, Outcome, TrackId};
use greenroom_generator::{CompiledEngines, EngineInfo, Extent, Lent, LoadError, Walk};
use greenroom_stage::Workspace;

use super::{job::JobError, shared::Shared, telemetry::Metric};

/// What the pod holds for its engines.
#[derive(Default)]
pub(super) struct Loads {
    /// Room on the device, of each that is loaded.
    rooms: Mutex<BTreeMap<EngineId, (u64, Workspace)>>,
    /// Files on their way into the page cache, for the track that will need them. Dropped, they are given up.
    ahead: Mutex<BTreeMap<TrackId, Prewarm>>,
}

impl Loads {
    fn rooms(&self) -> MutexGuard<'_, BTreeMap<EngineId, (u64, Workspace)>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> MutexGuard<'_, BTreeMap<TrackId, Prewarm>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Engines that are loaded, and bytes that they take.
    fn loaded(&self) -> (usize, u64) {
        let rooms = self.rooms();
        (rooms.len(), rooms.values().map(|(bytes, _)| bytes).sum())
    }

    pub(super) fn metrics(&self, engines: &dyn CompiledEngines) -> Vec<Metric> {
        let (loaded, bytes) = self.loaded();
        let mut metrics = vec![
            Metric::gauge("engines_loaded", "Compiled engines on the device.", loaded as f64),
            Metric::gauge("engines_bytes", "Device memory of compiled engines.", bytes as f64),
        ];
        for (component, runs) in Component::ALL.into_iter().zip(engines.runs()) {
            let ran = Metric::counter("engine_runs_total", "Times that a compiled engine ran.", runs);
            metrics.push(ran.labelled(&[("component", component.name())]));
        }
        metrics
    }

    /// The track is gone: nobody will swap to it.
    pub(super) fn forget(&self, track: TrackId) {
        self.ahead().remove(&track);
    }
}

impl Shared {
    /// Which engines serve a track as it will be played; none where the generator has none, or nobody knows the track's length yet.
    pub(super) fn measure(&self, track: TrackId, walk: Option<Walk>) -> Option<Event> {
        let engines = self.generator.engines()?;
        let frames = self.tracks.frames(track)? as u64;
        let part = walk.and_then(|walk| walk.part(0, frames));
        let serving = engines.serving(Extent {
            frames,
            part_frames: part.map_or(frames, |part| part.end - part.start),
        });
        Some(Event::SourceMeasured {
            track,
            engines: Engines(serving.map(|engine| engine.map(known))),
        })
    }

    /// Tells the director which engines serve a track, and has the files read that a swap to it will load.
    pub(super) fn tell_measure(&self, track: TrackId, walk: Option<Walk>) {
        let Some(Event::SourceMeasured { track, engines }) = self.measure(track, walk) else {
            return;
        };
        self.read_ahead(track, engines);
        self.events.tell_blocking(Event::SourceMeasured { track, engines });
    }

    fn read_ahead(&self, track: TrackId, engines: Engines) {
        let Some(host) = self.generator.engines() else { return };
        let files: Vec<PathBuf> = {
            let rooms = self.loads.rooms();
            let wanted = engines.0.into_iter().flatten().map(|engine| engine.id);
            wanted
                .filter(|id| !rooms.contains_key(id))
                .filter_map(|id| host.file(id.0))
                .collect()
        };
        if files.is_empty() {
            return;
        }
        match Prewarm::start(files) {
            Ok(reading) => {
                self.loads.ahead().insert(track, reading);
            }
            Err(error) => {
                tracing::warn!(%track, %error, "engines' files are not read ahead: their load will take longer")
            }
        }
    }

    /// Loads an engine beside whatever is there.
    pub(super) fn load_engine(&self, slot: Component, id: EngineId) -> Result<Outcome, JobError> {
        let (host, info) = self.engine(slot, id)?;
        let bytes = info.weights_bytes.saturating_add(info.workspace_bytes);
        let room = self.stage.admit(bytes)?;
        host.load(id.0)?;
        self.loads.rooms().insert(id, (bytes, room));
        Ok(Outcome::Done)
    }

    /// Frees an engine that nobody calls.
    pub(super) fn unload_engine(&self, slot: Component, id: EngineId) -> Result<Outcome, JobError> {
        let (host, _) = self.engine(slot, id)?;
        host.unload(id.0);
        // Only now: the room is there when the engine is not.
        self.loads.rooms().remove(&id);
        Ok(Outcome::Done)
    }

    fn engine(&self, slot: Component, id: EngineId) -> Result<(&dyn CompiledEngines, EngineInfo), JobError> {
        let host = self.generator.engines();
        let known = host.and_then(|host| Some((host, host.info(id.0)?)));
        known.ok_or_else(|| {
            let slot = slot.name();
            JobError::new(
                Failure::EngineNotBuilt,
                format!(
                    "engine {} for {slot} is not there: look at `greenroom engines list`",
                    id.0
                ),
            )
        })
    }
}

/// As the generator takes it.
pub(super) fn lent(engines: [Option<EngineId>; 3]) -> Lent {
    Lent(engines.map(|engine| engine.map(|id| id.0)))
}

fn known(info: EngineInfo) -> Engine {
    Engine {
        id: EngineId(info.id),
        weights_bytes: info.weights_bytes,
        workspace_bytes: info.workspace_bytes,
    }
}

impl From<LoadError> for JobError {
    fn from(error: LoadError) -> Self {
        let failure = match error {
            LoadError::NotThere(_) => Failure::EngineNotBuilt,
            LoadError::NullContext(_) => Failure::NullContext,
            LoadError::OutOfMemory(_) => Failure::OutOfMemory,
            LoadError::Failed(_) => Failure::Internal,
        };
        Self::new(failure, error.to_string())
    }
}
