//! WAV files: our own stems and sources, written and read back fast.
//!
//! Written by hand, because hound writes sample by sample: 56 ms for the 46 MB of two minutes of stereo floats, against
//! 7 ms here (example `speed`); and read by hand, because a torn file must be an error here, which hound's reader would
//! take for a clip with something behind it. The tests hold every file against hound.

use std::io::{self, Write};

use crate::{Pcm, level::first_bad_sample};

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WavFormat {
    /// 32-bit float: exact.
    Float32,
    /// 16-bit integer, clipped at full scale; `dither` adds triangular noise of ±1 step, the same for the same clip.
    Pcm16 {
        /// Whether to dither; without it the rounding error follows the signal.
        dither: bool,
    },
}

/// Why a WAV could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// More samples than the format's 32-bit sizes can tell.
    #[error("{bytes} bytes of samples do not fit a WAV file, whose sizes end at 4 GiB: write a shorter clip")]
    TooLarge {
        /// Bytes of samples.
        bytes: u64,
    },
    /// More bytes a second than the format's 32-bit field can tell.
    #[error(
        "{channels} channels at {sample_rate} Hz do not fit the header of a WAV file: resample the clip or drop channels"
    )]
    TooFast {
        /// Channels of the clip.
        channels: u16,
        /// Its frames a second.
        sample_rate: u32,
    },
    /// The writer failed.
    #[error("the WAV could not be written: {0}")]
    Write(#[from] io::Error),
    /// Not one of our WAVs.
    #[error("not a WAV file as greenroom writes them ({reason}): decode it as an upload instead")]
    NotOurs {
        /// What is wrong.
        reason: &'static str,
    },
    /// NaN, infinity or a value beyond ±65504 among the samples.
    #[error("sample {index} of the WAV is {value}, which is no sound: the file is damaged, make it anew")]
    BadSample {
        /// Position in the interleaved samples.
        index: usize,
        /// The value found there.
        value: f32,
    },
}

const TAG_PCM: u16 = 1;
const TAG_FLOAT: u16 = 3;

/// Samples converted at a time: small enough for the cache, large enough that the writer's own cost vanishes.
const BLOCK_SAMPLES: usize = 16 * 1024;

impl WavFormat {
    fn bytes_per_sample(self) -> u64 {
        match self {
            Self::Float32 => 4,
            Self::Pcm16 { .. } => 2,
        }
    }

    /// Bytes before the samples. A float file needs the longer `fmt ` and a `fact` chunk.
    fn header_bytes(self) -> u64 {
        match self {
            Self::Float32 => 58,
            Self::Pcm16 { .. } => 44,
        }
    }
}

/// Exact size in bytes of the file that [`write_wav`] makes of the clip.
#[must_use]
pub fn wav_len_bytes(pcm: &Pcm, format: WavFormat) -> u64 {
    format.header_bytes() + pcm.samples().len() as u64 * format.bytes_per_sample()
}

/// Writes the clip as a whole WAV file; the writer needs no buffer of its own and no seeking.
///
/// # Errors
/// [`WavError::TooLarge`] beyond 4 GiB, [`WavError::TooFast`] beyond 4 GiB a second, [`WavError::Write`] where the writer fails.
pub fn write_wav(pcm: &Pcm, format: WavFormat, writer: &mut impl Write) -> Result<(), WavError> {
    writer.write_all(&header(pcm, format)?)?;
    let mut noise = Noise::new();
    let mut block = Vec::with_capacity(BLOCK_SAMPLES * 4);
    for samples in pcm.samples().chunks(BLOCK_SAMPLES) {
        block.clear();
        match format {
            WavFormat::Float32 => block.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
            WavFormat::Pcm16 { dither: false } => {
                block.extend(samples.iter().flat_map(|sample| to_i16(*sample, 0.0).to_le_bytes()));
            }
            WavFormat::Pcm16 { dither: true } => {
                block.extend(
                    samples
                        .iter()
                        .flat_map(|sample| to_i16(*sample, noise.triangular()).to_le_bytes()),
                );
            }
        }
        writer.write_all(&block)?;
    }
    Ok(())
}

fn header(pcm: &Pcm, format: WavFormat) -> Result<Vec<u8>, WavError> {
    let data_bytes = pcm.samples().len() as u64 * format.bytes_per_sample();
    let too_large = |_| WavError::TooLarge { bytes: data_bytes };
    let riff_bytes = u32::try_from(wav_len_bytes(pcm, format) - 8).map_err(too_large)?;
    let data_bytes = u32::try_from(data_bytes).map_err(too_large)?;
    let frame_bytes = frame_bytes(pcm.channels(), format);
    let too_fast = WavError::TooFast {
        channels: pcm.channels(),
        sample_rate: pcm.sample_rate(),
    };
    let second_bytes = pcm.sample_rate().checked_mul(frame_bytes.into()).ok_or(too_fast)?;
    let (tag, fmt_bytes) = match format {
        WavFormat::Float32 => (TAG_FLOAT, 18_u32),
        WavFormat::Pcm16 { .. } => (TAG_PCM, 16),
    };
    let mut header = Vec::with_capacity(58);
    header.extend(b"RIFF");
    header.extend(riff_bytes.to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(fmt_bytes.to_le_bytes());
    header.extend(tag.to_le_bytes());
    header.extend(pcm.channels().to_le_bytes());
    header.extend(pcm.sample_rate().to_le_bytes());
    header.extend(second_bytes.to_le_bytes());
    header.extend(frame_bytes.to_le_bytes());
    header.extend((format.bytes_per_sample() as u16 * 8).to_le_bytes());
    if format == WavFormat::Float32 {
        header.extend([0, 0]);
        header.extend(b"fact");
        header.extend(4_u32.to_le_bytes());
        header.extend((pcm.frames() as u32).to_le_bytes());
    }
    header.extend(b"data");
    header.extend(data_bytes.to_le_bytes());
    Ok(header)
}

fn frame_bytes(channels: u16, format: WavFormat) -> u16 {
    channels * format.bytes_per_sample() as u16
}

fn to_i16(sample: f32, dither: f32) -> i16 {
    // The cast saturates, so clipping needs no code of its own.
    (sample * 32768.0 + dither).round() as i16
}

/// Noise for the dither: a small xorshift generator, always seeded alike so that the same clip gives the same file.
struct Noise(u32);

impl Noise {
    fn new() -> Self {
        Self(0x9e37_79b9)
    }

    /// Triangular in −1..1: the sum of two uniform values.
    fn triangular(&mut self) -> f32 {
        self.uniform() + self.uniform()
    }

    /// Uniform in −0.5..0.5.
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / (1 << 24) as f32 - 0.5
    }
}

/// Reads a WAV as [`write_wav`] writes it (32-bit float or 16-bit integer, one or two channels; unknown chunks are
/// passed over). The file must be whole: a torn one is an error, never a shorter clip.
///
/// # Errors
/// [`WavError::NotOurs`] for every other file, [`WavError::BadSample`] for NaN, infinity and absurd values.
pub fn read_wav(bytes: &[u8]) -> Result<Pcm, WavError> {
    let not_ours = |reason| WavError::NotOurs { reason };
    let rest = bytes
        .strip_prefix(b"RIFF")
        .ok_or(not_ours("it does not begin with RIFF"))?;
    let (riff_bytes, rest) = rest.split_first_chunk().ok_or(not_ours("it ends within its header"))?;
    if u64::from(u32::from_le_bytes(*riff_bytes)) != rest.len() as u64 {
        return Err(not_ours("it is not as long as its header says"));
    }
    let mut chunks = Chunks(rest.strip_prefix(b"WAVE").ok_or(not_ours("it is no WAVE"))?);
    let fmt = chunks.find(b"fmt ").ok_or(not_ours("it has no format chunk"))?;
    let data = chunks
        .find(b"data")
        .ok_or(not_ours("its data chunk is missing or cut short"))?;
    let (tag, channels) = (u16_at(fmt, 0), u16_at(fmt, 2));
    let (rate, bits) = (u32_at(fmt, 4), u16_at(fmt, 14));
    let (Some(tag), Some(channels), Some(rate), Some(bits)) = (tag, channels, rate, bits) else {
        return Err(not_ours("its format chunk is cut short"));
    };
    if !(1..=2).contains(&channels) || rate == 0 {
        return Err(not_ours("it has no sample rate, or not one or two channels"));
    }
    if rate
        .checked_mul(frame_bytes(channels, WavFormat::Float32).into())
        .is_none()
    {
        return Err(not_ours("its sample rate is more than a header can tell in floats"));
    }
    if !data
        .len()
        .is_multiple_of(usize::from(channels) * usize::from(bits).max(8) / 8)
    {
        return Err(not_ours("its data is not a whole number of frames"));
    }
    let samples = match (tag, bits) {
        (TAG_FLOAT, 32) => floats(data)?,
        (TAG_PCM, 16) => data
            .as_chunks()
            .0
            .iter()
            .map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32768.0)
            .collect(),
        _ => return Err(not_ours("its samples are neither 32-bit float nor 16-bit integer")),
    };
    Ok(Pcm::new(rate, channels, samples))
}

fn floats(data: &[u8]) -> Result<Vec<f32>, WavError> {
    let samples: Vec<f32> = data
        .as_chunks()
        .0
        .iter()
        .map(|word| f32::from_le_bytes(*word))
        .collect();
    match first_bad_sample(&samples) {
        Some((index, value)) => Err(WavError::BadSample { index, value }),
        None => Ok(samples),
    }
}

fn u16_at(chunk: &[u8], offset: usize) -> Option<u16> {
    chunk
        .get(offset..)?
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(chunk: &[u8], offset: usize) -> Option<u32> {
    chunk
        .get(offset..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// The RIFF chunks that are left to read.
struct Chunks<'a>(&'a [u8]);

impl<'a> Chunks<'a> {
    /// The content of the next chunk of this name; chunks before it are passed over.
    fn find(&mut self, name: &[u8; 4]) -> Option<&'a [u8]> {
        loop {
            let (found, rest) = self.0.split_first_chunk::<4>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let content = rest.get(..length)?;
            // Chunks are padded to even lengths; the last one's pad may be missing.
            self.0 = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
            if found == name {
                return Some(content);
            }
        }
    }
}
