//! Room on the device: policies, turns, what fits now, later or never, and whose rip goes first.

mod common;
#[path = "common/engines.rs"]
mod engines;

use common::{Pod, declare, spectral_plan, weighted_plan};
use greenroom_director::{
    Component, Components, ConnectionId, Event, Found, Group, Intent, JobId, Mode, Outcome, Phase, Plan, Policy,
    Source, Span, Task, TrackId, Work,
};

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
fn engines_that_work_cannot_do_without_count_towards_the_reserve() {
    // Beside eager groups of 60, the engine of what plays takes 10.
    let parks = |engines_only, budget_bytes| {
        let (mut pod, _) = engines::playing(Plan {
            policy: Policy::Auto { reserve_bytes: 10 },
            engines_only,
            budget_bytes,
            ..weighted_plan()
        });
        pod.upload();
        assert_eq!(pod.count(&["PushStems"]), 1, "{budget_bytes}: {:#?}", pod.said);
        pod.count(&["start Park"]) > pod.count(&["start Park", "Separator"])
    };
    let decoder = Components::of(&[Component::Decoder]);
    assert!(!parks(decoder, 80), "exactly the reserve is left");
    assert!(parks(decoder, 79), "one less");
    assert!(!parks(Components::NONE, 79), "one that only helps can leave");
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
        budget_bytes: 100,
        ..weighted_plan()
    });
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.event(Event::ForeignMemory { bytes: 31 });
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
    plan.needs[Work::OpenStream as usize].workspace_bytes = 11;
    let mut pod = Pod::new(plan.clone());
    pod.hold("save");
    pod.upload();
    let (connection, _) = pod.session(1, Mode::Plain);
    let refused = ["Refuse", &format!("{connection:?}"), "OutOfMemory"];
    assert_eq!(pod.count(&refused), 1, "{:#?}", pod.said);

    plan.needs[Work::OpenStream as usize].workspace_bytes = 8;
    let mut pod = Pod::new(plan);
    let track = TrackId(70);
    pod.event(Event::TrackFound {
        track,
        found: Found::FixtureWithStems,
    });
    pod.hold("rip");
    pod.upload();
    let connection = declare(&mut pod, Intent::Session, 1);
    pod.event(Event::SessionAsked {
        connection,
        client: None,
        source: Source::Track(track),
        mode: Mode::Plain,
    });
    assert_eq!(
        pod.count(&["Refuse"]) + pod.count(&["SessionReady"]),
        0,
        "{:#?}",
        pod.said
    );
    pod.finish("rip", Outcome::Done);
    assert_eq!(pod.count(&["SessionReady"]), 1, "{:#?}", pod.said);
}

#[test]
fn what_the_last_ticks_hold_is_waited_for() {
    let mut plan = spectral_plan();
    plan.budget_bytes = 10;
    plan.needs[Work::Play as usize].workspace_bytes = 6;
    plan.needs[Work::EncodeSource as usize].workspace_bytes = 3;
    let mut pod = Pod::new(plan);
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.event(Event::ForeignMemory { bytes: 2 });
    pod.obeys_gate = false;
    pod.event(Event::ConnectionGone { connection });
    pod.upload();
    assert_eq!(pod.count(&["UploadFailed"]), 0, "{:#?}", pod.said);
    let closing = pod.closings.pop().unwrap();
    pod.event(Event::GateDrained { closing });
    assert_eq!(pod.count(&["UploadOk"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_session_that_waits_for_stems_is_waited_for() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("rip");
    let (_, older) = pod.upload();
    pod.upload();
    let connection = declare(&mut pod, Intent::Session, 1);
    pod.forget();
    pod.event(Event::SessionAsked {
        connection,
        client: None,
        source: Source::Track(older),
        mode: Mode::Vocals,
    });
    // The older one's rip runs: it is waited for, and goes on.
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
    pod.finish("rip", Outcome::Done);
    assert_eq!(pod.count(&["SessionReady", "stems: Ready"]), 1, "{:#?}", pod.said);
}

#[test]
fn progress_of_a_rip_that_is_over_is_stale() {
    let mut pod = Pod::new(spectral_plan());
    pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    let (job, _) = pod.pending[0];
    pod.forget();
    let (done, total) = (1, 2);
    let other = JobId(job.0 + 100);
    pod.event(Event::RipProgress {
        job: other,
        done,
        total,
    });
    assert_eq!(pod.count(&["PushStemProgress"]), 0);
    pod.event(Event::RipProgress { job, done, total });
    assert_eq!(
        pod.count(&["PushStemProgress", "done: 1, total: 2"]),
        1,
        "{:#?}",
        pod.said
    );
}

#[test]
fn what_a_session_brought_is_encoded_before_uploads() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    pod.upload();
    let (_, upload) = pod.upload();
    let (_, brought) = pod.session(1, Mode::Plain);
    pod.forget();
    pod.finish("encode", Outcome::Done);
    assert_eq!(
        pod.count(&["start Encode", &format!("{brought:?}")]),
        1,
        "{:#?}",
        pod.said
    );
    pod.finish("encode", Outcome::Done);
    assert_eq!(pod.count(&["start Encode", &format!("{upload:?}")]), 1);
}

#[test]
fn progress_of_stems_is_told_to_whom_they_belong_or_who_plays_the_track() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.hold("save stems");
    let (_, track) = pod.upload();
    let told = |pod: &Pod, words: &[&str]| {
        let track = format!("{track:?}");
        pod.count(&[&["PushStemProgress", track.as_str()][..], words].concat())
    };
    assert_eq!(told(&pod, &["state: Ripping"]), 1, "{:#?}", pod.said);
    let (job, _) = pod.pending[0];
    let (done, total) = (1, 4);
    pod.event(Event::RipProgress { job, done, total });
    assert_eq!(told(&pod, &["done: 1, total: 4", "state: Ripping"]), 1);
    pod.finish("rip", Outcome::Done);
    assert_eq!(told(&pod, &["state: Saving"]), 1);
    pod.finish("save stems", Outcome::Done);

    // A fixture is everybody's: its stems are made for who asked, and told of while it plays.
    let fixture = TrackId(70);
    let found = Found::Fixture;
    pod.event(Event::TrackFound { track: fixture, found });
    pod.forget();
    let source = Source::Track(fixture);
    let mode = Mode::Full;
    pod.event(Event::SwapAsked {
        connection,
        source,
        mode,
    });
    let progress = pod.count(&["PushStemProgress", &format!("{fixture:?}")]);
    assert!(progress > 0, "{:#?}", pod.said);
    let source = Source::Track(track);
    pod.event(Event::SwapAsked {
        connection,
        source,
        mode,
    });
    pod.forget();
    let (job, _) = pod.pending[0];
    pod.event(Event::RipProgress { job, done, total });
    assert_eq!(
        pod.count(&["PushStemProgress"]),
        0,
        "nobody plays it now: {:#?}",
        pod.said
    );
}

#[test]
fn a_separator_without_room_waits_for_work_that_takes_nothing_but_its_groups() {
    let mut plan = weighted_plan();
    plan.weights_bytes[Group::Separator as usize] = Some(50);
    plan.budget_bytes = 60;
    for need in &mut plan.needs {
        need.workspace_bytes = 0;
    }
    let mut pod = Pod::new(plan);
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.hold("prompt");
    pod.event(Event::PromptAsked { connection });
    pod.upload();
    assert_eq!(
        pod.count(&["PushStem"]),
        pod.count(&["PushStemProgress"]),
        "{:#?}",
        pod.said
    );
    pod.finish("prompt", Outcome::Done);
    assert_eq!(pod.count(&["PushStems"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_group_that_fails_fails_only_those_who_need_it() {
    let mut pod = Pod::new(weighted_plan());
    let (session, _) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    pod.upload();
    for held in ["restore", "encode"] {
        pod.hold(held);
    }
    pod.upload();
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    while pod.count(&["start Encode"]) < 3 {
        pod.finish("restore", Outcome::Done);
    }
    let (waiting, _) = pod.upload();
    assert_eq!(pod.director.phase(Group::Dit), Phase::Restoring);
    for _ in 0..2 {
        pod.finish("restore", Outcome::Failed(greenroom_director::Failure::OutOfMemory));
    }
    let lost = |connection| pod.count(&["OutOfMemory", &format!("{connection:?}")]);
    assert_eq!((lost(session), lost(waiting)), (1, 0), "{:#?}", pod.said);
}

/// Three uploads, of which the first one's rip has begun and holds the separator.
fn first_of_three() -> (Pod, ConnectionId, Vec<TrackId>) {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.hold("rip");
    let mut tracks = vec![pod.upload().1];
    for _ in 0..2 {
        tracks.push(pod.upload().1);
        pod.finish("rip", Outcome::Yielded { abandoned: true });
    }
    pod.forget();
    (pod, connection, tracks)
}

fn swap(connection: ConnectionId, track: TrackId, mode: Mode) -> Event {
    let source = Source::Track(track);
    Event::SwapAsked {
        connection,
        source,
        mode,
    }
}

fn ripping(pod: &Pod) -> Option<TrackId> {
    let jobs = pod.pending.iter().rev();
    jobs.into_iter().find_map(|(_, task)| match task {
        Task::Rip { track } => Some(*track),
        _ => None,
    })
}

#[test]
fn a_rip_that_is_waited_for_goes_before_one_that_has_begun() {
    let (mut pod, connection, tracks) = first_of_three();
    assert_eq!(ripping(&pod), Some(tracks[0]), "what has begun goes on");
    pod.event(swap(connection, tracks[1], Mode::Full));
    assert_eq!(pod.count(&["Cancel"]), 0, "its stems may come later");
    pod.event(swap(connection, tracks[1], Mode::Vocals));
    assert_eq!(pod.count(&["Cancel", "Now"]), 1);
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(ripping(&pod), Some(tracks[1]));
    pod.forget();
    pod.event(Event::Timer);
    assert_eq!(pod.count(&["Cancel"]), 0, "it does not give way to itself");
    pod.finish("rip", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady", "Vocals"]), 1, "{:#?}", pod.said);
}

#[test]
fn a_rip_that_nobody_waits_for_any_more_goes_on_before_a_newer_one() {
    let (mut pod, connection, tracks) = first_of_three();
    pod.event(swap(connection, tracks[2], Mode::Vocals));
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    pod.event(swap(connection, tracks[0], Mode::Vocals));
    pod.finish("rip", Outcome::Yielded { abandoned: true });
    assert_eq!(ripping(&pod), Some(tracks[0]));
    pod.forget();
    // Both have begun, and the other one is newer; but nobody waits for either.
    pod.event(swap(connection, tracks[0], Mode::Plain));
    assert_eq!(pod.count(&["SwapReady"]), 1);
    pod.event(swap(connection, tracks[1], Mode::Plain));
    assert_eq!(pod.count(&["Cancel"]), 0, "{:#?}", pod.said);
}

#[test]
fn a_rip_of_what_plays_goes_before_one_that_is_newer() {
    let (mut pod, connection, tracks) = first_of_three();
    pod.event(swap(connection, tracks[1], Mode::Plain));
    pod.finish("rip", Outcome::Done);
    assert_eq!(ripping(&pod), Some(tracks[1]));
    pod.finish("rip", Outcome::Done);
    assert_eq!(ripping(&pod), Some(tracks[2]));
}

#[test]
fn a_session_that_waits_for_stems_has_them_made_first() {
    for (mode, cancelled) in [(Mode::Instruments, 1), (Mode::Full, 0)] {
        let mut pod = Pod::new(spectral_plan());
        pod.hold("rip");
        let mut tracks = vec![pod.upload().1];
        tracks.push(pod.upload().1);
        pod.finish("rip", Outcome::Yielded { abandoned: true });
        pod.finish("rip", Outcome::Done);
        assert_eq!(ripping(&pod), Some(tracks[1]));
        tracks.push(pod.upload().1);
        let connection = declare(&mut pod, Intent::Session, 1);
        pod.event(Event::SessionAsked {
            connection,
            client: None,
            source: Source::Track(tracks[2]),
            mode,
        });
        // The third is encoded; while it is being saved the second goes on.
        pod.forget();
        pod.finish("rip", Outcome::Yielded { abandoned: true });
        assert_eq!(ripping(&pod), Some(tracks[1]));
        assert_eq!(pod.count(&["Cancel", "Now"]), cancelled, "{mode:?}: {:#?}", pod.said);
    }
}
