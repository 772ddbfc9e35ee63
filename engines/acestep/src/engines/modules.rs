//! A library whose engines are the generator's own modules, each bound to the profile that its file declares: choice, swaps, failures and
//! fallbacks run as they would on a GPU, and sound is the same to the bit.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{Tensor, bail};
use greenroom_compiled::{
    Component, Digest, Engine, EngineFile, Library, LibraryName, Metadata, Origin, Precision, Profile, SCHEMA, Shapes,
};
use greenroom_diffusion::{Batch, Denoiser};
use greenroom_dit::{AdaptedWeights, Dit, LoraSet, Memory, Runner};
use greenroom_generator::{GenerateError, LoadError};
use greenroom_oobleck::{Oobleck, Window};
use greenroom_sync::CancelFlag;
use greenroom_weights::{HostWeights, PackedImage};
use serde::{Deserialize, Serialize};

use super::{Decode, Decoder, Encode, EngineLibrary, Module, runs};
use crate::{
    checkpoint::Configs,
    generator::{Acestep, Interruption, look},
    groups::Groups,
    source::compute,
};

/// Loads modules in system RAM.
pub struct ModuleLibrary {
    configs: Configs,
    groups: Arc<Groups>,
    /// Loads of each engine so far.
    loads: Mutex<BTreeMap<String, usize>>,
}

/// What an engine's file says.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Script {
    /// What becomes of its first loads, one after the other; all others succeed.
    loads: Vec<Outcome>,
}

/// What a load comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is there.
    Loaded,
    /// The library gives no context, and no error.
    NullContext,
    /// Memory runs out.
    OutOfMemory,
}

impl ModuleLibrary {
    pub(crate) fn new(configs: &Configs, groups: &Arc<Groups>) -> Self {
        Self {
            configs: configs.clone(),
            groups: Arc::clone(groups),
            loads: Mutex::default(),
        }
    }

    fn known() -> Library {
        Library {
            name: LibraryName::Modules,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Whether this load is one of those that fail.
    fn count(&self, engine: &Engine) -> Result<(), LoadError> {
        let Origin::File { path, .. } = &engine.origin else {
            return Err(LoadError::Failed(format!("{} is no file", engine.name)));
        };
        let read = || Ok::<_, io::Error>(serde_json::from_slice::<Script>(&fs::read(path)?)?);
        let script = read().map_err(|error| LoadError::Failed(format!("{}: {error}", path.display())))?;
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let count = loads.entry(engine.name.clone()).or_default();
        *count += 1;
        match script.loads.get(*count - 1) {
            Some(Outcome::NullContext) => Err(LoadError::NullContext(engine.name.clone())),
            Some(Outcome::OutOfMemory) => Err(LoadError::OutOfMemory(engine.name.clone())),
            Some(Outcome::Loaded) | None => Ok(()),
        }
    }

    fn autoencoder(&self) -> Result<Arc<Oobleck>, LoadError> {
        let weights = HostWeights::new(self.groups.vae.packed());
        let network = Oobleck::new(&self.configs.vae, &weights);
        network
            .map(Arc::new)
            .map_err(|error| LoadError::Failed(error.to_string()))
    }
}

impl EngineLibrary for ModuleLibrary {
    fn library(&self) -> Library {
        Self::known()
    }

    fn load(&self, engine: &Engine) -> Result<Module, LoadError> {
        self.count(engine)?;
        let profile = engine.profile.clone();
        Ok(match engine.component {
            Component::Decoder => Module::Decoder(Box::new(BoundTransformer::new(self, profile)?)),
            Component::VaeEncode => Module::VaeEncode(Box::new(BoundAutoencoder {
                network: self.autoencoder()?,
                profile,
            })),
            Component::VaeDecode => Module::VaeDecode(Box::new(BoundAutoencoder {
                network: self.autoencoder()?,
                profile,
            })),
        })
    }
}

/// The autoencoder, for the shapes of a profile.
struct BoundAutoencoder {
    network: Arc<Oobleck>,
    profile: Profile,
}

impl Encode for BoundAutoencoder {
    fn encode(&self, sound: &[f32], cancel: &CancelFlag) -> Result<Tensor, GenerateError> {
        bound(&self.profile, &Shapes::vae_encode(sound.len() as u64 / 2)).map_err(|error| compute(&error))?;
        Ok(self.network.encode::<Interruption>(sound, &mut || look(cancel))?)
    }
}

impl Decode for BoundAutoencoder {
    fn decode(&self, window: &Window) -> candle_core::Result<Vec<f32>> {
        bound(&self.profile, &Shapes::vae_decode(window.frames() as u64))?;
        self.network.decode_this(window)
    }
}

/// The diffusion transformer, for the shapes of a profile.
struct BoundTransformer {
    configs: Configs,
    image: Arc<PackedImage>,
    profile: Profile,
    running: Mutex<RunningTransformer>,
}

struct RunningTransformer {
    network: Arc<Dit>,
    runner: Runner,
    loras: LoraSet,
}

impl BoundTransformer {
    fn new(library: &ModuleLibrary, profile: Profile) -> Result<Self, LoadError> {
        let (configs, image) = (library.configs.clone(), Arc::clone(library.groups.dit.packed()));
        let loras = LoraSet::default();
        let network = transformer(&configs, &image, &loras).map_err(LoadError::Failed)?;
        Ok(Self {
            configs,
            image,
            profile,
            running: Mutex::new(RunningTransformer {
                network,
                runner: Runner::default(),
                loras,
            }),
        })
    }
}

impl Decoder for BoundTransformer {
    fn velocity(&self, batch: &Batch<'_, Memory>) -> candle_core::Result<Tensor> {
        for shapes in runs::shapes(batch)? {
            bound(&self.profile, &shapes)?;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let RunningTransformer { network, runner, .. } = &mut *running;
        runner.on(network).velocity(batch)
    }

    fn wear(&self, loras: &LoraSet) -> Result<(), String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.loras != *loras {
            running.network = transformer(&self.configs, &self.image, loras)?;
            running.loras.clone_from(loras);
        }
        Ok(())
    }
}

fn transformer(configs: &Configs, image: &PackedImage, loras: &LoraSet) -> Result<Arc<Dit>, String> {
    let weights = HostWeights::new(image);
    Dit::new(
        &configs.dit,
        &AdaptedWeights::new(&weights, loras),
        Acestep::frames_max(),
    )
    .map(Arc::new)
    .map_err(|error| error.to_string())
}

/// As a compiled engine does: what is not of the profile is refused.
fn bound(profile: &Profile, shapes: &Shapes) -> candle_core::Result<()> {
    if !profile.covers(shapes) {
        bail!("the engine refuses {shapes}: it takes {profile}")
    }
    Ok(())
}

/// Writes an engine of the modules into a folder: its file, which says what becomes of its first loads, and its metadata.
///
/// # Errors
/// If one of the files cannot be read or written.
pub fn write_module_engine(
    folder: &Path,
    name: &str,
    component: Component,
    profile: Profile,
    weights: &Path,
    loads: &[Outcome],
) -> io::Result<()> {
    let script = serde_json::to_vec(&Script { loads: loads.to_vec() })?;
    let path = folder.join(format!("{name}.engine"));
    fs::write(&path, &script)?;
    let metadata = Metadata {
        schema: SCHEMA,
        component,
        inputs: profile,
        precision: Precision::Fp32,
        compute_capabilities: Vec::new(),
        library: ModuleLibrary::known(),
        checkpoint_sha256: Digest::of_file(weights)?,
        weights_bytes: 1 << 20,
        workspace_bytes: 1 << 20,
        file: EngineFile {
            bytes: script.len() as u64,
            sha256: Digest::of_file(&path)?,
        },
    };
    fs::write(
        folder.join(format!("{name}.engine.json")),
        serde_json::to_vec_pretty(&metadata)?,
    )
}
