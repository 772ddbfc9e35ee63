//! Every input that a fuzzer kept, or crashed on, once more.
#![allow(clippy::unwrap_used, reason = "a test that panics tells what happened")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use greenroom_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

/// Names of what is in a folder, without extensions.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = entries(folder);
    let stems = entries
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    stems.collect()
}

#[test]
fn every_input_of_every_corpus_is_taken_well() {
    for (name, run) in TARGETS {
        let inputs = entries(&folder("corpus").join(name));
        assert!(inputs.len() > 3, "{name} has a corpus");
        for input in inputs {
            println!("{}", input.display());
            run(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_a_harness_of_its_own() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    let harnesses = folder("libfuzzer/fuzz_targets");
    assert_eq!(names(&harnesses), targets);
    let manifest = fs::read_to_string(folder("libfuzzer/Cargo.toml")).unwrap();
    for name in &targets {
        let harness = fs::read_to_string(harnesses.join(name).with_extension("rs")).unwrap();
        assert!(harness.contains(&format!("::{name}(data)")), "{harness}");
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name} is built");
    }
}
