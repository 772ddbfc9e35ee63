//! Compiled engines, as the director's jobs move them: what serves a track, what is loaded, whose files are read ahead.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use greenroom_compiled::Prewarm;
use greenroom_director::{Component, Engine, EngineId, Engines, Event, Failure, Outcome, TrackId};
use greenroom_generator::{CompiledEngines, EngineInfo, EngineState, Extent, Lent, LoadError, Standing, Walk};
use greenroom_stage::Workspace;
use greenroom_wire::VramEngine;

use super::{job::JobError, outbox::Refusal, shared::Shared, telemetry::Metric};

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
        let states = engines.states();
        for (component, runs) in Component::ALL.into_iter().zip(engines.runs()) {
            let label = ("component", component.name());
            let ran = Metric::counter("engine_runs_total", "Times that a compiled engine ran.", runs);
            metrics.push(ran.labelled(&[label]));
            let of = |standing: &Standing| {
                let is_it =
                    |state: &&EngineState| state.component == Some(component as usize) && state.standing == *standing;
                states.iter().filter(is_it).collect::<Vec<_>>()
            };
            for state in of(&Standing::Loaded) {
                let slot = Metric::gauge("engine_loaded", "Which compiled engine is on the device.", 1.0);
                metrics.push(slot.labelled(&[label, ("engine", &state.name)]));
            }
            let graphs = of(&Standing::Graph);
            let captured = Metric::gauge(
                "engine_graphs",
                "Graphs that were captured and are there.",
                graphs.len() as f64,
            );
            metrics.push(captured.labelled(&[label]));
            let bytes: u64 = graphs.iter().map(|graph| graph.bytes).sum();
            let bytes = Metric::gauge(
                "engine_graphs_bytes",
                "What lies between the steps of captured graphs.",
                bytes as f64,
            );
            metrics.push(bytes.labelled(&[label]));
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
        self.tracks.change(track, |entry| entry.walk = walk);
        self.measured(track)
    }

    /// The same, as it was to be played the last time.
    fn measured(&self, track: TrackId) -> Option<Event> {
        let engines = self.generator.engines()?;
        let walk = self.tracks.with(track, |entry| entry.walk)?;
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

    /// Looks for engines again, and tells the director anew which ones serve each track.
    pub(super) fn rescan_engines(&self) -> Result<Vec<EngineState>, Refusal> {
        let Some(engines) = self.generator.engines() else {
            let name = self.generator.description().name;
            return Err(Refusal::new(
                Failure::EngineNotBuilt,
                format!("the generator {name} has no compiled engines: a pod with the generator acestep may"),
            ));
        };
        engines.rescan().map_err(|words| {
            Refusal::new(
                Failure::Internal,
                format!(
                    "{words}; what was known before stays in use. The folder is the one that --engines-dir names, or `engines` in the \
                     models directory"
                ),
            )
        })?;
        for track in self.tracks.ids() {
            if let Some(measure) = self.measured(track) {
                self.events.tell_blocking(measure);
            }
        }
        Ok(engines.states())
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

    /// The engines on the device, as clients are told of them.
    pub(super) fn loaded_engines(&self) -> Vec<VramEngine> {
        let states = self.generator.engines().map(CompiledEngines::states);
        let loaded = |state: EngineState| {
            let component = Component::ALL.get(state.component?)?;
            (state.standing == Standing::Loaded).then(|| VramEngine {
                component: component.name().to_owned(),
                name: state.name,
                bytes: state.bytes,
            })
        };
        states.unwrap_or_default().into_iter().filter_map(loaded).collect()
    }

    /// Loads an engine beside whatever is there.
    pub(super) fn load_engine(&self, slot: Component, id: EngineId) -> Result<Outcome, JobError> {
        let (host, info) = self.engine(slot, id)?;
        let bytes = info.weights_bytes.saturating_add(info.workspace_bytes);
        let room = self.stage.admit_beside(bytes)?;
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
