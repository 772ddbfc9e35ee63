//! Compiled engines, as whoever moves them knows them: numbers and bytes.

use std::path::PathBuf;

/// Components that engines stand in for: the diffusion transformer, the autoencoder's way in, its way out.
pub const COMPONENTS: usize = 3;

/// The engines that a call may run, by number, in the order of [`COMPONENTS`]; where there is none, or it does not take a shape, the
/// component's own module runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lent(pub [Option<u32>; COMPONENTS]);

impl Lent {
    /// Modules alone.
    pub const NONE: Self = Self([None; COMPONENTS]);
}

/// What is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Frames of the source, per channel at 48 kHz.
    pub frames: u64,
    /// Frames that are generated at a time: all, or a part in walk mode.
    pub part_frames: u64,
}

/// An engine that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its number, in this process.
    pub id: u32,
    /// Device memory of its weights.
    pub weights_bytes: u64,
    /// Device memory of its execution context.
    pub workspace_bytes: u64,
}

/// An engine as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// Its file's name without the ending, or what its graph covers.
    pub name: String,
    /// What it stands in for, in the order of [`COMPONENTS`]; none where its file does not say.
    pub component: Option<usize>,
    /// Device memory that it takes, or would.
    pub bytes: u64,
    /// What becomes of it.
    pub standing: Standing,
}

/// What becomes of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be loaded.
    Offered,
    /// It is on the device, even where its file has gone since.
    Loaded,
    /// It is not used, for this reason.
    Unfit(String),
    /// It is a graph that this process captured: on the device for as long as it is there, and never chosen or loaded.
    Graph,
}

/// Why an engine was not loaded; nothing of it is left then, and the next try begins anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Its file is gone, or no library for it is here.
    #[error("engine {0} is not there any more: build it again, or look at `greenroom engines list`")]
    NotThere(u32),
    /// The library gave no execution context, and said nothing.
    #[error("{0}: the library gave no execution context, which it does where memory is short")]
    NullContext(String),
    /// Device memory ran out.
    #[error("{0}: out of memory on the device")]
    OutOfMemory(String),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// The compiled engines of a generator. They are loaded and freed by whoever keeps account of the device's memory, and run only by calls that
/// were lent them.
pub trait CompiledEngines: Send + Sync {
    /// The smallest engine of each component that covers what is to be played; whether it is loaded makes no difference.
    fn serving(&self, extent: Extent) -> [Option<EngineInfo>; COMPONENTS];

    /// What an engine takes.
    fn info(&self, id: u32) -> Option<EngineInfo>;

    /// The file that an engine is loaded from.
    fn file(&self, id: u32) -> Option<PathBuf>;

    /// Loads an engine, its execution context included.
    ///
    /// # Errors
    /// See [`LoadError`].
    fn load(&self, id: u32) -> Result<(), LoadError>;

    /// Frees an engine that nobody is lent any more.
    fn unload(&self, id: u32);

    /// Looks for engines again. A number is never given to another engine; one whose file has gone is offered as long as it is loaded.
    ///
    /// # Errors
    /// In words, why nobody knows; what was known stays.
    fn rescan(&self) -> Result<(), String>;

    /// Every engine that is known, and every captured graph.
    fn states(&self) -> Vec<EngineState>;

    /// How often an engine of each component has run.
    fn runs(&self) -> [u64; COMPONENTS];
}
