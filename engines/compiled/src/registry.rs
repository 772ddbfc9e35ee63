//! Which engines there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    component::Component,
    digest::Digest,
    fit::{Misfit, Pod},
    metadata::{Metadata, Precision},
    profile::{Profile, ProfileError, Shapes},
};

/// How an engine's file ends.
const ENGINE: &str = ".engine";
/// How the file beside it ends.
const METADATA: &str = ".engine.json";
/// Longer metadata is not ours.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// Where an engine comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file, which a library loads.
    File {
        /// Where it is.
        path: PathBuf,
        /// What is in it: a file that was built anew under the same name is another engine.
        sha256: Digest,
        /// Its length.
        bytes: u64,
    },
    /// A CUDA graph of the eager modules, captured in this process. It runs over their weights, where they lie: only while they are on the
    /// device.
    Captured,
}

/// An engine that fits this pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engine {
    /// The file's name without its ending, or `graph/` and what it covers; no two have the same.
    pub name: String,
    /// What it stands in for.
    pub component: Component,
    /// The shapes that it takes.
    pub profile: Profile,
    /// What it computes in.
    pub precision: Precision,
    /// Device memory of its own weights.
    pub weights_bytes: u64,
    /// Device memory of its execution context.
    pub workspace_bytes: u64,
    /// Where it comes from.
    pub origin: Origin,
}

impl Engine {
    /// All that it takes on the device.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.workspace_bytes)
    }

    /// Whether it is a captured graph: on the device since its capture, and of use only with the eager modules.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.origin == Origin::Captured
    }
}

/// What a scan came upon: an engine's file, its metadata, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name without any ending.
    pub name: String,
    /// What its metadata says, if that could be read.
    pub metadata: Option<Metadata>,
    /// Why it is not used; none if it is.
    pub misfit: Option<Misfit>,
}

/// How closely a scan looks at files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Whether they are there in their full length: what boots.
    Length,
    /// Every byte: gigabytes are read.
    Contents,
}

/// Why engines are not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The folder cannot be read.
    #[error("the engines in {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The weights that engines are held against cannot be read.
    #[error("the weights {} cannot be read: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The shapes of a graph are no profile.
    #[error("a graph of {component} cannot have these shapes: {source}")]
    Shapes {
        /// The component.
        component: Component,
        /// What is wrong with them.
        source: ProfileError,
    },
}

/// The engines of a pod. It holds no engine, only what is known of each; nothing in it is ever taken for another.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    found: Vec<Found>,
    engines: Vec<Engine>,
}

impl Registry {
    /// Without engines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at a folder; what was known of files is forgotten, captured graphs stay. Folders in it are not looked into.
    ///
    /// # Errors
    /// `Folder`; nothing has changed then.
    pub fn scan(&mut self, folder: &Path, pod: &Pod, look: Look) -> Result<(), RegistryError> {
        let names = names(folder).map_err(|source| RegistryError::Folder {
            path: folder.into(),
            source,
        })?;
        self.found.clear();
        self.engines.retain(Engine::is_captured);
        for (name, has_metadata) in names {
            let path = folder.join(format!("{name}{ENGINE}"));
            let metadata = if has_metadata {
                read_metadata(&folder.join(format!("{name}{METADATA}")))
            } else {
                Err(Misfit::NoMetadata {
                    expected: format!("{name}{METADATA}"),
                })
            };
            let judged = metadata.as_ref().map_err(Clone::clone).and_then(|metadata| {
                pod_and_file(metadata, &path, pod, look)?;
                Ok(engine(&name, metadata, path))
            });
            let misfit = judged.as_ref().err().cloned();
            self.engines.extend(judged.ok());
            self.found.push(Found {
                name,
                metadata: metadata.ok(),
                misfit,
            });
        }
        Ok(())
    }

    /// The same beside weights: a component's file, which `weights` names, is read only for an engine that fits in everything else, since that
    /// takes gigabytes of reading. What was read stays in `pod`.
    ///
    /// # Errors
    /// `Folder`, `Weights`.
    pub fn scan_beside(
        &mut self,
        folder: &Path,
        pod: &mut Pod,
        look: Look,
        weights: impl Fn(Component) -> PathBuf,
    ) -> Result<(), RegistryError> {
        self.scan(folder, pod, look)?;
        let asks = |found: &Found| match &found.misfit {
            Some(Misfit::NoCheckpoint { component }) => Some(*component),
            _ => None,
        };
        let asked: BTreeSet<Component> = self.found.iter().filter_map(asks).collect();
        if asked.is_empty() {
            return Ok(());
        }
        for component in asked {
            let path = weights(component);
            let digest = Digest::of_file(&path).map_err(|source| RegistryError::Weights { path, source })?;
            pod.checkpoints.insert(component, digest);
        }
        self.scan(folder, pod, look)
    }

    /// What `scanned` knows of files in place of what was known of them; captured graphs stay.
    pub fn replace_files(&mut self, scanned: Self) {
        self.found = scanned.found;
        self.engines.retain(Engine::is_captured);
        self.engines
            .extend(scanned.engines.into_iter().filter(|engine| !engine.is_captured()));
    }

    /// Makes a graph known that was just captured: it serves exactly these shapes, over the modules' own weights. Gives its name. There may be
    /// several of the same shapes, each over weights with other LoRAs in them.
    ///
    /// # Errors
    /// `Shapes`.
    pub fn capture(
        &mut self,
        component: Component,
        shapes: &Shapes,
        precision: Precision,
        workspace_bytes: u64,
    ) -> Result<String, RegistryError> {
        let profile = Profile::exact(shapes).map_err(|source| RegistryError::Shapes { component, source })?;
        // No file's name has a slash in it.
        let plain = format!("graph/{component}/{profile}");
        let mut name = plain.clone();
        for number in 2.. {
            if self.engines.iter().all(|engine| engine.name != name) {
                break;
            }
            name = format!("{plain} ({number})");
        }
        self.engines.push(Engine {
            name: name.clone(),
            component,
            profile,
            precision,
            weights_bytes: 0,
            workspace_bytes,
            origin: Origin::Captured,
        });
        Ok(name)
    }

    /// A captured graph is gone. Gives whether it was there.
    pub fn release(&mut self, name: &str) -> bool {
        let before = self.engines.len();
        self.engines
            .retain(|engine| !(engine.is_captured() && engine.name == name));
        self.engines.len() < before
    }

    /// The graphs that are there.
    pub fn captured(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(|engine| engine.is_captured())
    }

    /// Every engine: files that may be loaded, and captured graphs.
    #[must_use]
    pub fn engines(&self) -> &[Engine] {
        &self.engines
    }

    /// Everything the last scan came upon, by name.
    #[must_use]
    pub fn found(&self) -> &[Found] {
        &self.found
    }
}

/// Names of engines in a folder, and whether there is metadata of each.
fn names(folder: &Path) -> io::Result<BTreeMap<String, bool>> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name();
        // A name that is no text is not ours: we write none such.
        let Some(file) = OsStr::to_str(&file) else { continue };
        if let Some(name) = file.strip_suffix(METADATA) {
            names.insert(name.to_owned(), true);
        } else if let Some(name) = file.strip_suffix(ENGINE) {
            names.entry(name.to_owned()).or_insert(false);
        }
    }
    Ok(names)
}

fn read_metadata(path: &Path) -> Result<Metadata, Misfit> {
    let unreadable = |error: io::Error| Misfit::Unreadable {
        words: error.to_string(),
    };
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    // One byte more than is allowed tells a file that is too long.
    file.take(METADATA_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    let bad = |words: String| Misfit::BadMetadata { words };
    if text.len() as u64 > METADATA_BYTES_MAX {
        return Err(bad(format!("it is longer than {METADATA_BYTES_MAX} bytes")));
    }
    Metadata::parse(&text).map_err(|error| bad(error.to_string()))
}

/// Whether the file is whole and for this pod. The cheap looks come first, and a damaged file is called so whatever it was built for.
fn pod_and_file(metadata: &Metadata, path: &Path, pod: &Pod, look: Look) -> Result<(), Misfit> {
    let stated = &metadata.file;
    let file = fs::metadata(path).map_err(|error| Misfit::unreadable_file(&error))?;
    if !file.is_file() {
        return Err(Misfit::FileUnreadable {
            words: "it is no file".into(),
        });
    }
    if file.len() != stated.bytes {
        return Err(Misfit::FileSize {
            stated: stated.bytes,
            found: file.len(),
        });
    }
    if look == Look::Contents {
        let found = Digest::of_file(path).map_err(|error| Misfit::unreadable_file(&error))?;
        if found != stated.sha256 {
            return Err(Misfit::FileDamaged {
                stated: stated.sha256.clone(),
                found,
            });
        }
    }
    pod.judge(metadata)
}

fn engine(name: &str, metadata: &Metadata, path: PathBuf) -> Engine {
    Engine {
        name: name.to_owned(),
        component: metadata.component,
        profile: metadata.inputs.clone(),
        precision: metadata.precision,
        weights_bytes: metadata.weights_bytes,
        workspace_bytes: metadata.workspace_bytes,
        origin: Origin::File {
            path,
            sha256: metadata.file.sha256.clone(),
            bytes: metadata.file.bytes,
        },
    }
}
