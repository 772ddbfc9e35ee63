//! Ends: of the pod, of sessions, of jobs; what is cancelled, and what is left to finish.

mod common;

use common::{Pod, is_listed, spectral_plan};
use greenroom_director::{Event, Failure, Found, Mode, Outcome, Span, TrackId};

#[test]
fn a_pod_that_ends_takes_nobody_in_and_begins_nothing() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    pod.upload();
    pod.event(Event::ShutdownAsked);
    pod.forget();
    let late = pod.connect();
    assert_eq!(
        pod.count(&["Close ", &format!("{late:?}"), "GoingAway"]),
        1,
        "{:#?}",
        pod.said
    );
    pod.finish("encode", Outcome::Done);
    assert_eq!(
        pod.count(&["start Save"]) + pod.count(&["start Encode"]),
        0,
        "{:#?}",
        pod.said
    );
}

#[test]
fn a_shutdown_waits_for_whatever_is_under_way() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    let (connection, _) = pod.upload();
    pod.event(Event::ShutdownAsked);
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(pod.count(&["Exit"]), 0, "somebody computes still");
    pod.finish("encode", Outcome::Cancelled);
    assert_eq!(pod.count(&["Exit { code: 0 }"]), 1);
}

#[test]
fn a_shutdown_waits_for_the_session_on_the_chair() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.obeys_gate = false;
    pod.event(Event::ShutdownAsked);
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(pod.count(&["Exit"]), 0, "its last tick runs still");
    let closing = pod.closings.pop().unwrap();
    pod.event(Event::GateDrained { closing });
    assert_eq!(pod.count(&["Exit { code: 0 }"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_lost_device_waits_for_the_disk_and_for_nothing_else() {
    let mut pod = Pod::new(spectral_plan());
    let (session, _) = pod.session(1, Mode::Plain);
    pod.hold("save");
    pod.hold("encode");
    let (first, _) = pod.upload();
    pod.finish("encode", Outcome::Done);
    let (second, _) = pod.upload();
    pod.event(Event::DeviceLost);
    for connection in [session, first, second] {
        pod.event(Event::ConnectionGone { connection });
    }
    assert_eq!(pod.count(&["Exit"]), 0, "a manifest is being written");
    pod.finish("save", Outcome::Done);
    assert_eq!(pod.count(&["Exit { code: 75 }"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_job_that_meets_a_lost_device_loses_it_for_the_pod() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    pod.upload();
    pod.finish("encode", Outcome::Failed(Failure::DeviceLost));
    pod.wait(Span::seconds(11));
    assert_eq!(pod.count(&["Exit { code: 75 }"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_stream_is_closed_once_the_last_tick_is_over() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.obeys_gate = false;
    pod.forget();
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(pod.count(&["start CloseStream"]), 0, "a tick may still run on it");
    let closing = pod.closings.pop().unwrap();
    pod.event(Event::GateDrained { closing: closing + 1 });
    assert_eq!(pod.count(&["start CloseStream"]), 0, "that was another closing");
    pod.event(Event::GateDrained { closing });
    assert_eq!(pod.count(&["start CloseStream"]), 1);
}

#[test]
fn whoever_leaves_takes_the_opening_of_a_stream_along_and_nothing_else() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("save");
    pod.hold("open");
    let (first, _) = pod.session(1, Mode::Plain);
    pod.upload();
    pod.forget();
    pod.event(Event::ConnectionGone { connection: first });
    assert_eq!(
        pod.count(&["Cancel"]),
        1,
        "the stream, not the manifest: {:#?}",
        pod.said
    );
    // It does not end; that it should is said once.
    pod.wait(Span::seconds(25));
    pod.finish("save", Outcome::Done);
    pod.wait(Span::seconds(36));
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "{:#?}", pod.said);
    pod.finish("open", Outcome::Cancelled);
    assert_eq!(pod.director.seat(), None);
}

#[test]
fn work_for_a_track_that_goes_is_given_up_and_the_disk_is_left_to_finish() {
    let mut pod = Pod::new(spectral_plan());
    let (session, _) = pod.session(1, Mode::Plain);
    pod.hold("save");
    pod.upload();
    pod.hold("encode");
    let (_, track) = pod.upload();
    pod.event(Event::ConnectionGone { connection: session });
    pod.forget();
    let (encode, _) = *pod.pending.last().unwrap();
    pod.wait(Span::seconds(31));
    assert_eq!(pod.count(&["Cancel"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["Cancel", &format!("{encode:?}")]), 1);
    assert_eq!(pod.count(&["UploadFailed", "Superseded"]), 2);
    pod.finish("encode", Outcome::Cancelled);
    pod.finish("save", Outcome::Done);
    assert_eq!(pod.count(&["UploadOk"]), 0);
    assert_eq!(pod.count(&["start Wipe", &format!("{track:?}")]), 1);
    assert!(pod.director.unfinished().is_empty(), "{:?}", pod.director.unfinished());
}

#[test]
fn one_track_that_goes_does_not_stop_the_work_for_another() {
    let mut pod = Pod::new(spectral_plan());
    let (_, unclaimed) = pod.upload();
    pod.wait(Span::seconds(300));
    pod.hold("encode");
    let (_, other) = pod.upload();
    pod.forget();
    pod.wait(Span::seconds(1));
    pod.hold("rip");
    pod.finish("encode", Outcome::Done);
    pod.wait(Span::seconds(300));
    assert!(!is_listed(&pod, unclaimed) && is_listed(&pod, other));
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
}

#[test]
fn what_computes_is_given_up_when_the_pod_ends() {
    let mut pod = Pod::new(spectral_plan());
    for track in [TrackId(70), TrackId(71)] {
        let found = Found::UploadOwingStems;
        pod.hold("rip");
        pod.event(Event::TrackFound { track, found });
    }
    pod.event(Event::Timer);
    assert_eq!(pod.count(&["start Rip"]), 1);
    pod.forget();
    pod.event(Event::ShutdownAsked);
    assert_eq!(pod.count(&["Cancel"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "an end does not wait for a batch");
    assert_eq!(pod.count(&["Exit"]), 0);
    pod.finish("rip", Outcome::Cancelled);
    assert_eq!(pod.count(&["Exit { code: 0 }"]), 1);
}

#[test]
fn a_wipe_that_failed_is_tried_again_after_a_while_and_not_at_once() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.upload();
    pod.hold("wipe");
    pod.event(Event::ConnectionGone { connection });
    pod.wait(Span::seconds(31));
    pod.finish("wipe", common::BROKEN);
    assert_eq!(pod.count(&["start Wipe"]), 1);
    pod.wait(Span::milliseconds(4_999));
    assert_eq!(pod.count(&["start Wipe"]), 1);
    pod.wait(Span::milliseconds(2));
    assert_eq!(pod.count(&["start Wipe"]), 2);
    pod.finish("wipe", Outcome::Done);
    assert!(pod.director.unfinished().is_empty());
}
