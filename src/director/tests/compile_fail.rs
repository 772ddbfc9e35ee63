//! What must not compile: the proofs of the house are values, and nobody makes, copies or uses one that is not theirs.
//!
//! Each case has a twin that differs from it in one line and compiles: so a case fails for its own reason and for no other.
#![allow(clippy::unwrap_used, reason = "a test that panics tells what happened")]

use std::{collections::BTreeSet, fs, path::Path};

const CASES: &str = "tests/compile_fail";
const TWINS: &str = "tests/compile_fail/twins";

/// The source files in a folder of this crate.
fn sources(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.ends_with(".rs")).collect()
}

#[test]
fn a_case_and_its_twin_differ_in_one_line() {
    let names = sources(CASES);
    assert_eq!(names, sources(TWINS), "every case has a twin, and every twin a case");
    for name in names {
        let [case, twin] = [CASES, TWINS].map(|folder| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(&name);
            fs::read_to_string(path).unwrap()
        });
        assert_eq!(case.lines().count(), twin.lines().count(), "{name}");
        let differing = case.lines().zip(twin.lines()).filter(|(one, other)| one != other);
        assert_eq!(differing.count(), 1, "{name}");
    }
}

#[test]
fn illegal_transitions_and_copied_tokens_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail(format!("{CASES}/*.rs"));
    cases.pass(format!("{TWINS}/*.rs"));
}
