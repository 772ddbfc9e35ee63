//! An incumbent's stream against two candidates: whoever was accepted last gets the seat, and one stream ends before the next begins.

use std::collections::BTreeSet;

use greenroom_director::{Close, ConnectionId, Effect, Event, Found, Intent, Mode, Outcome, Source, Task, TrackId};
use greenroom_schedules::{Break, Desks, Driver, House, Job, without_weights};
use greenroom_sync::{LeaseGate, Mailbox, ReceiveError, mailbox};
use loom::{cell::Cell, sync::Arc, thread};

use crate::{PATIENCE, explore};

const INCUMBENT: ConnectionId = ConnectionId(1);
const OLDER: ConnectionId = ConnectionId(2);
const NEWER: ConnectionId = ConnectionId(3);
const FIXTURE: TrackId = TrackId(1);

/// What a session's stream plays into: the live thread writes whose it is, the client of a ready session reads it. Loom fails where the
/// next stream writes before the client of the last is known to be gone.
type Playback = Arc<Cell<Option<ConnectionId>>>;

struct Seat {
    gate: LeaseGate,
    live: Mailbox<Job>,
    desks: Desks,
    /// Off until the threads run.
    threads: bool,
    ready: Vec<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
}

impl House for Seat {
    fn start(&mut self, job: Job) -> Option<Outcome> {
        match job.task {
            Task::OpenStream { .. } | Task::CloseStream { .. } if self.threads => {
                assert!(self.live.send(job).is_ok());
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
        if let Effect::SessionReady { connection, .. } = effect {
            let before = self.ready.iter().find(|before| !self.gone.contains(before));
            assert_eq!(before, None, "{connection:?} is ready beside another");
            self.ready.push(connection);
        }
        self.desks.pass_on(effect);
        Vec::new()
    }
}

/// A session plays, and two connections have said that they want one too.
fn contested() -> Driver<Seat> {
    let seat = Seat {
        gate: LeaseGate::new(),
        live: mailbox(4),
        desks: Desks::default(),
        threads: false,
        ready: Vec::new(),
        gone: BTreeSet::new(),
    };
    let mut driver = Driver::new(without_weights(), seat);
    driver.tell(Event::TrackFound {
        track: FIXTURE,
        found: Found::Fixture,
    });
    for connection in [INCUMBENT, OLDER, NEWER] {
        driver.tell(Event::HandshakeOpened { connection });
        driver.tell(Event::HandshakeDeclared {
            connection,
            intent: Intent::Session,
            bytes: 1,
        });
    }
    driver.tell(asks(INCUMBENT));
    assert_eq!(driver.director().seat(), Some((INCUMBENT, "Live")));
    driver.house.threads = true;
    driver
}

fn asks(connection: ConnectionId) -> Event {
    Event::SessionAsked {
        connection,
        client: None,
        source: Source::Track(FIXTURE),
        mode: Mode::Plain,
    }
}

/// The live thread with the stream of whoever has the seat, until the last has it; the incumbent's ticks once where it `ticks`. Wired
/// like `Live::run` of the server.
fn live(mut ticks: bool, gate: &LeaseGate, orders: &Mailbox<Job>, events: &Mailbox<Event>, playback: &Playback) {
    let mut stream = Some(INCUMBENT);
    while stream != Some(NEWER) {
        let mut patience = PATIENCE;
        if stream.is_some()
            && ticks
            && let Some(pass) = gate.enter()
        {
            ticks = false;
            patience = std::time::Duration::ZERO;
            assert_eq!(playback.get(), stream, "the stream of one session plays for another");
            if let Some(closing) = pass.leave() {
                assert!(events.send(Event::GateDrained { closing }).is_ok());
            }
        }
        let job = match orders.receive(patience) {
            Ok(job) => job,
            Err(ReceiveError::TimedOut | ReceiveError::Nudged) => continue,
            Err(ReceiveError::Closed) => unreachable!("nobody closes it"),
        };
        match job.task {
            Task::OpenStream { connection, .. } => {
                assert_eq!(stream, None, "a stream is opened while another stands");
                playback.set(Some(connection));
                stream = Some(connection);
            }
            Task::CloseStream { connection } => {
                assert_eq!(stream, Some(connection));
                stream = None;
            }
            other => unreachable!("nobody orders {other:?}"),
        }
        let outcome = Outcome::Done;
        assert!(events.send(Event::JobEnded { job: job.id, outcome }).is_ok());
    }
}

/// What the two candidates do.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Contest {
    /// Both ask while the incumbent ticks, the newer one first.
    Burst,
    /// The older one has asked; the newer one does once the incumbent is gone: the older may be on the seat by then, or on its way.
    Succession,
}

/// The sockets: each listens while it has the seat, and goes when it is told to.
fn sockets(contest: Contest, hears: &Mailbox<Effect>, events: &Mailbox<Event>, playback: &Playback) {
    let ask = |connection| assert!(events.send(asks(connection)).is_ok());
    if contest == Contest::Burst {
        ask(NEWER);
        ask(OLDER);
    }
    let mut waiting = BTreeSet::from([INCUMBENT, OLDER, NEWER]);
    while !waiting.is_empty() {
        match hears.receive(PATIENCE) {
            Ok(Effect::SessionReady { connection, .. }) => {
                assert_eq!(playback.get(), Some(connection), "it hears another session");
                if connection == NEWER {
                    waiting.remove(&NEWER);
                }
            }
            Ok(Effect::Close { connection, code }) => {
                assert_eq!(code, Close::Preempted);
                assert!(
                    waiting.remove(&connection),
                    "{connection:?} was not to be told, or twice"
                );
                assert!(events.send(Event::ConnectionGone { connection }).is_ok());
                if connection == INCUMBENT && contest == Contest::Succession {
                    ask(NEWER);
                }
            }
            Ok(other) => unreachable!("nobody says {other:?}"),
            Err(error) => unreachable!("{error:?}: nobody closes it, nudges, or measures time"),
        }
    }
}

/// Runs it until the newer candidate plays alone.
pub(super) fn run(contest: Contest, broken: Option<Break>) {
    let mut driver = contested();
    driver.break_on_purpose(broken);
    let (events, hears) = (mailbox(16), mailbox(8));
    for connection in [INCUMBENT, OLDER, NEWER] {
        driver.house.desks.open(connection, hears.clone());
    }
    if contest == Contest::Succession {
        driver.tell(asks(OLDER));
    }
    let playback: Playback = Arc::new(Cell::new(Some(INCUMBENT)));
    let live_thread = {
        let (gate, orders) = (driver.house.gate.clone(), driver.house.live.clone());
        let (events, playback) = (events.clone(), Arc::clone(&playback));
        thread::spawn(move || live(contest == Contest::Burst, &gate, &orders, &events, &playback))
    };
    let socket_thread = {
        let (hears, events, playback) = (hears.clone(), events.clone(), Arc::clone(&playback));
        thread::spawn(move || sockets(contest, &hears, &events, &playback))
    };
    let settled = |driver: &Driver<Seat>| {
        driver.director().seat() == Some((NEWER, "Live"))
            && driver.house.gone.contains(&OLDER)
            && driver.director().unfinished().is_empty()
    };
    while !settled(&driver) {
        let event = events.receive(PATIENCE).expect("nobody closes it");
        if let Event::ConnectionGone { connection } = &event {
            driver.house.gone.insert(*connection);
        }
        driver.tell(event);
    }
    assert_eq!(driver.house.ready.last(), Some(&NEWER));
    assert!(
        [INCUMBENT, OLDER]
            .iter()
            .all(|loser| driver.house.desks.is_evicted(*loser))
    );
    live_thread.join().unwrap();
    socket_thread.join().unwrap();
    assert_eq!(playback.get(), Some(NEWER));
}

#[test]
fn a_newer_candidate_takes_the_seat_that_an_older_one_is_about_to_get() {
    explore(|| run(Contest::Succession, None));
}

#[test]
fn an_older_candidate_never_takes_the_seat_from_a_newer_one() {
    explore(|| run(Contest::Burst, None));
}
