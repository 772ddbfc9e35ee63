//! `greenroom analyze`: what phase 1 of an upload would say of a file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use greenroom_audio::{Analysis, DecodeLimits, Pcm};
use serde_json::json;

/// What to analyse.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Files: mp3, flac, ogg, m4a or wav
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object a file
    #[arg(long)]
    json: bool,
}

#[allow(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    for file in &arguments.files {
        let pcm = read(file)?;
        let analysis = greenroom_audio::analyze(&pcm);
        if arguments.json {
            println!("{}", as_json(file, &pcm, &analysis));
        } else {
            println!("{}", as_text(file, &pcm, &analysis));
        }
    }
    Ok(0)
}

/// Reads and decodes a file, as an upload would be.
pub(super) fn read(file: &Path) -> anyhow::Result<Pcm> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let decoded = greenroom_audio::decode(&bytes, &DecodeLimits::default())
        .with_context(|| format!("{} cannot be decoded", file.display()))?;
    let rate = greenroom_audio::SAMPLE_RATE;
    greenroom_audio::resample(&decoded.pcm, rate)
        .with_context(|| format!("{} cannot be brought to {rate} Hz", file.display()))
}

fn as_text(file: &Path, pcm: &Pcm, analysis: &Analysis) -> String {
    format!(
        "{}: {:.1} s, {} BPM (confidence {:.0} %), {} (confidence {:.0} %)",
        file.display(),
        pcm.seconds(),
        analysis.bpm_rounded(),
        analysis.bpm_confidence * 100.0,
        analysis.key,
        analysis.key_confidence * 100.0,
    )
}

fn as_json(file: &Path, pcm: &Pcm, analysis: &Analysis) -> serde_json::Value {
    json!({
        "file": file.display().to_string(),
        "duration_s": pcm.seconds(),
        "channels": pcm.channels(),
        "bpm": analysis.bpm_rounded(),
        "bpm_confidence": analysis.bpm_confidence,
        "key": analysis.key,
        "key_confidence": analysis.key_confidence,
    })
}
