//! What this pod can run, and why an engine is not for it.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use crate::{
    component::Component,
    digest::Digest,
    metadata::{ComputeCapability, Library, LibraryName, Metadata},
};

/// What engines are held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The GPU's; none without a GPU.
    pub compute_capability: Option<ComputeCapability>,
    /// Libraries that were found and that this program can use.
    pub libraries: Vec<Library>,
    /// SHA-256 of the safetensors file that each component's weights are in.
    pub checkpoints: BTreeMap<Component, Digest>,
}

/// Why an engine is listed and never loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Misfit {
    /// An engine without metadata: nobody knows what it is.
    #[error("there is no {expected} beside it: build it again")]
    NoMetadata {
        /// Name of the file that is missing.
        expected: String,
    },
    /// The metadata cannot be read.
    #[error("its metadata cannot be read: {words}")]
    Unreadable {
        /// What the system said.
        words: String,
    },
    /// The metadata is not what this program reads.
    #[error("its metadata is not valid: {words}")]
    BadMetadata {
        /// What is wrong with it.
        words: String,
    },
    /// Metadata without its engine.
    #[error("its file is not there: build it again")]
    FileMissing,
    /// The file cannot be read.
    #[error("its file cannot be read: {words}")]
    FileUnreadable {
        /// What the system said.
        words: String,
    },
    /// The file has another length than it was written with: a build or a copy that was cut off.
    #[error("its file has {found} bytes of {stated}: build it again")]
    FileSize {
        /// Bytes that the metadata names.
        stated: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file has its length, and other contents.
    #[error("its file is damaged (SHA-256 {found}, and {stated} was written): build it again")]
    FileDamaged {
        /// What the metadata names.
        stated: Digest,
        /// What is there.
        found: Digest,
    },
    /// Engines run on GPUs.
    #[error("there is no GPU to use")]
    NoGpu,
    /// It was built for other GPUs.
    #[error("it was built for compute capability {}, and this GPU has {here}", list(built_for))]
    ComputeCapability {
        /// Those that it was built for.
        built_for: Vec<ComputeCapability>,
        /// This GPU's.
        here: ComputeCapability,
    },
    /// The library is not there.
    #[error("it needs {} {version}, and there is none", library.title())]
    NoLibrary {
        /// Which.
        library: LibraryName,
        /// In which version.
        version: String,
    },
    /// The library is there in another version.
    #[error("it was built by {} {built_by}, and {here} is here", library.title())]
    LibraryVersion {
        /// Which.
        library: LibraryName,
        /// Version that built it.
        built_by: String,
        /// Version that is here.
        here: String,
    },
    /// No checkpoint of this component is configured, so its weights cannot be told to be the right ones.
    #[error("no checkpoint of {component} is configured to hold it against")]
    NoCheckpoint {
        /// The component.
        component: Component,
    },
    /// It was built from another checkpoint.
    #[error("it was built from another checkpoint ({}…, and {}… is configured)", built_from.short(), here.short())]
    Checkpoint {
        /// The checkpoint it was built from.
        built_from: Digest,
        /// The configured one.
        here: Digest,
    },
}

fn list(capabilities: &[ComputeCapability]) -> String {
    let words: Vec<String> = capabilities.iter().map(ComputeCapability::to_string).collect();
    words.join(", ")
}

impl Pod {
    /// Whether an engine with this metadata is for this pod; its file is not looked at. The checkpoint comes last, since to know its digest
    /// takes gigabytes of reading: what fails on `NoCheckpoint` fits in everything else.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn judge(&self, metadata: &Metadata) -> Result<(), Misfit> {
        if metadata.library.name.needs_gpu() {
            let here = self.compute_capability.ok_or(Misfit::NoGpu)?;
            if !metadata.compute_capabilities.contains(&here) {
                return Err(Misfit::ComputeCapability {
                    built_for: metadata.compute_capabilities.clone(),
                    here,
                });
            }
        }
        self.judge_library(&metadata.library)?;
        let component = metadata.component;
        let here = self
            .checkpoints
            .get(&component)
            .ok_or(Misfit::NoCheckpoint { component })?;
        if *here != metadata.checkpoint_sha256 {
            return Err(Misfit::Checkpoint {
                built_from: metadata.checkpoint_sha256.clone(),
                here: here.clone(),
            });
        }
        Ok(())
    }

    fn judge_library(&self, needed: &Library) -> Result<(), Misfit> {
        if self.libraries.contains(needed) {
            return Ok(());
        }
        let other = self.libraries.iter().find(|library| library.name == needed.name);
        Err(other.map_or_else(
            || Misfit::NoLibrary {
                library: needed.name,
                version: needed.version.clone(),
            },
            |other| Misfit::LibraryVersion {
                library: needed.name,
                built_by: needed.version.clone(),
                here: other.version.clone(),
            },
        ))
    }
}

impl Misfit {
    pub(crate) fn unreadable_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::FileMissing,
            _ => Self::FileUnreadable {
                words: error.to_string(),
            },
        }
    }
}
