//! Files of every format: right answers for whole ones, typed errors or shorter clips for broken ones.
#![allow(clippy::unwrap_used)]

mod common;

use std::f64::consts::TAU;
use std::ops::ControlFlow;

use common::{Random, sine};
use greenroom_audio::{
    DecodeError, DecodeLimits, Decoded, Pcm, WavFormat, decode, decode_with_progress, fuzz, write_wav,
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name)).as_slice()
    };
}

/// Every committed file that decodes.
fn decodable() -> [(&'static str, &'static [u8]); 13] {
    [
        ("mp3", fixture!("tone.mp3")),
        ("mp3 vbr", fixture!("tone_vbr.mp3")),
        ("ogg", fixture!("tone.ogg")),
        ("flac", fixture!("tone.flac")),
        ("aac in m4a", fixture!("tone_aac.m4a")),
        ("alac in m4a", fixture!("tone_alac.m4a")),
        ("adts aac", fixture!("tone.aac")),
        ("wav u8", fixture!("tone_pcm_u8.wav")),
        ("wav s24", fixture!("tone_pcm_s24le.wav")),
        ("wav s32", fixture!("tone_pcm_s32le.wav")),
        ("wav f32", fixture!("tone_pcm_f32le.wav")),
        ("wav f64", fixture!("tone_pcm_f64le.wav")),
        ("wav 5.1", fixture!("tone_51_24.wav")),
    ]
}

fn whole(bytes: &[u8]) -> Decoded {
    decode(bytes, &DecodeLimits::default()).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// Amplitude of a frequency in the middle half of a signal.
fn amplitude_at(samples: &[f32], rate: u32, hertz: f64) -> f64 {
    let part = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let (mut real, mut imaginary, mut weights) = (0.0, 0.0, 0.0);
    for (n, sample) in part.iter().enumerate() {
        let weight = 0.5 - 0.5 * (TAU * n as f64 / part.len() as f64).cos();
        let angle = TAU * hertz * n as f64 / f64::from(rate);
        real += weight * f64::from(*sample) * angle.cos();
        imaginary += weight * f64::from(*sample) * angle.sin();
        weights += weight;
    }
    2.0 * real.hypot(imaginary) / weights
}

#[test]
fn lossy_files_hold_their_tones_on_the_right_side() {
    for (name, bytes) in decodable()
        .into_iter()
        .take(3)
        .chain([("m4a", fixture!("tone_aac.m4a"))])
    {
        let decoded = whole(bytes);
        let (left, right) = (decoded.pcm.channel(0), decoded.pcm.channel(1));
        assert_eq!(
            (decoded.pcm.sample_rate(), decoded.pcm.channels()),
            (44_100, 2),
            "{name}"
        );
        assert_eq!(decoded.packets_damaged, 0, "{name}");
        assert!(
            (amplitude_at(&left, 44_100, 440.0) - 0.5).abs() < 0.03,
            "{name}: {}",
            amplitude_at(&left, 44_100, 440.0)
        );
        assert!((amplitude_at(&right, 44_100, 660.0) - 0.5).abs() < 0.03, "{name}");
        assert!(amplitude_at(&left, 44_100, 660.0) < 0.02, "{name}: channels leak");
        assert!(amplitude_at(&right, 44_100, 440.0) < 0.02, "{name}: channels leak");
    }
}

#[test]
fn encoder_delay_and_padding_are_trimmed() {
    for (name, bytes) in [
        ("mp3", fixture!("tone.mp3")),
        ("vbr", fixture!("tone_vbr.mp3")),
        ("ogg", fixture!("tone.ogg")),
    ] {
        assert_eq!(whole(bytes).pcm.frames(), 66_150, "{name}: exactly 1.5 s");
    }
}

#[test]
fn lossless_files_are_exact() {
    let expected = |hertz: f64, n: usize| 0.5 * (TAU * hertz * n as f64 / 44_100.0).sin();
    for (name, bytes) in [("flac", fixture!("tone.flac")), ("alac", fixture!("tone_alac.m4a"))] {
        let pcm = whole(bytes).pcm;
        assert_eq!(pcm.frames(), 8_820, "{name}");
        for (n, frame) in pcm.samples().chunks_exact(2).enumerate() {
            assert!(
                (f64::from(frame[0]) - expected(440.0, n)).abs() < 0.001,
                "{name} left {n}: {}",
                frame[0]
            );
            assert!(
                (f64::from(frame[1]) - expected(660.0, n)).abs() < 0.001,
                "{name} right {n}: {}",
                frame[1]
            );
        }
    }
}

#[test]
fn wav_depths_agree() {
    let reference = whole(fixture!("tone_pcm_f32le.wav")).pcm;
    assert_eq!((reference.frames(), reference.channels()), (2_205, 1));
    for (name, bytes, step) in [
        ("u8", fixture!("tone_pcm_u8.wav"), 1.0 / 64.0),
        ("s24", fixture!("tone_pcm_s24le.wav"), 1e-4),
        ("s32", fixture!("tone_pcm_s32le.wav"), 1e-4),
        ("f64", fixture!("tone_pcm_f64le.wav"), 1e-6),
    ] {
        let pcm = whole(bytes).pcm;
        assert_eq!(pcm.frames(), reference.frames(), "{name}");
        for (a, b) in pcm.samples().iter().zip(reference.samples()) {
            assert!((a - b).abs() <= step, "{name}: {a} for {b}");
        }
    }
}

#[test]
fn of_six_channels_the_first_two_are_kept() {
    let pcm = whole(fixture!("tone_51_24.wav")).pcm;
    assert_eq!((pcm.channels(), pcm.frames(), pcm.sample_rate()), (2, 960, 48_000));
    for frame in pcm.samples().chunks_exact(2) {
        assert!(
            (frame[1] - 0.5 * frame[0]).abs() < 1e-4,
            "right is half of left: {frame:?}"
        );
    }
}

#[test]
fn louder_than_full_scale_is_kept() {
    let loud = sine(48_000, 2, 0.1, 440.0, 3.5);
    let mut file = Vec::new();
    write_wav(&loud, WavFormat::Float32, &mut file).unwrap();
    assert_eq!(whole(&file).pcm, loud);
}

#[test]
fn opus_is_refused_by_name_in_every_container() {
    for bytes in [
        fixture!("tone_opus.ogg"),
        fixture!("tone_opus.webm"),
        fixture!("tone_opus.mp4"),
    ] {
        let error = decode(bytes, &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Opus), "{error:?}");
        assert!(
            error.to_string().contains("Opus") && error.to_string().contains("convert"),
            "{error}"
        );
    }
    let matroska = [&[0x1a, 0x45, 0xdf, 0xa3][..], b"some video"].concat();
    assert!(matches!(
        decode(&matroska, &DecodeLimits::default()),
        Err(DecodeError::Unsupported { .. })
    ));
}

#[test]
fn what_is_no_audio_is_refused() {
    let text = "You asked for a song, this is a letter named song.mp3.\n".repeat(2000);
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(text.bytes().flat_map(|byte| [byte, 0]))
        .collect();
    let html = b"<!DOCTYPE html><html><body>404</body></html>".to_vec();
    let png = [&[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a][..], &[0; 4096]].concat();
    for bytes in [
        text.into_bytes(),
        utf16,
        html,
        png,
        vec![0; 100_000],
        vec![0xff; 100_000],
        b"RIFF".to_vec(),
    ] {
        let error = decode(&bytes, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.code(), "bad_audio", "{error}");
        assert!(
            matches!(error, DecodeError::NotAudio { .. } | DecodeError::Damaged { .. }),
            "{error:?}"
        );
    }
    assert!(matches!(decode(&[], &DecodeLimits::default()), Err(DecodeError::Empty)));
}

#[test]
fn not_a_number_is_refused() {
    let mut pcm = sine(48_000, 2, 0.1, 440.0, 0.5).into_samples();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        pcm[777] = value;
        let mut file = Vec::new();
        write_wav(&Pcm::new(48_000, 2, pcm.clone()), WavFormat::Float32, &mut file).unwrap();
        let error = decode(&file, &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::BadSample { index: 777, .. }), "{error:?}");
        assert_eq!(error.code(), "bad_audio");
    }
}

#[test]
fn files_cut_short_give_what_they_hold_or_say_so() {
    for (name, bytes) in decodable() {
        let frames = whole(bytes).pcm.frames();
        for percent in [1, 10, 50, 75, 95] {
            let part = &bytes[..bytes.len() * percent / 100];
            match decode(part, &DecodeLimits::default()) {
                Ok(decoded) => assert!(
                    decoded.pcm.frames() <= frames + 2304,
                    "{name} at {percent} %: more than the whole"
                ),
                Err(error) => assert_eq!(error.code(), "bad_audio", "{name} at {percent} %: {error}"),
            }
        }
    }
    // The ogg has one single page of audio, which has to be whole, and mp4 samples are read only from a whole box.
    for (name, bytes) in [("mp3", fixture!("tone.mp3")), ("vbr", fixture!("tone_vbr.mp3"))] {
        let half = whole(&bytes[..bytes.len() / 2]).pcm.seconds();
        assert!(half > 0.4 && half < 1.1, "{name}: {half}");
    }
    let m4a = fixture!("tone_aac.m4a");
    let error = decode(&m4a[..m4a.len() / 2], &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_scratch_in_the_middle_is_played_over() {
    let mut bytes = fixture!("tone.mp3").to_vec();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 300].fill(0x55);
    let decoded = whole(&bytes);
    assert!(decoded.pcm.seconds() > 1.2, "{}", decoded.pcm.seconds());
}

#[test]
fn headers_that_promise_hours_cost_nothing() {
    let mut file = Vec::new();
    write_wav(&sine(48_000, 2, 1.0, 440.0, 0.5), WavFormat::Float32, &mut file).unwrap();
    file[4..8].fill(0xff);
    let data = file.windows(4).position(|window| window == b"data").unwrap();
    file[data + 4..data + 8].fill(0xff);
    let decoded = whole(&file);
    assert_eq!(decoded.pcm.frames(), 48_000);
    // The number of samples in a flac header, 36 bits, as long as it goes: 26 days.
    let mut flac = fixture!("tone.flac").to_vec();
    flac[21] |= 0x0f;
    flac[22..26].fill(0xff);
    assert_eq!(whole(&flac).pcm.frames(), 8_820);
}

#[test]
fn length_limits_refuse_or_trim() {
    let mut file = Vec::new();
    write_wav(
        &sine(8_000, 1, 20.0, 440.0, 0.5),
        WavFormat::Pcm16 { dither: false },
        &mut file,
    )
    .unwrap();
    let limits = DecodeLimits {
        decoded_seconds_max: 10.0,
        ..DecodeLimits::default()
    };
    let error = decode(&file, &limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { .. }), "{error:?}");
    assert_eq!(error.code(), "too_long");
    // Exactly the limit is not more than it, however the lengths of the packets add up.
    for seconds in [5_u32, 10, 30] {
        for rate in [8_000, 11_025, 44_100, 48_000] {
            let mut exact = Vec::new();
            write_wav(
                &sine(rate, 1, f64::from(seconds), 440.0, 0.5),
                WavFormat::Pcm16 { dither: false },
                &mut exact,
            )
            .unwrap();
            let limits = DecodeLimits {
                decoded_seconds_max: f64::from(seconds),
                ..DecodeLimits::default()
            };
            assert!(decode(&exact, &limits).is_ok(), "{seconds} s at {rate} Hz");
        }
    }
    for (name, bytes) in [
        ("wav", file.as_slice()),
        ("mp3", fixture!("tone.mp3")),
        ("ogg", fixture!("tone.ogg")),
    ] {
        let limits = DecodeLimits {
            kept_seconds_max: 0.5,
            ..DecodeLimits::default()
        };
        let (kept, all) = (decode(bytes, &limits).unwrap(), whole(bytes));
        assert!(
            (kept.pcm.seconds() - 0.5).abs() < 0.001,
            "{name}: {}",
            kept.pcm.seconds()
        );
        assert_eq!(
            kept.pcm.samples(),
            &all.pcm.samples()[..kept.pcm.samples().len()],
            "{name}"
        );
        assert!(
            (kept.seconds_total - all.pcm.seconds()).abs() < 0.03,
            "{name}: {}",
            kept.seconds_total
        );
    }
}

#[test]
fn absurd_sample_rates_are_refused() {
    for rate in [1, 999, 192_001, 4_000_000] {
        let mut file = Vec::new();
        write_wav(&Pcm::new(rate, 1, vec![0.1; 5_000]), WavFormat::Float32, &mut file).unwrap();
        let error = decode(&file, &DecodeLimits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported { .. }), "{rate}: {error:?}");
    }
}

#[test]
fn progress_is_told_and_cancels() {
    let mut file = Vec::new();
    write_wav(&sine(48_000, 2, 6.0, 440.0, 0.5), WavFormat::Float32, &mut file).unwrap();
    let mut seen = Vec::new();
    let all = decode_with_progress(&file, &DecodeLimits::default(), |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    });
    assert_eq!(all.unwrap().pcm.frames(), 288_000);
    assert!(
        seen.len() >= 8 && seen.windows(2).all(|pair| pair[0].seconds_done < pair[1].seconds_done),
        "{seen:?}"
    );
    assert_eq!(seen[0].seconds_promised, Some(6.0));
    let mut calls = 0;
    let cancelled = decode_with_progress(&file, &DecodeLimits::default(), |_| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(cancelled, Err(DecodeError::Cancelled)));
    assert_eq!(calls, 1);
}

#[test]
fn corrupted_files_never_break_a_promise() {
    let mut random = Random(0x5eed);
    let others = [
        fixture!("tone_opus.ogg"),
        fixture!("tone_opus.webm"),
        fixture!("tone_opus.mp4"),
    ];
    for bytes in decodable().into_iter().map(|(_, bytes)| bytes).chain(others) {
        for round in 0..40 {
            let mut damaged = bytes.to_vec();
            for _ in 0..=round {
                // Headers are where the damage tells most.
                let reach = if round % 2 == 0 {
                    damaged.len().min(256)
                } else {
                    damaged.len()
                };
                let at = random.next() as usize % reach;
                damaged[at] = random.next() as u8;
            }
            if round % 5 == 0 {
                damaged.truncate(random.next() as usize % damaged.len());
            }
            fuzz::decode_any(&damaged);
        }
    }
    for _ in 0..20 {
        let length = random.next() as usize % 20_000;
        let garbage: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        fuzz::decode_any(&garbage);
    }
}
