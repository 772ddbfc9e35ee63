//! Tracks of every length and shape, unusable ones, and weights that went wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{fs, sync::Arc};

use greenroom_audio::{Pcm, SAMPLE_RATE, peak};
use greenroom_separator::{CheckpointError, SPLEETER, SeparateError, Separator, Spleeter, SpleeterOptions};
use greenroom_stage::{GroupClass, Home, Tenant};
use greenroom_sync::CancelFlag;
use support::{models, pool, resident_separator, separate};

fn tone(frames: usize, channels: u16) -> Arc<Pcm> {
    let samples = (0..frames * usize::from(channels)).map(|index| (index as f32 * 0.02).sin() * 0.4);
    Arc::new(Pcm::new(SAMPLE_RATE, channels, samples.collect()))
}

#[test]
fn stems_have_the_shape_of_the_track_and_add_up_to_it() {
    let separator = resident_separator(2);
    for (frames, channels) in [(1, 1), (2, 2), (1023, 2), (48_001, 1), (600_007, 2)] {
        let track = tone(frames, channels);
        let stems = separate(&separator, &track);
        for stem in [&stems.vocals, &stems.instruments] {
            assert_eq!(
                (stem.sample_rate(), stem.channels(), stem.frames()),
                (SAMPLE_RATE, channels, frames)
            );
        }
        let sum = stems
            .vocals
            .samples()
            .iter()
            .zip(stems.instruments.samples())
            .map(|(a, b)| a + b);
        let error = sum
            .zip(track.samples())
            .map(|(sum, sample)| (sum - sample).abs())
            .fold(0.0, f32::max);
        assert!(error < 1e-6, "{frames} frames, {channels} channels: {error}");
    }
}

#[test]
fn silence_stays_silent() {
    let track = Arc::new(Pcm::new(SAMPLE_RATE, 2, vec![0.0; 2 * 100_000]));
    let stems = separate(&resident_separator(2), &track);
    assert_eq!(peak(stems.vocals.samples()), 0.0);
    assert_eq!(peak(stems.instruments.samples()), 0.0);
}

#[test]
fn unusable_tracks_are_refused_at_once() {
    let separator = resident_separator(1);
    let refused = |track: Pcm| match separator.begin(Arc::new(track)) {
        Err(SeparateError::Unsuitable(reason)) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the track was taken"),
    };
    assert!(refused(Pcm::new(44_100, 2, vec![0.0; 10])).contains("44100"));
    assert!(refused(Pcm::new(SAMPLE_RATE, 2, vec![])).contains("empty"));
    assert!(refused(Pcm::new(SAMPLE_RATE, 1, vec![0.0, f32::NAN])).contains("sample 1"));
}

#[test]
fn parked_weights_are_not_used() {
    let options = SpleeterOptions {
        ram_cache: true,
        pool: pool(1),
    };
    let separator = Spleeter::open(&models(), options).unwrap();
    assert_eq!(
        (Tenant::name(&*separator), separator.class()),
        ("separator", GroupClass::Separator)
    );
    assert!(separator.weights_bytes() > 78_000_000 && separator.workspace_bytes() > 10_000_000);
    let mut rip = separator.begin(tone(5000, 2)).unwrap();
    assert!(matches!(
        rip.run_batch(&CancelFlag::new()),
        Err(SeparateError::NotResident)
    ));
    separator.attach(&Home::Ram).unwrap();
    support::run_out(rip.as_mut(), &CancelFlag::new());
    assert!(separator.detach(), "a rip between batches leases nothing");
    rip.finish().unwrap();
}

/// A models directory whose weights are changed and whose checksum is right.
fn models_with(change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let (dir, mut image) = (tempfile::tempdir().unwrap(), SPLEETER.read(&models()).unwrap());
    change(&mut image);
    fs::write(SPLEETER.locate(dir.path()), &image).unwrap();
    let digest: String = <sha2::Sha256 as sha2::Digest>::digest(&image)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::write(SPLEETER.locate(dir.path()).with_extension("safetensors.sha256"), digest).unwrap();
    dir
}

/// Where the first value of a tensor is in the file.
fn place_of(image: &[u8], tensor: &str) -> usize {
    let file = safetensors::SafeTensors::deserialize(image).unwrap();
    let data = file.tensor(tensor).unwrap().data().as_ptr() as usize;
    data - image.as_ptr() as usize
}

#[test]
fn a_network_that_gives_nan_is_caught_wherever_it_begins() {
    for tensor in [
        "vocals.down1_conv.1.weight",
        "accompaniment.up3.0.bias",
        "vocals.up7.0.bias",
    ] {
        let dir = models_with(|image| {
            let place = place_of(image, tensor);
            image[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        let separator = Spleeter::open(
            dir.path(),
            SpleeterOptions {
                ram_cache: false,
                pool: pool(2),
            },
        )
        .unwrap();
        separator.attach(&Home::Ram).unwrap();
        let mut rip = separator.begin(tone(50_000, 2)).unwrap();
        // The masks are looked at when all four batches of the block are done.
        let outcome = (0..4).map(|_| rip.run_batch(&CancelFlag::new())).find(Result::is_err);
        assert!(
            matches!(outcome, Some(Err(SeparateError::NotFinite { batch: 3 }))),
            "{tensor}: {outcome:?}"
        );
        assert_eq!(rip.progress().0, 3);
    }
}

/// Weights whose masks are one half everywhere, whatever they look at.
fn indifferent_separator() -> (tempfile::TempDir, Arc<Spleeter>) {
    let dir = models_with(|image| {
        for instrument in ["vocals", "accompaniment"] {
            for (part, values) in [("weight", 2 * 4 * 4), ("bias", 2)] {
                let place = place_of(image, &format!("{instrument}.up7.0.{part}"));
                image[place..place + 4 * values].fill(0);
            }
        }
    });
    let options = SpleeterOptions {
        ram_cache: false,
        pool: pool(2),
    };
    let separator = Spleeter::open(dir.path(), options).unwrap();
    separator.attach(&Home::Ram).unwrap();
    (dir, separator)
}

#[test]
fn blocks_join_without_a_seam_delay_or_gap() {
    let (_dir, separator) = indifferent_separator();
    // 512 spectra are one block of four batches; one more sample at 44.1 kHz begins a block of one spectrum, after one full block or two.
    for (frames, batches) in [(570_653, 4), (570_654, 8), (1_141_307, 12), (1_250_000, 12)] {
        // A chirp to 8 kHz, below where the networks end.
        let samples: Vec<f32> = (0..frames)
            .map(|n| {
                let seconds = n as f64 / f64::from(SAMPLE_RATE);
                (0.4 * (std::f64::consts::TAU * (200.0 + 150.0 * seconds) * seconds).sin()) as f32
            })
            .collect();
        let track = Arc::new(Pcm::new(SAMPLE_RATE, 1, samples));
        assert_eq!(separator.begin(Arc::clone(&track)).unwrap().progress(), (0, batches));
        let stems = separate(&separator, &track);
        // The ends are cut hard, which no sample-rate conversion keeps.
        let inside = 2000..frames - 2000;
        let worst = inside
            .map(|n| (n, (stems.vocals.samples()[n] - 0.5 * track.samples()[n]).abs()))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        assert!(worst.1 < 1e-4, "{frames} frames: {} at {}", worst.1, worst.0);
    }
}

#[test]
fn weights_that_are_no_networks_are_refused_at_opening() {
    let options = || SpleeterOptions {
        ram_cache: false,
        pool: pool(1),
    };
    let dir = models_with(|image| image.truncate(1000));
    assert!(matches!(
        Spleeter::open(dir.path(), options()),
        Err(CheckpointError::Unusable { .. })
    ));
    fs::write(SPLEETER.locate(dir.path()), b"other").unwrap();
    assert!(matches!(
        Spleeter::open(dir.path(), options()),
        Err(CheckpointError::Damaged { .. })
    ));
    fs::remove_file(SPLEETER.locate(dir.path())).unwrap();
    let missing = Spleeter::open(dir.path(), options()).err().unwrap();
    assert!(missing.to_string().contains("greenroom models fetch"), "{missing}");
}

#[test]
fn the_ram_cache_makes_the_file_needless_and_nothing_else_does() {
    for ram_cache in [true, false] {
        let dir = models_with(|_| {});
        let separator = Spleeter::open(
            dir.path(),
            SpleeterOptions {
                ram_cache,
                pool: pool(1),
            },
        )
        .unwrap();
        separator.attach(&Home::Ram).unwrap();
        assert!(separator.detach());
        fs::remove_file(SPLEETER.locate(dir.path())).unwrap();
        assert_eq!(separator.attach(&Home::Ram).is_ok(), ram_cache);
        // A failed attachment leaves nothing to lease.
        let outcome = separator.begin(tone(100, 1)).unwrap().run_batch(&CancelFlag::new());
        assert_eq!(matches!(outcome, Err(SeparateError::NotResident)), !ram_cache);
    }
}
