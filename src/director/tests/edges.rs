//! Where one more byte, one more second or one event in another order makes the difference. Each of these was a mutant that nobody noticed.

mod common;

use common::{Pod, spectral_plan, weighted_plan};
use greenroom_director::{
    ConnectionId, Effects, Event, Failure, Found, Group, Intent, Mode, Moment, Outcome, Phase, Plan, Policy, Source,
    Span, TrackId, Uploads,
};

fn declare(pod: &mut Pod, intent: Intent, bytes: u64) -> ConnectionId {
    let connection = pod.connect();
    pod.event(Event::HandshakeDeclared {
        connection,
        intent,
        bytes,
    });
    connection
}

fn is_listed(pod: &Pod, track: TrackId) -> bool {
    pod.director.tracks().any(|(id, view)| id == track && view.is_usable)
}

#[test]
fn exactly_the_limit_of_bytes_is_taken_and_one_more_is_not() {
    let limit = spectral_plan().limits.handshake_bytes;
    let mut pod = Pod::new(spectral_plan());
    declare(&mut pod, Intent::Session, limit);
    assert_eq!(pod.count(&["Proceed"]), 1);
    declare(&mut pod, Intent::Session, 1);
    assert_eq!(pod.count(&["Refuse", "Busy"]), 1);
}

#[test]
fn what_a_session_sent_counts_no_more_once_it_plays() {
    let limit = spectral_plan().limits.handshake_bytes;
    let mut pod = Pod::new(spectral_plan());
    let connection = declare(&mut pod, Intent::Session, limit);
    let track = TrackId(70);
    pod.event(Event::SessionAsked {
        connection,
        client: None,
        source: Source::Sent(track),
        mode: Mode::Plain,
    });
    assert_eq!(pod.director.seat(), Some((connection, "Live")));
    declare(&mut pod, Intent::Upload, limit);
    assert_eq!(pod.count(&["Proceed"]), 2, "{:#?}", pod.said);
}

#[test]
fn the_limit_of_tracks_counts_uploads_and_nothing_else() {
    let mut plan = spectral_plan();
    plan.limits.tracks = 1;
    let mut pod = Pod::new(plan);
    for track in [TrackId(70), TrackId(71)] {
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track, found });
    }
    pod.upload();
    assert_eq!(pod.count(&["UploadOk"]), 1);
    declare(&mut pod, Intent::Upload, 1);
    assert_eq!(pod.count(&["Refuse", "DiskFull"]), 1);
}

#[test]
fn an_upload_that_began_in_another_session_is_superseded() {
    let mut pod = Pod::new(spectral_plan());
    let (first, _) = pod.session(1, Mode::Plain);
    let connection = declare(&mut pod, Intent::Upload, 1);
    pod.session(2, Mode::Plain);
    pod.event(Event::ConnectionGone { connection: first });
    let track = TrackId(70);
    pod.event(Event::UploadAsked { connection, track });
    assert_eq!(pod.count(&["UploadFailed", "Superseded"]), 1, "{:#?}", pod.said);
    assert!(!is_listed(&pod, track));
}

#[test]
fn only_an_upload_that_nobody_owns_waits_for_a_session_and_only_where_uploads_are_wiped() {
    let later = Span::seconds(601);
    let mut owned = Pod::new(spectral_plan());
    owned.session(1, Mode::Plain);
    let (_, track) = owned.upload();
    owned.wait(later);
    assert!(is_listed(&owned, track), "its session is still there");

    for (uploads, stays) in [(Uploads::Wipe, false), (Uploads::Keep, true)] {
        let mut pod = Pod::new(Plan {
            uploads,
            ..spectral_plan()
        });
        let (_, track) = pod.upload();
        pod.wait(later);
        assert_eq!(is_listed(&pod, track), stays, "{uploads:?}");
    }
}

#[test]
fn events_and_stale_ones_are_counted() {
    let mut pod = Pod::new(spectral_plan());
    let connection = ConnectionId(70);
    pod.event(Event::ConnectionGone { connection });
    pod.event(Event::PromptAsked { connection });
    pod.event(Event::Timer);
    let counters = pod.director.counters();
    assert_eq!((counters.events, counters.stale), (3, 2));
}

#[test]
fn effects_are_seen_before_they_are_taken() {
    let mut director = greenroom_director::Director::new(spectral_plan());
    let mut effects = Effects::new();
    director.handle(Moment(0), Event::ShutdownAsked, &mut effects);
    assert_eq!(format!("{:?}", effects.as_slice()), "[Exit { code: 0 }]");
    assert_eq!(effects.drain().count(), 1);
    assert!(effects.as_slice().is_empty());
}

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

/// Uploads under this policy, beside a session; whether any eager group left for the rip.
fn parks(policy: Policy, budget_bytes: u64) -> bool {
    let mut pod = Pod::new(Plan {
        policy,
        budget_bytes,
        ..weighted_plan()
    });
    pod.session(1, Mode::Plain);
    pod.forget();
    pod.upload();
    assert_eq!(
        pod.count(&["PushStems"]),
        1,
        "{policy:?} {budget_bytes}: {:#?}",
        pod.said
    );
    pod.count(&["start Park"]) > pod.count(&["start Park", "Separator"])
}

#[test]
fn eager_groups_leave_where_less_than_the_reserve_would_be_left() {
    // Eager groups weigh 60.
    let auto = Policy::Auto { reserve_bytes: 10 };
    assert!(!parks(auto, 70), "exactly the reserve is left");
    assert!(parks(auto, 69), "one less");
    assert!(!parks(auto, 200));
    assert!(!parks(Policy::Never, 80));
    assert!(parks(Policy::Always, 200));
}

#[test]
fn what_others_hold_counts_towards_the_reserve() {
    let auto = Policy::Auto { reserve_bytes: 10 };
    let mut pod = Pod::new(Plan {
        policy: auto,
        budget_bytes: 100,
        ..weighted_plan()
    });
    pod.session(1, Mode::Plain);
    pod.event(Event::ForeignMemory { bytes: 31 });
    pod.forget();
    pod.upload();
    assert!(pod.count(&["start Park", "Dit"]) > 0, "{:#?}", pod.said);
}

#[test]
fn a_separator_that_came_in_beside_nobody_leaves_before_anybody_returns() {
    let auto = Policy::Auto { reserve_bytes: 10 };
    let mut pod = Pod::new(Plan {
        policy: auto,
        budget_bytes: 69,
        ..weighted_plan()
    });
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    // Now there is room for both; it came in alone all the same.
    pod.event(Event::ForeignMemory { bytes: 0 });
    pod.forget();
    pod.event(Event::PromptAsked { connection });
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert!(
        pod.place(&["start Park", "Separator"]) < pod.place(&["start Restore"]),
        "{:#?}",
        pod.said
    );
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
fn a_group_that_will_not_leave_loses_the_device_at_the_second_try_and_not_before() {
    let mut pod = Pod::new(weighted_plan());
    pod.session(1, Mode::Plain);
    pod.hold("park");
    pod.upload();
    // Two groups that would not go once each: that may be chance.
    for group in [Group::Conditioner, Group::Dit] {
        assert_eq!(pod.director.phase(group), Phase::Parking);
        pod.finish("park", common::BROKEN);
    }
    assert_eq!(pod.count(&["DeviceLost"]), 0);
    assert_eq!(pod.director.phase(Group::Dit), Phase::Parking, "it is tried again");
    pod.finish("park", common::BROKEN);
    assert!(pod.count(&["DeviceLost"]) > 0, "{:#?}", pod.said);
}

#[test]
fn a_group_that_left_at_the_second_try_is_forgiven_the_first() {
    let mut pod = Pod::new(weighted_plan());
    pod.session(1, Mode::Plain);
    pod.hold("park");
    pod.upload();
    pod.finish("park", common::BROKEN);
    while !pod.pending.is_empty() {
        pod.finish("park", Outcome::Done);
    }
    assert_eq!(pod.count(&["DeviceLost"]), 0);
    assert_eq!(pod.count(&["PushStems"]), 1, "{:#?}", pod.said);
}

#[test]
fn ticks_go_on_beside_a_rip_that_has_to_keep_away_from_nobody() {
    let mut pod = Pod::new(Plan {
        policy: Policy::Never,
        ..weighted_plan()
    });
    pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.forget();
    pod.upload();
    pod.wait(Span::seconds(5));
    assert_eq!(pod.count(&["GateClose"]) + pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
    pod.finish("rip", Outcome::Done);
    assert_eq!(pod.count(&["PushStems"]), 1);
}

#[test]
fn a_session_that_does_not_tick_leaves_the_stage_to_the_rip() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.event(Event::Playing {
        connection,
        wanted: false,
    });
    pod.hold("rip");
    pod.upload();
    pod.forget();
    pod.wait(Span::seconds(5));
    assert_eq!(
        pod.count(&["Cancel"]),
        0,
        "nobody wants the stage back: {:#?}",
        pod.said
    );
}

#[test]
fn ticks_are_cut_short_for_a_session_that_left_and_not_for_a_rip() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.upload();
    assert_eq!(pod.count(&["GateClose", "abort: false"]), 1, "{:#?}", pod.said);
    assert_eq!(pod.count(&["GateClose", "abort: true"]), 0);
    pod.event(Event::ConnectionGone { connection });
    assert_eq!(pod.count(&["GateClose", "abort: true"]), 1);
    assert_ne!(pod.closings[0], pod.closings[1], "one closing is told from another");
}

#[test]
fn a_session_begins_to_tick_beside_a_rip_that_keeps_away_from_nobody() {
    let mut pod = Pod::new(Plan {
        policy: Policy::Never,
        ..weighted_plan()
    });
    pod.hold("rip");
    pod.upload();
    assert_eq!(pod.count(&["start Rip"]), 1);
    // It brings audio of its own: the rip gives way to that, and goes on.
    pod.session(1, Mode::Plain);
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(pod.count(&["start Rip"]), 2);
    assert_eq!(pod.count(&["GateOpen"]), 1, "{:#?}", pod.said);
}

#[test]
fn the_turn_of_a_rip_is_counted_from_the_end_of_ticks() {
    let mut pod = Pod::new(weighted_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.hold("swap");
    pod.hold("rip");
    let track = TrackId(70);
    pod.event(Event::TrackFound {
        track,
        found: Found::FixtureWithStems,
    });
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Track(track),
        mode: Mode::Plain,
    });
    // Waits for the live thread, and keeps the groups and the ticks where they are.
    pod.event(Event::PromptAsked { connection });
    pod.upload();
    assert_eq!(pod.count(&["GateClose"]), 0);
    pod.wait(Span::milliseconds(300));
    pod.finish("swap", Outcome::Done);
    assert_eq!(pod.count(&["GateClose"]), 1, "{:#?}", pod.said);
    pod.forget();
    pod.wait(Span::milliseconds(599));
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
    pod.wait(Span::milliseconds(2));
    assert_eq!(pod.count(&["Cancel"]), 1);
}

#[test]
fn the_turn_of_ticks_is_counted_from_the_first_of_them() {
    let mut pod = Pod::new(weighted_plan());
    pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    pod.wait(Span::milliseconds(601));
    pod.hold("restore");
    pod.finish("rip", Outcome::Yielded { abandoned: false });
    pod.wait(Span::milliseconds(400));
    pod.forget();
    while pod.count(&["GateOpen"]) == 0 {
        pod.finish("restore", Outcome::Done);
    }
    pod.wait(Span::milliseconds(499));
    assert_eq!(pod.count(&["GateClose"]), 0, "{:#?}", pod.said);
    pod.wait(Span::milliseconds(2));
    assert_eq!(pod.count(&["GateClose"]), 1);
}

#[test]
fn stems_are_not_given_up_while_groups_are_on_their_way_out() {
    let mut pod = Pod::new(Plan {
        budget_bytes: 62,
        ..weighted_plan()
    });
    pod.session(1, Mode::Plain);
    pod.hold("park");
    pod.upload();
    while !pod.pending.is_empty() {
        assert_eq!(pod.count(&["PushStemFailure"]), 0, "{:#?}", pod.said);
        pod.finish("park", Outcome::Done);
    }
    assert_eq!(pod.count(&["PushStems"]), 1);
}

#[test]
fn what_plays_does_not_drive_out_what_fits_beside_it() {
    let mut pod = Pod::new(Plan {
        budget_bytes: 61,
        ..weighted_plan()
    });
    pod.session(1, Mode::Plain);
    pod.wait(Span::seconds(1));
    assert_eq!(pod.count(&["GateOpen"]), 1);
    assert_eq!(pod.count(&["start Park"]), 0, "{:#?}", pod.said);
}

#[test]
fn at_boot_all_groups_come_home_as_far_as_room_is_left_to_work() {
    for (budget_bytes, home) in [(80, 4), (61, 4), (60, 3)] {
        let mut pod = Pod::new(Plan {
            budget_bytes,
            ..weighted_plan()
        });
        pod.event(Event::Timer);
        assert_eq!(pod.count(&["start Restore"]), home, "{budget_bytes}: {:#?}", pod.said);
    }
}

#[test]
fn what_never_fits_is_told_at_once_and_what_fits_later_waits() {
    let mut plan = spectral_plan();
    plan.budget_bytes = 10;
    plan.needs[greenroom_director::Work::OpenStream as usize].workspace_bytes = 11;
    let mut pod = Pod::new(plan.clone());
    pod.hold("save");
    pod.upload();
    let (connection, _) = pod.session(1, Mode::Plain);
    let refused = ["Refuse", &format!("{connection:?}"), "OutOfMemory"];
    assert_eq!(pod.count(&refused), 1, "{:#?}", pod.said);

    plan.needs[greenroom_director::Work::OpenStream as usize].workspace_bytes = 8;
    let mut pod = Pod::new(plan);
    pod.hold("rip");
    pod.upload();
    let (connection, _) = pod.session(1, Mode::Plain);
    assert_eq!(
        pod.count(&["Refuse"]) + pod.count(&["SessionReady"]),
        0,
        "{:#?}",
        pod.said
    );
    pod.finish("rip", Outcome::Done);
    assert_eq!(
        pod.count(&["SessionReady", &format!("{connection:?}")]),
        1,
        "{:#?}",
        pod.said
    );
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
    pod.wait(Span::seconds(31));
    assert_eq!(pod.count(&["Cancel"]), 1, "{:#?}", pod.said);
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
    pod.finish("encode", Outcome::Done);
    pod.hold("rip");
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
    assert_eq!(pod.count(&["Exit"]), 0);
    pod.finish("rip", Outcome::Cancelled);
    assert_eq!(pod.count(&["Exit { code: 0 }"]), 1);
}
