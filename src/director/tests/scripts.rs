//! Scripts of events in any order, shrunk to the shortest that shows what is wrong.

use greenroom_director::{
    ConnectionId, Effect, Effects, Event, Mode, Moment, Source, TABLES, TrackId, coverage,
    script::{self, Names, PLANS, Play, Step},
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{FileFailurePersistence, RngAlgorithm, TestRng, TestRunner},
};

/// Any step; what makes sense is likelier, so that scripts get somewhere.
fn step() -> impl Strategy<Value = Step> {
    let connection = || prop_oneof![6 => Just(0_u8), 3 => 0_u8..4, 1 => any::<u8>()];
    let source = || prop_oneof![2 => Just(0_u8), 3 => 0_u8..8];
    let outcome = || prop_oneof![6 => Just(0_u8), 3 => 0_u8..32, 1 => any::<u8>()];
    let weather = prop_oneof![20 => 0_u8..100, 1 => Just(254_u8), 1 => Just(255_u8)];
    prop_oneof![
        2 => Just(Step::Open),
        1 => connection().prop_map(|connection| Step::OpenAgain { connection }),
        2 => (connection(), any::<bool>(), prop_oneof![4 => Just(1_u8), 1 => any::<u8>()])
            .prop_map(|(connection, upload, bytes)| Step::Declare { connection, upload, bytes }),
        2 => (connection(), 0_u8..4, source(), 0_u8..4)
            .prop_map(|(connection, client, source, mode)| Step::AskSession { connection, client, source, mode }),
        2 => connection().prop_map(|connection| Step::AskUpload { connection }),
        6 => (0_u8..4, source(), 0_u8..4).prop_map(|(client, source, mode)| Step::Session { client, source, mode }),
        5 => Just(Step::Upload),
        4 => connection().prop_map(|connection| Step::Gone { connection }),
        1 => (connection(), any::<bool>()).prop_map(|(connection, stuck)| Step::Stuck { connection, stuck }),
        5 => (connection(), source(), 0_u8..4)
            .prop_map(|(connection, source, mode)| Step::Swap { connection, source, mode }),
        3 => connection().prop_map(|connection| Step::Prompt { connection }),
        2 => (connection(), any::<bool>(), source())
            .prop_map(|(connection, structure, source)| Step::Reference { connection, structure, source }),
        1 => (connection(), any::<bool>())
            .prop_map(|(connection, structure)| Step::ClearReference { connection, structure }),
        2 => (connection(), any::<bool>()).prop_map(|(connection, wanted)| Step::Playing { connection, wanted }),
        5 => prop_oneof![6 => Just(0_u8), 1 => any::<u8>()].prop_map(|off| Step::Drained { off }),
        24 => (0_u8..4, outcome()).prop_map(|(job, outcome)| Step::End { job, outcome }),
        2 => (any::<u8>(), any::<u8>(), prop::bool::weighted(0.1))
            .prop_map(|(done, total, stale)| Step::Progress { done, total, stale }),
        1 => (0_u8..5, prop::bool::weighted(0.2)).prop_map(|(found, again)| Step::Found { found, again }),
        3 => (0_u8..4, any::<u8>()).prop_map(|(track, engines)| Step::Measure { track, engines }),
        1 => weather.prop_map(|kind| Step::Weather { kind }),
        4 => prop_oneof![0_u16..2_000, any::<u16>()].prop_map(|milliseconds| Step::Wait { milliseconds }),
        1 => any::<u8>().prop_map(|seconds| Step::Jump { seconds }),
        3 => Just(Step::Settle),
    ]
}

fn scripts() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..120)
}

/// A thousand scripts; `PROPTEST_CASES` says otherwise.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let told = |name: &str| std::env::var_os(name).is_some();
    let kept = FileFailurePersistence::WithSource("proptest-regressions");
    // Whoever names the seed wants the same scripts each time, and only to know whether one breaks.
    let seeded = told("PROPTEST_RNG_SEED");
    ProptestConfig {
        cases: if told("PROPTEST_CASES") { default.cases } else { 1_000 },
        max_shrink_iters: if seeded { 0 } else { 20_000 },
        failure_persistence: if seeded { None } else { Some(Box::new(kept)) },
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    /// Invariants and a copy's sameness after every event, what is asked for held against what was told, every request answered
    /// once, and nothing left when everybody has gone.
    #[test]
    fn no_script_breaks_the_house(number in 0..PLANS, steps in scripts()) {
        script::run(number, &steps).map_err(TestCaseError::fail)?;
    }

    /// What things are called changes nothing, and the hash does not see it.
    #[test]
    fn the_canonical_hash_does_not_know_what_things_are_called(
        number in 0..PLANS,
        steps in scripts(),
        first in 1_u64..1 << 40,
        stride in 1_u64..1_000,
        mask in any::<u64>(),
    ) {
        let mut one = Play::new(script::plan(number), Names::default());
        let mut other = Play::new(script::plan(number), Names { first, stride, mask });
        for step in steps {
            one.step(step).map_err(TestCaseError::fail)?;
            other.step(step).map_err(TestCaseError::fail)?;
            prop_assert_eq!(one.hash(), other.hash(), "after {:?}: {}", step, one.told());
        }
    }
}

/// Clients that were forced out and that nothing else knows are told apart by when they may come back, and not by their keys.
#[test]
fn the_order_of_forced_out_clients_is_not_that_of_their_keys() {
    let session = |client| Step::Session {
        client,
        source: 0,
        mode: 0,
    };
    let steps = [
        session(1),
        session(0),
        session(2),
        Step::Jump { seconds: 1 },
        Step::Gone { connection: 2 },
        session(0),
        Step::Wait { milliseconds: 750 },
        session(0),
        Step::Open,
        Step::Gone { connection: 3 },
    ];
    let hash = |mask| {
        let names = Names {
            first: 1,
            stride: 1,
            mask,
        };
        let mut play = Play::new(script::plan(0), names);
        for step in &steps {
            play.step(*step).unwrap();
        }
        play.hash()
    };
    let plain = hash(0);
    for mask in [1, 2, 3, 6, 3_829_710_717_982_709_046] {
        assert_eq!(hash(mask), plain, "keys changed by {mask:#x}");
    }
}

/// Scripts that never got anywhere would find nothing.
#[test]
fn scripts_walk_every_legal_cell() {
    let mut runner = TestRunner::new_with_rng(config(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let _before = coverage::take();
    for number in (0..PLANS).cycle().take(160 * usize::from(PLANS)) {
        let steps = scripts().new_tree(&mut runner).unwrap().current();
        script::run(number, &steps).unwrap();
    }
    let walked = coverage::take();
    let rows = TABLES.iter().flat_map(|table| table.rows);
    let missed: Vec<_> = rows
        .filter(|row| !walked.contains_key(&(row.machine, row.from, row.event)))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// A pod that nothing has happened to is told this.
fn effects_of(event: Event) -> Vec<Effect> {
    let mut effects = Effects::new();
    greenroom_director::Director::new(script::plan(0)).handle(Moment(0), event, &mut effects);
    effects.drain().collect()
}

#[test]
fn audio_that_comes_when_its_handshake_is_over_is_not_kept() {
    let (connection, track) = (ConnectionId(1), TrackId(2));
    let session = Event::SessionAsked {
        connection,
        client: None,
        source: Source::Sent(track),
        mode: Mode::Full,
    };
    for late in [session, Event::UploadAsked { connection, track }] {
        let effects = effects_of(late.clone());
        assert!(effects.contains(&Effect::Forget { track }), "{late:?}: {effects:?}");
    }
}

#[test]
fn an_upload_that_is_told_that_the_pod_ends_hears_nothing_after_it() {
    let mut play = Play::new(script::plan(0), Names::default());
    play.step(Step::Upload).unwrap();
    play.tell(Event::ShutdownAsked).unwrap();
    let told = play.told();
    assert!(
        told.contains("Close { connection: ConnectionId(1), code: GoingAway }"),
        "{told}"
    );
    assert!(!told.contains("UploadFailed"), "{told}");
}

#[test]
fn an_older_connection_is_not_told_4001_for_the_sake_of_one_that_is_leaving() {
    let mut play = Play::new(script::plan(0), Names::default());
    let session = Step::Session {
        client: 2,
        source: 0,
        mode: 0,
    };
    let declare = Step::Declare {
        connection: 0,
        upload: false,
        bytes: 1,
    };
    for step in [Step::Open, declare, session, Step::Settle, Step::Gone { connection: 0 }] {
        play.step(step).unwrap();
    }
    assert_eq!(play.director().seat().map(|(_, state)| state), Some("Draining"));
    let ask = Step::AskSession {
        connection: 1,
        client: 1,
        source: 0,
        mode: 0,
    };
    play.step(ask).unwrap();
    play.step(Step::Settle).unwrap();
    assert_eq!(
        play.director().seat(),
        Some((ConnectionId(1), "Live")),
        "{}",
        play.told()
    );
}
