//! WAV files against hound, and against damage.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Cursor, Write};

use common::{noise, sine};
use greenroom_audio::{Pcm, WavError, WavFormat, read_wav, sdr_db, wav_len_bytes, write_wav};

const FORMATS: [WavFormat; 3] = [
    WavFormat::Float32,
    WavFormat::Pcm16 { dither: false },
    WavFormat::Pcm16 { dither: true },
];

fn written(pcm: &Pcm, format: WavFormat) -> Vec<u8> {
    let mut file = Vec::new();
    write_wav(pcm, format, &mut file).unwrap();
    file
}

#[test]
fn sizes_are_exact() {
    for format in FORMATS {
        for pcm in [
            noise(48_000, 2, 1.0, 0.9, 1),
            noise(44_100, 1, 0.5, 0.9, 2),
            Pcm::new(48_000, 2, Vec::new()),
        ] {
            let file = written(&pcm, format);
            assert_eq!(file.len() as u64, wav_len_bytes(&pcm, format));
            assert_eq!(
                u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize,
                file.len() - 8
            );
        }
    }
}

#[test]
fn hound_reads_the_same_samples() {
    for pcm in [noise(48_000, 2, 0.7, 1.5, 3), noise(44_100, 1, 0.7, 0.9, 4)] {
        let mut reader = hound::WavReader::new(Cursor::new(written(&pcm, WavFormat::Float32))).unwrap();
        assert_eq!(reader.spec().sample_format, hound::SampleFormat::Float);
        assert_eq!(
            (reader.spec().sample_rate, reader.spec().channels),
            (pcm.sample_rate(), pcm.channels())
        );
        assert_eq!(reader.duration() as usize, pcm.frames());
        assert_eq!(
            reader.samples::<f32>().map(Result::unwrap).collect::<Vec<_>>(),
            pcm.samples()
        );

        let mut reader = hound::WavReader::new(Cursor::new(written(&pcm, WavFormat::Pcm16 { dither: false }))).unwrap();
        assert_eq!(reader.spec().bits_per_sample, 16);
        for (read, sample) in reader.samples::<i16>().map(Result::unwrap).zip(pcm.samples()) {
            assert_eq!(f32::from(read), (sample * 32768.0).round().clamp(-32768.0, 32767.0));
        }
    }
}

#[test]
fn hounds_own_files_are_read() {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut cursor = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut cursor, spec).unwrap();
    for value in [0_i16, i16::MAX, i16::MIN, -1] {
        writer.write_sample(value).unwrap();
    }
    writer.finalize().unwrap();
    let pcm = read_wav(cursor.get_ref()).unwrap();
    assert_eq!(pcm.samples(), [0.0, 32767.0 / 32768.0, -1.0, -1.0 / 32768.0]);
}

#[test]
fn floats_come_back_to_the_bit() {
    for pcm in [
        noise(48_000, 2, 2.0, 8.0, 5),
        noise(22_050, 1, 2.0, 1e-30, 6),
        Pcm::new(48_000, 1, Vec::new()),
    ] {
        assert_eq!(read_wav(&written(&pcm, WavFormat::Float32)).unwrap(), pcm);
    }
}

#[test]
fn dither_trades_distortion_for_noise() {
    let quiet = sine(48_000, 1, 2.0, 1_000.0, 0.4 / 32768.0);
    let plain = read_wav(&written(&quiet, WavFormat::Pcm16 { dither: false })).unwrap();
    assert!(
        plain.samples().iter().all(|sample| *sample == 0.0),
        "less than half a step rounds to silence"
    );
    let dithered = read_wav(&written(&quiet, WavFormat::Pcm16 { dither: true })).unwrap();
    // The tone is still there: correlate with it.
    let both: f64 = quiet
        .samples()
        .iter()
        .zip(dithered.samples())
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    let own: f64 = quiet.samples().iter().map(|a| f64::from(*a).powi(2)).sum();
    assert!((both / own - 1.0).abs() < 0.1, "{}", both / own);
    let loud = sine(48_000, 1, 2.0, 1_000.0, 0.5);
    let sdr = sdr_db(
        loud.samples(),
        read_wav(&written(&loud, WavFormat::Pcm16 { dither: true }))
            .unwrap()
            .samples(),
    );
    // A tone at half of full scale over triangular dither and rounding: 6.02·16 + 1.76 − 6.02 − 4.77 dB.
    assert!((sdr - 87.3).abs() < 1.0, "{sdr:.1} dB");
}

#[test]
fn torn_files_are_errors_never_shorter_clips() {
    for format in FORMATS {
        let file = written(&noise(48_000, 2, 0.01, 0.9, 7), format);
        for length in 0..file.len() {
            assert!(
                matches!(read_wav(&file[..length]), Err(WavError::NotOurs { .. })),
                "{length} of {}",
                file.len()
            );
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(read_wav(&longer).is_err());
    }
}

#[test]
fn foreign_or_damaged_files_are_refused() {
    for foreign in [
        include_bytes!("fixtures/tone_pcm_s24le.wav").as_slice(),
        include_bytes!("fixtures/tone_pcm_u8.wav"),
        include_bytes!("fixtures/tone_51_24.wav"),
        include_bytes!("fixtures/tone.mp3"),
    ] {
        let error = read_wav(foreign).unwrap_err();
        assert!(
            matches!(error, WavError::NotOurs { .. }) && error.to_string().contains("upload"),
            "{error}"
        );
    }
    let mut file = written(&sine(48_000, 1, 0.1, 440.0, 0.5), WavFormat::Float32);
    let last = file.len() - 4;
    file[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(matches!(read_wav(&file), Err(WavError::BadSample { index: 4_799, .. })));
}

#[test]
fn a_rate_that_no_header_can_tell_is_refused_on_both_ways() {
    let rate = u32::MAX / 4;
    assert!(write_wav(&Pcm::new(rate, 1, vec![0.0]), WavFormat::Float32, &mut Vec::new()).is_ok());
    let error = write_wav(&Pcm::new(rate + 1, 1, vec![0.0]), WavFormat::Float32, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, WavError::TooFast { channels: 1, sample_rate } if sample_rate == rate + 1),
        "{error}"
    );
    // Integers are half as wide, so a file can tell a rate that ours could not.
    let mut file = written(&Pcm::new(rate, 1, vec![0.0]), WavFormat::Pcm16 { dither: false });
    file[24..28].copy_from_slice(&(rate + 1).to_le_bytes());
    assert!(matches!(read_wav(&file), Err(WavError::NotOurs { .. })));
}

#[test]
fn a_full_disk_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write_wav(&sine(48_000, 2, 0.1, 440.0, 0.5), WavFormat::Float32, &mut Full).unwrap_err();
    assert!(
        matches!(&error, WavError::Write(cause) if cause.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
}
