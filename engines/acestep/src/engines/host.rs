//! Which engines there are, which are loaded, and which graphs were captured.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use candle_core::DType;
use greenroom_compiled::{
    Choice, Component, ComputeCapability, Eager, Engine, Found, Look, Origin, Pod, Precision, Registry, Room, Shapes,
    choose,
};
use greenroom_generator::{COMPONENTS, CompiledEngines, EngineInfo, EngineState, Extent, Lent, LoadError, Standing};
use greenroom_oobleck::WINDOW_MARGIN;
use greenroom_weights::{Register, Registration};

use super::{EngineLibrary, Loaded, Runs};
use crate::{
    checkpoint::{Configs, FRAME_SAMPLES, WeightFiles},
    error::AcestepError,
    generator::WINDOW_FRAMES,
};

/// Slots that an engine of the diffusion transformer has to take: as many as a session begins with.
const SLOTS: u64 = 4;
/// Latents of a window that does not begin with a frame; of one that does there is one less.
const WINDOW_ROWS: u64 = (WINDOW_FRAMES + 1 + 2 * WINDOW_MARGIN) as u64;
/// States of a prompt that it has to take.
const TOKENS: u64 = 200;

/// Where engines are looked for, and what they are held against.
pub(crate) struct Place {
    folder: PathBuf,
    libraries: Vec<Arc<dyn EngineLibrary>>,
    weights: WeightFiles,
    /// Locked for as long as somebody looks: one after the other. What was read of weights stays in it.
    pod: Mutex<Pod>,
}

/// The engines of a generator.
pub(crate) struct Host {
    /// Values of a condition of the diffusion transformer.
    width: u64,
    /// What the modules compute in, and so their graphs.
    precision: Precision,
    /// Without one there are graphs alone.
    place: Option<Place>,
    known: Mutex<Known>,
    runs: Arc<Runs>,
}

#[derive(Default)]
struct Known {
    registry: Registry,
    /// By number, which is never given twice: an engine that was built anew has another.
    numbered: Vec<Numbered>,
    loaded: BTreeMap<u32, Arc<Loaded>>,
}

struct Numbered {
    engine: Engine,
    built_by: Arc<dyn EngineLibrary>,
    file: FileNow,
}

/// What the last scan found of an engine's file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileNow {
    There,
    /// There is another engine of its name.
    Replaced,
    Gone,
}

impl Place {
    pub(crate) fn new(
        folder: PathBuf,
        libraries: Vec<Arc<dyn EngineLibrary>>,
        compute_capability: Option<ComputeCapability>,
        weights: WeightFiles,
    ) -> Self {
        let pod = Pod {
            compute_capability,
            libraries: libraries.iter().map(|library| library.library()).collect(),
            checkpoints: BTreeMap::new(),
        };
        Self {
            folder,
            libraries,
            weights,
            pod: Mutex::new(pod),
        }
    }

    fn library_of(&self, found: &Found) -> Option<&Arc<dyn EngineLibrary>> {
        let built_by = &found.metadata.as_ref()?.library;
        self.libraries.iter().find(|library| library.library() == *built_by)
    }
}

impl Host {
    /// Knows of no engine before it has looked.
    pub(crate) fn new(configs: &Configs, dtype: DType, place: Option<Place>) -> Self {
        Self {
            width: configs.dit.hidden_size as u64,
            precision: match dtype {
                DType::BF16 => Precision::Bf16,
                DType::F16 => Precision::Fp16,
                _ => Precision::Fp32,
            },
            place,
            known: Mutex::default(),
            runs: Arc::default(),
        }
    }

    /// Looks at the folder. Gigabytes of weights are read only for an engine that fits in everything else, and once.
    pub(crate) fn scan(&self) -> Result<(), AcestepError> {
        let Some(place) = &self.place else { return Ok(()) };
        let mut pod = place.pod.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scanned = Registry::new();
        scanned.scan_beside(&place.folder, &mut pod, Look::Length, |component| {
            place.weights.of_component(component).into()
        })?;
        let mut known = self.known();
        known.tell_news(&scanned);
        known.number(&scanned, place);
        known.registry.replace_files(scanned);
        Ok(())
    }

    /// What a call was lent of a component.
    pub(crate) fn lent(&self, component: Component, lent: Lent) -> Option<Arc<Loaded>> {
        let id = lent.0[component as usize]?;
        self.known().loaded.get(&id).map(Arc::clone)
    }

    /// Makes the graphs of a component known; `facts` gives what a graph takes and the bytes that lie between its steps.
    pub(crate) fn register<S>(
        self: &Arc<Self>,
        component: Component,
        facts: impl Fn(&S) -> (Shapes, u64) + Send + 'static,
    ) -> Register<S> {
        let host = Arc::clone(self);
        Box::new(move |shape| {
            let (shapes, workspace_bytes) = facts(shape);
            host.captured(component, &shapes, workspace_bytes)
        })
    }

    fn captured(self: &Arc<Self>, component: Component, shapes: &Shapes, workspace_bytes: u64) -> Registration {
        let captured = self
            .known()
            .registry
            .capture(component, shapes, self.precision, workspace_bytes);
        match captured {
            Ok(name) => {
                tracing::info!(graph = name, workspace_bytes, "a graph is captured");
                Box::new(Captured {
                    host: Arc::clone(self),
                    name,
                })
            }
            Err(error) => {
                tracing::warn!(%error, "a graph runs that is not known");
                Box::new(())
            }
        }
    }

    /// Every change is whole before anything can panic, so a poisoned lock guards whole data.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A graph's entry in the registry.
struct Captured {
    host: Arc<Host>,
    name: String,
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.host.known().registry.release(&self.name);
        tracing::info!(graph = self.name, "a graph is let go");
    }
}

impl Known {
    /// Tells of what this scan sees otherwise than the last.
    fn tell_news(&self, scanned: &Registry) {
        for found in scanned.found() {
            if self.registry.found().contains(found) {
                continue;
            }
            match &found.misfit {
                Some(misfit) => tracing::warn!(engine = found.name, %misfit, "an engine is not used"),
                None => tracing::info!(engine = found.name, "an engine can be used"),
            }
        }
    }

    fn number(&mut self, scanned: &Registry, place: &Place) {
        let is_found = |name: &str| scanned.found().iter().any(|found| found.name == name);
        for numbered in &mut self.numbered {
            numbered.file = match scanned.engines().contains(&numbered.engine) {
                true => FileNow::There,
                false if is_found(&numbered.engine.name) => FileNow::Replaced,
                false => FileNow::Gone,
            };
        }
        for engine in scanned.engines() {
            let found = scanned.found().iter().find(|found| found.name == engine.name);
            let library = found.and_then(|found| place.library_of(found));
            let is_new = self.numbered.iter().all(|numbered| numbered.engine != *engine);
            if let Some(built_by) = library.filter(|_| is_new) {
                self.numbered.push(Numbered {
                    engine: engine.clone(),
                    built_by: Arc::clone(built_by),
                    file: FileNow::There,
                });
            }
        }
    }

    fn get(&self, id: u32) -> Option<&Numbered> {
        self.numbered.get(id as usize)
    }

    /// By number, what a track can be told to be served by. One whose file has gone serves on while it is loaded.
    fn offered(&self) -> impl Iterator<Item = (u32, &Engine)> {
        let numbers = 0_u32..;
        numbers.zip(&self.numbered).filter_map(|(id, numbered)| {
            let offered = match numbered.file {
                FileNow::There => true,
                FileNow::Gone => self.loaded.contains_key(&id),
                FileNow::Replaced => false,
            };
            offered.then_some((id, &numbered.engine))
        })
    }

    fn smallest(&self, component: Component, shapes: &Shapes) -> Option<EngineInfo> {
        let (ids, engines): (Vec<u32>, Vec<Engine>) = self.offered().map(|(id, engine)| (id, engine.clone())).unzip();
        // Whether there is room is the director's matter.
        let room = Room {
            budget_bytes: u64::MAX,
            used_bytes: 0,
        };
        let Choice::Engine { engine, .. } = choose(component, shapes, &engines, None, room, Eager::There) else {
            return None;
        };
        let place = engines.iter().position(|offered| offered == engine)?;
        Some(info(ids[place], engine))
    }

    /// The last scan's engines, those that are loaded though their file is not what it was, and the graphs.
    fn states(&self) -> Vec<EngineState> {
        let is_loaded = |engine: &Engine| self.loaded.values().any(|loaded| loaded.engine == *engine);
        let of_file = |found: &Found| {
            let engine = self.registry.engines().iter().find(|engine| engine.name == found.name);
            EngineState {
                name: found.name.clone(),
                component: found.metadata.as_ref().map(|metadata| metadata.component as usize),
                bytes: found.metadata.as_ref().map_or(0, |metadata| {
                    metadata.weights_bytes.saturating_add(metadata.workspace_bytes)
                }),
                standing: match (&found.misfit, engine) {
                    (Some(misfit), _) => Standing::Unfit(misfit.to_string()),
                    (None, Some(engine)) if is_loaded(engine) => Standing::Loaded,
                    (None, _) => Standing::Offered,
                },
            }
        };
        let of_engine = |engine: &Engine, standing| EngineState {
            name: engine.name.clone(),
            component: Some(engine.component as usize),
            bytes: engine.device_bytes(),
            standing,
        };
        let loaded = self.loaded.values().map(|loaded| &loaded.engine);
        let left = loaded.filter(|engine| !self.registry.engines().contains(engine));
        let files = self.registry.found().iter().map(of_file);
        let graphs = self.registry.captured();
        files
            .chain(left.map(|engine| of_engine(engine, Standing::Loaded)))
            .chain(graphs.map(|engine| of_engine(engine, Standing::Graph)))
            .collect()
    }
}

fn info(id: u32, engine: &Engine) -> EngineInfo {
    EngineInfo {
        id,
        weights_bytes: engine.weights_bytes,
        workspace_bytes: engine.workspace_bytes,
    }
}

impl CompiledEngines for Host {
    fn serving(&self, extent: Extent) -> [Option<EngineInfo>; COMPONENTS] {
        let frames = extent.part_frames / FRAME_SAMPLES as u64;
        let known = self.known();
        Component::ALL.map(|component| {
            let shapes = match component {
                Component::Decoder => Shapes::decoder_of_width(SLOTS, frames, TOKENS, self.width),
                Component::VaeEncode => Shapes::vae_encode(extent.frames),
                Component::VaeDecode => Shapes::vae_decode(WINDOW_ROWS),
            };
            known.smallest(component, &shapes)
        })
    }

    fn info(&self, id: u32) -> Option<EngineInfo> {
        self.known().get(id).map(|numbered| info(id, &numbered.engine))
    }

    fn file(&self, id: u32) -> Option<PathBuf> {
        let known = self.known();
        let numbered = known.get(id).filter(|numbered| numbered.file == FileNow::There)?;
        match &numbered.engine.origin {
            Origin::File { path, .. } => Some(path.clone()),
            Origin::Captured => None,
        }
    }

    fn load(&self, id: u32) -> Result<(), LoadError> {
        let there = |numbered: &&Numbered| numbered.file == FileNow::There;
        let known = self.known();
        let numbered = known.get(id).filter(there).ok_or(LoadError::NotThere(id))?;
        let (engine, library) = (numbered.engine.clone(), Arc::clone(&numbered.built_by));
        drop(known);
        // A failure is not remembered: the next try asks the library anew.
        let module = library.load(&engine)?;
        tracing::info!(engine = engine.name, "an engine is loaded");
        let runs = Arc::clone(&self.runs);
        self.known()
            .loaded
            .insert(id, Arc::new(Loaded { engine, module, runs }));
        Ok(())
    }

    fn unload(&self, id: u32) {
        let loaded = self.known().loaded.remove(&id);
        if let Some(loaded) = loaded {
            tracing::info!(engine = loaded.engine.name, "an engine is freed");
        }
    }

    fn rescan(&self) -> Result<(), String> {
        self.scan().map_err(|error| error.to_string())
    }

    fn states(&self) -> Vec<EngineState> {
        self.known().states()
    }

    fn runs(&self) -> [u64; COMPONENTS] {
        std::array::from_fn(|component| self.runs[component].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
mod tests {
    use greenroom_compiled::{PUBLIC_WIDTH, Target};

    use super::*;

    #[test]
    fn engines_that_are_built_for_windows_take_those_of_a_stream() {
        let profile = Target::Window.profile(Component::VaeDecode, PUBLIC_WIDTH).unwrap();
        for rows in [WINDOW_ROWS - 1, WINDOW_ROWS] {
            assert!(profile.covers(&Shapes::vae_decode(rows)), "{rows}");
        }
    }
}
