//! Every invariant can fail: a director is broken in one place, and says so.

use super::*;
use crate::{
    effect::{Effect, Effects},
    event::{Event, Failure, Found, Intent, Mode, Outcome, Source},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    intake::Intake,
    jobs::Job,
    moment::Moment,
    placement::{Grounds, Parked, Placement, Vacancy},
    plan::{Groups, Limits, Need, Plan, Times, Uploads},
    seat::{Ask, Cause, Chair},
    track::{Kind, Owner, Track},
};

const CONNECTION: ConnectionId = ConnectionId(1);
const TRACK: TrackId = TrackId(1);

fn plan() -> Plan {
    let need = |group: Group| Need {
        groups: Groups::of(&[group]),
        workspace_bytes: 1,
    };
    Plan {
        weights_bytes: [Some(6), None, None, None, Some(5)],
        needs: [
            need(Group::Dit),
            Need::default(),
            need(Group::Dit),
            need(Group::Dit),
            need(Group::Separator),
        ],
        budget_bytes: 20,
        policy: Policy::Always,
        uploads: Uploads::Wipe,
        keeps_stems: true,
        limits: Limits::default(),
        times: Times::default(),
    }
}

/// Tells an event and ends every job that is not held.
fn tell(director: &mut Director, event: Event, holds: fn(&Task) -> bool) {
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        let mut effects = Effects::new();
        director.handle(Moment(0), event, &mut effects);
        for effect in effects.drain() {
            if let Effect::Start { job, task } = effect
                && !holds(&task)
            {
                let outcome = Outcome::Done;
                events.insert(0, Event::JobEnded { job, outcome });
            }
        }
    }
}

fn ask() -> Ask {
    Ask {
        client: Some(ClientKey(1)),
        source: Source::Track(TRACK),
        mode: Mode::Plain,
    }
}

/// A session, as far as it comes where these jobs never end.
fn session(holds: fn(&Task) -> bool) -> Director {
    let mut director = Director::new(plan());
    let connection = CONNECTION;
    let Ask { client, source, mode } = ask();
    for event in [
        Event::TrackFound {
            track: TRACK,
            found: Found::Fixture,
        },
        Event::HandshakeOpened { connection },
        Event::HandshakeDeclared {
            connection,
            intent: Intent::Session,
            bytes: 1,
        },
        Event::SessionAsked {
            connection,
            client,
            source,
            mode,
        },
    ] {
        tell(&mut director, event, holds);
    }
    assert_eq!(director.check(), Ok(()));
    director
}

fn playing() -> Director {
    session(|_| false)
}

/// Breaks a director in one place; it must say these words.
#[track_caller]
fn says(mut director: Director, words: &str, spoil: impl FnOnce(&mut Director)) {
    spoil(&mut director);
    let broken = director.check().expect_err("nobody notices");
    assert!(broken.contains(words), "{broken}");
}

/// The separator on the device on these grounds.
fn separator(director: &mut Director, grounds: Grounds) {
    let pass = Vacancy::mint().attach(grounds).unwrap();
    let resident = Parked {}.restore(pass, JobId(70)).restored();
    director.vacancy = None;
    director.placements[Group::Separator as usize].step(|_| (Placement::from(resident), ()));
    director.ledger.resident += director.plan.weights(Group::Separator);
}

fn doomed(director: &mut Director) -> &mut Track {
    let intake = Intake::found();
    let mut track = Track::new(Kind::Upload, Owner::Everybody, intake);
    track.doom = Doom::Sealed;
    director.tracks.insert(TrackId(70), track);
    director.tracks.get_mut(&TrackId(70)).unwrap()
}

#[test]
fn of_the_separator_and_eager_groups() {
    says(playing(), "the vacancy is home exactly while", |director| {
        director.vacancy = None
    });
    let meets = "dit is Resident while the separator is Resident";
    for grounds in [Grounds::AllParked, Grounds::RoomEnough, Grounds::ToldNotToCare] {
        says(playing(), meets, |director| separator(director, grounds));
    }
    says(playing(), meets, |director| {
        separator(director, Grounds::AllParked);
        director.plan.policy = Policy::Never;
    });
    let mut beside = playing();
    separator(&mut beside, Grounds::ToldNotToCare);
    beside.plan.policy = Policy::Never;
    assert_eq!(beside.check(), Ok(()));
}

#[test]
fn of_leases() {
    says(playing(), "leases on dit are held", |director| {
        let _lost = director.placements[Group::Dit as usize].get_mut().lease(Group::Dit);
    });
    says(playing(), "0 leases on dit are held and 1 are counted", |director| {
        director.gate = Gate::Closed;
    });
    says(
        session(|task| matches!(task, Task::OpenStream { .. })),
        "leases on dit are held",
        |director| {
            director.jobs.clear();
        },
    );
}

#[test]
fn of_the_ledger() {
    says(playing(), "the ledger says", |director| director.ledger.resident += 1);
    says(playing(), "the ledger says", |director| director.ledger.workspace += 1);
    says(playing(), "bytes are held of 6", |director| {
        director.plan.budget_bytes = 6
    });
    let mut full = playing();
    full.plan.budget_bytes = 7;
    assert_eq!(full.check(), Ok(()), "weights of 6 and a workspace of 1");
}

#[test]
fn of_the_seat() {
    says(playing(), "the chair is free exactly", |director| {
        director.chair = Some(Chair::mint())
    });
    says(Director::new(plan()), "the chair is free exactly", |director| {
        director.chair = None
    });
    let waits = |director: &mut Director| director.candidate = Some((CONNECTION, ask()));
    says(Director::new(plan()), "a candidate waits for a free chair", waits);
    let mut ending = Director::new(plan());
    waits(&mut ending);
    ending.life = Life::Ending(0);
    assert_eq!(ending.check(), Ok(()));
    says(playing(), "the session is Live and its connection None", |director| {
        director.connections.clear();
    });
    let mut leaving = playing();
    let holds = |task: &Task| matches!(task, Task::CloseStream { .. });
    let mut effects = Effects::new();
    leaving.leave(CONNECTION, Cause::Failed(Failure::Internal), &mut effects);
    assert_eq!(leaving.check(), Ok(()));
    says(leaving, "the session is Draining", |director| {
        director.connections.clear()
    });
    let mut gone = playing();
    tell(&mut gone, Event::ConnectionGone { connection: CONNECTION }, holds);
    assert_eq!(gone.check(), Ok(()));
}

#[test]
fn of_jobs() {
    let opens = |task: &Task| matches!(task, Task::OpenStream { .. });
    let closes = |task: &Task| matches!(task, Task::CloseStream { .. });
    says(session(opens), "has no deadline", |director| {
        let job = *director.jobs.keys().next().unwrap();
        director.alarms.clear(Alarm::Job(job));
    });
    let mut ended = session(opens);
    ended.life = Life::Ended;
    ended.alarms = crate::alarms::Alarms::default();
    assert_eq!(ended.check(), Ok(()));

    let start = |director: &mut Director, task: Task| {
        let _job = director.start(task, None, &mut Effects::new());
    };
    let connection = CONNECTION;
    let unknown = "runs and no session knows of it";
    let borrows = |connection| Task::Reference {
        connection,
        kind: crate::event::ReferenceKind::Timbre,
        track: None,
    };
    let mut its = playing();
    start(&mut its, borrows(connection));
    assert_eq!(its.check(), Ok(()));
    says(playing(), unknown, |director| {
        start(director, borrows(ConnectionId(70)))
    });
    says(Director::new(plan()), unknown, |director| {
        start(director, borrows(connection))
    });
    says(playing(), unknown, |director| {
        start(director, Task::CloseStream { connection })
    });
    says(session(closes), unknown, |director| {
        start(director, Task::CloseStream { connection });
    });
    for (task, lane) in [
        (Task::EncodePrompt { connection }, "Live"),
        (Task::Rip { track: TRACK }, "Work"),
        (Task::Park { group: Group::Dit }, "Stage"),
    ] {
        let mut one = playing();
        start(&mut one, task);
        assert_eq!(one.check(), Ok(()));
        says(one, &format!("two jobs on the lane {lane}"), |director| {
            start(director, task)
        });
    }
    let mut disk = playing();
    start(&mut disk, Task::Save { track: TRACK });
    start(&mut disk, Task::Save { track: TRACK });
    assert_eq!(disk.check(), Ok(()), "the disk does several things at once");
    assert_eq!(disk.jobs.values().filter(|job| Job::is_on_disk(job)).count(), 2);
}

#[test]
fn of_tracks() {
    let owed = |director: &mut Director| director.tracks.get_mut(&TRACK).unwrap().owed = Owed::Answer;
    says(playing(), "are owed and Absent", owed);
    says(playing(), "are owed and Discarded", |director| {
        director.step_stems(TRACK, crate::stems::Stems::discarded);
        owed(director);
    });
    let mut queued = playing();
    queued.tracks.get_mut(&TRACK).unwrap().owe_stems();
    owed(&mut queued);
    assert_eq!(queued.check(), Ok(()));

    let mut well = playing();
    doomed(&mut well);
    assert_eq!(well.check(), Ok(()));
    says(playing(), "is doomed", |director| doomed(director).owe_stems());
    says(playing(), "is doomed", |director| {
        let track = doomed(director);
        track.intake.step(|_| (Intake::arrived(None), ()));
    });
    says(playing(), "is doomed", |director| {
        let track = doomed(director);
        track.owe_stems();
        track.stems.step(|stems| (stems.failed(Failure::Internal), ()));
        track.owed = Owed::Answer;
    });
}
