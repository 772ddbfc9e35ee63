//! A rip that memory runs out under: once more from the beginning, then it is told.

mod common;

use common::{BROKEN, Pod, keeping_plan, spectral_plan, weighted_plan};
use greenroom_director::{Event, Failure, JobId, Mode, Outcome, Plan, Span, Task, TrackId};

const SHORT: Outcome = Outcome::Failed(Failure::OutOfMemory);

/// A session that plays, and an upload whose rip is under way.
fn ripping(plan: Plan) -> (Pod, TrackId) {
    let mut pod = Pod::new(plan);
    pod.session(1, Mode::Plain);
    pod.hold("rip");
    let (_, track) = pod.upload();
    pod.forget();
    (pod, track)
}

fn rip_under_way(pod: &Pod) -> JobId {
    let rip = pod.pending.iter().find(|(_, task)| matches!(task, Task::Rip { .. }));
    rip.expect("a rip is under way").0
}

fn progress(pod: &mut Pod, done: u32) {
    let job = rip_under_way(pod);
    pod.event(Event::RipProgress { job, done, total: 4 });
}

#[test]
fn a_rip_out_of_memory_is_tried_once_more_and_its_stems_come() {
    for plan in [spectral_plan(), weighted_plan(), keeping_plan()] {
        let (mut pod, track) = ripping(plan);
        pod.finish("rip", SHORT);
        assert_eq!(pod.count(&["start Rip", &format!("{track:?}")]), 1, "{:#?}", pod.said);
        assert_eq!(pod.count(&["PushStem", "Failure"]), 0, "{:#?}", pod.said);
        pod.finish("rip", Outcome::Done);
        assert_eq!(pod.count(&["PushStems"]), 1, "{:#?}", pod.said);
        assert!(pod.director.unfinished().is_empty(), "{:?}", pod.director.unfinished());
    }
}

#[test]
fn the_second_time_the_owner_is_told_and_the_session_plays_on() {
    for plan in [spectral_plan(), weighted_plan(), keeping_plan()] {
        let (mut pod, track) = ripping(plan);
        pod.finish("rip", SHORT);
        pod.forget();
        pod.finish("rip", SHORT);
        let told = ["PushStemFailure", &format!("{track:?}"), "OutOfMemory"];
        assert_eq!(pod.count(&told), 1, "{:#?}", pod.said);
        assert_eq!(pod.count(&["start Rip"]), 0, "{:#?}", pod.said);
        assert_eq!(pod.count(&["start SaveStems"]), 0);
        assert!(pod.director.unfinished().is_empty(), "{:?}", pod.director.unfinished());
        assert!(pod.director.live().is_some());
        // The next upload is nobody's second try.
        pod.upload();
        pod.finish("rip", SHORT);
        pod.finish("rip", Outcome::Done);
        assert_eq!(pod.count(&["PushStems"]), 1, "{:#?}", pod.said);
    }
}

/// The driver drops what was done, so batches after the first failure say nothing: a track may always need more than there is at its third.
#[test]
fn it_begins_anew_and_batches_done_since_earn_no_third_try() {
    let (mut pod, _) = ripping(spectral_plan());
    progress(&mut pod, 3);
    pod.finish("rip", SHORT);
    assert_eq!(
        pod.count(&["PushStemProgress", "done: 0, total: 0"]),
        2,
        "{:#?}",
        pod.said
    );
    progress(&mut pod, 3);
    pod.finish("rip", Outcome::Yielded { abandoned: false });
    pod.finish("rip", SHORT);
    assert_eq!(pod.count(&["PushStemFailure", "OutOfMemory"]), 1, "{:#?}", pod.said);
}

#[test]
fn its_batch_may_be_abandoned_as_often_as_any() {
    let (mut pod, _) = ripping(spectral_plan());
    for _ in 0..3 {
        pod.upload();
        pod.finish("rip", Outcome::Yielded { abandoned: true });
    }
    pod.finish("rip", SHORT);
    pod.forget();
    pod.upload();
    assert_eq!(pod.count(&["Cancel", "Now"]), 1, "{:#?}", pod.said);
}

#[test]
fn other_failures_are_told_at_once_the_first_time_and_the_second() {
    let (mut pod, _) = ripping(spectral_plan());
    pod.finish("rip", BROKEN);
    assert_eq!(pod.count(&["PushStemFailure", "Internal"]), 1, "{:#?}", pod.said);
    pod.upload();
    pod.finish("rip", SHORT);
    pod.forget();
    pod.finish("rip", BROKEN);
    assert_eq!(pod.count(&["PushStemFailure", "Internal"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start Rip"]), 0);
}

#[test]
fn a_wipe_between_the_tries_discards_it() {
    let (mut pod, track) = ripping(spectral_plan());
    pod.finish("rip", SHORT);
    let (first, _) = pod.director.seat().expect("somebody plays");
    pod.event(Event::ConnectionGone { connection: first });
    pod.wait(Span::seconds(31));
    assert_eq!(pod.count(&["Cancel"]), 1, "{:#?}", pod.said);
    pod.forget();
    pod.finish("rip", SHORT);
    assert_eq!(pod.count(&["start Rip"]), 0, "{:#?}", pod.said);
    assert_eq!(pod.count(&["PushStemFailure"]), 0);
    assert_eq!(pod.count(&["start Wipe", &format!("{track:?}")]), 1);
    assert!(pod.director.unfinished().is_empty());
}

#[test]
fn a_wipe_while_the_second_try_waits_for_an_upload_means_that_there_is_none() {
    let (mut pod, track) = ripping(spectral_plan());
    let (first, _) = pod.director.seat().expect("somebody plays");
    pod.hold("encode");
    pod.upload();
    pod.finish("rip", SHORT);
    assert_eq!(pod.count(&["start Rip"]), 0, "the upload goes first: {:#?}", pod.said);
    pod.event(Event::ConnectionGone { connection: first });
    pod.wait(Span::seconds(31));
    pod.finish("encode", Outcome::Cancelled);
    assert_eq!(pod.count(&["start Rip"]), 0, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start Wipe", &format!("{track:?}")]), 1);
    assert!(pod.director.unfinished().is_empty(), "{:?}", pod.director.unfinished());
}

#[test]
fn a_rip_that_was_owed_its_turn_is_still_owed_it_when_it_is_tried_again() {
    let (mut pod, _) = ripping(spectral_plan());
    for _ in 0..4 {
        pod.upload();
        pod.finish("rip", Outcome::Yielded { abandoned: true });
    }
    pod.upload();
    pod.forget();
    pod.finish("rip", SHORT);
    assert_eq!(pod.count(&["start Rip"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["start Encode"]), 0, "{:#?}", pod.said);
    pod.finish("rip", SHORT);
    assert_eq!(pod.count(&["PushStemFailure", "OutOfMemory"]), 1);
    assert_eq!(pod.count(&["UploadOk"]), 1, "{:#?}", pod.said);
}
