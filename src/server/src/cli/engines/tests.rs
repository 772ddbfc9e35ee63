//! What `greenroom engines` says, of folders made for it.

use std::fs;

use clap::{CommandFactory, Parser};
use greenroom_compiled::{Length, standard_profile};
use tempfile::TempDir;

use super::*;
use crate::cli::{self, Cli};

/// An engine of the autoencoder's encoder for a minute, from weights whose file holds `weights`.
fn write_engine(folder: &Path, name: &str, length: Length, version: &str) {
    let weights = folder.join("weights");
    fs::write(&weights, "weights").unwrap();
    fs::write(folder.join(format!("{name}.engine")), "engine").unwrap();
    let metadata = json!({
        "schema": 1,
        "component": "vae_encode",
        "inputs": standard_profile(Component::VaeEncode, length),
        "precision": "fp16",
        "compute_capabilities": ["8.9"],
        "library": { "name": "tensorrt-rtx", "version": version },
        "checkpoint_sha256": Digest::of_file(&weights).unwrap(),
        "weights_bytes": 100_000_000,
        "workspace_bytes": 2_000_000_000_u64,
        "file": { "bytes": 6, "sha256": Digest::of_file(&folder.join(format!("{name}.engine"))).unwrap() },
    });
    fs::write(folder.join(format!("{name}.engine.json")), metadata.to_string()).unwrap();
}

/// A folder of models whose autoencoder holds `weights`.
fn models(weights: &str) -> TempDir {
    let models = tempfile::tempdir().unwrap();
    let file = WeightFiles::of(models.path()).autoencoder;
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, weights).unwrap();
    models
}

/// What is known of a folder on a pod that has a GPU and a library.
fn known(folder: &Path, models: Option<&Path>) -> anyhow::Result<Known> {
    let mut known = Known {
        folder: folder.into(),
        pod: Pod {
            compute_capability: Some(ComputeCapability { major: 8, minor: 9 }),
            libraries: vec![Library {
                name: LibraryName::TensorrtRtx,
                version: "1.7.1".into(),
            }],
            checkpoints: BTreeMap::new(),
        },
        registry: Registry::new(),
    };
    known.scan(models, Look::Length)?;
    Ok(known)
}

#[test]
fn the_table_says_of_each_engine_whether_it_fits_and_why_not() {
    let folder = tempfile::tempdir().unwrap();
    write_engine(folder.path(), "one", Length::S60, "1.7.1");
    write_engine(folder.path(), "other", Length::S60, "1.6.0");
    fs::write(folder.path().join("stray.engine"), "").unwrap();
    let models = models("weights");
    let table = known(folder.path(), Some(models.path())).unwrap().table();
    let lines: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "ENGINE  COMPONENT   PRECISION  DEVICE MB  FITS",
            "one     vae_encode  fp16       2100       yes",
            "other   vae_encode  fp16       2100       no: it was built by TensorRT-RTX 1.6.0, and 1.7.1 is here",
            "stray   ?           ?          ?          no: there is no stray.engine.json beside it: build it again",
        ]
    );
}

#[test]
fn engines_are_held_against_the_checkpoint_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    write_engine(folder.path(), "one", Length::S60, "1.7.1");
    let verdict = |models: Option<&TempDir>| {
        let known = known(folder.path(), models.map(TempDir::path)).unwrap();
        let json = known.json();
        assert_eq!(json["engines"][0]["fits"], json["engines"][0]["misfit"].is_null());
        json["engines"][0]["misfit"]["kind"].clone()
    };
    assert_eq!(verdict(None), "no_checkpoint");
    assert_eq!(verdict(Some(&models("others"))), "checkpoint");
    assert_eq!(verdict(Some(&models("weights"))), Value::Null);
    let empty = tempfile::tempdir().unwrap();
    assert!(
        known(folder.path(), Some(empty.path())).is_err(),
        "weights that are named and not there"
    );
}

#[test]
fn json_has_the_whole_of_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    write_engine(folder.path(), "one", Length::S120, "1.7.1");
    let models = models("weights");
    let json = known(folder.path(), Some(models.path())).unwrap().json();
    assert_eq!(json["pod"]["compute_capability"], "8.9");
    assert_eq!(
        json["pod"]["checkpoints"]["vae_encode"],
        json["engines"][0]["metadata"]["checkpoint_sha256"]
    );
    let engine = &json["engines"][0];
    assert_eq!((&engine["name"], &engine["fits"]), (&json!("one"), &json!(true)));
    assert_eq!(engine["metadata"]["inputs"][0]["max"], json!([1, 2, 5_760_000]));
}

#[test]
fn what_would_serve_is_the_smallest_that_covers_and_finds_room_else_the_eager_module() {
    let folder = tempfile::tempdir().unwrap();
    write_engine(folder.path(), "long", Length::S120, "1.7.1");
    write_engine(folder.path(), "short", Length::S60, "1.7.1");
    let models = models("weights");
    let known = known(folder.path(), Some(models.path())).unwrap();
    let serve = |seconds, budget_bytes| {
        let shapes = shapes(Component::VaeEncode, seconds, 1, 200, PUBLIC_WIDTH).unwrap();
        known.choose(Component::VaeEncode, &shapes, budget_bytes).unwrap()
    };
    assert!(
        serve(60.0, 4_000_000_000).starts_with("short: "),
        "{}",
        serve(60.0, 4_000_000_000)
    );
    assert!(serve(60.01, 4_000_000_000).starts_with("long: "));
    assert!(serve(121.0, 4_000_000_000).starts_with("the eager module"));
    assert!(serve(60.0, 1_000_000_000).starts_with("the eager module"));
}

#[test]
fn seconds_become_what_each_component_is_asked_for() {
    let of = |component| shapes(component, 2.5, 3, 40, 2048).unwrap().to_string();
    assert_eq!(of(Component::VaeEncode), "audio [1, 2, 120000]");
    assert_eq!(of(Component::VaeDecode), "latents [1, 64, 63]");
    assert_eq!(
        of(Component::Decoder),
        "context_latents [3, 64, 128], encoder_hidden_states [3, 40, 2048], hidden_states [3, 64, 64], timestep [3]"
    );
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(
            shapes(Component::VaeEncode, seconds, 1, 1, PUBLIC_WIDTH).is_err(),
            "{seconds}"
        );
    }
}

#[test]
fn the_command_lists_a_folder_and_refuses_one_that_is_not_there() {
    Cli::command().debug_assert();
    let folder = tempfile::tempdir().unwrap();
    write_engine(folder.path(), "one", Length::S60, "1.7.1");
    let run = |dir: &Path, rest: &[&str]| {
        let dir = dir.to_str().unwrap();
        let line = ["greenroom", "engines", "--device", "cpu", "--engines-dir", dir];
        cli::run(Cli::try_parse_from(line.iter().chain(rest)).unwrap())
    };
    assert_eq!(run(folder.path(), &["list"]).unwrap(), 0);
    assert_eq!(run(folder.path(), &["list", "--json", "--verify"]).unwrap(), 0);
    let asked = ["choose", "--component", "vae-encode", "--seconds", "60"];
    assert_eq!(run(folder.path(), &asked).unwrap(), 0);
    let missing = run(&folder.path().join("nowhere"), &["list"]).unwrap_err();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
    // Of another machine's GPU; of two at once nothing can be said.
    assert_eq!(run(folder.path(), &["list", "--compute-capability", "8.9"]).unwrap(), 0);
    let both = ["list", "--compute-capability", "8.9", "--compute-capability", "12.0"];
    assert!(run(folder.path(), &both).unwrap_err().to_string().contains("one GPU"));
    let unknown = [
        "greenroom",
        "engines",
        "choose",
        "--component",
        "text",
        "--seconds",
        "1",
    ];
    assert!(Cli::try_parse_from(unknown).is_err());
}
