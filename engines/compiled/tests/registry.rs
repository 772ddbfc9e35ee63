//! A folder of engines: what fits is known, what does not is listed with its reason.
#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use std::{fs, path::Path};

use greenroom_compiled::{
    Component, ComputeCapability, Digest, Length, Library, LibraryName, Look, Misfit, Origin, Pod, Precision, Registry,
    RegistryError, Shapes, standard_profile,
};
use serde_json::{Value, json};

/// The SHA-256 of `an engine`.
const ENGINE_SHA256: &str = "48189993a28ac7ea2c871d7c7c3ba80052d50958868ff560d01913094889afc8";

fn digest(digit: &str) -> Digest {
    Digest::try_from(digit.repeat(64)).unwrap()
}

fn ada() -> ComputeCapability {
    ComputeCapability { major: 8, minor: 9 }
}

fn pod() -> Pod {
    Pod {
        compute_capability: Some(ada()),
        libraries: vec![Library {
            name: LibraryName::TensorrtRtx,
            version: "1.7.1".into(),
        }],
        checkpoints: [(Component::VaeEncode, digest("c"))].into(),
    }
}

fn metadata() -> Value {
    json!({
        "schema": 1,
        "component": "vae_encode",
        "inputs": standard_profile(Component::VaeEncode, Length::S60),
        "precision": "fp16",
        "compute_capabilities": ["8.6", "8.9"],
        "library": { "name": "tensorrt-rtx", "version": "1.7.1" },
        "checkpoint_sha256": digest("c"),
        "weights_bytes": 3,
        "workspace_bytes": 4,
        "file": { "bytes": 9, "sha256": ENGINE_SHA256 },
    })
}

fn write(folder: &Path, name: &str, metadata: &Value) {
    fs::write(folder.join(format!("{name}.engine")), "an engine").unwrap();
    fs::write(folder.join(format!("{name}.engine.json")), metadata.to_string()).unwrap();
}

fn scan(folder: &Path, pod: &Pod, look: Look) -> Registry {
    let mut registry = Registry::new();
    registry.scan(folder, pod, look).unwrap();
    registry
}

/// The verdict on one engine with a change to its metadata.
fn verdict(pod: &Pod, change: impl FnOnce(&mut Value)) -> Option<Misfit> {
    let folder = tempfile::tempdir().unwrap();
    let mut changed = metadata();
    change(&mut changed);
    write(folder.path(), "one", &changed);
    let registry = scan(folder.path(), pod, Look::Length);
    let found = &registry.found()[0];
    assert_eq!(
        registry.engines().is_empty(),
        found.misfit.is_some(),
        "listed or loaded"
    );
    found.misfit.clone()
}

#[test]
fn an_engine_that_fits_is_known_with_all_that_was_said_of_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &metadata());
    fs::write(folder.path().join("notes.txt"), "not an engine").unwrap();
    let registry = scan(folder.path(), &pod(), Look::Contents);
    assert_eq!(registry.found().len(), 1);
    assert_eq!(registry.found()[0].misfit, None);
    let [engine] = registry.engines() else {
        panic!("one engine, not {:?}", registry.engines())
    };
    assert_eq!((&*engine.name, engine.device_bytes()), ("one", 7));
    assert_eq!(engine.profile, standard_profile(Component::VaeEncode, Length::S60));
    let Origin::File { path, sha256, bytes } = &engine.origin else {
        panic!("it is a file")
    };
    assert_eq!((path, *bytes), (&folder.path().join("one.engine"), 9));
    assert_eq!(sha256.to_string(), ENGINE_SHA256);
}

#[test]
fn what_does_not_fit_this_pod_is_listed_with_the_reason() {
    assert_eq!(verdict(&pod(), |_| {}), None);
    assert_eq!(verdict(&Pod::default(), |_| {}), Some(Misfit::NoGpu));
    assert_eq!(
        verdict(&pod(), |metadata| metadata["compute_capabilities"] = json!(["9.0"])),
        Some(Misfit::ComputeCapability {
            built_for: vec![ComputeCapability { major: 9, minor: 0 }],
            here: ada()
        })
    );
    assert_eq!(
        verdict(&pod(), |metadata| metadata["library"]["version"] = json!("1.6.0")),
        Some(Misfit::LibraryVersion {
            library: LibraryName::TensorrtRtx,
            built_by: "1.6.0".into(),
            here: "1.7.1".into()
        })
    );
    assert_eq!(
        verdict(&pod(), |metadata| metadata["library"]["name"] = json!("tensorrt")),
        Some(Misfit::NoLibrary {
            library: LibraryName::Tensorrt,
            version: "1.7.1".into()
        })
    );
    assert_eq!(
        verdict(&pod(), |metadata| metadata["checkpoint_sha256"] = json!(digest("d"))),
        Some(Misfit::Checkpoint {
            built_from: digest("d"),
            here: digest("c")
        })
    );
    let mut unconfigured = pod();
    unconfigured.checkpoints.clear();
    assert_eq!(
        verdict(&unconfigured, |_| {}),
        Some(Misfit::NoCheckpoint {
            component: Component::VaeEncode
        })
    );
}

/// What is done to sound metadata.
type Change = fn(&mut Value);

#[test]
fn metadata_is_read_strictly() {
    let bad: [(&str, Change); 14] = [
        ("in format 2", |metadata| metadata["schema"] = json!(2)),
        ("missing field `schema`", |metadata| {
            drop(metadata.as_object_mut().unwrap().remove("schema"))
        }),
        ("unknown field `more`", |metadata| metadata["more"] = json!(1)),
        ("unknown field `more`", |metadata| {
            metadata["library"]["more"] = json!(1)
        }),
        ("unknown field `more`", |metadata| {
            metadata["inputs"][0]["more"] = json!(1)
        }),
        ("missing field `weights_bytes`", |metadata| {
            drop(metadata.as_object_mut().unwrap().remove("weights_bytes"));
        }),
        ("unknown variant `text`", |metadata| {
            metadata["component"] = json!("text")
        }),
        ("no compute capability", |metadata| {
            metadata["compute_capabilities"] = json!([])
        }),
        ("no compute capability", |metadata| {
            metadata["compute_capabilities"] = json!(["08.9"])
        }),
        ("no SHA-256", |metadata| {
            metadata["checkpoint_sha256"] = json!("C".repeat(64))
        }),
        ("invalid value", |metadata| metadata["workspace_bytes"] = json!(-1)),
        ("rise in this order", |metadata| {
            metadata["inputs"][0]["min"] = json!([1, 2, 1_u64 << 40])
        }),
        ("those of decoder are", |metadata| {
            metadata["component"] = json!("decoder")
        }),
        ("its inputs are audio (2)", |metadata| {
            metadata["inputs"] = json!([{ "name": "audio", "min": [1, 2], "opt": [1, 2], "max": [1, 2] }]);
        }),
    ];
    for (words, change) in bad {
        match verdict(&pod(), change) {
            Some(Misfit::BadMetadata { words: said }) => assert!(said.contains(words), "{said:?} has no {words:?}"),
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn a_file_that_is_not_whole_is_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alone", "cut", "damaged", "folder", "gone"] {
        write(folder.path(), name, &metadata());
    }
    fs::remove_file(folder.path().join("alone.engine.json")).unwrap();
    fs::write(folder.path().join("cut.engine"), "an eng").unwrap();
    fs::write(folder.path().join("damaged.engine"), "an engynx").unwrap();
    for name in ["folder.engine", "gone.engine"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("folder.engine")).unwrap();
    let misfits = |look| {
        let registry = scan(folder.path(), &pod(), look);
        let loaded: Vec<_> = registry.engines().iter().map(|engine| engine.name.clone()).collect();
        let kinds = registry.found().iter().map(|found| {
            let kind = found
                .misfit
                .as_ref()
                .map(|misfit| serde_json::to_value(misfit).unwrap()["kind"].clone());
            (found.name.clone(), kind.map(|kind| kind.as_str().unwrap().to_owned()))
        });
        (loaded, kinds.collect::<Vec<_>>())
    };
    let said = |name: &str, kind: Option<&str>| (name.to_owned(), kind.map(str::to_owned));
    let mut expected = vec![
        said("alone", Some("no_metadata")),
        said("cut", Some("file_size")),
        said("damaged", None),
        said("folder", Some("file_unreadable")),
        said("gone", Some("file_missing")),
    ];
    assert_eq!(misfits(Look::Length), (vec!["damaged".to_owned()], expected.clone()));
    expected[2] = said("damaged", Some("file_damaged"));
    assert_eq!(misfits(Look::Contents), (vec![], expected), "every byte is looked at");
}

#[test]
fn metadata_of_any_length_is_not_read_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &metadata());
    let long = format!("{}{}", metadata(), " ".repeat(1 << 20));
    fs::write(folder.path().join("one.engine.json"), long).unwrap();
    let registry = scan(folder.path(), &pod(), Look::Length);
    let said = registry.found()[0].misfit.as_ref().unwrap().to_string();
    assert!(said.contains("longer than"), "{said}");
}

#[test]
fn a_scan_on_demand_sees_what_came_and_went_and_keeps_captured_graphs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", &metadata());
    let mut registry = scan(folder.path(), &pod(), Look::Length);
    let shapes = Shapes::decoder(1, 1500, 200);
    let graph = registry
        .capture(Component::Decoder, &shapes, Precision::Bf16, 5)
        .unwrap();
    write(folder.path(), "two", &metadata());
    fs::remove_file(folder.path().join("one.engine")).unwrap();
    registry.scan(folder.path(), &pod(), Look::Length).unwrap();
    let names = |registry: &Registry| {
        registry
            .engines()
            .iter()
            .map(|engine| engine.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&registry), [graph.clone(), "two".to_owned()]);

    let missing = registry.scan(&folder.path().join("nowhere"), &pod(), Look::Length);
    assert!(matches!(missing, Err(RegistryError::Folder { .. })));
    assert_eq!(
        names(&registry),
        [graph.clone(), "two".to_owned()],
        "nothing has changed"
    );

    assert!(!registry.release("two"), "it is no graph");
    assert!(registry.release(&graph) && !registry.release(&graph));
    assert_eq!(names(&registry), ["two"]);
}

#[test]
fn graphs_of_the_same_shapes_are_told_apart_and_what_is_no_shape_is_refused() {
    let mut registry = Registry::new();
    let mut capture = |frames| registry.capture(Component::VaeDecode, &Shapes::vae_decode(frames), Precision::Bf16, 5);
    let names = [25, 50, 25, 25].map(|frames| capture(frames).unwrap());
    let endings = names.each_ref().map(|name| name.rsplit("latents ").next().unwrap());
    assert_eq!(
        endings,
        ["[1, 64, 25]", "[1, 64, 50]", "[1, 64, 25] (2)", "[1, 64, 25] (3)"]
    );
    assert!(matches!(capture(0), Err(RegistryError::Shapes { .. })));
    let first = registry.captured().next().unwrap();
    assert!(first.is_captured() && first.profile.covers(&Shapes::vae_decode(25)));
    assert!(!first.profile.covers(&Shapes::vae_decode(26)));
    // The place of one that is gone is free again.
    assert!(registry.release(&names[2]));
    let again = registry
        .capture(Component::VaeDecode, &Shapes::vae_decode(25), Precision::Bf16, 5)
        .unwrap();
    assert_eq!((again, registry.captured().count()), (names[2].clone(), 4));
}
