//! Numbers of the protocol (wire §1).

/// Sample rate of everything on the wire, in hertz.
pub const SAMPLE_RATE: u32 = 48_000;
/// Latent frames a second.
pub const LATENT_RATE: u32 = 25;
/// Sources are trimmed down to a multiple of this many frames per channel.
pub const POOL_FRAMES: usize = 9_600;
/// Cross-fade at the edges of a slice, in milliseconds.
pub const CROSSFADE_SLICE_MS: u32 = 25;
/// Cross-fade of a full-buffer swap, and seam fade of an initial buffer, in milliseconds.
pub const CROSSFADE_SWAP_MS: u32 = 50;
/// Bytes of a slice's header: `<B I I H f f I>`.
pub const SLICE_HEADER_BYTES: usize = 23;
/// Slice flag: raw interleaved f16 that replaces the region.
pub const SLICE_RAW: u8 = 0;
/// Slice flag: zstd-compressed interleaved f16 to be added to the region.
pub const SLICE_DELTA: u8 = 1;
/// Bytes of a PCM frame's header: `<u32 channels><u32 frames>`.
pub const PCM_HEADER_BYTES: usize = 8;
/// Largest frame that is read, in bytes; a larger one closes 1009.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// Longest source by default, in seconds: longer ones are trimmed.
pub const SOURCE_SECONDS_MAX: u32 = 240;
/// Longest file that is decoded at all, in seconds: longer ones are refused.
pub const DECODED_SECONDS_MAX: u32 = 1_200;
/// Port that the pod listens on by default.
pub const PORT: u16 = 1_318;
