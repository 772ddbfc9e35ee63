//! The client's audio frame: `<u32 channels><u32 frames>` + interleaved f32 PCM at 48 kHz, little-endian (wire §2).

use crate::{constants::PCM_HEADER_BYTES, error_code::ErrorCode};

/// An f32's sign bit: without it, NaN and infinity have the largest bit patterns of all.
const SIGN: u32 = 1 << 31;

/// Audio as a client sent it, one or two channels.
#[derive(Clone, Debug, PartialEq)]
pub struct PcmFrame {
    /// 1 or 2.
    pub channels: u16,
    /// Interleaved samples.
    pub samples: Vec<f32>,
}

/// Why a frame is no audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcmFrameError {
    /// Not even a header.
    #[error(
        "the audio frame has {bytes} bytes, and its header alone has 8: send <u32 channels><u32 frames> and the samples"
    )]
    NoHeader {
        /// Bytes that came.
        bytes: usize,
    },
    /// No channel.
    #[error("the audio frame says that it has no channels: send one or two")]
    NoChannels,
    /// No sample.
    #[error("the audio frame holds no samples")]
    Empty,
    /// The header and the frame disagree.
    #[error("the audio frame's header promises {promised} bytes of samples and {actual} came")]
    WrongLength {
        /// Bytes that the header says.
        promised: u64,
        /// Bytes after the header.
        actual: u64,
    },
    /// A sample is NaN or infinite.
    #[error("the audio holds NaN or infinity")]
    NotFinite,
}

impl PcmFrameError {
    /// Its code on the wire.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Empty => ErrorCode::TooShort,
            _ => ErrorCode::BadAudio,
        }
    }
}

/// Reads the header: (channels, frames).
///
/// # Errors
/// `NoHeader`, `NoChannels`, `Empty`, `WrongLength`.
pub fn read_header(bytes: &[u8]) -> Result<(u32, u32), PcmFrameError> {
    let (Some(channels), Some(frames)) = (read_u32(bytes, 0), read_u32(bytes, 4)) else {
        return Err(PcmFrameError::NoHeader { bytes: bytes.len() });
    };
    if channels == 0 {
        return Err(PcmFrameError::NoChannels);
    }
    let promised = u64::from(channels).saturating_mul(u64::from(frames)).saturating_mul(4);
    let actual = (bytes.len() - PCM_HEADER_BYTES) as u64;
    if promised != actual {
        return Err(PcmFrameError::WrongLength { promised, actual });
    }
    if frames == 0 {
        return Err(PcmFrameError::Empty);
    }
    Ok((channels, frames))
}

impl PcmFrame {
    /// Reads a frame; of more than two channels the first two.
    ///
    /// # Errors
    /// Whatever is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, PcmFrameError> {
        let (channels, frames) = read_header(bytes)?;
        let body = &bytes[PCM_HEADER_BYTES..];
        let samples: Vec<f32> = if channels <= 2 {
            body.chunks_exact(4).map(sample).collect()
        } else {
            let stride = channels as usize * 4;
            body.chunks_exact(stride)
                .flat_map(|frame| [sample(&frame[0..4]), sample(&frame[4..8])])
                .collect()
        };
        debug_assert_eq!(samples.len(), frames as usize * channels.min(2) as usize);
        if !all_finite(&samples) {
            return Err(PcmFrameError::NotFinite);
        }
        Ok(Self {
            channels: if channels == 1 { 1 } else { 2 },
            samples,
        })
    }

    /// Writes a frame, as a client does.
    #[must_use]
    pub fn build(channels: u32, samples: &[f32]) -> Vec<u8> {
        let frames = samples.len() / channels.max(1) as usize;
        let mut bytes = Vec::with_capacity(PCM_HEADER_BYTES + samples.len() * 4);
        bytes.extend(channels.to_le_bytes());
        bytes.extend(u32::try_from(frames).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }
}

/// No branch on a sample and no order of additions to keep, so that the compiler takes many samples at once.
fn all_finite(samples: &[f32]) -> bool {
    let largest = samples
        .iter()
        .fold(0, |largest, sample| largest.max(sample.to_bits() & !SIGN));
    largest < f32::INFINITY.to_bits()
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn sample(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
