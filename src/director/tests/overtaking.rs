//! How long a rip, and what is encoded of its stems, lets others by.

mod common;

use common::{Pod, keeping_plan, spectral_plan, weighted_plan};
use greenroom_director::{ConnectionId, Event, Failure, Mode, Outcome, Source, Span, TrackId};

/// Swaps to a track that can be played at once.
fn swap(pod: &mut Pod, connection: ConnectionId, track: TrackId) {
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Track(track),
        mode: Mode::Plain,
    });
}

/// Whoever asks without a pause is served first only so often: then the rip that waits has a batch, and they come after it.
#[test]
fn swaps_without_a_pause_let_a_rip_by_after_four() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, track) = pod.session(1, Mode::Plain);
    pod.hold("swap");
    swap(&mut pod, connection, track);
    pod.hold("rip");
    pod.upload();
    pod.forget();
    // The next swap is always there before the one under way is done.
    for _ in 0..4 {
        swap(&mut pod, connection, track);
        pod.finish("swap", Outcome::Done);
    }
    assert_eq!(
        pod.count(&["start Rip"]),
        0,
        "the fourth still overtakes: {:#?}",
        pod.said
    );
    swap(&mut pod, connection, track);
    pod.finish("swap", Outcome::Done);
    assert_eq!(pod.count(&["start SwapSource"]), 4, "{:#?}", pod.said);
    assert_eq!(
        pod.count(&["start Rip"]),
        1,
        "the fifth lets the rip by: {:#?}",
        pod.said
    );
    assert_eq!(pod.count(&["Cancel"]), 0, "and its batch is not abandoned");
    let (rip, _) = pod.pending[0];
    pod.event(Event::RipProgress {
        job: rip,
        done: 1,
        total: 9,
    });
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "one batch is enough: {:#?}", pod.said);
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(pod.count(&["start SwapSource"]), 5, "{:#?}", pod.said);
}

#[test]
fn uploads_without_a_pause_let_a_rip_by_after_four() {
    let mut pod = Pod::new(spectral_plan());
    pod.session(1, Mode::Plain);
    for kind in ["encode", "rip"] {
        pod.hold(kind);
    }
    pod.upload();
    // The second is begun before the first is saved and its rip waits; four more overtake it.
    for _ in 0..5 {
        pod.upload();
        pod.finish("encode", Outcome::Done);
    }
    pod.forget();
    pod.upload();
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["start Encode"]), 0, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start Rip"]), 1, "{:#?}", pod.said);
    let (rip, _) = *pod.pending.last().expect("the rip runs");
    pod.event(Event::RipProgress {
        job: rip,
        done: 1,
        total: 9,
    });
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(pod.count(&["start Encode"]), 1, "{:#?}", pod.said);
}

/// On a pod whose generator has no weights swaps are not in the way of a rip, and are never kept waiting for one.
#[test]
fn swaps_that_take_nothing_from_a_rip_never_wait_for_it() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, track) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    pod.forget();
    for _ in 0..20 {
        swap(&mut pod, connection, track);
    }
    assert_eq!(pod.count(&["SwapReady"]), 20);
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
}

#[test]
fn stems_are_encoded_under_their_groups_before_they_are_written() {
    let mut pod = Pod::new(keeping_plan());
    pod.session(1, Mode::Plain);
    pod.forget();
    pod.upload();
    let encoded = pod.place(&["start EncodeStems"]);
    assert!(pod.place(&["start Park", "Separator"]) < encoded);
    assert!(pod.place(&["start Restore", "Vae"]) < encoded);
    assert!(encoded < pod.place(&["start SaveStems"]));
    assert_eq!(pod.count(&["PushStems"]), 1);
    // What only this session has is not written, so nothing is encoded for it.
    let mut pod = Pod::new(keeping_plan());
    pod.session(1, Mode::Full);
    assert_eq!(pod.count(&["PushStems"]), 1);
    assert_eq!(pod.count(&["start EncodeStems"]), 0);
    // A generator that keeps nothing costs nothing.
    let mut pod = Pod::new(weighted_plan());
    pod.upload();
    assert_eq!(pod.count(&["start SaveStems"]), 1);
    assert_eq!(pod.count(&["start EncodeStems"]), 0);
}

#[test]
fn the_next_rip_waits_until_the_stems_of_the_last_are_encoded() {
    let mut pod = Pod::new(keeping_plan());
    for kind in ["rip", "encode stems"] {
        pod.hold(kind);
    }
    pod.upload();
    pod.upload();
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    pod.finish("rip", Outcome::Done);
    pod.forget();
    assert!(pod.held.contains("encode stems"));
    assert_eq!(common::kind(&pod.pending[0].1), "encode stems");
    pod.finish("encode stems", Outcome::Done);
    assert!(pod.place(&["start SaveStems"]) < pod.place(&["start Rip"]));
}

#[test]
fn the_encoding_of_stems_gives_way_to_uploads_and_not_for_ever() {
    let mut pod = Pod::new(keeping_plan());
    pod.hold("encode stems");
    pod.upload();
    for _ in 0..3 {
        pod.forget();
        pod.upload();
        assert_eq!(pod.count(&["Cancel", "Now"]), 1, "{:#?}", pod.said);
        pod.finish("encode stems", Outcome::Cancelled);
        assert_eq!(pod.count(&["UploadOk"]), 1);
        assert_eq!(pod.count(&["start EncodeStems"]), 1, "{:#?}", pod.said);
    }
    pod.forget();
    pod.upload();
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
    pod.finish("encode stems", Outcome::Done);
    assert_eq!(pod.count(&["UploadOk"]), 1);
}

/// Stems that were made are not lost because what would be kept of them could not be.
#[test]
fn stems_that_cannot_be_encoded_are_written_without() {
    for failure in [Failure::OutOfMemory, Failure::Internal] {
        let mut pod = Pod::new(keeping_plan());
        pod.session(1, Mode::Plain);
        pod.hold("encode stems");
        pod.upload();
        pod.finish("encode stems", Outcome::Failed(failure));
        assert_eq!(pod.count(&["start SaveStems"]), 1);
        assert_eq!(pod.count(&["PushStems"]), 1);
        assert_eq!(pod.count(&["Refuse"]), 0, "{:#?}", pod.said);
        assert!(pod.director.unfinished().is_empty(), "{:?}", pod.director.unfinished());
    }
    // The groups would not come back for it either: nobody but it waits for them.
    let mut pod = Pod::new(keeping_plan());
    pod.hold("rip");
    pod.upload();
    pod.hold("restore");
    pod.finish("rip", Outcome::Done);
    while pod.pending.iter().any(|(_, task)| common::kind(task) == "restore") {
        pod.finish("restore", Outcome::Failed(Failure::OutOfMemory));
    }
    assert_eq!(pod.count(&["start EncodeStems"]), 0);
    assert_eq!(pod.count(&["start SaveStems"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_wipe_while_stems_are_encoded_keeps_them_from_the_disk() {
    let mut pod = Pod::new(keeping_plan());
    let (first, _) = pod.session(1, Mode::Plain);
    pod.hold("encode stems");
    let (_, track) = pod.upload();
    pod.forget();
    pod.event(Event::ConnectionGone { connection: first });
    pod.wait(Span::seconds(31));
    assert_eq!(pod.count(&["Cancel"]), 1);
    assert_eq!(pod.count(&["start Wipe"]), 0, "the encoding still reads it");
    pod.finish("encode stems", Outcome::Done);
    assert_eq!(pod.count(&["start SaveStems"]), 0);
    assert_eq!(pod.count(&["start Wipe", &format!("{track:?}")]), 1);
    assert!(pod.director.unfinished().is_empty());
}

/// A report that says nothing new is no batch.
#[test]
fn a_rip_that_reports_and_does_not_get_on_is_still_owed_its_batch() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, track) = pod.session(1, Mode::Plain);
    for kind in ["swap", "rip"] {
        pod.hold(kind);
    }
    swap(&mut pod, connection, track);
    pod.upload();
    for _ in 0..5 {
        swap(&mut pod, connection, track);
        pod.finish("swap", Outcome::Done);
    }
    let (job, _) = pod.pending[0];
    let total = 9;
    for (done, cancelled) in [(0, 0), (1, 1)] {
        pod.event(Event::RipProgress { job, done, total });
        assert_eq!(pod.count(&["Cancel", "Now"]), cancelled, "{done}: {:#?}", pod.said);
    }
}

#[test]
fn swaps_never_wait_for_a_rip_that_keeps_away_from_nobody() {
    let mut pod = Pod::new(greenroom_director::Plan {
        policy: greenroom_director::Policy::Never,
        ..weighted_plan()
    });
    let (connection, track) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    for _ in 0..20 {
        swap(&mut pod, connection, track);
    }
    assert_eq!(pod.count(&["SwapReady"]), 20, "{:#?}", pod.said);
}

#[test]
fn stems_are_not_encoded_any_more_when_the_pod_ends() {
    let mut pod = Pod::new(keeping_plan());
    pod.hold("encode stems");
    let (connection, _) = pod.upload();
    pod.event(Event::ShutdownAsked);
    pod.event(Event::ConnectionGone { connection });
    pod.finish("encode stems", Outcome::Cancelled);
    assert_eq!(pod.count(&["start EncodeStems"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["Exit { code: 0 }"]), 1);
}

#[test]
fn whether_a_rip_is_owed_a_turn_can_be_seen() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, track) = pod.session(1, Mode::Plain);
    for kind in ["swap", "rip"] {
        pod.hold(kind);
    }
    swap(&mut pod, connection, track);
    pod.upload();
    assert!(!pod.director.owes_rip_a_turn());
    for _ in 0..4 {
        swap(&mut pod, connection, track);
        pod.finish("swap", Outcome::Done);
    }
    assert!(pod.director.owes_rip_a_turn());
}
