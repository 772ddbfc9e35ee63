//! What becomes of an uploaded clip, and the small helpers.
#![allow(clippy::unwrap_used)]

mod common;

use common::sine;
use greenroom_audio::{
    POOL_FRAMES, Pcm, SAMPLE_RATE, SOURCE_SECONDS_MAX, UploadError, fit_length, peak, prepare_upload, rms, sdr_db,
    to_mono, to_stereo,
};

#[test]
fn a_source_is_48_khz_and_whole_pools() {
    for rate in [22_050, 44_100, 48_000, 96_000] {
        for channels in [1, 2] {
            let source = prepare_upload(sine(rate, channels, 3.3, 440.0, 0.5), SOURCE_SECONDS_MAX).unwrap();
            assert_eq!((source.sample_rate(), source.channels()), (SAMPLE_RATE, channels));
            assert_eq!(
                source.frames(),
                16 * POOL_FRAMES,
                "{rate}: 3.3 s hold 16 pools of 0.2 s"
            );
        }
    }
}

#[test]
fn exactly_whole_pools_are_kept_whole() {
    let clip = sine(48_000, 2, 2.0, 440.0, 0.5);
    assert_eq!(prepare_upload(clip.clone(), SOURCE_SECONDS_MAX).unwrap(), clip);
    assert_eq!(
        prepare_upload(sine(44_100, 2, 2.0, 440.0, 0.5), SOURCE_SECONDS_MAX)
            .unwrap()
            .frames(),
        96_000
    );
}

#[test]
fn longer_than_the_limit_is_trimmed_to_it() {
    for rate in [8_000, 48_000] {
        let source = prepare_upload(sine(rate, 1, 250.0, 440.0, 0.5), SOURCE_SECONDS_MAX).unwrap();
        assert_eq!(source.frames(), 240 * 48_000, "{rate}");
    }
    assert_eq!(
        prepare_upload(sine(44_100, 2, 9.0, 440.0, 0.5), 5.1).unwrap().frames(),
        25 * POOL_FRAMES
    );
}

#[test]
fn the_cut_does_not_hear_the_converters_edge() {
    let source = prepare_upload(sine(44_100, 1, 6.0, 440.0, 0.5), 3.0).unwrap();
    let expected = sine(48_000, 1, 3.0, 440.0, 0.5);
    let tail = 96_000..144_000;
    let sdr = sdr_db(&expected.samples()[tail.clone()], &source.samples()[tail]);
    assert!(sdr > 60.0, "{sdr:.1} dB up to the last sample");
}

#[test]
fn less_than_a_second_is_too_short() {
    for seconds in [0.0, 0.1, 0.99] {
        for rate in [44_100, 48_000] {
            let error = prepare_upload(sine(rate, 2, seconds, 440.0, 0.5), SOURCE_SECONDS_MAX).unwrap_err();
            assert!(matches!(error, UploadError::TooShort { .. }), "{error:?}");
            assert_eq!(error.code(), "too_short");
        }
    }
    assert!(prepare_upload(sine(48_000, 1, 1.0, 440.0, 0.5), SOURCE_SECONDS_MAX).is_ok());
}

#[test]
fn not_a_number_is_bad_audio() {
    for value in [f32::NAN, f32::INFINITY, -1e38] {
        let mut samples = vec![0.0; 96_000];
        samples[95_999] = value;
        let error = prepare_upload(Pcm::new(48_000, 1, samples), SOURCE_SECONDS_MAX).unwrap_err();
        assert!(
            matches!(error, UploadError::BadSample { index: 95_999, .. }),
            "{error:?}"
        );
        assert_eq!(error.code(), "bad_audio");
    }
    let error = prepare_upload(Pcm::new(1, 1, vec![0.0; 10]), SOURCE_SECONDS_MAX).unwrap_err();
    assert_eq!(error.code(), "bad_audio", "{error}");
}

#[test]
fn levels_and_shapes() {
    let clip = Pcm::new(48_000, 2, vec![1.0, -2.0, 0.5, 0.5]);
    assert_eq!(to_mono(&clip), [-0.5, 0.5]);
    assert_eq!(
        to_stereo(Pcm::new(48_000, 1, vec![1.0, 2.0])).samples(),
        [1.0, 1.0, 2.0, 2.0]
    );
    assert_eq!(to_stereo(clip.clone()), clip);
    assert_eq!(fit_length(clip.clone(), 1).samples(), [1.0, -2.0]);
    assert_eq!(fit_length(clip.clone(), 3).samples(), [1.0, -2.0, 0.5, 0.5, 0.0, 0.0]);
    assert_eq!((peak(clip.samples()), peak(&[])), (2.0, 0.0));
    assert!((rms(&[3.0, -3.0]) - 3.0).abs() < 1e-12 && rms(&[]) == 0.0);
}

#[test]
fn sdr_is_the_ratio_of_energies() {
    let reference = [1.0, -1.0, 1.0, -1.0];
    assert_eq!(sdr_db(&reference, &reference), f64::INFINITY);
    assert!((sdr_db(&reference, &[0.9, -0.9, 0.9, -0.9]) - 20.0).abs() < 1e-5);
    assert!(sdr_db(&reference, &[0.0; 4]).abs() < 1e-12);
    assert_eq!(sdr_db(&[0.0; 4], &reference), f64::NEG_INFINITY);
}
