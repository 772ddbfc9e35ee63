//! Quality, length and alignment of sample-rate conversion.
#![allow(clippy::unwrap_used)]

mod common;

use common::{noise, sine};
use greenroom_audio::{AMPLITUDE_MAX, Pcm, ResampleError, frames_at, peak, resample, resample_channel, rms, sdr_db};
use proptest::prelude::*;

/// Compares with the sine that should come out, away from the ends: level, pitch and alignment at once.
fn sine_sdr_db(from: u32, to: u32, hertz: f64) -> f64 {
    let converted = resample(&sine(from, 1, 2.0, hertz, 0.5), to).unwrap();
    let expected = sine(to, 1, 2.0, hertz, 0.5);
    assert_eq!(converted.frames(), expected.frames(), "{from} → {to}");
    let middle = to as usize / 2..to as usize * 3 / 2;
    sdr_db(&expected.samples()[middle.clone()], &converted.samples()[middle])
}

#[test]
fn what_both_rates_can_hold_passes_above_90_db() {
    for from in [
        8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 88_200, 96_000, 192_000,
    ] {
        for share in [0.005, 0.1, 0.5, 0.9] {
            let hertz = share * f64::from(from.min(48_000)) / 2.0;
            let sdr = sine_sdr_db(from, 48_000, hertz);
            assert!(sdr > 90.0, "{from} → 48000 at {hertz} Hz: {sdr:.1} dB");
        }
    }
    for hertz in [50.0, 1_000.0, 10_000.0, 20_000.0, 21_300.0] {
        let (down, up) = (sine_sdr_db(48_000, 44_100, hertz), sine_sdr_db(44_100, 48_000, hertz));
        assert!(down > 90.0 && up > 90.0, "{hertz} Hz: {down:.1} and {up:.1} dB");
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_gone() {
    for (from, to, hertz) in [
        (48_000, 44_100, 23_000.0),
        (96_000, 48_000, 30_000.0),
        (192_000, 48_000, 25_000.0),
    ] {
        let converted = resample(&sine(from, 1, 2.0, hertz, 0.5), to).unwrap();
        let middle = &converted.samples()[to as usize / 2..to as usize * 3 / 2];
        let level_db = 20.0 * (rms(middle) / 0.3536).log10();
        assert!(level_db < -90.0, "{hertz} Hz from {from} to {to}: {level_db:.1} dB");
    }
}

#[test]
fn there_and_back_is_the_same_clip() {
    let clip = resample(&noise(24_000, 2, 3.0, 0.5, 7), 48_000).unwrap();
    let back = resample(&resample(&clip, 44_100).unwrap(), 48_000).unwrap();
    assert_eq!(back.frames(), clip.frames());
    let middle = 20_000..back.samples().len() - 20_000;
    let sdr = sdr_db(&clip.samples()[middle.clone()], &back.samples()[middle]);
    assert!(sdr > 90.0, "{sdr:.1} dB");
}

#[test]
fn channels_stay_apart() {
    let left = sine(44_100, 1, 1.0, 440.0, 0.5);
    let samples = left.samples().iter().flat_map(|sample| [*sample, 0.0]).collect();
    let converted = resample(&Pcm::new(44_100, 2, samples), 48_000).unwrap();
    assert_eq!(peak(&converted.channel(1)), 0.0);
    assert_eq!(converted.channel(0), resample(&left, 48_000).unwrap().into_samples());
}

#[test]
fn an_impulse_stays_where_it_was() {
    for (from, to) in [
        (44_100, 48_000),
        (48_000, 44_100),
        (48_000, 24_000),
        (22_050, 48_000),
        (44_101, 48_000),
    ] {
        let mut samples = vec![0.0; from as usize];
        samples[from as usize / 2] = 1.0;
        let converted = resample_channel(&samples, from, to).unwrap();
        let top = (0..converted.len())
            .max_by(|a, b| converted[*a].total_cmp(&converted[*b]))
            .unwrap();
        let expected = f64::from(to) * (from as usize / 2) as f64 / f64::from(from);
        assert!(
            (top as f64 - expected).abs() <= 0.5,
            "{from} → {to}: at {top}, not {expected}"
        );
    }
}

#[test]
fn silly_rates_are_refused() {
    let clip = sine(48_000, 1, 0.1, 440.0, 0.5);
    for rate in [0, 1, 999, 768_001, u32::MAX] {
        assert!(
            matches!(resample(&clip, rate), Err(ResampleError::Rate { .. })),
            "{rate}"
        );
    }
}

#[test]
fn what_is_no_sound_is_refused_and_the_loudest_sound_is_not() {
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut samples = vec![0.0; 50_000];
        samples[40_000] = value;
        let error = resample(&Pcm::new(44_100, 1, samples), 48_000).unwrap_err();
        assert!(
            matches!(error, ResampleError::BadSample { index: 40_000, .. }),
            "{error:?}"
        );
    }
    let loudest = resample(&sine(44_100, 1, 1.0, 440.0, AMPLITUDE_MAX), 48_000).unwrap();
    assert!((peak(&loudest.samples()[10_000..40_000]) / AMPLITUDE_MAX - 1.0).abs() < 0.001);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_length_is_always_the_nearest(frames in 0_usize..30_000, from in 0_usize..8, to in 0_usize..8) {
        let rates = [8_000, 11_025, 22_050, 24_000, 44_100, 48_000, 47_952, 96_000];
        let (from, to) = (rates[from], rates[to]);
        let converted = resample(&Pcm::new(from, 1, vec![0.25; frames]), to).unwrap();
        let expected = (frames as f64 * f64::from(to) / f64::from(from)).round() as usize;
        prop_assert_eq!(converted.frames(), expected);
        prop_assert_eq!(frames_at(frames, from, to), expected);
        prop_assert!(converted.samples().iter().all(|sample| sample.abs() < 0.6));
    }
}
