//! What each knob promises about the sound.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

mod support;

use std::sync::Arc;

use greenroom_audio::{Pcm, SAMPLE_RATE};
use realfft::RealFftPlanner;
use support::{correlation, decode, knobs, music, open, playing, render, rms};

/// Levels in decibels of 43 ms blocks in bands of an octave: one row a band.
fn band_levels(mono: &[f32]) -> Vec<Vec<f32>> {
    const BLOCK: usize = 2_048;
    let plan = RealFftPlanner::<f32>::new().plan_fft_forward(BLOCK);
    let mut rows = vec![Vec::new(); 7];
    for block in mono.chunks_exact(BLOCK) {
        let mut time = block
            .iter()
            .enumerate()
            .map(|(index, sample)| sample * (std::f32::consts::PI * index as f32 / BLOCK as f32).sin())
            .collect::<Vec<_>>();
        let mut spectrum = plan.make_output_vec();
        plan.process(&mut time, &mut spectrum).unwrap();
        for (band, row) in rows.iter_mut().enumerate() {
            let energy: f32 = spectrum[8 << band..(16 << band).min(spectrum.len())]
                .iter()
                .map(|bin| bin.norm_sqr())
                .sum();
            row.push(10.0 * (energy + 1e-6).log10());
        }
    }
    rows
}

/// Level of a band's mean energy in decibels.
fn level(row: &[f32]) -> f32 {
    10.0 * (row.iter().map(|level| 10.0_f32.powf(level / 10.0)).sum::<f32>() / row.len() as f32).log10()
}

fn left(samples: &[f32], channels: usize) -> Vec<f32> {
    samples.iter().step_by(channels).copied().collect()
}

/// Sharpness of the spectrum around a partial: its energy against that of the gaps beside it, in decibels.
fn peak_to_gap(mono: &[f32], hz: f32) -> f32 {
    const BLOCK: usize = 16_384;
    let plan = RealFftPlanner::<f32>::new().plan_fft_forward(BLOCK);
    let mut time = mono[..BLOCK]
        .iter()
        .enumerate()
        .map(|(index, sample)| sample * (std::f32::consts::PI * index as f32 / BLOCK as f32).sin().powi(2))
        .collect::<Vec<_>>();
    let mut spectrum = plan.make_output_vec();
    plan.process(&mut time, &mut spectrum).unwrap();
    let bin = (hz * BLOCK as f32 / SAMPLE_RATE as f32).round() as usize;
    let energy =
        |from: usize, to: usize| spectrum[from..to].iter().map(|bin| bin.norm_sqr()).sum::<f32>() / (to - from) as f32;
    10.0 * (energy(bin - 2, bin + 3) / (energy(bin - 12, bin - 7) + energy(bin + 8, bin + 13) + 1e-9)).log10()
}

#[test]
fn denoise_zero_is_the_source_bit_for_bit() {
    for channels in [1, 2] {
        let audio = music(10, channels);
        let out = render(
            &audio,
            &[
                ("denoise", 0.0),
                ("hint_strength", 0.0),
                ("seed", 7.0),
                ("guidance_scale", 15.0),
                ("feedback", 1.0),
            ],
        );
        assert!(
            out.iter()
                .zip(audio.samples())
                .all(|(out, source)| out.to_bits() == source.to_bits())
        );
    }
}

#[test]
fn denoise_one_keeps_envelope_and_rhythm_and_replaces_the_waveform() {
    let audio = music(20, 2);
    for hint in [1.0, 0.5, 0.0] {
        let out = render(&audio, &[("denoise", 1.0), ("seed", 3.0), ("hint_strength", hint)]);
        let (source, out) = (left(audio.samples(), 2), left(&out, 2));
        for (band, (source, out)) in band_levels(&source).iter().zip(&band_levels(&out)).enumerate() {
            let likeness = correlation(source, out);
            assert!(
                likeness > 0.85,
                "hint {hint}: band {band} follows the source's rhythm by {likeness} only"
            );
            let change = level(out) - level(source);
            assert!(change.abs() < 2.5, "hint {hint}: band {band} is {change} dB off");
        }
        let likeness = correlation(&source, &out);
        assert!(
            likeness.abs() < 0.35,
            "hint {hint}: the waveform is still the source's ({likeness})"
        );
    }
}

#[test]
fn attacks_stay_where_they_are() {
    let audio = music(10, 1);
    for hint in [1.0, 0.0] {
        let out = render(&audio, &[("denoise", 1.0), ("hint_strength", hint)]);
        // The hit at 0.5 s: what follows it is far louder than the 15 ms before it.
        let hit = SAMPLE_RATE as usize / 2;
        let (before, after) = (rms(&out[hit - 720..hit]), rms(&out[hit..hit + 720]));
        assert!(
            after > 2.0 * before,
            "hint {hint}: {before} before the hit, {after} after"
        );
    }
}

#[test]
fn hint_keeps_the_partials_that_its_absence_dissolves() {
    let audio = music(20, 1);
    let sharpness = |hint: f64| {
        let out = render(&audio, &[("denoise", 1.0), ("hint_strength", hint)]);
        [440.0, 659.26, 554.36]
            .map(|hz| peak_to_gap(&out[2_000..], hz))
            .iter()
            .sum::<f32>()
            / 3.0
    };
    let (kept, dissolved) = (sharpness(1.0), sharpness(0.0));
    assert!(kept > 10.0, "partials stand out by {kept} dB");
    assert!(
        kept > dissolved + 8.0,
        "{kept} dB with the hint, {dissolved} dB without"
    );
}

#[test]
fn the_morph_has_no_holes_and_goes_one_way() {
    let audio = music(20, 2);
    let mut likeness_before = 1.0;
    let mut before = audio.samples().to_vec();
    for step in 1..=10 {
        let out = render(
            &audio,
            &[
                ("denoise", f64::from(step) / 10.0),
                ("hint_strength", 0.6),
                ("seed", 11.0),
            ],
        );
        let change = 20.0 * (rms(&out) / rms(audio.samples())).log10();
        assert!(change.abs() < 1.0, "at {step}/10 the level is {change} dB off");
        for (band, (source, out)) in band_levels(&left(audio.samples(), 2))
            .iter()
            .zip(&band_levels(&left(&out, 2)))
            .enumerate()
        {
            let loss = level(source) - level(out);
            assert!(loss < 2.0, "at {step}/10 band {band} has lost {loss} dB");
        }
        let likeness = correlation(audio.samples(), &out);
        assert!(
            likeness < likeness_before + 0.02,
            "at {step}/10 it comes closer to the source again"
        );
        assert!(correlation(&before, &out) > 0.6, "a jump at {step}/10");
        (likeness_before, before) = (likeness, out);
    }
    let near = render(&audio, &[("denoise", 1e-4)]);
    let error = near
        .iter()
        .zip(audio.samples())
        .map(|(out, source)| (out - source).abs())
        .fold(0.0, f32::max);
    assert!(error < 1e-3, "a touch of denoise moves a sample by {error}");
}

#[test]
fn seeds_differ_and_repeat() {
    let audio = music(10, 2);
    let render = |seed: f64| render(&audio, &[("denoise", 1.0), ("hint_strength", 0.5), ("seed", seed)]);
    let (one, again, other) = (render(1.0), render(1.0), render(2.0));
    assert_eq!(one, again);
    assert!(correlation(&one, &other).abs() < 0.5);
    assert_ne!(render(f64::from(u32::MAX)), one);
}

#[test]
fn feedback_changes_the_sound_and_never_runs_away() {
    let audio = music(10, 2);
    let plain = render(&audio, &[("denoise", 0.7)]);
    let fed = render(&audio, &[("denoise", 0.7), ("feedback", 0.8)]);
    assert!(correlation(&plain, &fed) < 0.99);
    let mut stream = playing(&audio, &[("denoise", 1.0), ("feedback", 1.0), ("seed", 5.0)]);
    for _ in 0..50 {
        stream.tick(0, &greenroom_sync::CancelFlag::new()).unwrap();
    }
    let out = decode(&mut *stream, 0, audio.frames());
    let ratio = rms(&out) / rms(audio.samples());
    assert!((0.5..1.6).contains(&ratio), "level after endless feedback: {ratio}");
    let peak = out.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    assert!(peak < 3.0, "peak after endless feedback: {peak}");
}

#[test]
fn feedback_depth_reaches_back_to_earlier_knobs() {
    let audio = music(10, 1);
    let flag = greenroom_sync::CancelFlag::new();
    let three_later = |depth: f64| {
        let mut stream = open(&audio, "");
        stream.set_knobs(&knobs(&[("denoise", 1.0), ("seed", 9.0)]));
        stream.tick(0, &flag).unwrap();
        stream.set_knobs(&knobs(&[
            ("denoise", 0.0),
            ("feedback", 0.5),
            ("feedback_depth", depth),
        ]));
        for _ in 0..3 {
            stream.tick(0, &flag).unwrap();
        }
        decode(&mut *stream, 0, 9_600)
    };
    // Two generations back, the source was still left alone; three back, seed 9 had its way with it.
    let source = &audio.samples()[..9_600];
    let error = |out: &[f32]| {
        out.iter()
            .zip(source)
            .map(|(out, source)| (out - source).abs())
            .fold(0.0, f32::max)
    };
    assert!(error(&three_later(3.0)) > 0.01);
    assert!(error(&three_later(2.0)) < 1e-5);
}

#[test]
fn gains_act_on_their_own_band() {
    let audio = music(10, 1);
    let without_lows = render(&audio, &[("ch_g0", 0.0), ("ch_g1", 0.0), ("ch_g2", 0.0)]);
    let levels = |samples: &[f32]| band_levels(samples).iter().map(|row| level(row)).collect::<Vec<_>>();
    let (source, out) = (levels(audio.samples()), levels(&without_lows));
    assert!(source[0] - out[0] > 15.0, "lows fell by {} dB", source[0] - out[0]);
    assert!(
        (source[4] - out[4]).abs() < 0.2,
        "highs moved by {} dB",
        source[4] - out[4]
    );
    let all = (0..8)
        .map(|group| {
            (
                ["ch_g0", "ch_g1", "ch_g2", "ch_g3", "ch_g4", "ch_g5", "ch_g6", "ch_g7"][group],
                0.0,
            )
        })
        .collect::<Vec<_>>();
    assert!(rms(&render(&audio, &all)) < 1e-6);
}

#[test]
fn prompts_colour_the_result_and_blend() {
    let audio = music(10, 1);
    let render = |tags: &str| {
        let mut stream = open(&audio, tags);
        stream.set_knobs(&knobs(&[("denoise", 1.0)]));
        stream.tick(0, &greenroom_sync::CancelFlag::new()).unwrap();
        decode(&mut *stream, 0, audio.frames())
    };
    assert_eq!(render("acoustic, house"), render("House,acoustic"));
    assert_ne!(render("acoustic"), render("industrial techno"));
}

#[test]
fn silence_stays_silent_and_nothing_is_ever_nan() {
    let silence = Arc::new(Pcm::new(SAMPLE_RATE, 2, vec![0.0; 9_600 * 4]));
    assert!(
        render(&silence, &[("denoise", 1.0), ("hint_strength", 0.3), ("feedback", 0.5)])
            .iter()
            .all(|sample| *sample == 0.0)
    );
    let mut clicks = vec![0.0_f32; 9_600 * 2];
    clicks[5_000] = 1.0;
    clicks[5_001] = -1e-30;
    clicks[15_000] = 8.0;
    let clicks = Arc::new(Pcm::new(SAMPLE_RATE, 1, clicks));
    for hint in [0.0, 1.0] {
        let out = render(&clicks, &[("denoise", 1.0), ("hint_strength", hint), ("feedback", 1.0)]);
        assert!(out.iter().all(|sample| sample.is_finite() && sample.abs() < 30.0));
    }
}
