//! Messages and codecs of the protocol between a client and the pod. Pure: bytes and values, no I/O.
#![forbid(unsafe_code)]

mod client_message;
mod close;
pub mod constants;
mod error_code;
mod first_frame;
pub mod fuzz;
pub mod http;
pub mod knobs;
pub mod pcm_frame;
mod server_message;
pub mod slice;
pub mod typescript;

pub use client_message::{ClientMessage, Ignored, Params, Prompt, ReferenceKind, SwapSource};
pub use close::{CloseCode, Reaction};
pub use error_code::ErrorCode;
pub use first_frame::{
    FirstFrame, FirstFrameError, SessionConfig, StemSourceMode, TEXT_BYTES_MAX, UploadHeader, is_time_signature,
};
pub use knobs::KnobValue;
pub use pcm_frame::{PcmFrame, PcmFrameError};
pub use server_message::{Ready, ServerMessage, StemState, UploadOk, Vram, VramEngine, VramGroup};
pub use slice::{Mirror, SliceError, SliceHeader};
