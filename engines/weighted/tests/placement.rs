//! The weighted generator on a CPU stage: work runs on resident groups only, and sounds like `spectral` when the weights are right.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::sync::Arc;

use greenroom_audio::{POOL_FRAMES, Pcm, SAMPLE_RATE};
use greenroom_generator::{GenerateError, Generator, KnobValue, Knobs, Prompt, StreamSettings, Work};
use greenroom_spectral::Spectral;
use greenroom_stage::{CpuStage, Stage, StageError};
use greenroom_sync::CancelFlag;
use greenroom_weighted::{GroupBytes, Weighted, WeightedConfig};

const GROUPS: [&str; 4] = ["dit", "conditioner", "text_encoder", "vae"];
const SETTINGS: StreamSettings = StreamSettings {
    depth: 4,
    steps: 8,
    sde: false,
    walk: None,
};

fn small() -> WeightedConfig {
    let bytes = GroupBytes {
        dit: 1 << 21,
        conditioner: 1 << 18,
        text_encoder: 1 << 18,
        vae: 1 << 19,
    };
    WeightedConfig {
        bytes,
        ..WeightedConfig::default()
    }
}

fn on_stage() -> (Weighted, CpuStage) {
    let generator = Weighted::new(&small(), None).unwrap();
    let stage = CpuStage::new(1 << 23);
    for tenant in generator.tenants() {
        stage.register(tenant).unwrap();
    }
    (generator, stage)
}

fn music() -> Arc<Pcm> {
    let samples = (0..POOL_FRAMES * 4)
        .map(|index| ((index / 2) as f32 * 0.03).sin() * 0.4)
        .collect();
    Arc::new(Pcm::new(SAMPLE_RATE, 2, samples))
}

/// One session from the source to a window.
fn play(generator: &dyn Generator, denoise: f64) -> Result<Vec<f32>, GenerateError> {
    let flag = CancelFlag::new();
    let source = generator.prepare_source(music(), &flag)?;
    let conditioning = generator.encode_prompt(
        &Prompt {
            tags: "house".into(),
            ..Prompt::default()
        },
        &source,
        None,
        &flag,
    )?;
    let mut stream = generator.open(source, conditioning, &SETTINGS)?;
    stream.set_knobs(&Knobs::from([("denoise".to_owned(), KnobValue::Number(denoise))]));
    stream.tick(0, &flag)?;
    stream.decode(100, 17_280, &flag)
}

#[test]
fn right_weights_sound_like_spectral_bit_for_bit_however_often_they_moved() {
    let (generator, stage) = on_stage();
    for _ in 0..3 {
        for group in GROUPS {
            stage.restore(group).unwrap();
        }
        for denoise in [0.0, 0.7] {
            assert_eq!(
                play(&generator, denoise).unwrap(),
                play(&Spectral::new(), denoise).unwrap()
            );
        }
        for group in GROUPS {
            stage.park(group).unwrap();
        }
        assert!(play(&generator, 0.0).is_err());
    }
    assert!(
        generator
            .report()
            .iter()
            .all(|group| group.runs > 0 && group.response == group.response_expected)
    );
}

#[test]
fn every_kind_of_work_needs_just_the_groups_that_it_names() {
    let (generator, stage) = on_stage();
    let flag = CancelFlag::new();
    for group in GROUPS {
        stage.restore(group).unwrap();
    }
    let source = generator.prepare_source(music(), &flag).unwrap();
    let conditioning = generator
        .encode_prompt(&Prompt::default(), &source, None, &flag)
        .unwrap();
    let mut stream = generator.open(source.clone(), conditioning, &SETTINGS).unwrap();
    for parked in GROUPS {
        stage.park(parked).unwrap();
        for work in [Work::EncodeSource, Work::EncodePrompt, Work::Tick, Work::Decode] {
            let result = match work {
                Work::EncodeSource => generator.prepare_source(music(), &flag).map(drop),
                Work::EncodePrompt => generator
                    .encode_prompt(&Prompt::default(), &source, None, &flag)
                    .map(drop),
                Work::Tick => stream.tick(0, &flag).map(drop),
                Work::Decode => stream.decode(0, 100, &flag).map(drop),
            };
            if generator.groups(work).contains(&parked) {
                assert!(
                    matches!(result, Err(GenerateError::NotResident(group)) if group == parked),
                    "{work:?} ran without {parked}"
                );
            } else {
                assert!(
                    result.is_ok(),
                    "{work:?} failed without {parked}, which it does not name"
                );
            }
        }
        stage.restore(parked).unwrap();
    }
}

#[test]
fn a_sidecar_saves_the_encoding_and_fits_its_own_weights_only() {
    let (generator, stage) = on_stage();
    let flag = CancelFlag::new();
    stage.restore("vae").unwrap();
    stage.restore("conditioner").unwrap();
    let sidecar = generator.prepare_source(music(), &flag).unwrap().sidecar;
    stage.park("vae").unwrap();
    stage.park("conditioner").unwrap();
    assert!(generator.restore_source(music(), &sidecar).is_ok());
    let other = Weighted::new(&WeightedConfig { seed: 2, ..small() }, None).unwrap();
    let silence = Arc::new(Pcm::new(SAMPLE_RATE, 2, vec![0.0; POOL_FRAMES * 4]));
    assert!(
        generator.restore_source(silence, &sidecar).is_err(),
        "not of this audio"
    );
    for (generator, sidecar) in [(&other, &sidecar[..]), (&generator, &sidecar[..7]), (&generator, &[])] {
        assert!(matches!(
            generator.restore_source(music(), sidecar),
            Err(GenerateError::Unsuitable(_))
        ));
    }
}

#[test]
fn the_stage_counts_the_bytes_and_refuses_what_does_not_fit() {
    let generator = Weighted::new(&small(), None).unwrap();
    // Room for the largest group, or for two of the others.
    let stage = CpuStage::new(1 << 21);
    for tenant in generator.tenants() {
        stage.register(tenant).unwrap();
    }
    stage.restore("dit").unwrap();
    assert!(matches!(stage.restore("vae"), Err(StageError::OutOfMemory { .. })));
    let flag = CancelFlag::new();
    assert!(matches!(
        generator.prepare_source(music(), &flag),
        Err(GenerateError::NotResident("vae"))
    ));
    stage.park("dit").unwrap();
    stage.restore("vae").unwrap();
    stage.restore("conditioner").unwrap();
    assert!(generator.prepare_source(music(), &flag).is_ok());
}
