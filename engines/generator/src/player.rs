//! The playing policy that all generators share: when to tick, when to decode, and which window.
//!
//! A pure value: time is an argument, and nothing here is carried out. Sound is made end to end at a short lead before the playhead:
//! the lead is what making and sending a slice takes, plus a reserve, so that no slice is late and a turned knob is heard soon.
//! Slices overlap by both their fades: the fade-in of one falls on the full sound of the one before, so that nothing stale shines
//! through where they meet.
//!
//! In walk mode only a part of the source is generated at a time. A slice never leaves the part that it was generated for, and the first of
//! another part waits for a generation of that part.

use std::{ops::Range, time::Duration};

use greenroom_audio::{POOL_FRAMES, SAMPLE_RATE};

use crate::{
    estimate::Estimate,
    playhead::{Lap, Playhead},
    slice::{SLICE_FRAMES, Slice, fade_frames},
    walk::Walk,
};

/// What a position report may be old, and a thread be late: 40 ms.
const RESERVE_FRAMES: f64 = 0.04 * SAMPLE_RATE as f64;

/// What a player may be told at its start.
#[derive(Clone, Copy, Debug)]
pub struct PlayerSettings {
    /// Least lead of a slice before the playhead: the reserve against a machine that is busy elsewhere.
    pub lead_min: Duration,
    /// Most lead: what is made is never further ahead than this.
    pub lead_max: Duration,
    /// After an input, a new slice replaces what is already made but not yet heard, at most this often.
    pub cut_in_interval: Duration,
    /// Without an input for this long, ticks stop; decoding goes on for one lap of the buffer.
    pub idle_after: Duration,
    /// Walk mode, where a session asked for it.
    pub walk: Option<Walk>,
}

impl Default for PlayerSettings {
    fn default() -> Self {
        Self {
            lead_min: Duration::from_millis(150),
            lead_max: Duration::from_millis(300),
            cut_in_interval: Duration::from_millis(150),
            idle_after: Duration::from_secs(20),
            walk: None,
        }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run one tick, report it with [`Player::ticked`], and ask again.
    Tick,
    /// Decode and send these windows; report with [`Player::decoded`] and [`Player::transmitted`], or [`Player::abandoned`], and ask again.
    Decode(Slice),
    /// Nothing until this moment or the next input, position or change, whichever comes first.
    Wait(Duration),
    /// Nothing until the next input: all of the buffer holds what would be decoded again.
    Rest,
}

/// The policy's state for one live session. All moments count from one fixed point that the caller chooses.
#[derive(Clone, Debug)]
pub struct Player {
    settings: PlayerSettings,
    source_frames: u64,
    lap: Lap,
    playhead: Playhead,
    /// Where the next slice starts so that the sound stays whole, in frames ahead of the playhead; negative once that was missed.
    frontier: f64,
    tick: Estimate,
    generation: Estimate,
    decode: Estimate,
    transmit: Estimate,
    /// Time spent on the generation under way.
    generation_spent: Duration,
    generations: Generations,
    /// The part of the source that they are of; none where all of it is generated.
    part: Option<Range<u64>>,
    target: u64,
    /// Whether an input is not in any slice yet.
    changed: bool,
    sliced_at: Option<Duration>,
    input_at: Duration,
}

/// What there is to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generations {
    /// None yet.
    None,
    /// Only one that a slice has been made of, or that an input has made old.
    Old,
    /// One since the last slice and the last input.
    New,
}

impl Player {
    /// Plays a source of so many frames from its start.
    ///
    /// # Panics
    /// If the source is shorter than a pool: sources are checked before they get here.
    #[must_use]
    pub fn new(now: Duration, source_frames: u64, settings: PlayerSettings) -> Self {
        assert!(source_frames >= POOL_FRAMES as u64, "a source is a pool or more");
        Self {
            settings,
            source_frames,
            lap: Lap {
                start: 0,
                end: source_frames,
            },
            playhead: Playhead::new(now),
            frontier: 0.0,
            // High at first: a late start costs more than a long lead.
            tick: Estimate::guess(Duration::from_millis(20)),
            generation: Estimate::guess(Duration::from_millis(20)),
            decode: Estimate::guess(Duration::from_millis(60)),
            transmit: Estimate::guess(Duration::from_millis(20)),
            generation_spent: Duration::ZERO,
            generations: Generations::None,
            part: settings.walk.and_then(|walk| walk.part(0, source_frames)),
            target: 0,
            changed: true,
            sliced_at: None,
            input_at: now,
        }
    }

    /// Takes the client's report of its position, in frames. A report alone is not an input. Positions that are not numbers are ignored.
    pub fn position(&mut self, now: Duration, frame: f64) {
        if !frame.is_finite() || frame < 0.0 {
            return;
        }
        self.run(now);
        let moved = self.playhead.report(frame % self.source_frames as f64, self.lap);
        // Ahead of a missed frontier nothing is fresh, however far back the playhead is set.
        if self.frontier >= 0.0 {
            self.frontier -= moved;
        }
        // Set back further than anything was made: what lies ahead is not known to be fresh.
        if self.frontier > frames(self.settings.lead_max) + SLICE_FRAMES as f64 {
            self.frontier = 0.0;
        }
    }

    /// Something that changes the sound was asked for: the next slice has it, and an idle player resumes.
    pub fn input(&mut self, now: Duration) {
        self.run(now);
        self.input_at = self.input_at.max(now);
        self.changed = true;
        // Where generations are slow, one that does not know of the input is still news; inputs in a row must not make it worthless.
        let quick = self.generation.upper_s() < self.settings.cut_in_interval.as_secs_f64();
        if quick && self.generations == Generations::New {
            self.generations = Generations::Old;
        }
    }

    /// Sets or lifts the loop band (frames). It is cut to the source, and one shorter than 0.1 s is made that long: an input.
    pub fn loop_band(&mut self, now: Duration, band: Option<(u64, u64)>) {
        const BAND_FRAMES_MIN: u64 = SAMPLE_RATE as u64 / 10;
        self.input(now);
        let whole = Lap {
            start: 0,
            end: self.source_frames,
        };
        self.lap = band.map_or(whole, |(start, end)| {
            let start = start.min(self.source_frames.saturating_sub(BAND_FRAMES_MIN));
            Lap {
                start,
                end: end.max(start + BAND_FRAMES_MIN).min(self.source_frames),
            }
        });
        self.playhead.enter(self.lap);
        self.frontier = 0.0;
    }

    /// Plays another source from the same position (around its end if it is shorter); the band is lifted: an input.
    ///
    /// # Panics
    /// If the source is shorter than a pool.
    pub fn swap_source(&mut self, now: Duration, source_frames: u64) {
        assert!(source_frames >= POOL_FRAMES as u64, "a source is a pool or more");
        self.source_frames = source_frames;
        self.loop_band(now, None);
        self.generations = Generations::None;
        self.sliced_at = None;
    }

    /// A tick took this long and finished so many generations.
    pub fn ticked(&mut self, took: Duration, finished: u32) {
        self.tick.record(took);
        self.generation_spent += took;
        if finished > 0 {
            self.generation.record(self.generation_spent / finished);
            self.generation_spent = Duration::ZERO;
            self.generations = Generations::New;
        }
    }

    /// Decoding a slice took this long.
    pub fn decoded(&mut self, took: Duration) {
        self.decode.record(took);
    }

    /// A slice was in the client's hands this long after it was decoded (waiting for the writer included).
    pub fn transmitted(&mut self, took: Duration) {
        self.transmit.record(took);
    }

    /// The slice last asked for was not made: it is asked for again, further on.
    pub fn abandoned(&mut self) {
        self.frontier = 0.0;
        self.changed = true;
        self.sliced_at = None;
    }

    /// Where the next slice begins, as it was when [`Player::next`] was last asked: what ticks are for.
    #[must_use]
    pub fn target_frame(&self) -> u64 {
        self.target
    }

    /// The frame now being heard, as far as is known.
    #[must_use]
    pub fn playhead_frame(&self) -> u64 {
        self.playhead.position() as u64
    }

    /// Whether ticks have stopped for want of inputs.
    #[must_use]
    pub fn is_idle(&self, now: Duration) -> bool {
        now.saturating_sub(self.input_at) >= self.settings.idle_after
    }

    /// Decides what to do at this moment.
    pub fn next(&mut self, now: Duration) -> Action {
        self.run(now);
        let idle = self.is_idle(now);
        if idle && now >= self.rest_at() {
            return Action::Rest;
        }
        let lead = self.lead_frames();
        self.enter_part(self.place(self.turn_at(lead)));
        let in_turn_s = (self.frontier - lead) / f64::from(SAMPLE_RATE);
        let wants_tick = match self.generations {
            Generations::None => true,
            Generations::Old => !idle,
            Generations::New => false,
        };
        if in_turn_s <= 0.0 {
            if wants_tick && !self.is_pressing() {
                return Action::Tick;
            }
            return self.slice_in_turn(now, lead);
        }
        let cut_in_s = self.cut_in_s(now, lead);
        if wants_tick {
            let tick_s = cut_in_s.min(in_turn_s) - self.generation.upper_s();
            return if tick_s <= 0.0 { Action::Tick } else { wait(now, tick_s) };
        }
        if cut_in_s <= 0.0 {
            return self.slice_at(now, lead);
        }
        wait(now, cut_in_s.min(in_turn_s))
    }

    /// Seconds until an input may replace what is made but not heard; never, where there was none, or where that is of the part of the source
    /// which has been left already: going back for it would cost more than it brings.
    fn cut_in_s(&self, now: Duration, lead: f64) -> f64 {
        if !self.changed || self.part_at(self.place(lead)) != self.part {
            return f64::INFINITY;
        }
        let allowed_at = self
            .sliced_at
            .map_or(Duration::ZERO, |at| at + self.settings.cut_in_interval);
        allowed_at.saturating_sub(now).as_secs_f64()
    }

    /// The slice that goes on where the last one ended. One that missed its turn is not made late: it starts where it can be in time.
    fn slice_in_turn(&mut self, now: Duration, lead: f64) -> Action {
        self.slice_at(now, self.turn_at(lead))
    }

    /// Where the next slice in turn starts, in frames ahead of the playhead.
    fn turn_at(&self, lead: f64) -> f64 {
        let missed = self.frontier < self.cost_frames().min(lead);
        if missed { lead } else { self.frontier }
    }

    /// The frame that lies so far ahead of the playhead.
    fn place(&self, ahead: f64) -> u64 {
        self.lap.wrap(self.playhead.position() + ahead) as u64
    }

    fn part_at(&self, frame: u64) -> Option<Range<u64>> {
        self.settings.walk.and_then(|walk| walk.part(frame, self.source_frames))
    }

    /// What has been generated is worth nothing in another part of the source.
    fn enter_part(&mut self, frame: u64) {
        self.target = frame;
        let part = self.part_at(frame);
        if part != self.part {
            self.part = part;
            self.generations = Generations::None;
            self.generation_spent = Duration::ZERO;
        }
    }

    fn slice_at(&mut self, now: Duration, start: f64) -> Action {
        const OVERLAP_FRAMES: usize = SAMPLE_RATE as usize / 1_000;
        let place = self.place(start);
        let slice = match &self.part {
            None => Slice::at(place, self.lap),
            Some(part) => Slice::within(place, self.lap, part),
        };
        // A millisecond more of overlap than the fades, so that rounding leaves no frame between two slices.
        let stride = slice
            .frames()
            .saturating_sub(2 * fade_frames(slice.frames()) + OVERLAP_FRAMES);
        // Nothing is left of the part after a slice that ends with it: the next is the first of the next part.
        let next = self
            .border_after(place)
            .filter(|border| slice.frames() as u64 >= *border);
        self.frontier = start + next.map_or(stride as f64, |border| border as f64);
        // An older generation does not know of the input yet.
        self.changed &= self.generations != Generations::New;
        self.generations = Generations::Old;
        self.sliced_at = Some(now);
        Action::Decode(slice)
    }

    /// Frames from a place on until the sound is of another part of the source, if it ever is.
    fn border_after(&self, place: u64) -> Option<u64> {
        let part = self.part.as_ref()?;
        let goes_round = part.end >= self.lap.end && part.contains(&self.lap.start);
        (!goes_round).then(|| part.end.min(self.lap.end) - place)
    }

    /// Whether another tick would leave too little time, so that an older generation must do. A turn already missed presses no more.
    fn is_pressing(&self) -> bool {
        let needed = self.cost_frames() + RESERVE_FRAMES + self.tick.upper_s() * f64::from(SAMPLE_RATE);
        self.generations == Generations::Old && (0.0..needed).contains(&self.frontier)
    }

    /// Frames that pass while a slice is decoded and sent.
    fn cost_frames(&self) -> f64 {
        (self.decode.upper_s() + self.transmit.upper_s()) * f64::from(SAMPLE_RATE)
    }

    /// Frames before the playhead at which a slice is started.
    fn lead_frames(&self) -> f64 {
        (self.cost_frames() + RESERVE_FRAMES).clamp(frames(self.settings.lead_min), frames(self.settings.lead_max))
    }

    /// When every place of the buffer has been decoded since ticks stopped.
    fn rest_at(&self) -> Duration {
        let buffer = Duration::from_secs_f64(self.source_frames as f64 / f64::from(SAMPLE_RATE));
        self.input_at + self.settings.idle_after + buffer
    }

    fn run(&mut self, now: Duration) {
        self.frontier -= self.playhead.run(now, self.lap);
        // What was missed is missed; how long ago does not matter.
        self.frontier = self.frontier.max(-1.0);
    }
}

/// A microsecond more than asked for, so that rounding never wakes the caller too early for nothing.
fn wait(now: Duration, seconds: f64) -> Action {
    Action::Wait(now + Duration::from_secs_f64(seconds) + Duration::from_micros(1))
}

fn frames(duration: Duration) -> f64 {
    duration.as_secs_f64() * f64::from(SAMPLE_RATE)
}
