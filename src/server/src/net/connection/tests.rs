//! Every state meets every event; the whole matrix is pinned, and the rules of the wire are told one by one.

use std::fmt::Write;

use greenroom_director::Failure;
use statig::blocking::StateMachine;

use super::*;

const SESSION: &str = r#"{"client_id":"a"}"#;
const FIXTURE: &str = r#"{"use_server_fixture":true,"fixture_name":"loop"}"#;
const UPLOAD: &str = r#"{"type":"upload_track","name":"song"}"#;
const SWAP: &str = r#"{"type":"swap_source","fixture_name":"other"}"#;
const PARAMS: &str = r#"{"type":"params","raw":{"denoise":0.5},"playback_pos":1.5}"#;

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

fn coming(is_binary: bool, bytes: u64) -> Event {
    Event::Announced { is_binary, bytes }
}

fn busy() -> Refusal {
    Refusal::new(Failure::Busy, "later")
}

fn uploaded() -> UploadOk {
    UploadOk {
        name: "song".into(),
        bpm: 120,
        key: "A minor".into(),
        time_signature: "4".into(),
        duration_s: 2.0,
        samples: 96_000,
        stems_pending: true,
    }
}

/// A machine after these events, and what the last one made it do.
fn after(events: &[Event]) -> (StateMachine<Connection>, Actions) {
    let mut machine = Connection.state_machine();
    let mut actions = Vec::new();
    for event in events {
        actions.clear();
        machine.handle_with_context(event, &mut actions);
    }
    (machine, actions)
}

/// A way into every state, of both kinds where they differ.
fn ways() -> Vec<(&'static str, Vec<Event>)> {
    let on_the_way = |first: &str, so_far: usize| {
        let all = [
            text(first),
            coming(true, 800),
            Event::Proceed,
            Event::Binary,
            Event::Usable,
        ];
        all[..=so_far].to_vec()
    };
    let live = [on_the_way(SESSION, 4), vec![Event::Plays]].concat();
    vec![
        ("greeting", vec![]),
        ("lookup", vec![text(FIXTURE)]),
        ("body_due, session", on_the_way(SESSION, 0)),
        ("body_due, upload", on_the_way(UPLOAD, 0)),
        ("admission, session", on_the_way(SESSION, 1)),
        ("admission, track", vec![text(FIXTURE), Event::Found(Some(TrackId(7)))]),
        ("admission, upload", on_the_way(UPLOAD, 1)),
        ("body, session", on_the_way(SESSION, 2)),
        ("body, upload", on_the_way(UPLOAD, 2)),
        ("checking, session", on_the_way(SESSION, 3)),
        ("checking, upload", on_the_way(UPLOAD, 3)),
        ("phase_one", on_the_way(UPLOAD, 4)),
        ("waiting", on_the_way(SESSION, 4)),
        ("live", live.clone()),
        ("live, audio due", [live, vec![text(SWAP)]].concat()),
        ("closing", vec![text("no JSON")]),
        ("ended", vec![Event::PeerGone]),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("text: session", text(SESSION)),
        ("text: upload", text(UPLOAD)),
        ("text: params", text(PARAMS)),
        ("text: swap", text(SWAP)),
        ("text: no JSON", text("[1")),
        ("binary", Event::Binary),
        ("announced binary", coming(true, 4_000)),
        ("announced text", coming(false, 4_000_000)),
        ("announced too large", coming(true, FRAME_BYTES_MAX as u64 + 1)),
        ("found", Event::Found(Some(TrackId(9)))),
        ("not found", Event::Found(None)),
        ("proceed", Event::Proceed),
        ("usable", Event::Usable),
        ("unusable", Event::Unusable(Refusal::new(Failure::BadAudio, "noise"))),
        ("said", Event::Said),
        ("plays", Event::Plays),
        ("refused", Event::Refused(busy())),
        ("uploaded", Event::Uploaded(uploaded())),
        ("upload failed", Event::UploadFailed(busy())),
        ("close ordered", Event::CloseOrdered(CloseCode::Preempted)),
        ("force ordered", Event::ForceOrdered),
        ("peer gone", Event::PeerGone),
        ("overdue", Event::Overdue),
    ]
}

/// An action in a few words.
fn brief(action: &Action) -> String {
    match action {
        Action::AskSession { track, .. } => format!("AskSession({track:?})"),
        Action::AskUpload(_) => "AskUpload".into(),
        Action::Answer(answer) => {
            let message = answer.to_text();
            let kind = message.split('"').nth(3).unwrap_or_default().to_owned();
            let code = message
                .split_once("\"code\":")
                .map_or("", |(_, code)| code.trim_end_matches('}'));
            format!(
                "Answer({kind}{}{})",
                if code.is_empty() { "" } else { " " },
                code.split(',').next().unwrap_or_default()
            )
        }
        Action::Obey(message) => format!("Obey({})", format!("{message:?}").split('(').next().unwrap_or_default()),
        Action::Apply(_) => "Apply".into(),
        other => format!("{other:?}"),
    }
}

fn state_name(machine: &StateMachine<Connection>) -> String {
    let state = format!("{:?}", machine.state());
    state.split([' ', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn every_state_meets_every_event() {
    let mut matrix = String::new();
    for (name, way) in ways() {
        let _ = writeln!(matrix, "{name}");
        for (event_name, event) in events() {
            let (mut machine, mut actions) = after(&way);
            let before = state_name(&machine);
            actions.clear();
            machine.handle_with_context(&event, &mut actions);
            let now = state_name(&machine);
            let went = if before == now {
                String::new()
            } else {
                format!(" → {now}")
            };
            let did: Vec<String> = actions.iter().map(brief).collect();
            let _ = writeln!(
                matrix,
                "  {event_name}: {}{went}",
                if did.is_empty() { "–".into() } else { did.join(", ") }
            );
        }
    }
    insta::assert_snapshot!("matrix", matrix);
}

#[test]
fn nothing_follows_a_close_but_the_end() {
    for (name, way) in ways() {
        for (_, first) in events() {
            let (mut machine, actions) = after(&[way.clone(), vec![first]].concat());
            let closes = |action: &Action| matches!(action, Action::CloseFirst(_) | Action::CloseLast(_));
            if !actions.iter().any(closes) {
                continue;
            }
            for (event_name, event) in events() {
                let mut later = Vec::new();
                machine.handle_with_context(&event, &mut later);
                let ends = |action: &Action| matches!(action, Action::End | Action::Abort);
                assert!(later.iter().all(ends), "{name}: {event_name} made {later:?}");
            }
        }
    }
}

#[test]
fn every_state_can_be_closed_forced_and_left() {
    for (name, way) in ways() {
        let ended = |event: Event| {
            let (machine, actions) = after(&[way.clone(), vec![event]].concat());
            (state_name(&machine), actions)
        };
        if name == "ended" {
            continue;
        }
        assert_eq!(
            ended(Event::ForceOrdered),
            ("Ended".into(), vec![Action::Abort]),
            "{name}"
        );
        assert_eq!(ended(Event::PeerGone), ("Ended".into(), vec![Action::End]), "{name}");
        if name == "closing" {
            continue;
        }
        let closed = vec![Action::Discard, Action::CloseFirst(CloseCode::GoingAway)];
        assert_eq!(
            ended(Event::CloseOrdered(CloseCode::GoingAway)),
            ("Closing".into(), closed),
            "{name}"
        );
    }
}

#[test]
fn a_frame_over_the_limit_closes_1009_wherever_it_comes() {
    for (name, way) in ways() {
        let (_, actions) = after(&[way, vec![coming(true, FRAME_BYTES_MAX as u64 + 1)]].concat());
        let too_large = actions.contains(&Action::CloseFirst(CloseCode::TooLarge));
        assert_eq!(too_large, !matches!(name, "closing" | "ended"), "{name}");
    }
}

#[test]
fn params_between_a_request_and_its_audio_do_no_harm_and_other_text_does() {
    let way = ways()
        .into_iter()
        .find(|(name, _)| *name == "live, audio due")
        .unwrap()
        .1;
    let (mut machine, _) = after(&way);
    let mut actions = Vec::new();
    machine.handle_with_context(&text(PARAMS), &mut actions);
    assert!(matches!(actions[..], [Action::Obey(ClientMessage::Params(_))]));
    actions.clear();
    machine.handle_with_context(&Event::Binary, &mut actions);
    assert!(matches!(actions[..], [Action::Apply(Due::Swap(_))]));

    let (_, actions) = after(&[way, vec![text("hello")]].concat());
    assert_eq!(brief(&actions[0]), "Answer(swap_failed \"bad_audio\")");
    assert_eq!(actions[1..], [Action::Ignore(Ignored::Malformed)]);
}

#[test]
fn a_fixture_that_the_server_lacks_is_sent_along() {
    let (_, actions) = after(&[text(FIXTURE), Event::Found(None)]);
    assert_eq!(actions, [Action::Pass(0)]);
    let (_, actions) = after(&[text(FIXTURE), Event::Found(None), coming(true, 800)]);
    assert_eq!(actions, [Action::Declare(Intent::Session, 800)]);
}
