//! Engines that are really built: ONNX by Python, plans by TensorRT for RTX, on a machine that needs no GPU. `cargo xtask test` fetches both
//! and sets `GREENROOM_PYTHON`, `PYTHONPATH` and `GREENROOM_TENSORRT_DIR`.
#![cfg(feature = "tensorrt")]
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use serde_json::{Value, json};
use tempfile::TempDir;

fn greenroom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_greenroom"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What it printed, where it did what it was asked.
fn printed(output: &Output) -> String {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it complained of, where it could not.
fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A tiny random checkpoint, once for all tests.
fn models() -> &'static Path {
    static MODELS: OnceLock<TempDir> = OnceLock::new();
    let models = MODELS.get_or_init(|| {
        let models = tempfile::tempdir().unwrap();
        let out = models.path().join("models");
        printed(&greenroom(&[
            "checkpoint",
            "random",
            "--size",
            "tiny",
            "--out",
            out.to_str().unwrap(),
        ]));
        models
    });
    Box::leak(models.path().join("models").into_boxed_path())
}

fn engines(folder: &Path, arguments: &[&str]) -> Output {
    let common = [
        "engines",
        "--device",
        "cpu",
        "--engines-dir",
        folder.to_str().unwrap(),
        "--acestep-models-dir",
        models().to_str().unwrap(),
    ];
    greenroom(&[&common[..], arguments].concat())
}

fn build(folder: &Path, component: &str, seconds: &str, more: &[&str]) -> Output {
    let asked = [
        "build",
        "--component",
        component,
        "--duration",
        seconds,
        "--compute-capability",
        "8.9",
    ];
    engines(folder, &[&asked[..], more].concat())
}

fn listed(folder: &Path) -> Value {
    let output = engines(folder, &["list", "--json", "--verify", "--compute-capability", "8.9"]);
    serde_json::from_str(&printed(&output)).unwrap()
}

fn chosen(folder: &Path, component: &str, seconds: &str) -> String {
    let asked = [
        "choose",
        "--component",
        component,
        "--seconds",
        seconds,
        "--compute-capability",
        "8.9",
    ];
    printed(&engines(folder, &asked))
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn engines_of_every_component_are_built_and_chosen_by_what_they_take() {
    let folder = tempfile::tempdir().unwrap();
    for (component, seconds) in [
        ("vae-encode", "60"),
        ("vae-encode", "120"),
        ("vae-decode", "60"),
        ("decoder", "60"),
    ] {
        let said = printed(&build(folder.path(), component, seconds, &[]));
        assert!(said.contains("MB of workspace"), "{said}");
    }
    let listed = listed(folder.path());
    let engines = listed["engines"].as_array().unwrap();
    assert_eq!(engines.len(), 4);
    for engine in engines {
        let (name, metadata) = (engine["name"].as_str().unwrap(), &engine["metadata"]);
        assert_eq!(engine["fits"], true, "{name}: {}", engine["reason"]);
        assert_eq!(metadata["library"], listed["pod"]["libraries"][0], "{name}");
        assert_eq!(metadata["compute_capabilities"], json!(["8.9"]));
        assert_eq!(metadata["precision"], "mixed");
        // The tiny networks have 0.4 to 0.5 million parameters each; a plan has code beside them.
        let bytes = |of: &str| metadata[of].as_u64().unwrap();
        assert!((500_000..2_000_000).contains(&bytes("weights_bytes")), "{name}");
        assert!(bytes("workspace_bytes") > 1_000_000, "{name}");
        assert!(
            metadata["file"]["bytes"].as_u64().unwrap() > bytes("weights_bytes"),
            "{name}"
        );
    }
    assert!(chosen(folder.path(), "vae-encode", "60").starts_with("vae_encode_mixed_60s_sm89: "));
    assert!(chosen(folder.path(), "vae-encode", "61").starts_with("vae_encode_mixed_120s_sm89: "));
    assert!(chosen(folder.path(), "vae-encode", "121").starts_with("the eager module"));
    assert!(chosen(folder.path(), "vae-decode", "60").starts_with("vae_decode_mixed_60s_sm89: "));
    assert!(chosen(folder.path(), "decoder", "60").starts_with("decoder_mixed_60s_sm89: "));
    assert!(chosen(folder.path(), "decoder", "61").starts_with("the eager module"));
    let other = [
        "choose",
        "--component",
        "decoder",
        "--seconds",
        "60",
        "--compute-capability",
        "12.0",
    ];
    assert!(
        printed(&self::engines(folder.path(), &other)).starts_with("the eager module"),
        "built for another GPU"
    );
}

#[test]
fn an_engine_for_windows_serves_what_is_decoded_while_it_plays() {
    let folder = tempfile::tempdir().unwrap();
    printed(&build(folder.path(), "vae-decode", "window", &[]));
    assert!(chosen(folder.path(), "vae-decode", "1").starts_with("vae_decode_mixed_window_sm89: "));
    let refused = refused(&build(folder.path(), "decoder", "window", &[]));
    assert!(refused.contains("only vae-decode"), "{refused}");
}

#[test]
fn what_is_there_is_built_anew_only_when_asked_or_when_it_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let build = |more: &[&str]| printed(&build(folder.path(), "vae-decode", "60", more));
    let dry = build(&["--dry-run"]);
    assert!(
        dry.contains("would build: ") && dry.contains("engine built by: TensorRT for RTX 1.7."),
        "{dry}"
    );
    assert_eq!(files(folder.path()), Vec::<String>::new(), "a dry run writes nothing");
    build(&[]);
    let both = [
        "vae_decode_mixed_60s_sm89.engine",
        "vae_decode_mixed_60s_sm89.engine.json",
    ];
    assert_eq!(files(folder.path()), both, "nothing is left of the work");
    assert!(build(&[]).contains("--force builds it anew"));
    assert!(build(&["--force"]).contains("MB of workspace"));
    let engine = folder.path().join(both[0]);
    fs::write(&engine, "cut off").unwrap();
    assert_eq!(listed(folder.path())["engines"][0]["misfit"]["kind"], "file_size");
    assert!(build(&[]).contains("MB of workspace"), "a damaged engine is replaced");
    assert_eq!(listed(folder.path())["engines"][0]["fits"], true);
}

#[test]
fn what_keeps_an_engine_from_being_built_is_said_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |more: &[&str]| {
        let said = refused(&build(folder.path(), "vae-decode", "60", more));
        assert_eq!(files(folder.path()), Vec::<String>::new(), "{said}");
        said
    };
    let said = refused(&["--tensorrt-dir", "/nowhere"]);
    assert!(
        said.contains("pip install tensorrt-rtx-cu13-libs") && said.contains("--tensorrt-dir"),
        "{said}"
    );
    let said = refused(&["--python", "/nowhere/python3"]);
    assert!(
        said.contains("cannot be started") && said.contains("--python"),
        "{said}"
    );
    let said = refused(&["--compute-capability", "9.0"]);
    assert!(said.contains("builds no engines for compute capability 9.0"), "{said}");
    let beside = tempfile::tempdir().unwrap();
    let said = refused(&["--python", isolated(beside.path()).to_str().unwrap()]);
    assert!(said.contains("pip install onnx=="), "{said}");
}

/// Python that sees no installed packages.
fn isolated(beside: &Path) -> PathBuf {
    let program = beside.join("python");
    let python = std::env::var("GREENROOM_PYTHON").unwrap_or_else(|_| "python3".into());
    fs::write(&program, format!("#!/bin/sh\nexec {python} -I -S \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}
