//! Measures [`greenroom_audio::analyze`] on music whose tempo and key are known.
//!
//! `cargo run --release -p greenroom-audio --example accuracy -- truth.tsv`; `accuracy_set.py` beside this file makes
//! the music and the list.
#![allow(clippy::print_stdout)] // It is a report.

use std::time::{Duration, Instant};

use greenroom_audio::{Analysis, DecodeLimits, KEY_LABELS, analyze, decode};

#[derive(Default)]
struct Tally {
    tempi: usize,
    tempo_right: usize,
    tempo_right_but_octave: usize,
    keys: usize,
    key_right: usize,
    key_relative: usize,
    key_near: usize,
    spent: Duration,
    clips: u32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let list = std::env::args()
        .nth(1)
        .ok_or("name the truth.tsv that accuracy_set.py wrote")?;
    let mut tally = Tally::default();
    for line in std::fs::read_to_string(list)?.lines() {
        let [path, tempo, key] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("not three columns: {line}").into());
        };
        let decoded = decode(&std::fs::read(path)?, &DecodeLimits::default())?;
        let start = Instant::now();
        let analysis = analyze(&decoded.pcm);
        tally.spent += start.elapsed();
        tally.clips += 1;
        let tempo_note = tempo.parse().map_or("", |truth| tally.count_tempo(&analysis, truth));
        let key_note = if key == "-" {
            ""
        } else {
            tally.count_key(&analysis, key)
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        println!(
            "{name:44} {tempo:>7} → {:6.2} ({:.2}) {tempo_note:7} {key:>9} → {:9} ({:.2}) {key_note}",
            analysis.bpm, analysis.bpm_confidence, analysis.key, analysis.key_confidence
        );
    }
    println!(
        "tempo: {}/{} within 4 %, {} within 4 % up to a factor of 2",
        tally.tempo_right, tally.tempi, tally.tempo_right_but_octave
    );
    println!(
        "key: {}/{} exact, {} relative, {} a fifth off or parallel",
        tally.key_right, tally.keys, tally.key_relative, tally.key_near
    );
    println!("{:?} a clip", tally.spent / tally.clips.max(1));
    Ok(())
}

impl Tally {
    fn count_tempo(&mut self, analysis: &Analysis, truth: f32) -> &'static str {
        let near = |bpm: f32| (analysis.bpm / bpm - 1.0).abs() <= 0.04;
        self.tempi += 1;
        let right = near(truth);
        let octave = right || near(truth * 2.0) || near(truth / 2.0);
        self.tempo_right += usize::from(right);
        self.tempo_right_but_octave += usize::from(octave);
        if right {
            ""
        } else if octave {
            "octave"
        } else {
            "WRONG"
        }
    }

    fn count_key(&mut self, analysis: &Analysis, truth: &str) -> &'static str {
        let index = |label: &str| KEY_LABELS.iter().position(|known| *known == label).unwrap_or(0);
        let (found, wanted) = (index(analysis.key), index(truth));
        self.keys += 1;
        if found == wanted {
            self.key_right += 1;
            return "";
        }
        let relative = if wanted < 12 {
            12 + (wanted + 9) % 12
        } else {
            (wanted - 12 + 3) % 12
        };
        if found == relative {
            self.key_relative += 1;
            return "relative";
        }
        let fifth = found / 12 == wanted / 12 && [5, 7].contains(&((found + 12 - wanted % 12) % 12));
        if fifth || found % 12 == wanted % 12 {
            self.key_near += 1;
            return "near";
        }
        "WRONG"
    }
}
