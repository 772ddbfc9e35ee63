//! Slices: what the server sends while a session is live, and the mirror that both sides keep (wire §1).

use half::{f16, slice::HalfFloatSliceExt};

use crate::constants::{SLICE_DELTA, SLICE_HEADER_BYTES, SLICE_RAW};

/// zstd's fastest level: a slice is 69 KB of half floats and must not keep anyone waiting.
const ZSTD_LEVEL: i32 = 1;
/// Samples converted at a time, so that what is in between stays in the first-level cache.
const BLOCK_SAMPLES: usize = 4_096;
/// Most that one slice may hold when decompressed: a whole source of 20 minutes.
const SLICE_SAMPLES_MAX: usize = 48_000 * 1_200 * 2;

/// A slice's header, `<B I I H f f I>` after the flags byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SliceHeader {
    /// [`SLICE_RAW`] or [`SLICE_DELTA`].
    pub flags: u8,
    /// First frame.
    pub start_sample: u32,
    /// Frames per channel.
    pub num_samples: u32,
    /// Samples a frame.
    pub channels: u16,
    /// Milliseconds of the last tick.
    pub tick_ms: f32,
    /// Milliseconds of the last decode.
    pub dec_ms: f32,
    /// Generations finished so far.
    pub num_gens: u32,
}

/// Why bytes are no slice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// Shorter than a header.
    #[error("a slice of {0} bytes has no whole header")]
    NoHeader(usize),
    /// Unknown flags.
    #[error("a slice has the unknown flags {0}")]
    UnknownFlags(u8),
    /// The body is not what the header says.
    #[error("a slice's body does not hold the {promised} samples of its header")]
    WrongLength {
        /// Samples that the header says.
        promised: usize,
    },
    /// It lies outside the buffer, or has other channels.
    #[error("a slice lies outside the buffer")]
    OutOfRange,
}

impl SliceHeader {
    /// Writes the 23 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SLICE_HEADER_BYTES] {
        let mut bytes = [0; SLICE_HEADER_BYTES];
        bytes[0] = self.flags;
        bytes[1..5].copy_from_slice(&self.start_sample.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.num_samples.to_le_bytes());
        bytes[9..11].copy_from_slice(&self.channels.to_le_bytes());
        bytes[11..15].copy_from_slice(&self.tick_ms.to_le_bytes());
        bytes[15..19].copy_from_slice(&self.dec_ms.to_le_bytes());
        bytes[19..23].copy_from_slice(&self.num_gens.to_le_bytes());
        bytes
    }

    /// Reads the 23 bytes.
    ///
    /// # Errors
    /// `NoHeader`.
    pub fn parse(bytes: &[u8]) -> Result<Self, SliceError> {
        let header: &[u8; SLICE_HEADER_BYTES] = bytes.first_chunk().ok_or(SliceError::NoHeader(bytes.len()))?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Ok(Self {
            flags: header[0],
            start_sample: u32_at(1),
            num_samples: u32_at(5),
            channels: u16::from_le_bytes([header[9], header[10]]),
            tick_ms: f32::from_bits(u32_at(11)),
            dec_ms: f32::from_bits(u32_at(15)),
            num_gens: u32_at(19),
        })
    }

    fn samples(self) -> usize {
        (self.num_samples as usize).saturating_mul(usize::from(self.channels))
    }
}

/// What a client holds, as f32: the server's copy of it. Set only to what the client will compute, never to the exact region: else the
/// rounding error of overlapping slices would build up audibly.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    samples: Vec<f32>,
    channels: u16,
}

impl Mirror {
    /// What a client holds after the initial buffer of `source`, interleaved.
    #[must_use]
    pub fn from_source(source: &[f32], channels: u16) -> Self {
        Self::of_buffer(&encode_halves(source), channels)
    }

    /// What a client holds after this initial buffer, interleaved f16.
    #[must_use]
    pub fn of_buffer(buffer: &[u8], channels: u16) -> Self {
        Self {
            samples: decode_halves(buffer),
            channels,
        }
    }

    /// The samples that the client holds, interleaved.
    #[must_use]
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples a frame.
    #[must_use]
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Encodes `region` (interleaved) at the header's `start_sample` as a delta, and takes it into the mirror. The header's flags,
    /// length and channels are filled in here. A sample that is not finite leaves what the client holds, else every later delta
    /// there would be NaN. `None`, with the mirror untouched, if the region is not whole frames within the buffer.
    #[must_use]
    pub fn encode(&mut self, header: SliceHeader, region: &[f32]) -> Option<Vec<u8>> {
        let channels = usize::from(self.channels);
        if channels == 0 || !region.len().is_multiple_of(channels) {
            return None;
        }
        let first = (header.start_sample as usize).checked_mul(channels)?;
        let held = self.samples.get_mut(first..first.checked_add(region.len())?)?;
        let header = SliceHeader {
            flags: SLICE_DELTA,
            num_samples: u32::try_from(region.len() / channels).ok()?,
            channels: self.channels,
            ..header
        };
        let difference: Vec<f32> = region
            .iter()
            .zip(held.iter())
            .map(|(exact, held)| if exact.is_finite() { exact - held } else { 0.0 })
            .collect();
        let delta = to_halves(&difference);
        let body = zstd::bulk::compress(&half_bytes(&delta), ZSTD_LEVEL).ok()?;
        // Only what is sent is taken into the mirror: nothing may fail after this.
        for (held, delta) in held.iter_mut().zip(from_halves(&delta)) {
            *held += delta;
        }
        Some([&header.to_bytes()[..], &body].concat())
    }

    /// Applies a slice as a client does.
    ///
    /// # Errors
    /// Whatever is wrong with it; the buffer is untouched then.
    pub fn apply(&mut self, bytes: &[u8]) -> Result<SliceHeader, SliceError> {
        let (header, body) = decode(bytes)?;
        let first = header.start_sample as usize * usize::from(header.channels);
        let end = first.checked_add(body.len()).ok_or(SliceError::OutOfRange)?;
        if header.channels != self.channels {
            return Err(SliceError::OutOfRange);
        }
        let held = self.samples.get_mut(first..end).ok_or(SliceError::OutOfRange)?;
        if header.flags == SLICE_RAW {
            held.copy_from_slice(&body);
        } else {
            held.iter_mut().zip(&body).for_each(|(held, delta)| *held += delta);
        }
        Ok(header)
    }
}

/// Encodes a region as raw f16: it replaces what the client holds.
#[must_use]
pub fn encode_raw(header: SliceHeader, region: &[f32]) -> Vec<u8> {
    let header = SliceHeader {
        flags: SLICE_RAW,
        ..header
    };
    [&header.to_bytes()[..], &half_bytes(&to_halves(region))].concat()
}

/// Takes a slice apart: its header, and its samples (or their differences) as f32.
///
/// # Errors
/// Whatever is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<(SliceHeader, Vec<f32>), SliceError> {
    let header = SliceHeader::parse(bytes)?;
    let body = &bytes[SLICE_HEADER_BYTES..];
    let promised = header.samples();
    let wrong = SliceError::WrongLength { promised };
    if promised > SLICE_SAMPLES_MAX {
        return Err(wrong);
    }
    let halves = match header.flags {
        SLICE_RAW => body.to_vec(),
        SLICE_DELTA => zstd::bulk::decompress(body, promised * 2).map_err(|_| wrong.clone())?,
        flags => return Err(SliceError::UnknownFlags(flags)),
    };
    if halves.len() != promised * 2 {
        return Err(wrong);
    }
    let halves: Vec<f16> = halves
        .chunks_exact(2)
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Ok((header, from_halves(&halves)))
}

/// The body of an initial buffer or a stem: interleaved f16, little-endian. What is louder than f16 can say is as loud as it can.
#[must_use]
pub fn encode_halves(samples: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    let mut halves = [f16::ZERO; BLOCK_SAMPLES];
    for samples in samples.chunks(BLOCK_SAMPLES) {
        let halves = &mut halves[..samples.len()];
        round_to_halves(samples, halves);
        bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    }
    bytes
}

/// Reads interleaved f16, little-endian; an odd last byte is dropped.
#[must_use]
pub fn decode_halves(bytes: &[u8]) -> Vec<f32> {
    let halves: Vec<f16> = bytes
        .chunks_exact(2)
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    from_halves(&halves)
}

/// Fades the loop seam: the first and last `frames` frames ramp linearly from and to silence.
pub fn fade_seam(samples: &mut [f32], channels: usize, frames: usize) {
    let total = samples.len() / channels.max(1);
    let frames = frames.min(total / 2);
    for frame in 0..frames {
        let gain = frame as f32 / frames as f32;
        for channel in 0..channels {
            samples[frame * channels + channel] *= gain;
            samples[(total - 1 - frame) * channels + channel] *= gain;
        }
    }
}

fn to_halves(samples: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; samples.len()];
    round_to_halves(samples, &mut halves);
    halves
}

/// Rounds to the nearest halves; what lies outside their range becomes their largest, since an infinity would stay in the mirror
/// for good: no later delta could take it back.
fn round_to_halves(samples: &[f32], halves: &mut [f16]) {
    let largest = f16::MAX.to_f32_const();
    let mut within = [0.0; BLOCK_SAMPLES];
    for (samples, halves) in samples.chunks(BLOCK_SAMPLES).zip(halves.chunks_mut(BLOCK_SAMPLES)) {
        let within = &mut within[..samples.len()];
        for (within, sample) in within.iter_mut().zip(samples) {
            *within = sample.clamp(-largest, largest);
        }
        halves.convert_from_f32_slice(within);
    }
}

fn from_halves(halves: &[f16]) -> Vec<f32> {
    let mut samples = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut samples);
    samples
}

fn half_bytes(halves: &[f16]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_le_bytes()).collect()
}
