//! What the checker and the simulation see of a director, and what counts as the same state.

mod common;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
};

use common::{Pod, spectral_plan, weighted_plan};
use greenroom_director::{
    ClientKey, Close, ConnectionId, Director, Event, Found, Intent, Mode, Outcome, Source, Span, TABLES, TrackId,
    coverage::{self, Walked},
};

fn hash(director: &Director) -> u64 {
    let mut hasher = DefaultHasher::new();
    director.canonical_hash(&mut hasher);
    hasher.finish()
}

fn fixture(pod: &mut Pod, track: TrackId) {
    let found = Found::FixtureWithStems;
    pod.event(Event::TrackFound { track, found });
}

/// A session that plays what is there already.
fn session_on(pod: &mut Pod, track: TrackId, client: u64) -> ConnectionId {
    let connection = pod.connect();
    pod.event(Event::HandshakeDeclared {
        connection,
        intent: Intent::Session,
        bytes: 1,
    });
    pod.event(Event::SessionAsked {
        connection,
        client: Some(ClientKey(client)),
        source: Source::Track(track),
        mode: Mode::Plain,
    });
    connection
}

#[test]
fn the_live_session_and_what_it_waits_for() {
    let mut pod = Pod::new(spectral_plan());
    assert_eq!(pod.director.live(), None);
    pod.hold("swap");
    pod.hold("prompt");
    fixture(&mut pod, TrackId(70));
    let connection = session_on(&mut pod, TrackId(70), 1);
    let seen = |pod: &Pod| {
        let live = pod.director.live()?;
        Some((live.connection, live.swaps, live.is_prompting, live.is_wanted))
    };
    assert_eq!(seen(&pod), Some((connection, 0, false, true)));
    for swaps in 1..=2 {
        pod.event(Event::SwapAsked {
            connection,
            source: Source::Track(TrackId(70)),
            mode: Mode::Plain,
        });
        assert_eq!(seen(&pod), Some((connection, swaps, false, true)));
    }
    pod.event(Event::PromptAsked { connection });
    let wanted = false;
    pod.event(Event::Playing { connection, wanted });
    assert_eq!(seen(&pod), Some((connection, 2, true, false)));
}

#[test]
fn what_is_unfinished_and_what_is_owed() {
    let at_rest = |pod: &Pod| {
        let director = &pod.director;
        (director.is_at_rest(), director.unfinished().len(), director.owing())
    };
    let mut pod = Pod::new(spectral_plan());
    assert_eq!(at_rest(&pod), (true, 0, vec![]));
    for held in ["encode", "rip", "wipe"] {
        pod.hold(held);
    }
    let (session, _) = pod.session(1, Mode::Plain);
    assert!(!pod.director.is_at_rest());
    pod.finish("encode", Outcome::Done);
    let (_, track) = pod.upload();
    // A track in phase 1 and its job.
    assert_eq!(at_rest(&pod), (false, 2, vec![]));
    pod.finish("encode", Outcome::Done);
    // A track whose stems are made and the job that makes them.
    assert_eq!(at_rest(&pod), (false, 2, vec![track]));
    pod.event(Event::ConnectionGone { connection: session });
    pod.wait(Span::seconds(31));
    pod.finish("rip", Outcome::Cancelled);
    // A track that goes and its wipe.
    assert_eq!(at_rest(&pod), (false, 2, vec![]));
    pod.finish("wipe", common::BROKEN);
    // Its files are there still, and nobody is at it.
    assert_eq!(at_rest(&pod), (false, 1, vec![]));
    let unfinished = pod.director.unfinished();
    assert!(unfinished[0].starts_with("track"), "{unfinished:?}");
}

#[test]
fn the_end_and_what_is_armed() {
    let mut pod = Pod::new(spectral_plan());
    let ends = |pod: &Pod| (pod.director.is_ending(), pod.director.has_ended());
    assert_eq!(ends(&pod), (false, false));
    assert_eq!((pod.director.armed(), pod.director.awaits_job()), (vec![], false));
    let connection = pod.connect();
    let first_frame = (pod.now + Span::seconds(10), "FirstFrame(ConnectionId(1))".to_owned());
    assert_eq!(pod.director.armed(), [first_frame]);
    assert!(!pod.director.awaits_job());
    pod.event(Event::ShutdownAsked);
    assert_eq!(ends(&pod), (true, false));
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(ends(&pod), (true, true));

    let mut pod = Pod::new(weighted_plan());
    pod.hold("restore");
    pod.event(Event::Timer);
    assert!(pod.director.awaits_job());
}

#[test]
fn states_that_differ_have_different_hashes() {
    let mut empty = Pod::new(spectral_plan());
    let before = hash(&empty.director);
    empty.connect();
    assert_ne!(hash(&empty.director), before);
    // Which of three tracks plays, and whether the candidate is the incumbent's own client.
    let mut hashes = BTreeMap::new();
    for playing in [70, 71, 72] {
        for candidate in [1, 2] {
            let mut pod = Pod::new(spectral_plan());
            fixture(&mut pod, TrackId(70));
            fixture(&mut pod, TrackId(71));
            fixture(&mut pod, TrackId(72));
            session_on(&mut pod, TrackId(playing), 1);
            session_on(&mut pod, TrackId(playing), candidate);
            hashes.insert(hash(&pod.director), (playing, candidate));
        }
    }
    assert_eq!(hashes.len(), 6, "{hashes:?}");
}

#[test]
fn how_often_the_gate_has_closed_is_no_part_of_a_state() {
    let lived = |sessions: u64| {
        let mut pod = Pod::new(spectral_plan());
        fixture(&mut pod, TrackId(70));
        for session in 1..=sessions {
            let connection = session_on(&mut pod, TrackId(70), session);
            pod.obeys_gate = session < sessions;
            pod.event(Event::ConnectionGone { connection });
            if session < sessions {
                pod.wait(Span::seconds(31));
            }
        }
        assert_eq!(pod.director.closing(), Some(sessions));
        hash(&pod.director)
    };
    assert_eq!(lived(1), lived(3));
}

#[test]
fn cells_that_were_walked_are_counted_and_no_others() {
    let all: usize = TABLES.iter().map(|table| table.rows.len()).sum();
    let _before = Walked::take();
    assert_eq!(Walked::take().missed().len(), all);
    let mut pod = Pod::new(weighted_plan());
    pod.hold("restore");
    pod.event(Event::Timer);
    let begun = Walked::take();
    assert_eq!(begun.missed().len(), all - 1);
    assert!(!begun.missed().contains(&"Placement.Parked.restore".to_owned()));
    pod.finish("restore", Outcome::Done);
    let arrived = Walked::take();
    assert_eq!(
        arrived.missed().len(),
        all - 2,
        "it arrived, and the next one is on its way"
    );
    assert_eq!(begun.and(arrived), arrived);
    assert_eq!(Walked::default().and(begun), begun);

    pod.finish("restore", Outcome::Done);
    let cells = [
        ("Placement", "Parked", "restore"),
        ("Placement", "Restoring", "restored"),
    ];
    assert_eq!(coverage::take(), BTreeMap::from(cells.map(|cell| (cell, 1))));
}

#[test]
fn how_far_a_rip_is() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("rip");
    let (_, track) = pod.upload();
    let rip = |pod: &Pod| {
        let (_, view) = pod.director.tracks().find(|(id, _)| *id == track)?;
        Some(view.rip?.progress())
    };
    assert_eq!(rip(&pod), Some((0, 0)));
    let (job, _) = pod.pending[0];
    let (done, total) = (3, 9);
    pod.event(Event::RipProgress { job, done, total });
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(rip(&pod), Some((3, 1)));
    pod.finish("rip", Outcome::Done);
    assert_eq!(rip(&pod), None);
}

/// The protocol's codes: clients go by them.
#[test]
fn every_close_has_its_code() {
    let codes = [
        (Close::GoingAway, 1001),
        (Close::Preempted, 4001),
        (Close::NoFirstFrame, 4003),
        (Close::Stalled, 4002),
    ];
    for (close, code) in codes {
        assert_eq!(close.code(), code, "{close:?}");
    }
}
