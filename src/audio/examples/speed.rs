//! Measures every call of this crate that an upload waits for, on two minutes of stereo.
//!
//! `cargo run --release -p greenroom-audio --example speed [-- song.mp3 …]`; named files are decoded. Set
//! `RAYON_NUM_THREADS=1` for one core.
#![allow(clippy::print_stdout)] // It is a report.

use std::io::Cursor;
use std::time::Instant;

use greenroom_audio::{
    DecodeLimits, Pcm, WavFormat, analyze, decode, prepare_upload, read_wav, resample, wav_len_bytes, write_wav,
};

const RUNS: usize = 7;

/// The median of the runs in milliseconds.
fn measure<T>(name: &str, mut run: impl FnMut() -> T) {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(run());
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{name:44} median {:7.1} ms, worst {:7.1} ms of {RUNS}",
        times[RUNS / 2],
        times[RUNS - 1]
    );
}

/// Chords, a bass and clicks: something in every band.
fn music(rate: u32, seconds: usize) -> Pcm {
    let frames = rate as usize * seconds;
    let sample = |n: usize, shift: f32| {
        let t = n as f32 / rate as f32;
        let beat = (t * 2.0).fract();
        let tone = |hertz: f32| (std::f32::consts::TAU * (hertz * t + shift).fract()).sin();
        0.1 * (tone(220.0) + tone(277.18) + tone(329.63) + tone(55.0)) + 0.5 * (-beat * 60.0).exp() * tone(3000.0)
    };
    Pcm::new(
        rate,
        2,
        (0..frames).flat_map(|n| [sample(n, 0.0), sample(n, 0.25)]).collect(),
    )
}

fn hound_write(pcm: &Pcm) -> Result<Vec<u8>, hound::Error> {
    let spec = hound::WavSpec {
        channels: pcm.channels(),
        sample_rate: pcm.sample_rate(),
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut cursor = Cursor::new(Vec::with_capacity(wav_len_bytes(pcm, WavFormat::Float32) as usize + 64));
    let mut writer = hound::WavWriter::new(&mut cursor, spec)?;
    for sample in pcm.samples() {
        writer.write_sample(*sample)?;
    }
    writer.finalize()?;
    Ok(cursor.into_inner())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (at_44k, at_48k) = (music(44_100, 120), music(48_000, 120));
    measure("resample 120 s stereo 44.1 → 48 kHz", || resample(&at_44k, 48_000));
    measure("resample 120 s stereo 48 → 44.1 kHz", || resample(&at_48k, 44_100));
    measure("copy of 120 s stereo (part of the next)", || at_48k.clone());
    measure("prepare_upload 120 s stereo 48 kHz", || {
        prepare_upload(at_48k.clone(), 240.0)
    });
    measure("analyze 120 s stereo 48 kHz (60 s window)", || analyze(&at_48k));
    let mut file = Vec::with_capacity(wav_len_bytes(&at_48k, WavFormat::Float32) as usize);
    measure("write_wav float 120 s stereo to memory", || {
        file.clear();
        write_wav(&at_48k, WavFormat::Float32, &mut file)
    });
    measure("hound write float 120 s stereo to memory", || hound_write(&at_48k));
    measure("read_wav float 120 s stereo", || read_wav(&file));
    measure("hound read float 120 s stereo", || {
        hound::WavReader::new(Cursor::new(&file))
            .map(|mut reader| reader.samples::<f32>().filter_map(Result::ok).count())
    });
    measure("decode wav float 120 s stereo (symphonia)", || {
        decode(&file, &DecodeLimits::default())
    });
    let mut short = Vec::new();
    measure("write_wav 16-bit dithered 120 s stereo", || {
        short.clear();
        write_wav(&at_48k, WavFormat::Pcm16 { dither: true }, &mut short)
    });
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        measure(&format!("decode {path}"), || decode(&bytes, &DecodeLimits::default()));
    }
    Ok(())
}
