//! Audio files as people have them: of every format, encoded by ffmpeg, and ways to break them.

use std::process::Command;

use anyhow::Context;
use greenroom_audio::{Pcm, WavFormat};

/// Endings of the formats that are taken, each with ffmpeg's words for it.
pub const FORMATS: [(&str, &[&str]); 6] = [
    ("mp3", &["-c:a", "libmp3lame", "-b:a", "192k"]),
    ("flac", &["-c:a", "flac"]),
    ("ogg", &["-c:a", "libvorbis"]),
    // Its index is at the end, as most programs write it.
    ("m4a", &["-c:a", "aac"]),
    ("aac", &["-c:a", "aac"]),
    ("wav", &["-c:a", "pcm_s16le"]),
];

/// A 16-bit WAV file of interleaved samples at 48 kHz.
///
/// # Errors
/// If the audio is no audio.
pub fn wav(channels: u16, samples: &[f32]) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    greenroom_audio::write_wav(
        &Pcm::new(48_000, channels, samples.to_vec()),
        WavFormat::Pcm16 { dither: false },
        &mut file,
    )?;
    Ok(file)
}

/// A file of the format with this ending, of interleaved stereo at 48 kHz.
///
/// # Errors
/// If ffmpeg is missing or does not know the format.
pub fn encoded(ending: &str, samples: &[f32]) -> anyhow::Result<Vec<u8>> {
    let (_, words) = FORMATS
        .into_iter()
        .find(|(known, _)| *known == ending)
        .with_context(|| format!("{ending} is no format that is taken"))?;
    let folder = tempfile::TempDir::new()?;
    let (source, target) = (
        folder.path().join("source.wav"),
        folder.path().join(format!("target.{ending}")),
    );
    std::fs::write(&source, wav(2, samples)?)?;
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-y", "-i"])
        .arg(&source)
        .args(words)
        .arg(&target)
        .status();
    anyhow::ensure!(
        made.is_ok_and(|status| status.success()),
        "ffmpeg is needed to make a file that ends in {ending}: install it (`cargo xtask test` does)"
    );
    Ok(std::fs::read(target)?)
}

/// The file with so many bytes changed, the same ones for the same seed.
#[must_use]
pub fn with_flips(file: &[u8], flips: usize, seed: u64) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let mut broken = file.to_vec();
    for _ in 0..flips {
        let place = next() % broken.len();
        // Never the byte that was there.
        broken[place] ^= (1 + next() % 255) as u8;
    }
    broken
}
