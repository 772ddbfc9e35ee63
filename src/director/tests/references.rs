//! Timbre and structure of other sources, as a session asks for them.

mod common;

use common::{BROKEN, Pod, is_listed, keeping_plan, spectral_plan, weighted_plan};
use greenroom_director::{
    ConnectionId, Event, Failure, Found, Intent, Mode, Outcome, Plan, ReferenceKind, Source, Span, TrackId, Work,
};

use ReferenceKind::{Structure, Timbre};

/// Tracks of the disk, and audio that is sent.
const FIXTURE: TrackId = TrackId(900);
const SENT: TrackId = TrackId(901);
const OTHER: TrackId = TrackId(902);

/// A session that plays, of a pod that has a fixture.
fn playing(plan: Plan) -> (Pod, ConnectionId) {
    let mut pod = Pod::new(plan);
    pod.event(Event::TrackFound {
        track: FIXTURE,
        found: Found::Fixture,
    });
    let (connection, _) = pod.session(1, Mode::Plain);
    assert_eq!(pod.director.seat(), Some((connection, "Live")));
    pod.forget();
    (pod, connection)
}

fn asks(pod: &mut Pod, connection: ConnectionId, kind: ReferenceKind, source: impl Into<Option<Source>>) {
    let source = source.into();
    pod.event(Event::ReferenceAsked {
        connection,
        kind,
        source,
    });
}

fn applied(pod: &Pod, kind: ReferenceKind, track: Option<TrackId>) -> usize {
    pod.count(&["ReferenceApplied", &format!("{kind:?}"), &format!("track: {track:?}")])
}

fn failed(pod: &Pod, kind: ReferenceKind, failure: Failure) -> usize {
    pod.count(&["ReferenceFailed", &format!("{kind:?}"), &format!("{failure:?}")])
}

#[test]
fn a_track_of_the_pod_lends_its_timbre_and_stays() {
    let (mut pod, connection) = playing(weighted_plan());
    for kind in [Timbre, Structure] {
        asks(&mut pod, connection, kind, Source::Track(FIXTURE));
        assert_eq!(applied(&pod, kind, Some(FIXTURE)), 1, "{:#?}", pod.said);
    }
    assert_eq!(pod.count(&["start Encode"]), 0, "its phase 1 is long over");
    assert_eq!(pod.count(&["start Rip"]), 0, "nobody wants its stems");
    assert!(is_listed(&pod, FIXTURE));
    assert_eq!(pod.director.seat(), Some((connection, "Live")));
}

#[test]
fn audio_that_was_sent_is_encoded_lends_what_it_has_and_goes() {
    for kind in [Timbre, Structure] {
        let (mut pod, connection) = playing(keeping_plan());
        asks(&mut pod, connection, kind, Source::Sent(SENT));
        let encoded = pod.place(&["start Encode {", "TrackId(901)"]);
        let lent = pod.place(&["start Reference", "TrackId(901)"]);
        let told = pod.place(&["ReferenceApplied", "TrackId(901)"]);
        let gone = pod.place(&["Forget", "TrackId(901)"]);
        assert!(encoded < lent && lent < told && told < gone, "{:#?}", pod.said);
        assert_eq!(pod.count(&["start Rip"]), 0);
        assert!(pod.director.tracks().all(|(track, _)| track != SENT));
        assert_eq!(pod.director.unfinished(), Vec::<String>::new());
    }
}

#[test]
fn what_a_change_takes_on_the_device_is_counted_while_it_runs() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("reference");
    let mut workspace = |kind, source: Option<Source>| {
        asks(&mut pod, connection, kind, source);
        let (_, workspace) = pod.director.ledger_bytes();
        pod.finish("reference", Outcome::Done);
        workspace
    };
    let fixture = Some(Source::Track(FIXTURE));
    let [timbre, cleared] = [fixture, None].map(|source| workspace(Timbre, source));
    let [structure, let_go] = [fixture, None].map(|source| workspace(Structure, source));
    assert_eq!(
        (timbre, cleared, structure, let_go),
        (2, 2, 2, 1),
        "of which ticks have one"
    );
}

#[test]
fn the_work_of_a_change_is_what_it_touches() {
    let track = Some(FIXTURE);
    assert_eq!(Timbre.work(track), Some(Work::OpenStream));
    assert_eq!(Timbre.work(None), Some(Work::EncodePrompt));
    assert_eq!(Structure.work(track), Some(Work::EncodeSource));
    assert_eq!(Structure.work(None), None);
}

#[test]
fn nothing_is_done_to_let_go_of_nothing() {
    let (mut pod, connection) = playing(weighted_plan());
    asks(&mut pod, connection, Timbre, None);
    assert_eq!(applied(&pod, Timbre, None), 1);
    assert_eq!(pod.count(&["start"]), 0, "{:#?}", pod.said);
    asks(&mut pod, connection, Timbre, Source::Track(FIXTURE));
    pod.forget();
    asks(&mut pod, connection, Structure, None);
    assert_eq!(pod.count(&["start"]), 0, "a timbre is no structure");
    asks(&mut pod, connection, Timbre, None);
    assert_eq!(pod.count(&["start Reference", "track: None"]), 1);
    assert_eq!(applied(&pod, Timbre, None), 1);
    pod.forget();
    asks(&mut pod, connection, Timbre, None);
    assert_eq!(
        (pod.count(&["start"]), applied(&pod, Timbre, None)),
        (0, 1),
        "it was let go of"
    );
}

#[test]
fn one_that_is_let_go_of_while_it_is_taken_is_let_go_of_afterwards() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("reference");
    asks(&mut pod, connection, Timbre, Source::Track(FIXTURE));
    asks(&mut pod, connection, Timbre, None);
    assert_eq!(applied(&pod, Timbre, None), 0, "the live thread is still at the other");
    pod.finish("reference", Outcome::Done);
    assert_eq!(applied(&pod, Timbre, Some(FIXTURE)), 1);
    pod.finish("reference", Outcome::Done);
    assert!(pod.place(&["ReferenceApplied", "track: Some"]) < pod.place(&["ReferenceApplied", "track: None"]));
}

#[test]
fn of_several_of_a_kind_the_newest_wins_and_each_is_answered() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("encode");
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    asks(&mut pod, connection, Structure, Source::Track(FIXTURE));
    assert_eq!(
        failed(&pod, Timbre, Failure::Superseded),
        0,
        "the other kind is no newer one"
    );
    assert_eq!(applied(&pod, Structure, Some(FIXTURE)), 1, "nor waits for it");
    asks(&mut pod, connection, Timbre, Source::Sent(OTHER));
    assert_eq!(failed(&pod, Timbre, Failure::Superseded), 1);
    assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
    assert_eq!(pod.count(&["Cancel"]), 1, "its phase 1 is given up");
    pod.finish("encode", Outcome::Cancelled);
    pod.finish("encode", Outcome::Done);
    assert_eq!(applied(&pod, Timbre, Some(OTHER)), 1);
    assert_eq!(pod.count(&["ReferenceApplied"]), 2);
    assert_eq!(pod.director.unfinished(), Vec::<String>::new());
}

#[test]
fn audio_that_cannot_be_encoded_is_told_and_what_was_in_force_stays() {
    let (mut pod, connection) = playing(weighted_plan());
    asks(&mut pod, connection, Timbre, Source::Track(FIXTURE));
    pod.hold("encode");
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    pod.finish("encode", Outcome::Failed(Failure::BadAudio));
    assert_eq!(failed(&pod, Timbre, Failure::BadAudio), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["SwapFailed"]) + pod.count(&["Refuse"]), 0);
    assert_eq!(pod.director.seat(), Some((connection, "Live")));
    pod.forget();
    asks(&mut pod, connection, Timbre, None);
    assert_eq!(pod.count(&["start Reference"]), 1, "the fixture's was still in force");
}

#[test]
fn phase_1_is_told_also_while_the_live_thread_is_busy() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("encode");
    pod.hold("prompt");
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    pod.event(Event::PromptAsked { connection });
    pod.finish("encode", Outcome::Failed(Failure::TooShort));
    assert_eq!(failed(&pod, Timbre, Failure::TooShort), 1, "{:#?}", pod.said);
    pod.finish("prompt", Outcome::Done);
    assert_eq!(pod.count(&["ReferenceFailed"]), 1);
}

#[test]
fn a_change_that_fails_is_told_and_leaves_nothing() {
    for outcome in [BROKEN, Outcome::Cancelled] {
        let (mut pod, connection) = playing(weighted_plan());
        pod.hold("reference");
        asks(&mut pod, connection, Structure, Source::Sent(SENT));
        pod.finish("reference", outcome);
        assert_eq!(failed(&pod, Structure, Failure::Internal), 1);
        assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
        pod.forget();
        asks(&mut pod, connection, Structure, None);
        assert_eq!(pod.count(&["start"]), 0, "nothing is in force");
    }
}

#[test]
fn a_track_that_is_not_there_is_told_at_once() {
    let (mut pod, connection) = playing(weighted_plan());
    asks(&mut pod, connection, Timbre, Source::Track(OTHER));
    assert_eq!(failed(&pod, Timbre, Failure::Internal), 1);
    assert_eq!(pod.count(&["start"]), 0);
}

#[test]
fn whoever_does_not_play_is_not_heard() {
    let (mut pod, connection) = playing(weighted_plan());
    let stranger = common::declare(&mut pod, Intent::Session, 1);
    pod.forget();
    let stale = pod.director.counters().stale;
    asks(&mut pod, stranger, Timbre, Source::Sent(SENT));
    asks(&mut pod, stranger, Timbre, Source::Track(FIXTURE));
    assert_eq!(pod.director.counters().stale, stale + 2);
    assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
    assert_eq!(pod.said.len(), 1, "{:#?}", pod.said);
    pod.event(Event::ConnectionGone { connection });
    pod.forget();
    asks(&mut pod, connection, Timbre, Source::Sent(OTHER));
    assert_eq!(pod.count(&["Forget", "TrackId(902)"]), 1);
}

#[test]
fn a_session_that_leaves_takes_what_it_sent_with_it() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("reference");
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(pod.count(&["Cancel"]), 1);
    pod.finish("reference", Outcome::Cancelled);
    assert_eq!(pod.count(&["ReferenceApplied"]) + pod.count(&["ReferenceFailed"]), 0);
    assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
    let (next, _) = pod.session(2, Mode::Plain);
    assert_eq!(pod.director.seat(), Some((next, "Live")));
    pod.forget();
    asks(&mut pod, next, Timbre, None);
    assert_eq!(
        pod.count(&["start"]),
        0,
        "the next session begins with its source's own"
    );
}

#[test]
fn a_late_end_of_an_earlier_sessions_change_is_nothing_to_the_next() {
    let (mut pod, first) = playing(weighted_plan());
    pod.hold("reference");
    asks(&mut pod, first, Timbre, Source::Track(FIXTURE));
    let (second, _) = pod.session(2, Mode::Plain);
    pod.event(Event::ConnectionGone { connection: first });
    pod.finish("reference", Outcome::Done);
    assert_eq!(pod.count(&["ReferenceApplied"]), 0);
    assert_eq!(pod.director.seat(), Some((second, "Live")));
}

#[test]
fn what_plays_and_lends_is_kept_while_it_does_either() {
    let (mut pod, connection) = playing(weighted_plan());
    let swap = |pod: &mut Pod, source| {
        let mode = Mode::Plain;
        pod.event(Event::SwapAsked {
            connection,
            source,
            mode,
        });
    };
    swap(&mut pod, Source::Sent(SENT));
    // It plays: that it lent its timbre is no reason to let it go.
    asks(&mut pod, connection, Timbre, Source::Track(SENT));
    assert_eq!(applied(&pod, Timbre, Some(SENT)), 1);
    assert!(is_listed(&pod, SENT));
    // It is read by a change under way: that it plays no more is none either.
    pod.hold("reference");
    pod.hold("prompt");
    asks(&mut pod, connection, Structure, Source::Track(SENT));
    asks(&mut pod, connection, Timbre, Source::Track(SENT));
    swap(&mut pod, Source::Track(FIXTURE));
    pod.finish("reference", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady"]), 2, "{:#?}", pod.said);
    assert!(is_listed(&pod, SENT), "the other wish still waits");
    pod.finish("reference", Outcome::Done);
    assert_eq!(
        applied(&pod, Structure, Some(SENT)) + applied(&pod, Timbre, Some(SENT)),
        3
    );
    assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
}

#[test]
fn a_superseded_wish_for_what_is_being_read_does_not_take_it_away() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("reference");
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    asks(&mut pod, connection, Structure, Source::Track(SENT));
    asks(&mut pod, connection, Structure, Source::Track(FIXTURE));
    assert_eq!(
        pod.count(&["Forget", "TrackId(901)"]) + pod.count(&["Cancel"]),
        0,
        "{:#?}",
        pod.said
    );
    pod.finish("reference", Outcome::Done);
    assert_eq!(applied(&pod, Timbre, Some(SENT)), 1);
    assert_eq!(pod.count(&["Forget", "TrackId(901)"]), 1);
}

#[test]
fn a_pod_that_is_too_small_says_so_and_plays_on() {
    let mut plan = weighted_plan();
    plan.needs[Work::EncodeSource as usize].workspace_bytes = 79;
    let (mut pod, connection) = playing_fixture(plan);
    asks(&mut pod, connection, Structure, Source::Track(FIXTURE));
    assert_eq!(failed(&pod, Structure, Failure::OutOfMemory), 1, "{:#?}", pod.said);
    assert_eq!(pod.director.seat(), Some((connection, "Live")));
    pod.event(Event::PromptAsked { connection });
    assert_eq!(pod.count(&["PromptApplied"]), 1);
}

#[test]
fn of_what_there_is_no_room_for_the_first_that_is_due_is_told() {
    let mut plan = weighted_plan();
    // Neither a swap nor a structure fits; a prompt does.
    for work in [Work::EncodeSource, Work::OpenStream] {
        plan.needs[work as usize].workspace_bytes = if work == Work::EncodeSource { 79 } else { 20 };
    }
    let (mut pod, connection) = playing_fixture(plan);
    pod.hold("prompt");
    pod.event(Event::PromptAsked { connection });
    asks(&mut pod, connection, Structure, Source::Track(FIXTURE));
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Sent(SENT),
        mode: Mode::Plain,
    });
    pod.finish("prompt", Outcome::Done);
    assert_eq!(pod.count(&["PromptApplied"]), 1);
    assert_eq!(failed(&pod, Structure, Failure::OutOfMemory), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["SwapFailed", "OutOfMemory"]), 1, "its phase 1 does not fit");
    assert_eq!(pod.count(&["ReferenceFailed"]) + pod.count(&["SwapFailed"]), 2);
}

/// A session that plays the fixture, so that nothing has to be encoded.
fn playing_fixture(plan: Plan) -> (Pod, ConnectionId) {
    let mut pod = Pod::new(plan);
    pod.event(Event::TrackFound {
        track: FIXTURE,
        found: Found::Fixture,
    });
    let connection = common::declare(&mut pod, Intent::Session, 1);
    pod.event(Event::SessionAsked {
        connection,
        client: None,
        source: Source::Track(FIXTURE),
        mode: Mode::Plain,
    });
    assert_eq!(pod.director.seat(), Some((connection, "Live")), "{:#?}", pod.said);
    pod.forget();
    (pod, connection)
}

#[test]
fn a_rip_gives_way_to_a_change_and_is_let_by_in_time() {
    let (mut pod, connection) = playing(weighted_plan());
    pod.hold("rip");
    pod.upload();
    assert_eq!(pod.count(&["start Rip"]), 1);
    asks(&mut pod, connection, Timbre, Source::Track(FIXTURE));
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "{:#?}", pod.said);
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(applied(&pod, Timbre, Some(FIXTURE)), 1);
    pod.wait(Span::seconds(2));
    assert_eq!(pod.count(&["start Rip"]), 2, "and goes on");
}

#[test]
fn a_pod_without_weights_borrows_too() {
    let (mut pod, connection) = playing(spectral_plan());
    asks(&mut pod, connection, Timbre, Source::Sent(SENT));
    asks(&mut pod, connection, Structure, Source::Track(FIXTURE));
    assert_eq!(
        (
            applied(&pod, Timbre, Some(SENT)),
            applied(&pod, Structure, Some(FIXTURE))
        ),
        (1, 1)
    );
}

#[test]
fn the_checker_sees_how_many_wishes_wait() {
    let (mut pod, connection) = playing(spectral_plan());
    let waiting = |pod: &Pod| pod.director.live().unwrap().references;
    pod.hold("reference");
    // The first is carried out at once, and waits no longer.
    for (kind, wishes) in [(Timbre, 0), (Structure, 1), (Timbre, 2)] {
        asks(&mut pod, connection, kind, Source::Track(FIXTURE));
        assert_eq!(waiting(&pod), wishes);
    }
    for _ in 0..3 {
        pod.finish("reference", Outcome::Done);
    }
    assert_eq!(waiting(&pod), 0);
}
