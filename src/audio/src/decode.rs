//! Compressed or PCM files in memory → [`Pcm`].
//!
//! Files come from strangers: what a header promises is never believed, memory grows only with audio that was really
//! decoded, and no input makes this panic.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::{Pcm, level::first_bad_sample};

/// What a file may cost. The defaults fit a person's own music; uploads set `kept_seconds_max` as well.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeLimits {
    /// A file that decodes to more than this many seconds is refused (wire §2: 20 minutes).
    pub decoded_seconds_max: f64,
    /// Only this many seconds from the start are kept in memory; the rest is measured, not decoded.
    pub kept_seconds_max: f64,
    /// Sample rates above this, in hertz, are refused: nobody hears them and they multiply the memory.
    pub sample_rate_max: u32,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            decoded_seconds_max: 1200.0,
            kept_seconds_max: 1200.0,
            sample_rate_max: 192_000,
        }
    }
}

/// A decoded file.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The audio, at the file's own sample rate, at most `kept_seconds_max` long; the first two of more channels.
    pub pcm: Pcm,
    /// Length of the whole file in seconds, what was not kept included.
    pub seconds_total: f64,
    /// Packets that could not be decoded and were left out, as a player does.
    pub packets_damaged: usize,
}

/// How far a decode has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeProgress {
    /// Seconds of audio decoded or measured so far.
    pub seconds_done: f64,
    /// Seconds that the header promises; absent where it promises nothing, and not to be trusted where it does.
    pub seconds_promised: Option<f64>,
}

/// Why a file gave no audio.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty: send an mp3, flac, ogg (vorbis), m4a (aac, alac) or wav file")]
    Empty,
    /// The content is no container that we read, whatever the name says.
    #[error(
        "this is not an audio file that greenroom reads ({reason}): the content counts, not the name; \
         send an mp3, flac, ogg (vorbis), m4a (aac, alac) or wav file"
    )]
    NotAudio {
        /// What the prober said.
        reason: String,
    },
    /// Opus, in Ogg, Matroska or mp4.
    #[error("this is Opus audio, which greenroom does not decode: convert it first, e.g. to flac or mp3")]
    Opus,
    /// A container we read, with something inside that we do not.
    #[error("this file cannot be decoded here ({reason}): convert it, e.g. to flac or 16-bit wav")]
    Unsupported {
        /// What is not supported.
        reason: String,
    },
    /// A readable container, but no audio came out, or most of it was unreadable.
    #[error("the file is damaged or cut short ({reason}): export or download it again")]
    Damaged {
        /// What failed.
        reason: String,
    },
    /// NaN, infinity or a value beyond ±65504 among the samples.
    #[error("sample {index} is {value}, which is no sound: the file is damaged or its export is; export it again")]
    BadSample {
        /// Position in the interleaved samples.
        index: usize,
        /// The value found there.
        value: f32,
    },
    /// Longer than the limit.
    #[error("the file decodes to more than {seconds_max:.0} s of audio, the most this server takes: cut it shorter")]
    TooLong {
        /// The limit that was hit, in seconds.
        seconds_max: f64,
    },
    /// The progress callback said stop.
    #[error("decoding was cancelled by the caller")]
    Cancelled,
}

impl DecodeError {
    /// The wire's error code (wire §3).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Cancelled => "superseded",
            _ => "bad_audio",
        }
    }
}

/// Decodes a whole file held in memory: mp3, flac, ogg vorbis, m4a (aac, alac) or wav (8 to 32 bit, float).
///
/// # Errors
/// See [`DecodeError`]; single damaged packets are left out and counted, not errors.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    decode_with_progress(bytes, limits, |_| ControlFlow::Continue(()))
}

/// [`decode`] that calls `progress` about every half second of audio; `Break` cancels.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_with_progress(
    bytes: &[u8],
    limits: &DecodeLimits,
    mut progress: impl FnMut(DecodeProgress) -> ControlFlow<()>,
) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    // The demuxers are other people's code fed with strangers' bytes; a panic there must not take a session with it.
    let outcome = catch_unwind(AssertUnwindSafe(|| decode_trusting(bytes, limits, &mut progress)));
    let decoded = outcome.unwrap_or_else(|_| {
        Err(DecodeError::Damaged {
            reason: "its content drove the decoder into an impossible state".into(),
        })
    })?;
    match first_bad_sample(decoded.pcm.samples()) {
        Some((index, value)) => Err(DecodeError::BadSample { index, value }),
        None => Ok(decoded),
    }
}

/// The first bytes of every Matroska and WebM file (EBML magic).
const EBML_MAGIC: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

/// How much of a Matroska file is searched for its codec name; track headers come first.
const EBML_SEARCH_BYTES: usize = 64 * 1024;

fn refuse_matroska(bytes: &[u8]) -> Result<(), DecodeError> {
    if !bytes.starts_with(&EBML_MAGIC) {
        return Ok(());
    }
    let head = &bytes[..bytes.len().min(EBML_SEARCH_BYTES)];
    if head.windows(6).any(|window| window == b"A_OPUS") {
        return Err(DecodeError::Opus);
    }
    Err(DecodeError::Unsupported {
        reason: "Matroska and WebM containers are not read".into(),
    })
}

fn decode_trusting(
    bytes: &[u8],
    limits: &DecodeLimits,
    progress: &mut dyn FnMut(DecodeProgress) -> ControlFlow<()>,
) -> Result<Decoded, DecodeError> {
    refuse_matroska(bytes)?;
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| probe_error(&error))?;
    let mut track = OpenTrack::open(format.as_ref())?;
    let mut audio = Collected::new(limits);
    // Every packet of a sane file holds at least a byte, so this bounds the loop whatever the tables of the file say.
    let packets_max = bytes.len() + 1024;
    let mut reported_seconds = 0.0;
    for _ in 0..packets_max {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return audio.finish(None),
            Err(SymphoniaError::ResetRequired) => {
                track = OpenTrack::open(format.as_ref())?;
                continue;
            }
            // The end of a truncated file, or a place after which the container makes no sense: what came before counts.
            Err(error) => return audio.finish(Some(error.to_string())),
        };
        if packet.track_id == track.id {
            audio.take(&mut track, &packet)?;
        }
        if audio.seconds_total - reported_seconds >= 0.5 {
            reported_seconds = audio.seconds_total;
            let now = DecodeProgress {
                seconds_done: reported_seconds,
                seconds_promised: track.seconds_promised,
            };
            if progress(now).is_break() {
                return Err(DecodeError::Cancelled);
            }
        }
    }
    audio.finish(Some("it holds more packets than bytes".into()))
}

fn probe_error(error: &SymphoniaError) -> DecodeError {
    match error {
        SymphoniaError::IoError(_) => DecodeError::NotAudio {
            reason: "it ends before a known kind of file begins".into(),
        },
        SymphoniaError::Unsupported(_) => DecodeError::NotAudio {
            reason: error.to_string(),
        },
        other => DecodeError::Damaged {
            reason: other.to_string(),
        },
    }
}

/// The track being decoded, with its decoder.
struct OpenTrack {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
    seconds_per_tick: Option<f64>,
    seconds_promised: Option<f64>,
}

impl OpenTrack {
    fn open(format: &dyn FormatReader) -> Result<Self, DecodeError> {
        let track = format
            .default_track(TrackType::Audio)
            .or_else(|| format.first_track(TrackType::Audio))
            .ok_or_else(|| DecodeError::Unsupported {
                reason: "it holds no audio track of a known codec".into(),
            })?;
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
            return Err(DecodeError::Unsupported {
                reason: "its audio track names no codec".into(),
            });
        };
        if parameters.codec == CODEC_ID_OPUS {
            return Err(DecodeError::Opus);
        }
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| DecodeError::Unsupported {
                reason: error.to_string(),
            })?;
        let seconds_per_tick = track
            .time_base
            .map(|base| f64::from(base.numer.get()) / f64::from(base.denom.get()));
        let seconds_promised = track
            .duration
            .zip(seconds_per_tick)
            .map(|(ticks, unit)| ticks.get() as f64 * unit);
        Ok(Self {
            id: track.id,
            decoder,
            seconds_per_tick,
            seconds_promised,
        })
    }
}

/// Audio decoded so far; its shape is that of the first packet that decoded.
struct Collected<'a> {
    limits: &'a DecodeLimits,
    sample_rate: u32,
    channels: usize,
    samples: Vec<f32>,
    packet_samples: Vec<f32>,
    seconds_total: f64,
    packets_good: usize,
    packets_damaged: usize,
}

impl<'a> Collected<'a> {
    fn new(limits: &'a DecodeLimits) -> Self {
        Self {
            limits,
            sample_rate: 0,
            channels: 0,
            samples: Vec::new(),
            packet_samples: Vec::new(),
            seconds_total: 0.0,
            packets_good: 0,
            packets_damaged: 0,
        }
    }

    fn take(&mut self, track: &mut OpenTrack, packet: &Packet) -> Result<(), DecodeError> {
        let kept_in_full = self.seconds_total >= self.limits.kept_seconds_max;
        match track.seconds_per_tick {
            Some(unit) if kept_in_full => self.seconds_total += packet.dur.get() as f64 * unit,
            _ => self.decode_packet(track, packet)?,
        }
        // The sum of many packets is off by its rounding: a file of exactly the limit is not too long.
        let half_a_frame = 0.5 / f64::from(self.sample_rate.max(1));
        if self.seconds_total > self.limits.decoded_seconds_max + half_a_frame {
            return Err(DecodeError::TooLong {
                seconds_max: self.limits.decoded_seconds_max,
            });
        }
        Ok(())
    }

    fn decode_packet(&mut self, track: &mut OpenTrack, packet: &Packet) -> Result<(), DecodeError> {
        let buffer = match track.decoder.decode(packet) {
            Ok(buffer) => buffer,
            Err(SymphoniaError::Unsupported(what)) => {
                return Err(DecodeError::Unsupported {
                    reason: what.to_string(),
                });
            }
            Err(_) => {
                self.packets_damaged += 1;
                return Ok(());
            }
        };
        let (rate, planes) = (buffer.spec().rate(), buffer.num_planes());
        buffer.copy_to_vec_interleaved(&mut self.packet_samples);
        self.packets_good += 1;
        if self.packet_samples.is_empty() || planes == 0 {
            return Ok(());
        }
        self.agree_on_shape(rate, planes)?;
        self.append(planes);
        Ok(())
    }

    fn agree_on_shape(&mut self, rate: u32, planes: usize) -> Result<(), DecodeError> {
        if self.channels == 0 {
            if rate < 1000 || rate > self.limits.sample_rate_max {
                let reason = format!(
                    "a sample rate of {rate} Hz, not 1000 to {}",
                    self.limits.sample_rate_max
                );
                return Err(DecodeError::Unsupported { reason });
            }
            self.sample_rate = rate;
            self.channels = planes.min(2);
        }
        if rate == self.sample_rate {
            return Ok(());
        }
        let reason = format!("its sample rate changes from {} to {rate} Hz midway", self.sample_rate);
        Err(DecodeError::Unsupported { reason })
    }

    /// Appends the packet's frames: the first two channels, or mono to both where a stream changes its mind.
    fn append(&mut self, planes: usize) {
        let frames = self.packet_samples.len() / planes;
        self.seconds_total += frames as f64 / f64::from(self.sample_rate);
        let frames_kept_max = (self.limits.kept_seconds_max * f64::from(self.sample_rate)).ceil() as usize;
        let frames = frames.min(frames_kept_max.saturating_sub(self.samples.len() / self.channels));
        if planes == self.channels {
            self.samples.extend_from_slice(&self.packet_samples[..frames * planes]);
            return;
        }
        for frame in self.packet_samples.chunks_exact(planes).take(frames) {
            self.samples.push(frame[0]);
            if self.channels == 2 {
                self.samples.push(frame[1.min(planes - 1)]);
            }
        }
    }

    fn finish(self, stopped_by: Option<String>) -> Result<Decoded, DecodeError> {
        if self.samples.is_empty() {
            let reason = match stopped_by {
                Some(reason) => format!("no audio could be decoded: {reason}"),
                None if self.packets_damaged > 0 => format!("none of {} packets decoded", self.packets_damaged),
                None => "it holds no audio".into(),
            };
            return Err(DecodeError::Damaged { reason });
        }
        if self.packets_damaged > self.packets_good {
            let packets = self.packets_damaged + self.packets_good;
            let reason = format!("{} of {packets} packets could not be decoded", self.packets_damaged);
            return Err(DecodeError::Damaged { reason });
        }
        let channels = if self.channels == 2 { 2 } else { 1 };
        Ok(Decoded {
            pcm: Pcm::new(self.sample_rate, channels, self.samples),
            seconds_total: self.seconds_total,
            packets_damaged: self.packets_damaged,
        })
    }
}
