//! Tempo and key of signals whose answers are known exactly.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Random, hertz_above_c3, hit, noise, pluck, sine};
use greenroom_audio::{Analysis, KEY_LABELS, Pcm, analyze};

const RATE: u32 = 48_000;

/// A metronome.
fn clicks(bpm: f64, seconds: f64) -> Pcm {
    let mut samples = vec![0.0; (seconds * f64::from(RATE)) as usize];
    let mut random = Random(99);
    let mut at = 0.3;
    while at < seconds {
        hit(&mut samples, RATE, at, 0.05, 0.6, &mut random);
        at += 60.0 / bpm;
    }
    Pcm::new(RATE, 1, samples)
}

/// A rock beat with a syncopated bass drum: low drum on 1, 2-and and 3-and, snare on 2 and 4, closed hi-hat on eighths.
fn drums(bpm: f64, seconds: f64) -> Pcm {
    let mut samples = vec![0.0; (seconds * f64::from(RATE)) as usize];
    let mut random = Random(7);
    let eighth = 30.0 / bpm;
    for step in 0..(seconds / eighth) as usize {
        let at = step as f64 * eighth + 0.1;
        hit(&mut samples, RATE, at, 0.03, 0.06, &mut random);
        if [0, 3, 5].contains(&(step % 8)) {
            pluck(&mut samples, RATE, at, 60.0, 0.15, 0.6);
        }
        if [2, 6].contains(&(step % 8)) {
            hit(&mut samples, RATE, at, 0.12, 0.5, &mut random);
        }
    }
    Pcm::new(RATE, 1, samples)
}

/// Broken triads over a bass: I IV V I or i iv V i (with the leading tone), 1 s a chord.
fn cadence(tonic: i32, minor: bool, detune: f32) -> Pcm {
    let third = if minor { 3 } else { 4 };
    let chords = [[0, third, 7], [5, 5 + third, 12], [7, 11, 14], [0, third, 7]];
    let mut samples = vec![0.0; 24 * RATE as usize];
    for second in 0..24 {
        let chord = chords[second % 4];
        let pitch = |semitones: i32| hertz_above_c3(tonic + semitones) * detune;
        pluck(&mut samples, RATE, second as f64, pitch(chord[0] - 12), 0.95, 0.2);
        for (step, note) in chord.into_iter().enumerate() {
            pluck(
                &mut samples,
                RATE,
                second as f64 + 0.25 * step as f64,
                pitch(note),
                0.7,
                0.12,
            );
            pluck(
                &mut samples,
                RATE,
                second as f64 + 0.25 * step as f64,
                pitch(note + 12),
                0.7,
                0.08,
            );
        }
    }
    Pcm::new(RATE, 1, samples)
}

#[test]
fn a_metronome_from_60_to_190_is_read_exactly() {
    for bpm in (60..=190).step_by(10).chain([67, 93, 117, 128, 141, 174]) {
        let found = analyze(&clicks(f64::from(bpm), 30.0));
        assert_eq!(found.bpm_rounded(), bpm, "{found:?}");
        assert!(found.bpm_confidence > 0.5, "{bpm}: {found:?}");
    }
}

#[test]
fn a_syncopated_beat_is_read_exactly() {
    // Where eighths leave half and double tempo both plausible, the prior decides: below 84 for the double.
    for bpm in [84, 88, 95, 100, 108, 115, 120, 124, 128, 135, 140, 150] {
        let found = analyze(&drums(f64::from(bpm), 40.0));
        assert_eq!(found.bpm_rounded(), bpm, "{found:?}");
    }
}

#[test]
fn fractions_of_a_beat_a_minute_are_told() {
    for bpm in [97.4, 121.7, 133.3] {
        let found = analyze(&drums(bpm, 60.0));
        assert!((f64::from(found.bpm) - bpm).abs() < 0.15, "{bpm}: {found:?}");
    }
}

#[test]
fn all_24_keys_are_read_exactly() {
    for (index, label) in KEY_LABELS.iter().enumerate() {
        let found = analyze(&cadence(index as i32 % 12, index >= 12, 1.0));
        assert_eq!(found.key, *label, "{found:?}");
        assert!(found.key_confidence > 0.2, "{found:?}");
    }
}

#[test]
fn a_band_tuned_off_440_is_read_all_the_same() {
    for cents in [-45.0_f32, -30.0, 30.0, 45.0] {
        let detune = 2.0_f32.powf(cents / 1200.0);
        for tonic in [0, 6, 9] {
            assert_eq!(
                analyze(&cadence(tonic, false, detune)).key,
                KEY_LABELS[tonic as usize],
                "{cents} cents"
            );
        }
    }
}

#[test]
fn labels_are_spelled_as_clients_expect() {
    assert_eq!(
        KEY_LABELS[..12].join(" ").replace(" major", ""),
        "C Db D Eb E F F# G Ab A Bb B"
    );
    assert_eq!(
        KEY_LABELS[12..].join(" ").replace(" minor", ""),
        "C C# D D# E F F# G G# A Bb B"
    );
}

#[test]
fn nothing_to_hear_has_a_defined_answer() {
    let nothing = Analysis {
        bpm: 120.0,
        bpm_confidence: 0.0,
        key: "C major",
        key_confidence: 0.0,
    };
    let clips = [
        Pcm::new(RATE, 2, Vec::new()),
        Pcm::new(RATE, 2, vec![0.0; 2]),
        Pcm::new(RATE, 2, vec![0.0; 20 * RATE as usize]),
        Pcm::new(RATE, 1, vec![0.5; 20 * RATE as usize]),
        Pcm::new(RATE, 1, vec![f32::NAN; 4 * RATE as usize]),
        Pcm::new(1, 1, vec![0.5; 4]),
        noise(RATE, 1, 1e-3, 0.5, 1),
        noise(RATE, 2, 60.0, 0.5, 2),
        noise(RATE, 2, 60.0, 1e-3, 3),
        noise(44_100, 1, 5.0, 0.5, 4),
        noise(44_100, 1, 2.0, 0.5, 5),
        noise(22_050, 2, 20.0, 0.5, 6),
    ];
    for (index, clip) in clips.iter().enumerate() {
        assert_eq!(analyze(clip), nothing, "clip {index}");
    }
}

#[test]
fn loudness_and_channels_do_not_matter() {
    let clip = drums(110.0, 20.0);
    let plain = analyze(&clip);
    for gain in [0.01_f32, 4.0] {
        let samples = clip
            .samples()
            .iter()
            .flat_map(|sample| [sample * gain, sample * gain])
            .collect();
        let scaled = analyze(&Pcm::new(RATE, 2, samples));
        assert_eq!((scaled.bpm_rounded(), scaled.key), (plain.bpm_rounded(), plain.key));
    }
}

#[test]
fn only_the_middle_minute_counts() {
    let mut samples = clicks(75.0, 60.0).into_samples();
    samples.extend(clicks(130.0, 60.0).into_samples());
    samples.extend(clicks(75.0, 60.0).into_samples());
    assert_eq!(analyze(&Pcm::new(RATE, 1, samples)).bpm_rounded(), 130);
}

#[test]
fn a_second_of_sound_is_enough_to_answer() {
    for clip in [
        sine(RATE, 2, 1.0, 440.0, 0.5),
        clicks(120.0, 1.0),
        cadence(0, false, 1.0),
    ] {
        let found = analyze(&clip);
        assert!(
            (40.0..=240.0).contains(&found.bpm) && KEY_LABELS.contains(&found.key),
            "{found:?}"
        );
    }
}
