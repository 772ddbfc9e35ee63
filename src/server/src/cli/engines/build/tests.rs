//! What `greenroom engines build` decides and says; that TensorRT builds is tested in `tests/engines_build.rs`.

use std::os::unix::fs::PermissionsExt;

use greenroom_acestep::{Size, write_random};
use greenroom_compiled::{Length, Shapes};

use tempfile::TempDir;

use super::*;

const ADA: ComputeCapability = ComputeCapability { major: 8, minor: 9 };
const HOPPER: ComputeCapability = ComputeCapability { major: 9, minor: 0 };

fn models() -> TempDir {
    let models = tempfile::tempdir().unwrap();
    write_random(models.path(), Size::Tiny, 1, |_| ()).unwrap();
    models
}

fn arguments(component: Component, python: &Path) -> Arguments {
    Arguments {
        component,
        duration: Target::Music(Length::S120),
        dry_run: false,
        force: false,
        python: python.into(),
    }
}

fn job(component: Component, gpus: &[ComputeCapability], here: Option<ComputeCapability>) -> anyhow::Result<Job> {
    let models = models();
    let arguments = arguments(component, Path::new("python3"));
    Job::new(&arguments, Some(models.path()), "engines".into(), gpus, here)
}

#[test]
fn an_engine_is_for_the_gpu_that_is_named_else_for_the_one_that_is_here() {
    let of = |gpus: &[ComputeCapability], here| job(Component::VaeEncode, gpus, here).unwrap().name;
    assert_eq!(of(&[], Some(ADA)), "vae_encode_mixed_120s_sm89");
    let blackwell = ComputeCapability { major: 12, minor: 0 };
    assert_eq!(
        of(&[blackwell, ADA, ADA], Some(HOPPER)),
        "vae_encode_mixed_120s_sm89_sm120"
    );
    let nobody = job(Component::VaeEncode, &[], None).err().unwrap().to_string();
    assert!(nobody.contains("--compute-capability 8.9"), "{nobody}");
    let refused = job(Component::VaeEncode, &[], Some(HOPPER)).err().unwrap().to_string();
    assert!(refused.contains("9.0"), "{refused}");
    let arguments = arguments(Component::Decoder, Path::new("python3"));
    let unnamed = Job::new(&arguments, None, "engines".into(), &[ADA], None)
        .err()
        .unwrap();
    assert!(unnamed.to_string().contains("--acestep-models-dir"), "{unnamed}");
}

#[test]
fn an_engine_for_windows_is_the_decoders_of_latents_alone() {
    let models = models();
    let job = |component| {
        let arguments = Arguments {
            duration: Target::Window,
            ..arguments(component, Path::new("python3"))
        };
        Job::new(&arguments, Some(models.path()), "engines".into(), &[ADA], None)
    };
    let windows = job(Component::VaeDecode).unwrap();
    assert_eq!(windows.name, "vae_decode_mixed_window_sm89");
    assert!(windows.profile.covers(&Shapes::vae_decode(26)));
    let refused = job(Component::Decoder).err().unwrap().to_string();
    assert!(refused.contains("for decoder name --duration 60"), "{refused}");
}

#[test]
fn a_decoder_is_as_wide_as_its_checkpoint_and_takes_loras_where_a_gpu_prepares_it() {
    let job = |here| job(Component::Decoder, &[ADA], here).unwrap();
    let built = job(None);
    let states = &built.profile.ranges()[1];
    assert_eq!((&*states.name, states.max[2]), ("encoder_hidden_states", 64));
    assert_eq!(
        [None, Some(HOPPER), Some(ADA)].map(|here| job(here).refit),
        [false, false, true]
    );
}

#[test]
fn a_dry_run_says_all_that_would_be_done() {
    let text = job(Component::Decoder, &[ADA], None)
        .unwrap()
        .describe(Err(TensorrtError::NotBuiltIn));
    for words in [
        "would build: engines/decoder_mixed_120s_sm89.engine\n",
        "and beside it: engines/decoder_mixed_120s_sm89.engine.json\n",
        "acestep-v15-turbo/model.safetensors\n",
        "hidden_states [1..8, 126..3000, 64]",
        "for compute capability: 8.9\n",
        "LoRAs: cannot be put in",
        "built without TensorRT",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

/// Exports with a program that stands for Python.
fn exported(script: &str) -> anyhow::Result<PathBuf> {
    let (folder, models) = (tempfile::tempdir().unwrap(), models());
    let python = folder.path().join("python");
    fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = arguments(Component::VaeDecode, &python);
    let job = Job::new(&arguments, Some(models.path()), folder.path().into(), &[ADA], None)?;
    job.export(tempfile::tempdir().unwrap().path(), &Progress::new())
}

#[test]
fn the_script_is_given_what_it_needs_and_its_last_words_are_told() {
    let asks = r#"[ "$2 $3 $4 $6" = "--component vae-decode --checkpoint --out" ] && [ -s "$1" ] && echo progress 1 2"#;
    assert!(exported(asks).unwrap().ends_with("network.onnx"));
    let error = exported("echo 'Traceback' >&2; echo 'no package onnx: install it' >&2; exit 3").unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("exit status: 3") && error.ends_with("no package onnx: install it"),
        "{error}"
    );
    let silent = exported("exit 1").unwrap_err().to_string();
    assert!(silent.ends_with("Python did not say why"), "{silent}");
}

#[test]
fn where_there_is_no_python_it_is_said_what_to_do() {
    let models = models();
    let arguments = arguments(Component::VaeDecode, Path::new("/nowhere/python3"));
    let job = Job::new(&arguments, Some(models.path()), models.path().into(), &[ADA], None).unwrap();
    let error = job
        .export(tempfile::tempdir().unwrap().path(), &Progress::new())
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("/nowhere/python3 cannot be started") && error.contains("--python"),
        "{error}"
    );
}

#[test]
fn a_full_disk_is_told_from_one_that_refuses() {
    let words = |kind: io::ErrorKind| format!("{:#}", disk(Path::new("engines"), kind.into()));
    assert!(words(io::ErrorKind::StorageFull).starts_with("the disk of engines is full"));
    assert!(words(io::ErrorKind::PermissionDenied).starts_with("engines cannot be written to"));
}
