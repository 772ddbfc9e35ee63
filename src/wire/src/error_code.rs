//! Error codes (wire §3), the same in `error` and in every `…_failed`.

use serde::{Deserialize, Serialize};

/// What went wrong, for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The checkpoint cannot run on compiled engines.
    UnsupportedTrtCheckpoint,
    /// No engine covers the source; `build_command` says how to get one.
    EngineNotBuilt,
    /// The stems could not be made.
    StemExtractFailed,
    /// The audio cannot be used.
    BadAudio,
    /// The audio is longer than anything that is decoded.
    TooLong,
    /// The audio is shorter than a second.
    TooShort,
    /// Memory ran out.
    OutOfMemory,
    /// Too much is going on; later is fine.
    Busy,
    /// The disk or a limit of the library is full.
    DiskFull,
    /// The device is gone; the pod starts anew.
    DeviceLost,
    /// Something newer took its place.
    Superseded,
    /// Anything else; the pod's log says what.
    Internal,
}
