//! The player against a simulated client: a clock of its own, late reports, jittered work, and a memory of when each place was made.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

use std::{collections::VecDeque, time::Duration};

use greenroom_generator::{Action, Player, PlayerSettings, SLICE_FRAMES, Slice, Walk};
use proptest::prelude::*;

/// Between two reports of the client's position.
const REPORT_US: u64 = 8_000;

/// How long everything takes, in microseconds: each a least and a most.
#[derive(Clone, Copy, Debug)]
struct Jitter {
    uplink: (u64, u64),
    tick: (u64, u64),
    decode: (u64, u64),
    transmit: (u64, u64),
    /// Ticks that make a generation.
    ticks: u32,
}

const QUICK: Jitter = Jitter {
    uplink: (200, 2_000),
    tick: (20, 100),
    decode: (6_000, 12_000),
    transmit: (500, 3_000),
    ticks: 1,
};

/// What a person does, and when (microseconds).
#[derive(Clone, Copy, Debug)]
enum Deed {
    Knob,
    Band(Option<(u64, u64)>),
    Seek(u64),
}

struct Delivery {
    at_us: u64,
    decided_us: u64,
    made_us: u64,
    slice: Slice,
}

struct Simulation {
    player: Player,
    jitter: Jitter,
    random: u64,
    now_us: u64,
    frames: u64,
    band: Option<(u64, u64)>,
    /// The client's true position, in frames, at `heard_us`.
    position: f64,
    heard_us: u64,
    /// When each frame of the client's buffer was made, in milliseconds, rounded up; 0 = never.
    made_ms: Vec<u32>,
    reports: VecDeque<(u64, f64)>,
    next_report_us: u64,
    deliveries: VecDeque<Delivery>,
    deeds: VecDeque<(u64, Deed)>,
    ticks_left: u32,
    walk: Option<Walk>,
    /// Where the last tick was for.
    ticked_for: u64,
    /// Knobs turned and not heard yet.
    knobs: VecDeque<u64>,
    outcome: Outcome,
}

#[derive(Default, Debug)]
struct Outcome {
    played: u64,
    stale: u64,
    late: u64,
    slices: u64,
    ticks: u64,
    last_slice_us: u64,
    last_tick_us: u64,
    ahead_max: f64,
    knob_to_ear_us: Vec<u64>,
    outside_band: u64,
    outside_part: u64,
    /// Times that another part was entered.
    parts: u64,
}

impl Outcome {
    fn stale_ms(&self) -> u64 {
        self.stale / 48
    }
}

impl Simulation {
    fn new(seconds: u64, jitter: Jitter, seed: u64, deeds: &[(u64, Deed)]) -> Self {
        let frames = seconds * 48_000;
        Self {
            player: Player::new(Duration::ZERO, frames, PlayerSettings::default()),
            jitter,
            random: seed | 1,
            now_us: 0,
            frames,
            band: None,
            position: 0.0,
            heard_us: 0,
            made_ms: vec![0; frames as usize],
            reports: VecDeque::new(),
            next_report_us: 0,
            deliveries: VecDeque::new(),
            deeds: deeds.iter().copied().collect(),
            ticks_left: jitter.ticks,
            walk: None,
            ticked_for: 0,
            knobs: VecDeque::new(),
            outcome: Outcome::default(),
        }
    }

    fn walking(seconds: u64, part_s: f64, jitter: Jitter, seed: u64, deeds: &[(u64, Deed)]) -> Self {
        let walk = Some(Walk::new(part_s));
        let settings = PlayerSettings {
            walk,
            ..PlayerSettings::default()
        };
        Self {
            player: Player::new(Duration::ZERO, seconds * 48_000, settings),
            walk,
            ..Self::new(seconds, jitter, seed, deeds)
        }
    }

    /// Whether a slice leaves the part of the source that was generated last.
    fn leaves_part(&self, slice: &Slice) -> bool {
        let Some(part) = self.walk.and_then(|walk| walk.part(self.ticked_for, self.frames)) else {
            return false;
        };
        let inside = |start: u64, frames: usize| start >= part.start && start + frames as u64 <= part.end;
        !slice.windows.iter().all(|window| inside(window.start, window.frames))
    }

    fn pick(&mut self, (least, most): (u64, u64)) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        least + (self.random >> 33) % (most - least + 1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.now_us)
    }

    fn run(mut self, seconds: u64) -> Outcome {
        let end_us = seconds * 1_000_000;
        while self.now_us < end_us {
            self.hear_until(self.now_us);
            self.take_reports();
            let asked_us = self.now_us;
            match self.player.next(self.now()) {
                Action::Tick => self.tick(),
                Action::Decode(slice) => self.decode(asked_us, slice),
                Action::Wait(until) => {
                    let until_us = until.as_micros() as u64;
                    assert!(until_us > self.now_us, "a wait that is over keeps the thread spinning");
                    self.now_us = until_us.min(self.next_event_us());
                }
                Action::Rest => self.now_us = self.next_event_us(),
            }
        }
        self.outcome
    }

    fn tick(&mut self) {
        let took = self.pick(self.jitter.tick);
        self.now_us += took;
        let part = |frame| self.walk.and_then(|walk| walk.part(frame, self.frames));
        if part(self.ticked_for) != part(self.player.target_frame()) {
            // What was in flight for another part is worth nothing.
            self.ticks_left = self.jitter.ticks;
            self.outcome.parts += 1;
        }
        self.ticked_for = self.player.target_frame();
        self.ticks_left -= 1;
        let finished = u32::from(self.ticks_left == 0);
        if finished == 1 {
            self.ticks_left = self.jitter.ticks;
        }
        self.outcome.ticks += 1;
        self.outcome.last_tick_us = self.now_us;
        self.player.ticked(Duration::from_micros(took), finished);
    }

    fn decode(&mut self, decided_us: u64, slice: Slice) {
        let ahead = self.way_to(slice.windows[0].start);
        self.outcome.ahead_max = self.outcome.ahead_max.max(ahead);
        if let Some((start, end)) = self.band {
            let leaves = |window: &greenroom_generator::Window| {
                window.start < start || window.start + window.frames as u64 > end
            };
            self.outcome.outside_band += u64::from(slice.windows.iter().any(leaves));
        }
        self.outcome.outside_part += u64::from(self.leaves_part(&slice));
        let took = self.pick(self.jitter.decode);
        self.now_us += took;
        self.player.decoded(Duration::from_micros(took));
        let sent = self.pick(self.jitter.transmit);
        self.player.transmitted(Duration::from_micros(sent));
        self.outcome.slices += 1;
        self.outcome.last_slice_us = self.now_us;
        // One socket: what is sent later arrives later.
        let at_us = (self.now_us + sent).max(self.deliveries.back().map_or(0, |last| last.at_us));
        self.deliveries.push_back(Delivery {
            at_us,
            decided_us,
            made_us: self.now_us,
            slice,
        });
    }

    fn next_event_us(&self) -> u64 {
        let report = self.reports.front().map_or(u64::MAX, |report| report.0);
        let deed = self.deeds.front().map_or(u64::MAX, |deed| deed.0);
        report.min(deed).min(self.next_report_us).max(self.now_us + 1)
    }

    /// Lets the client play up to a moment: its reports leave, slices arrive, deeds are done.
    fn hear_until(&mut self, until_us: u64) {
        loop {
            let arrival = self.deliveries.front().map_or(u64::MAX, |delivery| delivery.at_us);
            let deed = self.deeds.front().map_or(u64::MAX, |deed| deed.0);
            let event = arrival.min(deed).min(self.next_report_us);
            if event > until_us {
                break;
            }
            self.play_until(event);
            if event == arrival {
                self.receive();
            } else if event == deed {
                self.act();
            } else {
                let arrives = event + self.pick(self.jitter.uplink);
                let arrives = arrives.max(self.reports.back().map_or(0, |last| last.0));
                self.reports.push_back((arrives, self.position));
                self.next_report_us += REPORT_US;
            }
        }
        self.play_until(until_us);
    }

    fn lap(&self) -> (u64, u64) {
        self.band.unwrap_or((0, self.frames))
    }

    fn play_until(&mut self, until_us: u64) {
        let (start, end) = self.lap();
        while self.heard_us < until_us {
            let step_us = (until_us - self.heard_us).min(1_000);
            let before = self.position as u64;
            self.heard_us += step_us;
            self.position += step_us as f64 * 0.048;
            self.note(before, (self.position as u64).min(end));
            if self.position >= end as f64 {
                self.position -= (end - start) as f64;
            }
        }
    }

    /// Notes that these frames were heard just now.
    fn note(&mut self, first: u64, last: u64) {
        let now_ms = (self.heard_us / 1_000) as u32;
        for frame in first..last {
            let made = self.made_ms[frame as usize];
            // A second is what a slow session needs to get going.
            if self.heard_us > 1_000_000 {
                self.outcome.played += 1;
                self.outcome.stale += u64::from(made == 0 || made + 1_000 < now_ms);
            }
            while let Some(turned) = self.knobs.front().copied()
                && u64::from(made) * 1_000 > turned + 1_000
            {
                self.outcome.knob_to_ear_us.push(self.heard_us - turned);
                self.knobs.pop_front();
            }
        }
    }

    fn way_to(&self, frame: u64) -> f64 {
        let (start, end) = self.lap();
        let way = frame as f64 - self.position;
        if way < 0.0 { way + (end - start) as f64 } else { way }
    }

    fn receive(&mut self) {
        let delivery = self.deliveries.pop_front().unwrap();
        // Where the playhead was when the slice was decided on; all that was played since is behind it.
        let played = (delivery.at_us - delivery.decided_us) as f64 * 0.048;
        let (start, end) = self.lap();
        let lap = (end - start) as f64;
        let past = (self.position - delivery.slice.windows[0].start as f64).rem_euclid(lap);
        self.outcome.late += u64::from(past > 0.0 && past < played);
        for window in &delivery.slice.windows {
            let first = window.start as usize + window.fade_in;
            let last = window.start as usize + window.frames - window.fade_out;
            self.made_ms[first..last].fill(delivery.made_us.div_ceil(1_000) as u32);
        }
    }

    fn take_reports(&mut self) {
        while self.reports.front().is_some_and(|report| report.0 <= self.now_us) {
            let (_, position) = self.reports.pop_front().unwrap();
            self.player.position(self.now(), position);
        }
    }

    fn act(&mut self) {
        let (at_us, deed) = self.deeds.pop_front().unwrap();
        let now = self.now();
        match deed {
            Deed::Knob => {
                self.knobs.push_back(at_us);
                self.player.input(now);
            }
            Deed::Band(band) => {
                self.band = band;
                self.player.loop_band(now, band);
                let (start, end) = self.lap();
                if self.position >= end as f64 {
                    self.position = start as f64 + (self.position - start as f64) % (end - start) as f64;
                }
            }
            Deed::Seek(frame) => self.position = frame as f64,
        }
    }
}

/// A touch of a knob every ten seconds keeps a session awake.
fn awake(seconds: u64) -> Vec<(u64, Deed)> {
    (1..seconds / 10)
        .map(|turn| (turn * 10_000_000 + 1_234, Deed::Knob))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sample_goes_uncovered_however_the_work_jitters(
        seed: u64, uplink in 0_u64..20_000, tick in 0_u64..20_000, decode in 0_u64..60_000, transmit in 0_u64..30_000, seconds in 2_u64..40,
    ) {
        let jitter = Jitter { uplink: (0, uplink), tick: (0, tick), decode: (decode / 3, decode), transmit: (transmit / 3, transmit), ticks: 1 };
        let outcome = Simulation::new(seconds, jitter, seed, &awake(30)).run(30);
        prop_assert_eq!(outcome.late, 0);
        prop_assert_eq!(outcome.stale, 0);
        prop_assert!(outcome.ahead_max <= 14_400.0 + 0.02 * 48_000.0, "{} frames ahead", outcome.ahead_max);
    }

    #[test]
    fn slow_pipelines_never_hold_up_the_sound(seed: u64, ticks in 2_u32..9, tick in 5_000_u64..60_000) {
        let jitter = Jitter { tick: (tick / 2, tick), ticks, ..QUICK };
        let outcome = Simulation::new(20, jitter, seed, &awake(30)).run(30);
        prop_assert_eq!(outcome.late, 0);
        prop_assert_eq!(outcome.stale, 0);
    }

    #[test]
    fn bands_are_kept_and_stay_fresh(seed: u64, start in 0_u64..400_000, length in 4_800_u64..100_000) {
        let band = (start, start + length);
        let deeds = [(1_900_000, Deed::Seek(start + length / 2)), (2_000_000, Deed::Band(Some(band)))];
        let outcome = Simulation::new(12, QUICK, seed, &deeds).run(15);
        prop_assert_eq!(outcome.outside_band, 0);
        // What was made before the seek and before the band lay elsewhere: each costs the lead and the way to the client.
        prop_assert!(outcome.stale_ms() < 700, "{} ms of old sound", outcome.stale_ms());
    }
}

#[test]
fn a_walk_generates_part_after_part_and_no_slice_leaves_its_own() {
    // 35 s in parts of 10: the last reaches back into the third, and after it comes the first again.
    let outcome = Simulation::walking(35, 10.0, QUICK, 11, &awake(80)).run(68);
    assert_eq!((outcome.outside_part, outcome.late), (0, 0));
    assert_eq!(outcome.parts, 7, "four parts, twice around, from the first on");
    // Where parts meet both fade to what the buffer holds.
    assert!(outcome.stale_ms() <= 7 * 55, "{} ms of old sound", outcome.stale_ms());
}

#[test]
fn a_walk_with_a_slow_pipeline_waits_for_it_once_a_part() {
    let slow = Jitter {
        tick: (20_000, 30_000),
        ticks: 8,
        ..QUICK
    };
    let outcome = Simulation::walking(40, 10.0, slow, 11, &awake(80)).run(40);
    assert_eq!((outcome.outside_part, outcome.late, outcome.parts), (0, 0, 4));
    assert!(outcome.stale_ms() <= 4 * 600, "{} ms of old sound", outcome.stale_ms());
}

#[test]
fn knobs_turned_where_parts_meet_are_heard_soon_and_bands_walk_too() {
    let deeds = (10..200).map(|turn| (turn * 137_773, Deed::Knob)).collect::<Vec<_>>();
    let mut outcome = Simulation::walking(30, 5.0, QUICK, 3, &deeds).run(30);
    outcome.knob_to_ear_us.sort_unstable();
    assert_eq!(outcome.knob_to_ear_us.len(), deeds.len());
    assert!(outcome.knob_to_ear_us[deeds.len() * 95 / 100] <= 500_000);
    assert_eq!((outcome.outside_part, outcome.late), (0, 0));
    // Over the border of two parts, and within one.
    for band in [(9 * 48_000, 11 * 48_000), (6 * 48_000, 8 * 48_000)] {
        let deeds = [(1_900_000, Deed::Seek(band.0)), (2_000_000, Deed::Band(Some(band)))];
        let outcome = Simulation::walking(30, 5.0, QUICK, 3, &deeds).run(15);
        assert_eq!((outcome.outside_part, outcome.outside_band), (0, 0), "{band:?}");
    }
}

#[test]
fn a_minute_of_ordinary_playing() {
    let outcome = Simulation::new(120, QUICK, 7, &awake(60)).run(60);
    assert_eq!((outcome.late, outcome.stale), (0, 0));
    // 0.31 s a slice, and the six knobs turned.
    assert!((185..205).contains(&outcome.slices), "{} slices", outcome.slices);
}

#[test]
fn a_turned_knob_is_heard_within_half_a_second() {
    let deeds = (10..200).map(|turn| (turn * 137_773, Deed::Knob)).collect::<Vec<_>>();
    let mut outcome = Simulation::new(60, QUICK, 3, &deeds).run(30);
    outcome.knob_to_ear_us.sort_unstable();
    assert_eq!(outcome.knob_to_ear_us.len(), deeds.len());
    let p95 = outcome.knob_to_ear_us[deeds.len() * 95 / 100];
    assert!(
        p95 <= 400_000,
        "p95 {p95} us, worst {:?}",
        outcome.knob_to_ear_us.last()
    );
    assert_eq!((outcome.late, outcome.stale), (0, 0));
}

#[test]
fn a_knob_in_motion_does_not_flood_the_socket() {
    let deeds = (0..1_000)
        .map(|turn| (5_000_000 + turn * 8_000, Deed::Knob))
        .collect::<Vec<_>>();
    let outcome = Simulation::new(60, QUICK, 3, &deeds).run(15);
    assert_eq!((outcome.late, outcome.stale), (0, 0));
    assert!(outcome.slices < 15 * 7, "{} slices in 15 s", outcome.slices);
}

#[test]
fn an_idle_session_stops_ticking_then_decoding_and_any_input_wakes_it() {
    let outcome = Simulation::new(8, QUICK, 5, &[]).run(60);
    assert!(
        (19_000_000..20_400_000).contains(&outcome.last_tick_us),
        "last tick at {} us",
        outcome.last_tick_us
    );
    assert!(
        (27_000_000..28_400_000).contains(&outcome.last_slice_us),
        "last slice at {} us",
        outcome.last_slice_us
    );
    let woken = Simulation::new(8, QUICK, 5, &[(50_000_000, Deed::Knob)]).run(60);
    assert!(woken.last_slice_us > 59_000_000);
    assert!(woken.knob_to_ear_us[0] < 400_000);
}

#[test]
fn a_seek_is_caught_up_with() {
    let deeds = [
        (5_000_000, Deed::Seek(40 * 48_000)),
        (8_000_000, Deed::Seek(3 * 48_000)),
    ];
    let outcome = Simulation::new(60, QUICK, 9, &deeds).run(15);
    assert!(
        outcome.stale_ms() < 2 * 300,
        "{} ms of old sound after two seeks",
        outcome.stale_ms()
    );
    assert!(outcome.late <= 2);
}

#[test]
fn positions_that_are_no_numbers_are_ignored() {
    let mut player = Player::new(Duration::ZERO, 48_000, PlayerSettings::default());
    for nonsense in [f64::NAN, f64::INFINITY, -1.0] {
        player.position(Duration::from_millis(100), nonsense);
        assert_eq!(player.playhead_frame(), 0);
    }
    player.position(Duration::from_millis(100), 1e300);
    assert!(player.playhead_frame() < 48_000);
}

#[test]
fn abandoned_work_is_asked_for_again() {
    let mut player = Player::new(Duration::ZERO, 480_000, PlayerSettings::default());
    assert_eq!(player.next(Duration::ZERO), Action::Tick);
    player.ticked(Duration::from_millis(1), 1);
    let Action::Decode(first) = player.next(Duration::ZERO) else {
        panic!("a slice")
    };
    assert_eq!(first.frames(), SLICE_FRAMES);
    player.abandoned();
    assert_eq!(player.next(Duration::from_millis(10)), Action::Tick);
    player.ticked(Duration::from_millis(1), 1);
    let Action::Decode(second) = player.next(Duration::from_millis(10)) else {
        panic!("a slice")
    };
    assert_eq!(second.windows[0].start, first.windows[0].start + 480);
}

#[test]
fn a_swap_starts_anew_within_the_new_length() {
    let mut player = Player::new(Duration::ZERO, 480_000, PlayerSettings::default());
    player.loop_band(Duration::from_secs(8), Some((380_000, 400_000)));
    player.swap_source(Duration::from_secs(8), 96_000);
    assert!(player.playhead_frame() < 96_000);
    assert_eq!(player.next(Duration::from_secs(8)), Action::Tick);
    player.ticked(Duration::from_millis(1), 1);
    let Action::Decode(slice) = player.next(Duration::from_secs(8)) else {
        panic!("a slice")
    };
    assert!(
        slice
            .windows
            .iter()
            .all(|window| window.start as usize + window.frames <= 96_000)
    );
}
