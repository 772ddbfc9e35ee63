//! Limits met exactly, owners, and who waits: where one more byte, one more second or another order makes the difference. Each of these was a
//! mutant that nobody noticed; so are those of `endings.rs` and `room.rs`.

mod common;

use common::{Pod, declare, is_listed, spectral_plan};
use greenroom_director::{
    ConnectionId, Director, Effect, Effects, Event, Failure, Found, Group, Groups, Intent, Mode, Moment, Need, Outcome,
    Plan, Source, Span, TrackId, Uploads,
};

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
fn uploads_are_limited_from_their_first_frame_to_their_answer() {
    let mut plan = spectral_plan();
    plan.limits.uploads = 2;
    let mut pod = Pod::new(plan);
    pod.hold("encode");
    pod.upload();
    declare(&mut pod, Intent::Upload, 1);
    assert_eq!(pod.count(&["Proceed"]), 2, "one is encoded, of one the body is due");
    declare(&mut pod, Intent::Upload, 1);
    assert_eq!(pod.count(&["Refuse", "Busy"]), 1, "{:#?}", pod.said);
    declare(&mut pod, Intent::Session, 1);
    assert_eq!(pod.count(&["Proceed"]), 3, "a session is no upload");
    pod.finish("encode", Outcome::Done);
    declare(&mut pod, Intent::Upload, 1);
    assert_eq!(pod.count(&["Proceed"]), 4, "{:#?}", pod.said);
}

#[test]
fn audio_is_encoded_once_more_when_memory_runs_out_and_no_third_time() {
    let short = Outcome::Failed(Failure::OutOfMemory);
    let mut pod = Pod::new(spectral_plan());
    pod.hold("encode");
    pod.upload();
    pod.finish("encode", short);
    assert_eq!(pod.count(&["start Encode"]), 2);
    assert_eq!(pod.count(&["UploadFailed"]), 0, "{:#?}", pod.said);
    pod.finish("encode", short);
    assert_eq!(pod.count(&["start Encode"]), 2, "{:#?}", pod.said);
    assert_eq!(pod.count(&["UploadFailed", "OutOfMemory"]), 1, "{:#?}", pod.said);
}

#[test]
fn an_acknowledgement_tells_whoever_carries_it_whether_stems_follow() {
    let mut alone = spectral_plan();
    alone.weights_bytes[4] = None;
    alone.needs[4] = Need::default();
    for (plan, follow) in [(spectral_plan(), true), (alone, false)] {
        assert_eq!(stems_follow(plan), Some(follow));
    }
}

/// What the acknowledgement of an upload says of its stems.
fn stems_follow(plan: Plan) -> Option<bool> {
    let (connection, track) = (ConnectionId(1), TrackId(2));
    let (mut director, mut effects, mut ack) = (Director::new(plan), Effects::new(), None);
    let mut events = vec![
        Event::UploadAsked { connection, track },
        Event::HandshakeDeclared {
            connection,
            intent: Intent::Upload,
            bytes: 1,
        },
        Event::HandshakeOpened { connection },
    ];
    while let Some(event) = events.pop() {
        director.handle(Moment(0), event, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::UploadOk(said) => ack = Some(said.stems_pending()),
                Effect::Start { job, .. } if ack.is_none() => events.push(Event::JobEnded {
                    job,
                    outcome: Outcome::Done,
                }),
                _ => {}
            }
        }
    }
    ack
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
    let mut director = Director::new(spectral_plan());
    let mut effects = Effects::new();
    director.handle(Moment(0), Event::ShutdownAsked, &mut effects);
    assert_eq!(format!("{:?}", effects.as_slice()), "[Exit { code: 0 }]");
    assert_eq!(effects.drain().count(), 1);
    assert!(effects.as_slice().is_empty());
}

#[test]
fn only_uploads_are_kept_and_not_what_a_session_brought() {
    let mut pod = Pod::new(Plan {
        uploads: Uploads::Keep,
        ..spectral_plan()
    });
    let (connection, brought) = pod.session(1, Mode::Plain);
    let (_, upload) = pod.upload();
    pod.event(Event::ConnectionGone { connection });
    pod.wait(Span::seconds(31));
    assert!(is_listed(&pod, upload) && !is_listed(&pod, brought));
}

#[test]
fn a_group_that_is_named_twice_is_in_a_set_as_one_that_is_named_once() {
    let (once, twice) = (Groups::of(&[Group::Vae]), Groups::of(&[Group::Vae, Group::Vae]));
    assert!(once == twice && twice.has(Group::Vae));
}

#[test]
fn groups_have_names_and_names_have_groups() {
    for group in Group::ALL {
        assert_eq!(Group::named(group.name()), Some(group));
    }
    assert_eq!(Group::named("nothing"), None);
}

#[test]
fn of_two_that_wait_the_later_wins_whoever_asked_first() {
    let mut pod = Pod::new(spectral_plan());
    let (incumbent, _) = pod.session(1, Mode::Plain);
    let (second, third) = (pod.connect(), pod.connect());
    pod.ask(third, 3, Mode::Plain);
    pod.ask(second, 2, Mode::Plain);
    assert_eq!(
        pod.count(&["Close ", &format!("{second:?}"), "Preempted"]),
        1,
        "{:#?}",
        pod.said
    );
    pod.event(Event::ConnectionGone { connection: incumbent });
    assert_eq!(pod.director.seat(), Some((third, "Live")));
}

#[test]
fn a_client_that_is_stuck_is_closed_after_its_time_unless_it_moves() {
    let mut pod = Pod::new(spectral_plan());
    let other = pod.connect();
    let (connection, _) = pod.session(1, Mode::Plain);
    let stalled = ["Close ", &format!("{connection:?}"), "Stalled"];
    pod.event(Event::ClientStuck { connection: other });
    pod.event(Event::ClientStuck { connection });
    pod.wait(Span::seconds(15));
    pod.event(Event::ClientMoving { connection });
    pod.wait(Span::seconds(15));
    assert_eq!(pod.count(&stalled), 0);
    pod.event(Event::ClientStuck { connection });
    pod.wait(Span::seconds(15));
    // Said again it is no news.
    pod.event(Event::ClientStuck { connection });
    pod.wait(Span::milliseconds(4_999));
    assert_eq!(pod.count(&stalled), 0);
    pod.wait(Span::milliseconds(2));
    assert_eq!(pod.count(&stalled), 1);
    assert_eq!(pod.count(&["Stalled"]), 1, "only who plays can be stuck");
}

#[test]
fn a_swap_waits_behind_one_that_is_under_way() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    let (one, other) = (TrackId(70), TrackId(71));
    pod.hold("swap");
    for track in [one, other] {
        pod.event(Event::TrackFound {
            track,
            found: Found::FixtureWithStems,
        });
        pod.event(Event::SwapAsked {
            connection,
            source: Source::Track(track),
            mode: Mode::Plain,
        });
    }
    assert_eq!(pod.count(&["SwapFailed"]), 0);
    pod.finish("swap", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady", &format!("{one:?}")]), 1);
    pod.finish("swap", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady", &format!("{other:?}")]), 1);
}

#[test]
fn what_a_session_brought_goes_when_it_plays_something_else_and_not_before() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, brought) = pod.session(1, Mode::Plain);
    let sent = TrackId(70);
    pod.event(Event::TrackFound {
        track: TrackId(71),
        found: Found::FixtureWithStems,
    });
    let swap = |source| Event::SwapAsked {
        connection,
        source,
        mode: Mode::Plain,
    };
    pod.event(swap(Source::Sent(sent)));
    assert_eq!(pod.count(&["Forget", &format!("{brought:?}")]), 1, "{:#?}", pod.said);
    assert!(is_listed(&pod, sent));
    // A swap that fails takes along what it brought, and nothing that plays.
    pod.hold("swap");
    pod.event(swap(Source::Sent(TrackId(72))));
    pod.finish("swap", common::BROKEN);
    assert!(
        is_listed(&pod, sent) && !is_listed(&pod, TrackId(72)),
        "{:#?}",
        pod.said
    );
    // What plays may be asked for again, and fail.
    pod.event(swap(Source::Track(sent)));
    pod.finish("swap", common::BROKEN);
    assert!(is_listed(&pod, sent));
    pod.event(swap(Source::Track(TrackId(71))));
    pod.finish("swap", Outcome::Done);
    assert!(!is_listed(&pod, sent) && is_listed(&pod, TrackId(71)));
}

#[test]
fn stems_that_failed_while_nobody_was_there_are_told_with_the_session() {
    let mut pod = Pod::new(spectral_plan());
    pod.hold("rip");
    let (_, track) = pod.upload();
    pod.finish("rip", Outcome::Failed(Failure::StemExtractFailed));
    let connection = declare(&mut pod, Intent::Session, 1);
    pod.event(Event::SessionAsked {
        connection,
        client: None,
        source: Source::Track(track),
        mode: Mode::Full,
    });
    assert_eq!(
        pod.count(&["SessionReady", "stems: Failed(StemExtractFailed)"]),
        1,
        "{:#?}",
        pod.said
    );
    assert_eq!(pod.count(&["PushStemFailure"]), 0, "once is enough");
}

/// Whether an upload outlives its session, where this client's close had to be forced or not, and that one comes next.
fn survives(forced: bool, next: Option<u64>) -> bool {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    let (_, track) = pod.upload();
    let next = next.map(|client| pod.session(client, Mode::Plain));
    if forced && next.is_none() {
        pod.event(Event::ClientStuck { connection });
        pod.wait(Span::seconds(20));
    }
    if forced {
        pod.wait(Span::milliseconds(751));
        assert_eq!(pod.count(&["ForceClose", &format!("{connection:?}")]), 1);
    }
    pod.event(Event::ConnectionGone { connection });
    is_listed(&pod, track)
}

#[test]
fn an_upload_lingers_for_its_client_unless_the_close_was_forced() {
    assert!(survives(false, None), "for thirty seconds");
    assert!(!survives(true, None));
    assert!(survives(false, Some(1)));
    assert!(survives(true, Some(1)), "its own client follows");
    assert!(!survives(false, Some(2)));
    assert!(!survives(true, Some(2)));
}

#[test]
fn what_a_waiting_swap_names_stays_when_an_earlier_one_of_it_fails() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    let sent = TrackId(70);
    pod.hold("swap");
    for source in [Source::Sent(sent), Source::Track(sent)] {
        let mode = Mode::Plain;
        pod.event(Event::SwapAsked {
            connection,
            source,
            mode,
        });
    }
    pod.finish("swap", common::BROKEN);
    assert!(is_listed(&pod, sent), "the second swap wants it");
    // Another one that it brings is superseded, and nobody wants that.
    let other = TrackId(71);
    for source in [Source::Sent(other), Source::Track(sent)] {
        let mode = Mode::Plain;
        pod.event(Event::SwapAsked {
            connection,
            source,
            mode,
        });
    }
    assert!(!is_listed(&pod, other) && is_listed(&pod, sent), "{:#?}", pod.said);
    pod.finish("swap", Outcome::Done);
    assert_eq!(pod.count(&["SwapReady", &format!("{sent:?}")]), 1);
}

#[test]
fn who_plays_or_uploads_shakes_hands_no_more() {
    let mut plan = spectral_plan();
    plan.limits.handshakes = 2;
    let mut pod = Pod::new(plan);
    pod.hold("encode");
    pod.session(1, Mode::Plain);
    pod.upload();
    pod.connect();
    pod.connect();
    assert_eq!(pod.count(&["Refuse"]), 0, "{:#?}", pod.said);
    pod.connect();
    assert_eq!(pod.count(&["Refuse", "Busy"]), 1);
}

#[test]
fn what_comes_while_nobody_plays_is_for_whoever_comes_next() {
    let mut pod = Pod::new(spectral_plan());
    let (connection, _) = pod.session(1, Mode::Plain);
    pod.event(Event::ConnectionGone { connection });
    let (_, track) = pod.upload();
    pod.session(2, Mode::Plain);
    assert!(is_listed(&pod, track), "{:#?}", pod.said);
}
