//! What is written beside an engine's file: everything that decides whether it fits, and what it takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    component::Component,
    digest::Digest,
    profile::{Profile, Range},
};

/// Number of the format below: changed whenever a field comes, goes or changes its meaning.
pub const SCHEMA: u32 = 1;

/// What an engine computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// `bfloat16`.
    Bf16,
    /// 16-bit floating point.
    Fp16,
    /// 8-bit floating point, of the large matrices.
    Fp8,
    /// As each operation of the network says: weights in 16 bits, norms in 32.
    Mixed,
}

impl Precision {
    /// Its name in metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
            Self::Fp8 => "fp8",
            Self::Mixed => "mixed",
        }
    }
}

/// A generation of GPUs, as NVIDIA numbers them: `8.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComputeCapability {
    /// Before the point.
    pub major: u32,
    /// Behind it.
    pub minor: u32,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl From<ComputeCapability> for String {
    fn from(capability: ComputeCapability) -> Self {
        capability.to_string()
    }
}

impl TryFrom<String> for ComputeCapability {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        });
        // Written back it must be the same: no sign, no leading zero.
        parsed
            .filter(|capability| capability.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no compute capability: one is written like \"8.9\""))
    }
}

/// A library that runs engine files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LibraryName {
    /// NVIDIA TensorRT.
    Tensorrt,
    /// NVIDIA TensorRT for RTX.
    TensorrtRtx,
    /// No library but the generator's own modules, each bound to a profile: how choice, swaps and failures are tested on machines without a GPU.
    Modules,
}

impl LibraryName {
    /// Whether its engines run on GPUs only, and on those alone that they were built for.
    #[must_use]
    pub const fn needs_gpu(self) -> bool {
        !matches!(self, Self::Modules)
    }

    /// Its name for a person.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Tensorrt => "TensorRT",
            Self::TensorrtRtx => "TensorRT-RTX",
            Self::Modules => "the generator's own modules",
        }
    }
}

/// A library in one version: engines are good for exactly that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Which.
    pub name: LibraryName,
    /// Its version, as it says itself: `1.7.1.116`.
    pub version: String,
}

/// The engine's file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineFile {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// What a file `NAME.engine.json` says of the engine `NAME.engine` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it stands in for.
    pub component: Component,
    /// The shapes that it takes; exactly the inputs of the component.
    pub inputs: Profile,
    /// What it computes in.
    pub precision: Precision,
    /// The GPUs that it was built for; at least one, where its library needs any.
    pub compute_capabilities: Vec<ComputeCapability>,
    /// What runs it.
    pub library: Library,
    /// SHA-256 of the safetensors file that its weights are from.
    pub checkpoint_sha256: Digest,
    /// Device memory of its weights.
    pub weights_bytes: u64,
    /// Device memory of its execution context, at the largest shape.
    pub workspace_bytes: u64,
    /// The file it belongs to.
    pub file: EngineFile,
}

/// Why text is no metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is of another format than this program reads.
    #[error("it is in format {0}, and this program reads {SCHEMA}")]
    Schema(u64),
    /// A field is missing, unknown, or no value of its kind.
    #[error("{0}")]
    Field(String),
    /// Its inputs are not those of its component.
    #[error("its inputs are {found}; those of {component} are {needed}")]
    Inputs {
        /// The component.
        component: Component,
        /// Its inputs and their numbers of dimensions.
        needed: String,
        /// What the file says.
        found: String,
    },
    /// It was built for no GPU.
    #[error("it names no compute capability")]
    NoCapability,
}

impl Metadata {
    /// Reads metadata strictly: every field, no other, and values that can be true.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(text: &[u8]) -> Result<Self, MetadataError> {
        /// The number alone: a later format may have any fields beside it.
        #[derive(Deserialize)]
        struct Format {
            schema: u64,
        }
        let field = |error: serde_json::Error| MetadataError::Field(error.to_string());
        let format: Format = serde_json::from_slice(text).map_err(field)?;
        if format.schema != u64::from(SCHEMA) {
            return Err(MetadataError::Schema(format.schema));
        }
        let metadata: Self = serde_json::from_slice(text).map_err(field)?;
        metadata.check()?;
        Ok(metadata)
    }

    fn check(&self) -> Result<(), MetadataError> {
        if self.compute_capabilities.is_empty() && self.library.name.needs_gpu() {
            return Err(MetadataError::NoCapability);
        }
        let needed = self.component.inputs();
        let ranges = self.inputs.ranges();
        let same = |(range, (name, rank)): (&Range, &(&str, usize))| range.name == *name && range.min.len() == *rank;
        if ranges.len() != needed.len() || !ranges.iter().zip(needed).all(same) {
            let list = |inputs: Vec<(&str, usize)>| {
                let words = inputs.iter().map(|(name, rank)| format!("{name} ({rank})"));
                words.collect::<Vec<_>>().join(", ")
            };
            return Err(MetadataError::Inputs {
                component: self.component,
                needed: list(needed.to_vec()),
                found: list(ranges.iter().map(|range| (&*range.name, range.min.len())).collect()),
            });
        }
        Ok(())
    }
}
