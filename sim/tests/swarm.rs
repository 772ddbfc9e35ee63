//! A campaign small enough for every run of the tests, and that every gate of the simulation can fail.

use std::{collections::BTreeSet, path::Path, process::Command};

use greenroom_sim::{
    Deed, Extent, Fault, Matrix, Outcome, Script, Tamper, Violation, WHOLE_CAMPAIGN, campaign_on, field, run_script,
    run_seed, shrink,
};

/// Seeds of every run of the tests: half a minute on two cores, and never three where the machine has other things to do.
const SEEDS: u64 = 20_000;

#[test]
fn no_seed_breaks_and_nothing_goes_unseen() {
    let campaign = campaign_on(2, 1, Extent::Seeds(SEEDS), None, &|_| {});
    let some = &campaign.failures[..campaign.failures.len().min(3)];
    assert!(campaign.failures.is_empty(), "{some:#?}");
    assert_eq!(campaign.cells_missed(), Vec::<String>::new());
    assert_eq!(campaign.marks_missed(), Vec::new());
    assert!(!campaign.is_blind());
    assert!(campaign.fault_classes() >= 33, "{}", campaign.fault_classes());
    assert!(campaign.events_min >= 200, "{}", campaign.events_min);
}

#[test]
fn threads_change_nothing() {
    let on = |threads| campaign_on(threads, 100, Extent::Seeds(200), None, &|_| {});
    let (one, three) = (on(1), on(3));
    assert_eq!((one.events, one.restarts), (three.events, three.restarts));
    assert_eq!((one.cells, one.marks), (three.cells, three.marks));
}

#[test]
fn time_that_jumps_sleeps_and_goes_back_breaks_nothing() {
    const TIME: [Fault; 3] = [Fault::ClockJumps, Fault::Suspend, Fault::ClockBack];
    let without = Fault::ALL.iter().copied().filter(|fault| !TIME.contains(fault));
    let script = Script {
        without: without.collect(),
        ..Script::default()
    };
    for seed in 1..200 {
        assert_eq!(run_script(seed, &script, None).outcome, Outcome::Fine, "seed {seed}");
    }
}

/// What a tampered driver comes to, in the first seed that notices.
fn noticed(tamper: Tamper) -> (u64, Outcome) {
    let lives = (1..200).map(|seed| (seed, run_script(seed, &Script::default(), Some(tamper)).outcome));
    let broken = lives.into_iter().find(|(_, outcome)| *outcome != Outcome::Fine);
    broken.unwrap_or_else(|| panic!("nobody notices {tamper}"))
}

#[test]
fn every_kind_of_tampering_is_noticed_for_what_it_is() {
    assert!(matches!(
        noticed(Tamper::SaysTwice).1,
        Outcome::Broken(Violation::Safety(_))
    ));
    assert!(matches!(
        noticed(Tamper::LosesAJob).1,
        Outcome::Broken(Violation::Liveness(_))
    ));
    assert!(matches!(
        noticed(Tamper::KeepsMemory).1,
        Outcome::Broken(Violation::Leak(_))
    ));
    assert!(matches!(noticed(Tamper::Panics).1, Outcome::Crashed(_)));
    assert_eq!(noticed(Tamper::Nondeterminism).1, Outcome::Different);
}

#[test]
fn the_program_ends_with_the_code_of_what_broke() {
    let code = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_greenroom-sim"))
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for (tamper, expected) in [
        ("panics", 10),
        ("says-twice", 11),
        ("loses-a-job", 12),
        ("keeps-memory", 13),
        ("nondeterminism", 14),
    ] {
        let (code, words) = code(&["swarm", "--seeds", "40", "--threads", "1", "--tamper", tamper]);
        assert_eq!(code, Some(expected), "{tamper}: {words}");
        assert!(words.contains("greenroom-sim replay --seed"), "{words}");
    }
    let (fine, words) = code(&["swarm", "--seeds", "40", "--json"]);
    assert_eq!(fine, Some(0), "{words}");
    let figures: serde_json::Value = serde_json::from_str(words.lines().last().unwrap()).unwrap();
    assert_eq!((&figures["seeds"], &figures["failures"]), (&40.into(), &0.into()));
}

#[test]
fn a_failure_is_made_smaller_and_still_fails() {
    let (seed, outcome) = noticed(Tamper::SaysTwice);
    let script = shrink(seed, &outcome, Some(Tamper::SaysTwice));
    assert!(!script.is_whole());
    let smaller = run_script(seed, &script, Some(Tamper::SaysTwice));
    assert!(
        matches!(smaller.outcome, Outcome::Broken(Violation::Safety(_))),
        "{:?}",
        smaller.outcome
    );
    // What it prints is what it reads.
    let only = script.only.as_deref().unwrap_or_default();
    assert!(only.len() < 20, "{script}");
    for deed in only {
        assert_eq!(deed.to_string().parse::<Deed>().unwrap(), *deed);
    }
    for fault in &script.without {
        assert_eq!(fault.name().parse::<Fault>().unwrap(), *fault);
    }
}

#[test]
fn a_history_can_be_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_greenroom-sim"))
        .args(["replay", "--seed", "7", "--timeline"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("on the device"));
}

#[test]
fn every_line_of_the_field_failures_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let numbers: Vec<u8> = field::LINES.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=38).collect::<Vec<u8>>());
    for line in field::LINES {
        assert!(!line.tests.is_empty(), "line {} has no test", line.number);
        assert_eq!(line.injectors.is_empty(), line.marks.is_empty(), "line {}", line.number);
        for (file, test) in line.tests {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(
                text.contains(&format!("fn {test}(")),
                "line {}: {file} has no {test}",
                line.number
            );
        }
    }
    let injected: BTreeSet<Fault> = field::LINES.iter().flat_map(|line| line.injectors).copied().collect();
    let idle: Vec<&Fault> = Fault::ALL.iter().filter(|fault| !injected.contains(fault)).collect();
    assert!(idle.is_empty(), "no line needs {idle:?}");
    const { assert!(WHOLE_CAMPAIGN <= SEEDS) };
    assert_eq!(run_seed(1).outcome, Outcome::Fine);
}

#[test]
fn every_cell_is_walked_under_every_class_of_faults() {
    let holes = Matrix::of(4_000).holes();
    assert!(holes.is_empty(), "{holes:#?}");
}

#[test]
fn the_table_of_field_failures_in_the_docs_is_the_one_that_is_checked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/field-failures.md");
    let docs = std::fs::read_to_string(path).unwrap();
    assert!(
        docs.contains(field::table().trim()),
        "docs/field-failures.md is stale: put the output of `greenroom-sim faults` there"
    );
}
