//! Every invariant can fail: a director is broken in one place, and says so.

use super::*;
use crate::{
    effect::{Effect, Effects},
    engine::{Components, Engine, EngineId},
    event::{Event, Failure, Found, Intent, Mode, Outcome, Source},
    ids::{ClientKey, ConnectionId, JobId, TrackId},
    intake::Intake,
    jobs::Job,
    moment::Moment,
    placement::{Grounds, Parked, Placement, Vacancy},
    plan::{Groups, Limits, Need, Plan, Times, Uploads},
    seat::{Ask, Cause, Chair},
    slot::Slot,
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
        engines_only: Components::NONE,
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

const ENGINE: Engine = Engine {
    id: EngineId(1),
    weights_bytes: 3,
    workspace_bytes: 1,
};

/// An engine on its way into the decoder's slot, moved by this job, with so much claimed.
fn loading(director: &mut Director, claimed: u64, job: JobId) {
    director.slots[0].step(|slot| match slot {
        Slot::Empty(empty) => (empty.load(ENGINE, claimed, job).into(), ()),
        other => (other, ()),
    });
    director.ledger.resident += ENGINE.bytes();
    director.ledger.claimed += claimed;
}

fn start(director: &mut Director, task: Task) -> JobId {
    director.start(task, None, &mut Effects::new())
}

const LOADS: Task = Task::LoadEngine {
    slot: Component::Decoder,
    engine: EngineId(1),
};

/// A session that plays while an engine is in the decoder's slot, which nobody calls.
fn loaded() -> Director {
    let mut director = playing();
    loading(&mut director, 0, JobId(70));
    director.slots[0].step(|slot| (slot.arrived(), ()));
    assert_eq!(director.check(), Ok(()));
    director
}

fn call(director: &mut Director) -> Call {
    match director.slots[0].get_mut() {
        Slot::Loaded(loaded) => loaded.call(Component::Decoder),
        other => panic!("{other:?}"),
    }
}

fn lend(director: &mut Director, call: Call) {
    match &mut director.gate {
        Gate::Open { calls, .. } => calls.push(call),
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_calls() {
    says(loaded(), "0 calls of decoder are held and 1 are counted", |director| {
        let _lost = call(director);
    });
    let mut called = loaded();
    let lent = call(&mut called);
    lend(&mut called, lent);
    assert_eq!(called.check(), Ok(()));
    // One of another slot's is none of this one's.
    called.slots.swap(0, 1);
    let broken = called.check().expect_err("nobody notices");
    assert!(
        broken.contains("1 calls of decoder are held and 0 are counted"),
        "{broken}"
    );
    called.slots.swap(0, 1);
    let other = Engine {
        id: EngineId(2),
        ..ENGINE
    };
    says(called, "decoder is called as EngineId(1) and is", |director| {
        director.slots[0].step(|_| (Slot::at_boot(), ()));
        director.slots[0].step(|slot| match slot {
            Slot::Empty(empty) => (empty.load(other, 0, JobId(70)).loaded().into(), ()),
            other => (other, ()),
        });
        let _lost = call(director);
    });
}

#[test]
fn of_engines_that_move() {
    says(playing(), "and that is not what is under way", |director| {
        loading(director, 0, JobId(70));
    });
    says(loaded(), "and that is not what is under way", |director| {
        start(director, LOADS);
    });
    let mut moving = playing();
    let job = start(&mut moving, LOADS);
    loading(&mut moving, 0, job);
    assert_eq!(moving.check(), Ok(()));
    says(moving, "vae_encode is Empty", |director| {
        let job = *director.jobs.keys().next_back().unwrap();
        let task = Task::UnloadEngine {
            slot: Component::VaeEncode,
            engine: EngineId(1),
        };
        director.jobs.get_mut(&job).unwrap().task = task;
        director.slots[0].step(|slot| (slot.arrived(), ()));
    });
}

#[test]
fn of_ticks_without_an_engine() {
    let only =
        |component: Component| move |director: &mut Director| director.plan.engines_only = Components::of(&[component]);
    says(
        playing(),
        "ticks run without an engine for decoder",
        only(Component::Decoder),
    );
    says(
        playing(),
        "ticks run without an engine for vae_decode",
        only(Component::VaeDecode),
    );
    let mut encodes = playing();
    only(Component::VaeEncode)(&mut encodes);
    assert_eq!(encodes.check(), Ok(()), "ticks encode nothing");
    let mut closed = Director::new(plan());
    only(Component::Decoder)(&mut closed);
    assert_eq!(closed.check(), Ok(()), "nothing ticks");
    let mut called = loaded();
    let lent = call(&mut called);
    lend(&mut called, lent);
    only(Component::Decoder)(&mut called);
    assert_eq!(called.check(), Ok(()));
}

#[test]
fn of_what_engines_claim() {
    let claiming = |claimed| {
        let mut director = playing();
        let job = start(&mut director, LOADS);
        loading(&mut director, claimed, job);
        director
    };
    // Weights of 6, a workspace of 1, an engine of 4, and 20 in all.
    assert_eq!(claiming(9).check(), Ok(()));
    says(claiming(10), "10 claimed bytes are held of 20", |_| {});
    says(claiming(9), "9 claimed", |director| director.ledger.claimed -= 1);
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
        let _job = start(director, task);
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
