//! LoRAs of a folder on a tiny checkpoint: found, read, put in force, and there to the bit whatever came and went.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, sync::Arc};

use candle_core::DType;
use greenroom_acestep::{Acestep, AcestepOptions, Size, write_random, write_random_lora};
use greenroom_audio::Pcm;
use greenroom_generator::{
    Conditioning, GenerateError, Generator, KnobValue, Knobs, LiveStream, LoadedLora, PreparedSource, Prompt,
    SLICE_FRAMES, StreamSettings,
};
use greenroom_stage::{CpuStage, Stage};
use greenroom_sync::CancelFlag;
use greenroom_weights::uniform;
use tempfile::TempDir;

const GROUPS: [&str; 4] = ["dit", "conditioner", "text_encoder", "vae"];

/// A tiny checkpoint with two LoRAs, `warm` and `cold`, on a stage where all of it is.
struct World {
    _folder: TempDir,
    acestep: Acestep,
    stage: CpuStage,
    source: PreparedSource,
    conditioning: Conditioning,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
        let loras = folder.path().join("loras");
        fs::create_dir(&loras).unwrap();
        write_random_lora(&loras.join("warm.safetensors"), Size::Tiny, 1).unwrap();
        write_random_lora(&loras.join("cold.safetensors"), Size::Tiny, 2).unwrap();
        let acestep = opened(folder.path()).with_loras(&loras).unwrap();
        let stage = CpuStage::new(1 << 30);
        for tenant in acestep.tenants() {
            stage.register(tenant).unwrap();
        }
        for group in GROUPS {
            stage.restore(group).unwrap();
        }
        let (source, conditioning) = prepared(&acestep, 1);
        Self {
            _folder: folder,
            acestep,
            stage,
            source,
            conditioning,
        }
    }

    fn lora(&self, id: &str) -> LoadedLora {
        self.acestep.load_lora(id).unwrap()
    }

    /// A stream that is heard with these.
    fn stream(&self, loras: &[(&str, f64)]) -> Box<dyn LiveStream> {
        let settings = StreamSettings {
            depth: 2,
            steps: 4,
            sde: false,
            walk: None,
        };
        let mut stream = self
            .acestep
            .open(self.source.clone(), self.conditioning.clone(), &settings)
            .unwrap();
        stream.set_knobs(&Knobs::from([("denoise".into(), KnobValue::Number(0.8))]));
        self.enable(&mut *stream, loras);
        stream
    }

    fn enable(&self, stream: &mut dyn LiveStream, loras: &[(&str, f64)]) {
        let loras: Vec<_> = loras.iter().map(|(id, strength)| (self.lora(id), *strength)).collect();
        stream.set_loras(&loras).unwrap();
    }

    fn park_and_restore(&self) {
        for group in GROUPS {
            self.stage.park(group).unwrap();
        }
        for group in GROUPS {
            self.stage.restore(group).unwrap();
        }
    }
}

fn opened(folder: &Path) -> Acestep {
    let options = AcestepOptions {
        dtype: DType::F32,
        lanes: None,
    };
    Acestep::open(folder, &folder.join("packed"), options).unwrap()
}

fn prepared(acestep: &Acestep, seed: u64) -> (PreparedSource, Conditioning) {
    let samples = uniform("sound", seed, 2 * 2 * 48_000);
    let sound = samples.into_iter().map(|sample| 0.3 * sample).collect();
    let cancel = CancelFlag::new();
    let source = acestep
        .prepare_source(Arc::new(Pcm::new(48_000, 2, sound)), &cancel)
        .unwrap();
    let prompt = Prompt {
        tags: "dub techno".into(),
        bpm: 124,
        ..Prompt::default()
    };
    let conditioning = acestep.encode_prompt(&prompt, &source, None, &cancel).unwrap();
    (source, conditioning)
}

/// The next generation, as it sounds.
fn generation(stream: &mut dyn LiveStream) -> Vec<f32> {
    let cancel = CancelFlag::new();
    for _ in 0..100 {
        if stream.tick(0, &cancel).unwrap().finished > 0 {
            return stream.decode(0, SLICE_FRAMES, &cancel).unwrap();
        }
    }
    panic!("nothing is ever finished")
}

#[test]
fn each_set_and_strength_is_heard_and_without_any_the_base_is() {
    let world = World::new();
    let heard: Vec<Vec<f32>> = [
        &[][..],
        &[("warm", 0.5)],
        &[("warm", 1.0)],
        &[("cold", 1.0)],
        &[("warm", 1.0), ("cold", 1.0)],
    ]
    .iter()
    .map(|loras| generation(&mut *world.stream(loras)))
    .collect();
    for (place, sound) in heard.iter().enumerate() {
        assert!(sound.iter().all(|sample| sample.is_finite()));
        assert!(
            heard[..place].iter().all(|other| other != sound),
            "set {place} is as another"
        );
    }
    assert_eq!(
        generation(&mut *world.stream(&[])),
        heard[0],
        "the base is left as it was"
    );
}

#[test]
fn a_lora_is_there_to_the_bit_after_every_parking() {
    let world = World::new();
    let run = |parks: bool| {
        let mut stream = world.stream(&[("warm", 0.8)]);
        let mut sound = Vec::new();
        for _ in 0..4 {
            if parks {
                world.park_and_restore();
            }
            sound.extend(generation(&mut *stream));
        }
        sound
    };
    let steady = run(false);
    assert_eq!(run(true), steady);
    let mut base = world.stream(&[]);
    assert_ne!(
        generation(&mut *base),
        steady[..2 * SLICE_FRAMES],
        "it is not heard at all"
    );
}

#[test]
fn what_was_enabled_while_parked_is_heard_after_the_restore() {
    let world = World::new();
    let expected = generation(&mut *world.stream(&[("warm", 0.8)]));
    let mut stream = world.stream(&[]);
    for group in GROUPS {
        world.stage.park(group).unwrap();
    }
    world.enable(&mut *stream, &[("warm", 0.8)]);
    for group in GROUPS {
        world.stage.restore(group).unwrap();
    }
    assert_eq!(generation(&mut *stream), expected);
}

#[test]
fn a_lora_stays_over_a_swap_and_goes_when_it_is_taken_out() {
    let world = World::new();
    let (other, words) = prepared(&world.acestep, 2);
    let swapped = |loras: &[(&str, f64)], then: Option<&[(&str, f64)]>| {
        let mut stream = world.stream(loras);
        generation(&mut *stream);
        stream.swap_source(other.clone(), words.clone());
        if let Some(then) = then {
            world.enable(&mut *stream, then);
        }
        generation(&mut *stream)
    };
    let with = swapped(&[("warm", 0.8)], None);
    assert_eq!(with, swapped(&[("cold", 0.3)], Some(&[("warm", 0.8)])));
    assert_ne!(with, swapped(&[("warm", 0.8)], Some(&[])));
    assert_eq!(swapped(&[], None), swapped(&[("warm", 0.8)], Some(&[])));
}

#[test]
fn a_folder_is_read_strictly_and_what_is_wrong_is_listed_with_words() {
    let folder = TempDir::new().unwrap();
    write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
    let loras = folder.path().join("loras");
    fs::create_dir_all(loras.join("peft")).unwrap();
    fs::create_dir_all(loras.join("dora")).unwrap();
    fs::create_dir_all(loras.join("of something else")).unwrap();
    let whole = loras.join("whole.safetensors");
    write_random_lora(&whole, Size::Tiny, 1).unwrap();
    for (name, config) in [
        ("peft", r#"{"peft_type":"LORA","r":8}"#),
        ("dora", r#"{"peft_type":"LORA","use_dora":true}"#),
    ] {
        fs::copy(&whole, loras.join(name).join("adapter_model.safetensors")).unwrap();
        fs::write(loras.join(name).join("adapter_config.json"), config).unwrap();
    }
    fs::create_dir(loras.join("whole")).unwrap();
    fs::copy(&whole, loras.join("whole/adapter_model.safetensors")).unwrap();
    let bytes = fs::read(&whole).unwrap();
    fs::write(loras.join("half.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(loras.join("notes.txt"), "not one of them").unwrap();
    let acestep = opened(folder.path()).with_loras(&loras).unwrap();
    let catalogue = acestep.loras();
    assert_eq!(catalogue.folder.as_deref(), Some(&*loras));
    let listed: Vec<_> = catalogue
        .entries
        .iter()
        .map(|entry| (&*entry.id, entry.problem.is_none()))
        .collect();
    let expected = [
        ("dora", false),
        ("half", false),
        ("peft", true),
        ("whole", false),
        ("whole", true),
    ];
    assert_eq!(listed, expected);
    assert_eq!(catalogue.find("whole").unwrap().about.recommended_strength, Some(0.8));
    for (id, words) in [("dora", "DoRA"), ("half", "half.safetensors"), ("nobody", "/api/loras")] {
        match acestep.load_lora(id) {
            Err(GenerateError::Lora(problem)) => assert!(problem.contains(words), "{problem}"),
            _ => panic!("{id} is loaded"),
        }
    }
    // Another file since it was listed.
    fs::write(&whole, &bytes[..100]).unwrap();
    assert!(matches!(acestep.load_lora("whole"), Err(GenerateError::Lora(_))));
    assert!(acestep.load_lora("peft").is_ok());
    assert!(opened(folder.path()).with_loras(&loras.join("nowhere")).is_err());
}
