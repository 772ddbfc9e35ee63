//! The director's thread, and one life of a pod: everybody asks, everything comes to rest, the pod ends.

use std::collections::BTreeSet;

use greenroom_director::{
    ClientKey, ConnectionId, Effect, Event, Found, Group, Groups, Need, Outcome, Phase, Plan, Source, Span, Task,
    Times, TrackId,
};
use greenroom_schedules::{Desks, Driver, House, Job, without_weights};
use greenroom_stage::Stage;
use greenroom_sync::{Latest, LeaseGate, Mailbox, mailbox};
use shuttle::{
    rand::{Rng, thread_rng},
    thread::{self, JoinHandle},
};

use super::{
    News,
    clients::{self, Client, Habits},
    device::Device,
    lanes::{self, Knobs, Live},
    seen,
};
use crate::PATIENCE;

const OLDER: ConnectionId = ConnectionId(1);
const UPLOAD: ConnectionId = ConnectionId(2);
const NEWER: ConnectionId = ConnectionId(3);
const FIXTURE: TrackId = TrackId(1);
const WITH_STEMS: TrackId = TrackId(2);
const UPLOADED: TrackId = TrackId(3);
const SENT: TrackId = TrackId(4);
const ROOM: usize = 64;

/// Lanes and desks.
struct Pod {
    gate: LeaseGate,
    live: Mailbox<Job>,
    work: Mailbox<Job>,
    stage: Mailbox<Job>,
    disk: Mailbox<Job>,
    desks: Desks,
    knobs: Knobs,
    /// Sessions that were told that they are ready, and have not gone.
    ready: BTreeSet<ConnectionId>,
    /// Whether the live thread is as busy as the director was last told.
    playing: bool,
}

impl House for Pod {
    fn start(&mut self, job: Job) -> Option<Outcome> {
        let lane = match job.task {
            Task::Encode { .. } | Task::Rip { .. } | Task::EncodeStems { .. } => &self.work,
            Task::OpenStream { .. }
            | Task::SwapSource { .. }
            | Task::EncodePrompt { .. }
            | Task::Reference { .. }
            | Task::CloseStream { .. } => &self.live,
            Task::Restore { .. } | Task::Park { .. } | Task::LoadEngine { .. } | Task::UnloadEngine { .. } => {
                &self.stage
            }
            Task::Save { .. } | Task::SaveStems { .. } | Task::Wipe { .. } => &self.disk,
        };
        let sent = lane.send(job);
        assert!(sent.is_ok(), "a lane takes no orders: {sent:?}");
        None
    }

    fn gate(&self) -> &LeaseGate {
        &self.gate
    }

    fn wake_live(&self) {
        self.live.nudge();
    }

    fn announce(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::SessionReady { connection, .. } => {
                assert_eq!(self.ready, BTreeSet::new(), "{connection:?} is ready beside another");
                self.ready.insert(connection);
                self.playing = true;
            }
            Effect::SwapReady { .. } => self.playing = true,
            _ => {}
        }
        self.desks.pass_on(effect);
        Vec::new()
    }
}

/// A generator of four groups and a separator; there is room for it or for them.
fn plan() -> Plan {
    let need = |groups: &[Group]| Need {
        groups: Groups::of(groups),
        workspace_bytes: 1,
    };
    let small = without_weights();
    Plan {
        weights_bytes: [Some(30), Some(16), Some(11), Some(3), Some(20)],
        needs: [
            need(&[Group::Vae, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner]),
            need(&[Group::TextEncoder, Group::Conditioner, Group::Vae]),
            need(&[Group::Dit, Group::Vae]),
            need(&[Group::Separator]),
        ],
        engines_only: greenroom_director::Components::NONE,
        budget_bytes: 65,
        keeps_stems: true,
        times: Times {
            rip_turn: Span::milliseconds(20),
            live_turn: Span::milliseconds(20),
            ..small.times
        },
        ..small
    }
}

fn habits(connection: ConnectionId, pod: &Pod) -> Habits {
    let stays = connection == NEWER;
    Habits {
        key: [None, Some(ClientKey(1)), Some(ClientKey(connection.0))][thread_rng().gen_range(0..3)],
        source: if !stays && thread_rng().gen_range(0..2) == 0 {
            Source::Sent(SENT)
        } else {
            Source::Track(FIXTURE)
        },
        mode: if stays {
            greenroom_director::Mode::Plain
        } else {
            clients::any_mode()
        },
        other: [FIXTURE, WITH_STEMS, UPLOADED][thread_rng().gen_range(0..3)],
        stays,
        knobs: pod.knobs[&connection].clone(),
        orders: pod.live.clone(),
    }
}

/// Starts every thread but the director's.
fn threads(pod: &mut Pod, news: &Mailbox<News>, device: &Device) -> Vec<JoinHandle<()>> {
    let live = Live {
        gate: pod.gate.clone(),
        orders: pod.live.clone(),
        knobs: pod.knobs.clone(),
        news: news.clone(),
        device: device.clone(),
    };
    let mut threads = vec![thread::spawn(move || live.run())];
    for (orders, lane) in [(&pod.work, lanes::work as fn(&_, &_, &_)), (&pod.stage, lanes::stage)] {
        let (orders, news, device) = (orders.clone(), news.clone(), device.clone());
        threads.push(thread::spawn(move || lane(&orders, &news, &device)));
    }
    let (orders, their_news) = (pod.disk.clone(), news.clone());
    threads.push(thread::spawn(move || lanes::disk(&orders, &their_news)));
    for connection in [OLDER, UPLOAD, NEWER] {
        let (hears, news) = (mailbox(ROOM), news.clone());
        pod.desks.open(connection, hears.clone());
        let client = Client {
            connection,
            hears,
            news,
        };
        if connection == UPLOAD {
            threads.push(thread::spawn(move || client.uploads(UPLOADED)));
        } else {
            let habits = habits(connection, pod);
            threads.push(thread::spawn(move || client.plays(&habits)));
        }
    }
    let their_news = news.clone();
    threads.push(thread::spawn(move || clients::clock(&their_news)));
    threads
}

/// Whether there is nothing left that anybody asked for.
fn is_at_rest(driver: &Driver<Pod>) -> bool {
    let director = driver.director();
    let moves = Group::ALL
        .iter()
        .any(|group| matches!(director.phase(*group), Phase::Restoring | Phase::Parking));
    let seat = match director.seat() {
        None => true,
        Some((connection, state)) => {
            let turned = driver.house.knobs[&connection].peek().is_some();
            state == "Live" && !driver.house.playing && !turned && director.owing().is_empty()
        }
    };
    seat && !moves && director.unfinished().is_empty()
}

/// What the memory really holds is what the director believes, and whoever was promised something got it.
fn look(driver: &Driver<Pod>, device: &Device, broken: bool) {
    let resident: Vec<String> = device.stage.read().resident.into_keys().collect();
    let mut believed: Vec<String> = Group::ALL
        .iter()
        .filter(|group| driver.director().phase(**group) == Phase::Resident)
        .map(|group| group.name().to_owned())
        .collect();
    believed.sort();
    assert_eq!(resident, believed);
    let seat = driver.director().seat().map(|(connection, _)| connection);
    assert_eq!(driver.house.ready.iter().copied().next(), seat);
    if seat.is_none() {
        seen::note(seen::Mark::SeatEmpty);
        return assert!(broken, "somebody stays, and nothing failed: the seat is somebody's");
    }
    assert!(broken || seat == Some(NEWER), "the last one in has the seat");
    let unanswered = driver.house.desks.promised().iter().find(|(_, answers)| **answers == 0);
    assert_eq!(unanswered, None, "stems were promised and never came");
}

/// Handles what comes until `over`.
fn run(driver: &mut Driver<Pod>, news: &Mailbox<News>, over: impl Fn(&Driver<Pod>, u32) -> bool) {
    let mut done = 0;
    while !over(driver, done) {
        match news.receive(PATIENCE).expect("nobody closes it") {
            News::Event(event) => {
                match &event {
                    Event::ConnectionGone { connection } => {
                        driver.house.ready.remove(connection);
                    }
                    Event::Playing { wanted, .. } => driver.house.playing = *wanted,
                    _ => {}
                }
                driver.tell(event);
            }
            News::Time(span) => driver.pass_time(span),
            News::Done => done += 1,
        }
    }
}

/// One life of a pod.
pub(crate) fn live_through() {
    let plan = plan();
    let device = Device::new(&plan);
    let broken = device.maybe_break();
    let pod = Pod {
        gate: LeaseGate::new(),
        live: mailbox(ROOM),
        work: mailbox(ROOM),
        stage: mailbox(ROOM),
        disk: mailbox(ROOM),
        desks: Desks::default(),
        knobs: [OLDER, NEWER].map(|connection| (connection, Latest::new())).into(),
        ready: BTreeSet::new(),
        playing: false,
    };
    let news = mailbox(ROOM);
    let mut driver = Driver::new(plan, pod);
    for (track, found) in [(FIXTURE, Found::Fixture), (WITH_STEMS, Found::FixtureWithStems)] {
        driver.tell(Event::TrackFound { track, found });
    }
    driver.tell(Event::Timer);
    let threads = threads(&mut driver.house, &news, &device);

    // Three clients and the clock.
    run(&mut driver, &news, |driver, done| done == 4 && is_at_rest(driver));
    look(&driver, &device, broken);

    driver.tell(Event::ShutdownAsked);
    run(&mut driver, &news, |driver, _| driver.exit().is_some());
    assert_eq!(driver.exit(), Some(0));
    for lane in [
        &driver.house.live,
        &driver.house.work,
        &driver.house.stage,
        &driver.house.disk,
    ] {
        lane.close();
    }
    driver.house.desks.close();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(device.stage.read().workspace, 0, "room was taken and not given back");
}
