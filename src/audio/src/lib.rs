//! Decode, resample, analyse and write audio: functions over samples.
//!
//! Everything here is pure: bytes and samples in, samples and bytes out; no files, no clock, no state.
#![forbid(unsafe_code)]

mod analyze;
mod decode;
pub mod fuzz;
mod level;
mod pcm;
mod resample;
mod upload;
mod wav;

pub use analyze::{Analysis, KEY_LABELS, analyze};
pub use decode::{DecodeError, DecodeLimits, DecodeProgress, Decoded, decode, decode_with_progress};
pub use level::{AMPLITUDE_MAX, first_bad_sample, fit_length, peak, rms, sdr_db, to_mono, to_stereo};
pub use pcm::{POOL_FRAMES, Pcm, SAMPLE_RATE};
pub use resample::{ResampleError, frames_at, resample, resample_channel};
pub use upload::{SOURCE_SECONDS_MAX, UploadError, prepare_upload};
pub use wav::{WavError, WavFormat, read_wav, wav_len_bytes, write_wav};
