//! The whole generator on a tiny checkpoint: from files to sound, with groups that come and go.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, sync::Arc};

use candle_core::DType;
use greenroom_acestep::{Acestep, AcestepOptions, Size, write_random};
use greenroom_audio::Pcm;
use greenroom_generator::{
    GenerateError, Generator, KnobValue, Knobs, LiveStream, PreparedSource, Prompt, SLICE_FRAMES, StreamSettings, Walk,
};
use greenroom_stage::{CpuStage, Stage};
use greenroom_sync::CancelFlag;
use greenroom_weights::uniform;
use tempfile::TempDir;

const GROUPS: [&str; 4] = ["dit", "conditioner", "text_encoder", "vae"];
const OPTIONS: AcestepOptions = AcestepOptions {
    dtype: DType::F32,
    lanes: None,
};

fn open(folder: &Path) -> Result<Acestep, greenroom_acestep::AcestepError> {
    Acestep::open(folder, &folder.join("packed"), OPTIONS)
}

/// A tiny checkpoint, opened, on a stage.
fn opened() -> (TempDir, Acestep, CpuStage) {
    let folder = TempDir::new().unwrap();
    write_random(folder.path(), Size::Tiny, 1, |_| {}).unwrap();
    let acestep = open(folder.path()).unwrap();
    let stage = CpuStage::new(1 << 30);
    for tenant in acestep.tenants() {
        stage.register(tenant).unwrap();
    }
    (folder, acestep, stage)
}

fn restore(stage: &CpuStage) {
    for group in GROUPS {
        stage.restore(group).unwrap();
    }
}

fn park(stage: &CpuStage) {
    for group in GROUPS {
        stage.park(group).unwrap();
    }
}

fn noise(seconds: usize, channels: u16) -> Arc<Pcm> {
    let samples = uniform("sound", 5, seconds * 48_000 * usize::from(channels));
    Arc::new(Pcm::new(
        48_000,
        channels,
        samples.into_iter().map(|sample| 0.3 * sample).collect(),
    ))
}

fn prompt() -> Prompt {
    Prompt {
        tags: "acoustic deep house".into(),
        bpm: 124,
        ..Prompt::default()
    }
}

fn settings(walk: Option<Walk>) -> StreamSettings {
    StreamSettings {
        depth: 2,
        steps: 4,
        sde: false,
        walk,
    }
}

fn stream(acestep: &Acestep, source: &PreparedSource, walk: Option<Walk>) -> Box<dyn LiveStream> {
    let conditioning = acestep
        .encode_prompt(&prompt(), source, None, &CancelFlag::new())
        .unwrap();
    acestep.open(source.clone(), conditioning, &settings(walk)).unwrap()
}

fn denoise(share: f64) -> Knobs {
    Knobs::from([("denoise".into(), KnobValue::Number(share))])
}

/// Ticks until a generation is finished.
fn generate(stream: &mut dyn LiveStream, target: u64) {
    for _ in 0..100 {
        if stream.tick(target, &CancelFlag::new()).unwrap().finished > 0 {
            return;
        }
    }
    panic!("nothing is ever finished")
}

fn window(stream: &mut dyn LiveStream, start: u64, frames: usize) -> Vec<f32> {
    stream.decode(start, frames, &CancelFlag::new()).unwrap()
}

#[test]
fn work_asks_for_the_groups_it_names_and_no_others() {
    let (_folder, acestep, stage) = opened();
    let cancel = CancelFlag::new();
    let refused = |result: Result<PreparedSource, GenerateError>| match result {
        Err(GenerateError::NotResident(group)) => group,
        _ => panic!("it is not refused"),
    };
    assert_eq!(refused(acestep.prepare_source(noise(1, 2), &cancel)), "vae");
    stage.restore("vae").unwrap();
    assert_eq!(refused(acestep.prepare_source(noise(1, 2), &cancel)), "conditioner");
    stage.restore("conditioner").unwrap();
    let source = acestep.prepare_source(noise(1, 2), &cancel).unwrap();
    let encoded = acestep.encode_prompt(&prompt(), &source, None, &cancel);
    assert!(matches!(encoded, Err(GenerateError::NotResident("text_encoder"))));
    stage.restore("text_encoder").unwrap();
    let mut stream = stream(&acestep, &source, None);
    assert!(matches!(
        stream.tick(0, &cancel),
        Err(GenerateError::NotResident("dit"))
    ));
    stage.restore("dit").unwrap();
    generate(&mut *stream, 0);
    for group in ["text_encoder", "conditioner", "vae"] {
        stage.park(group).unwrap();
    }
    stream.tick(0, &cancel).unwrap();
    assert!(matches!(
        stream.decode(0, SLICE_FRAMES, &cancel),
        Err(GenerateError::NotResident("vae"))
    ));
}

#[test]
fn sound_is_the_same_to_the_bit_however_often_weights_came_and_went() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let source = acestep.prepare_source(noise(2, 2), &CancelFlag::new()).unwrap();
    let run = |parks: bool| {
        let mut stream = stream(&acestep, &source, None);
        stream.set_knobs(&denoise(0.8));
        let mut sound = Vec::new();
        for slice in 0..4 {
            generate(&mut *stream, 0);
            if parks {
                park(&stage);
                restore(&stage);
            }
            sound.extend(window(&mut *stream, slice * 17_000, SLICE_FRAMES));
        }
        sound
    };
    let steady = run(false);
    assert!(steady.iter().all(|sample| sample.is_finite()));
    assert!(steady.iter().any(|sample| sample.abs() > 1e-4));
    assert_eq!(run(true), steady);
}

#[test]
fn a_window_is_a_part_of_the_whole_wherever_it_begins() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let source = acestep.prepare_source(noise(4, 2), &CancelFlag::new()).unwrap();
    let mut stream = stream(&acestep, &source, None);
    generate(&mut *stream, 0);
    let whole = window(&mut *stream, 0, 4 * 48_000);
    for (start, frames) in [
        (0, SLICE_FRAMES),
        (12_345, SLICE_FRAMES),
        (100_001, 17),
        (191_000, 1_000),
    ] {
        let part = window(&mut *stream, start as u64, frames);
        assert_eq!(part.len(), 2 * frames);
        let expected = &whole[2 * start..2 * (start + frames)];
        let off: f32 = part
            .iter()
            .zip(expected)
            .map(|(part, whole)| (part - whole).powi(2))
            .sum::<f32>()
            .sqrt();
        let level: f32 = expected.iter().map(|sample| sample.powi(2)).sum::<f32>().sqrt();
        assert!(off <= 2e-3 * level, "at {start}: {off} of {level}");
    }
}

#[test]
fn a_sidecar_stands_for_the_encoding() {
    let (folder, acestep, stage) = opened();
    restore(&stage);
    let source = acestep.prepare_source(noise(2, 1), &CancelFlag::new()).unwrap();
    let sound = |acestep: &Acestep, source: &PreparedSource| {
        let mut stream = stream(acestep, source, None);
        generate(&mut *stream, 0);
        window(&mut *stream, 500, SLICE_FRAMES)
    };
    let encoded = sound(&acestep, &source);
    assert_eq!(encoded.len(), SLICE_FRAMES, "a source of one channel comes out as one");
    let restored = acestep.restore_source(noise(2, 1), &source.sidecar).unwrap();
    assert_eq!(sound(&acestep, &restored), encoded);
    // Opened again, the same checkpoint reads it; another one does not.
    assert!(
        open(folder.path())
            .unwrap()
            .restore_source(noise(2, 1), &source.sidecar)
            .is_ok()
    );
    let other = TempDir::new().unwrap();
    write_random(other.path(), Size::Tiny, 2, |_| {}).unwrap();
    let refused = open(other.path()).unwrap().restore_source(noise(2, 1), &source.sidecar);
    assert!(matches!(refused, Err(GenerateError::Unsuitable(_))));
}

#[test]
fn before_anything_is_generated_the_source_is_heard() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let audio = noise(1, 2);
    let source = acestep.prepare_source(Arc::clone(&audio), &CancelFlag::new()).unwrap();
    let mut stream = stream(&acestep, &source, None);
    assert_eq!(window(&mut *stream, 100, 50), &audio.samples()[200..300]);
}

#[test]
fn knobs_prompts_and_timbre_are_heard() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let source = acestep.prepare_source(noise(2, 2), &CancelFlag::new()).unwrap();
    let run = |turn: &dyn Fn(&mut dyn LiveStream)| {
        let mut stream = stream(&acestep, &source, None);
        stream.set_knobs(&denoise(1.0));
        turn(&mut *stream);
        generate(&mut *stream, 0);
        window(&mut *stream, 0, SLICE_FRAMES)
    };
    let plain = run(&|_| {});
    assert_eq!(run(&|_| {}), plain);
    assert_ne!(run(&|stream| stream.set_knobs(&denoise(0.5))), plain);
    assert_ne!(run(&|stream| stream.set_timbre_strength(0.3)), plain);
    let other = Prompt {
        tags: "noisy metal".into(),
        ..prompt()
    };
    let other = acestep
        .encode_prompt(&other, &source, None, &CancelFlag::new())
        .unwrap();
    assert_ne!(run(&|stream| stream.set_conditioning(other.clone())), plain);
    let both = Prompt {
        tags_b: Some("noisy metal".into()),
        ..prompt()
    };
    let both = acestep.encode_prompt(&both, &source, None, &CancelFlag::new()).unwrap();
    assert_eq!(run(&|stream| stream.set_conditioning(both.clone())), plain);
    let blended = |stream: &mut dyn LiveStream| {
        stream.set_conditioning(both.clone());
        stream.set_prompt_blend(1.0);
    };
    assert_eq!(run(&blended), run(&|stream| stream.set_conditioning(other.clone())));
}

/// What is heard of a source in which only one thing of another one counts is heard as if it were that one's own.
#[test]
fn a_borrowed_timbre_and_structure_are_those_of_their_source_and_nothing_else() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let cancel = CancelFlag::new();
    let prepare = |seed: u64, seconds: usize| {
        let samples = uniform("lender", seed, seconds * 2 * 48_000);
        let samples = samples.into_iter().map(|sample| 0.3 * sample).collect();
        acestep
            .prepare_source(Arc::new(Pcm::new(48_000, 2, samples)), &cancel)
            .unwrap()
    };
    let (source, lender) = (prepare(1, 2), prepare(2, 2));
    let heard = |source: &PreparedSource, timbre: Option<&PreparedSource>, structure: Option<&PreparedSource>| {
        let conditioning = acestep.encode_prompt(&prompt(), source, timbre, &cancel).unwrap();
        let mut stream = acestep.open(source.clone(), conditioning, &settings(None)).unwrap();
        stream.set_structure(structure).unwrap();
        // Nothing is heard of the source's own sound.
        stream.set_knobs(&denoise(1.0));
        generate(&mut *stream, 0);
        window(&mut *stream, 0, SLICE_FRAMES)
    };
    let own = heard(&source, None, None);
    assert_eq!(heard(&source, Some(&source), Some(&source)), own);
    let both = heard(&source, Some(&lender), Some(&lender));
    assert_eq!(both, heard(&lender, None, None), "all that counts is borrowed");
    let timbre = heard(&source, Some(&lender), None);
    let structure = heard(&source, None, Some(&lender));
    for (name, borrowed) in [("timbre", &timbre), ("structure", &structure)] {
        assert!(*borrowed != own && *borrowed != both, "{name}");
    }
    assert_eq!(heard(&lender, None, Some(&source)), timbre, "each is borrowed alone");
    // A lender of another length: its hints are cut, or begin again.
    for seconds in [1, 3] {
        let other = prepare(2, seconds);
        let heard = heard(&source, Some(&other), Some(&other));
        assert_eq!(heard.len(), own.len());
        assert_ne!(heard, own, "{seconds} s");
    }
}

#[test]
fn a_borrowed_structure_outlives_a_swap_and_is_let_go_of() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let cancel = CancelFlag::new();
    let [source, lender] = [1, 2].map(|seconds| acestep.prepare_source(noise(seconds, 2), &cancel).unwrap());
    let longer = acestep.prepare_source(noise(3, 1), &cancel).unwrap();
    let conditioning = acestep.encode_prompt(&prompt(), &longer, None, &cancel).unwrap();
    let swapped = |structure: Option<&PreparedSource>, then: Option<&PreparedSource>| {
        let mut stream = stream(&acestep, &source, None);
        stream.set_knobs(&denoise(1.0));
        stream.set_structure(structure).unwrap();
        stream.swap_source(longer.clone(), conditioning.clone());
        if then.is_none() {
            stream.set_structure(None).unwrap();
        }
        generate(&mut *stream, 0);
        window(&mut *stream, 0, SLICE_FRAMES)
    };
    let plain = swapped(None, None);
    assert_ne!(swapped(Some(&lender), Some(&lender)), plain);
    assert_eq!(swapped(Some(&lender), None), plain);
}

#[test]
fn what_another_generator_prepared_lends_nothing() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let cancel = CancelFlag::new();
    let source = acestep.prepare_source(noise(1, 2), &cancel).unwrap();
    let foreign = PreparedSource {
        encoded: Arc::new(()),
        ..source.clone()
    };
    let encoded = acestep.encode_prompt(&prompt(), &source, Some(&foreign), &cancel);
    assert!(matches!(encoded, Err(GenerateError::Unsuitable(_))));
    let refused = stream(&acestep, &source, None).set_structure(Some(&foreign));
    assert!(matches!(refused, Err(GenerateError::Unsuitable(_))));
}

#[test]
fn in_walk_mode_a_part_is_generated_and_nothing_reaches_over_its_ends() {
    let (_folder, acestep, stage) = opened();
    restore(&stage);
    let source = acestep.prepare_source(noise(12, 2), &CancelFlag::new()).unwrap();
    let mut stream = stream(&acestep, &source, Some(Walk::new(5.0)));
    for second in [0, 6, 11] {
        let target = second * 48_000;
        generate(&mut *stream, target);
        assert_eq!(window(&mut *stream, target, SLICE_FRAMES).len(), 2 * SLICE_FRAMES);
    }
    assert!(
        stream.decode(0, SLICE_FRAMES, &CancelFlag::new()).is_err(),
        "of another part"
    );
}

#[test]
fn whatever_is_wrong_with_a_folder_is_said_of_its_file() {
    let (folder, ..) = opened();
    let models = folder.path().join("checkpoints");
    let refusal = |path: &str, bytes: Option<&[u8]>| {
        let path = models.join(path);
        let whole = fs::read(&path).unwrap();
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let refused = open(folder.path()).map(|_| ()).unwrap_err().to_string();
        fs::write(&path, whole).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(refused.contains(&name), "{refused}");
        refused
    };
    let model = fs::read(models.join("acestep-v15-turbo/model.safetensors")).unwrap();
    for file in [
        "acestep-v15-turbo/config.json",
        "acestep-v15-turbo/model.safetensors",
        "acestep-v15-turbo/silence_latent.pt",
        "vae/diffusion_pytorch_model.safetensors",
        "Qwen3-Embedding-0.6B/tokenizer.json",
    ] {
        refusal(file, None);
        refusal(file, Some(b"{"));
    }
    refusal("acestep-v15-turbo/model.safetensors", Some(&model[..model.len() / 2]));
    let config = fs::read_to_string(models.join("acestep-v15-turbo/config.json")).unwrap();
    let wider = config.replace("\"hidden_size\": 64", "\"hidden_size\": 80");
    refusal("acestep-v15-turbo/config.json", Some(wider.as_bytes()));
    assert!(open(folder.path()).is_ok());
}
