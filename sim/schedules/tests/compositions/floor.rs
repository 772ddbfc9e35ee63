//! A ticking live thread, a ripping work thread, and the loop that parks between them.

use std::collections::BTreeMap;

use greenroom_director::{
    ConnectionId, Effect, Event, Found, Group, Intent, Mode, Outcome, Phase, Source, Task, TrackId,
};
use greenroom_schedules::{Break, Desks, Driver, House, Job, crowded};
use greenroom_sync::{LeaseGate, Mailbox, ReceiveError, mailbox};
use loom::{cell::Cell, sync::Arc, thread};

use crate::{PATIENCE, explore};

const SESSION: ConnectionId = ConnectionId(1);
const UPLOAD: ConnectionId = ConnectionId(2);
const FIXTURE: TrackId = TrackId(1);
const SENT: TrackId = TrackId(2);
const BATCHES: u32 = 2;

/// Whether the weights of each group are on the device. Loom fails where they are moved by somebody who has not heard from whoever
/// used them that it stopped.
type Weights = Arc<[Cell<bool>; 2]>;

fn of(weights: &Weights, group: Group) -> &Cell<bool> {
    match group {
        Group::Dit => &weights[0],
        Group::Separator => &weights[1],
        other => unreachable!("this pod has no {}", other.name()),
    }
}

struct Floor {
    weights: Weights,
    gate: LeaseGate,
    live: Mailbox<Job>,
    work: Mailbox<Job>,
    desks: Desks,
    /// Off until the threads run: what leads up to it is done on the spot.
    saves: bool,
    save: Option<Job>,
}

impl House for Floor {
    fn start(&mut self, job: Job) -> Option<Outcome> {
        match job.task {
            Task::Restore { group } => {
                let meets = [Group::Dit, Group::Separator].map(|other| of(&self.weights, other).get());
                assert_eq!(meets, [false, false], "{} comes in to somebody else", group.name());
                of(&self.weights, group).set(true);
                Some(Outcome::Done)
            }
            Task::Park { group } => {
                of(&self.weights, group).set(false);
                Some(Outcome::Done)
            }
            Task::Rip { .. } => {
                assert!(self.work.send(job).is_ok());
                None
            }
            Task::Save { .. } if !self.saves => {
                self.save = Some(job);
                None
            }
            _ => Some(Outcome::Done),
        }
    }

    fn gate(&self) -> &LeaseGate {
        &self.gate
    }

    fn wake_live(&self) {
        self.live.nudge();
    }

    fn announce(&mut self, effect: Effect) -> Vec<Event> {
        self.desks.pass_on(effect);
        Vec::new()
    }
}

/// A session plays, an upload is saved but for the last word: what is told next makes the separator wanted.
fn playing() -> (Driver<Floor>, Event) {
    let floor = Floor {
        weights: Arc::new([Cell::new(false), Cell::new(false)]),
        gate: LeaseGate::new(),
        live: mailbox(4),
        work: mailbox(4),
        desks: Desks::default(),
        saves: false,
        save: None,
    };
    let mut driver = Driver::new(crowded(), floor);
    driver.tell(Event::TrackFound {
        track: FIXTURE,
        found: Found::FixtureWithStems,
    });
    for (connection, intent) in [(SESSION, Intent::Session), (UPLOAD, Intent::Upload)] {
        driver.tell(Event::HandshakeOpened { connection });
        let bytes = 1;
        driver.tell(Event::HandshakeDeclared {
            connection,
            intent,
            bytes,
        });
        driver.tell(match intent {
            Intent::Session => Event::SessionAsked {
                connection,
                client: None,
                source: Source::Track(FIXTURE),
                mode: Mode::Plain,
            },
            Intent::Upload => Event::UploadAsked {
                connection,
                track: SENT,
            },
        });
    }
    let save = driver.house.save.take().expect("the upload is being saved");
    driver.house.saves = true;
    assert_eq!(driver.director().seat(), Some((SESSION, "Live")));
    let saved = Event::JobEnded {
        job: save.id,
        outcome: Outcome::Done,
    };
    (driver, saved)
}

/// The live thread: so many ticks, and then nothing to do. Wired like `Live::run` of the server.
fn live(gate: &LeaseGate, orders: &Mailbox<Job>, events: &Mailbox<Event>, weights: &Weights, mut ticks: u32) {
    let mut asleep = false;
    loop {
        let mut patience = PATIENCE;
        if let Some(pass) = gate.enter() {
            if ticks > 0 {
                assert!(of(weights, Group::Dit).get(), "a tick on parked weights");
                ticks -= 1;
                patience = std::time::Duration::ZERO;
            } else if !std::mem::replace(&mut asleep, true) {
                let told = events.send(Event::Playing {
                    connection: SESSION,
                    wanted: false,
                });
                assert!(told.is_ok());
            }
            if let Some(closing) = pass.leave() {
                assert!(events.send(Event::GateDrained { closing }).is_ok());
            }
        }
        match orders.receive(patience) {
            Ok(job) => unreachable!("nobody orders {:?}", job.task),
            Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
            Err(ReceiveError::Closed) => break,
        }
    }
    assert_eq!(ticks, 0, "the gate was open and nobody woke it");
}

/// The work thread: rips, batch by batch. Wired like `work::run` of the server.
fn work(orders: &Mailbox<Job>, events: &Mailbox<Event>, weights: &Weights) {
    let mut done: BTreeMap<TrackId, u32> = BTreeMap::new();
    while let Ok(job) = orders.receive(PATIENCE) {
        let Task::Rip { track } = job.task else {
            unreachable!("nobody orders {:?}", job.task)
        };
        let done = done.entry(track).or_insert(0);
        let mut outcome = Outcome::Done;
        while *done < BATCHES {
            if job.cancel.is_raised() {
                outcome = Outcome::Yielded { abandoned: false };
                break;
            }
            assert!(of(weights, Group::Separator).get(), "a batch on parked weights");
            *done += 1;
            let told = events.send(Event::RipProgress {
                job: job.id,
                done: *done,
                total: BATCHES,
            });
            assert!(told.is_ok());
        }
        assert!(events.send(Event::JobEnded { job: job.id, outcome }).is_ok());
    }
}

/// Runs it until everything has come to rest. `turn` lets the rip's turn end at its first batch; what is `broken` is so from the start of
/// the threads.
pub(super) fn run(ticks: u32, turn: bool, broken: Option<Break>) {
    let (mut driver, saved) = playing();
    driver.break_on_purpose(broken);
    let events = mailbox(16);
    let live_thread = {
        let (gate, orders) = (driver.house.gate.clone(), driver.house.live.clone());
        let (events, weights) = (events.clone(), Arc::clone(&driver.house.weights));
        thread::spawn(move || live(&gate, &orders, &events, &weights, ticks))
    };
    let work_thread = {
        let (orders, events) = (driver.house.work.clone(), events.clone());
        let weights = Arc::clone(&driver.house.weights);
        thread::spawn(move || work(&orders, &events, &weights))
    };
    driver.tell(saved);
    let mut turn = turn.then(|| crowded().times.rip_turn);
    let mut asleep = false;
    let at_rest = |driver: &Driver<Floor>| {
        driver.director().unfinished().is_empty() && driver.director().phase(Group::Dit) == Phase::Resident
    };
    while !(asleep && at_rest(&driver)) {
        let event = events.receive(PATIENCE).expect("nobody closes it");
        asleep |= matches!(event, Event::Playing { wanted: false, .. });
        let over = matches!(event, Event::RipProgress { .. })
            .then(|| turn.take())
            .flatten();
        driver.tell(event);
        if let Some(turn) = over {
            driver.pass_time(turn);
        }
    }
    driver.house.live.close();
    driver.house.work.close();
    live_thread.join().unwrap();
    work_thread.join().unwrap();
    let resident = [Group::Dit, Group::Separator].map(|group| of(&driver.house.weights, group).get());
    assert_eq!(resident, [true, false]);
    let answers: Vec<_> = driver.house.desks.promised().values().copied().collect();
    assert_eq!(answers, [1], "the stems of the upload are owed");
}

#[test]
fn weights_change_places_between_ticks_and_a_rip() {
    explore(|| run(2, false, None));
}

#[test]
fn a_rip_whose_turn_is_over_gives_way_and_goes_on_later() {
    explore(|| run(1, true, None));
}
