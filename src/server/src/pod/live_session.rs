//! The live session as the live thread holds it: stream, playing policy, and what is in force.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use greenroom_audio::SAMPLE_RATE;
use greenroom_director::{ConnectionId, TrackId};
use greenroom_generator::{
    Action, Conditioning, GenerateError, KnobValue, Knobs, Lent, LiveStream, Player, PlayerSettings, PreparedSource,
    Prompt, Slice, Window,
};
use greenroom_sync::{CancelFlag, Latest};
use greenroom_wire::knobs;

use super::{
    announce,
    deposit::{Params, SessionCommand},
    job::JobError,
    loras::Loras,
    outbox::{Echo, Playback, Refusal},
    shared::Shared,
};

/// Ticks and decodes that may fail in a row before the session is told that it is broken: memory may be short for a moment.
const FAILURES_MAX: u32 = 3;

/// One session's stream and all that belongs to it.
pub(super) struct LiveSession {
    pub(super) connection: ConnectionId,
    stream: Box<dyn LiveStream>,
    track: TrackId,
    source: PreparedSource,
    prompt: Prompt,
    /// Whose timbre prompts are encoded with, where it is not the source's.
    timbre: Option<PreparedSource>,
    player: Player,
    playback: Playback,
    params: Latest<Params>,
    knobs: Knobs,
    loras: Loras,
    generations: u32,
    tick_ms: f32,
    decode_ms: f32,
    failures: u32,
    /// All of the buffer holds what would be decoded again, and the director knows it.
    asleep: bool,
}

impl LiveSession {
    pub(super) fn new(
        connection: ConnectionId,
        (now, player): (Duration, PlayerSettings),
        stream: Box<dyn LiveStream>,
        (track, source): (TrackId, PreparedSource),
        prompt: Prompt,
        playback: Playback,
        params: Latest<Params>,
    ) -> Self {
        let player = Player::new(now, source.audio.frames() as u64, player);
        Self {
            connection,
            stream,
            track,
            source,
            prompt,
            timbre: None,
            player,
            playback,
            params,
            knobs: Knobs::new(),
            loras: Loras::default(),
            generations: 0,
            tick_ms: 0.0,
            decode_ms: 0.0,
            failures: 0,
            asleep: false,
        }
    }

    /// Begins with LoRAs that are in force already.
    pub(super) fn with_loras(self, loras: Loras) -> Self {
        Self { loras, ..self }
    }

    /// Plays another source from here on.
    pub(super) fn swap(
        &mut self,
        (track, source): (TrackId, PreparedSource),
        conditioning: Conditioning,
        prompt: Prompt,
        playback: Playback,
        now: Duration,
    ) {
        self.stream.swap_source(source.clone(), conditioning);
        self.player.swap_source(now, source.audio.frames() as u64);
        (self.track, self.source, self.prompt, self.playback) = (track, source, prompt, playback);
    }

    /// Says which engines ticks may run.
    pub(super) fn lend(&mut self, engines: Lent) {
        self.stream.lend(engines);
    }

    /// Puts a prompt in force.
    pub(super) fn set_prompt(&mut self, conditioning: Conditioning, prompt: Prompt, now: Duration) {
        self.stream.set_conditioning(conditioning);
        self.prompt = prompt;
        self.player.input(now);
    }

    /// Puts the prompts in force anew, with the timbre of another source, or of the one that plays again.
    pub(super) fn set_timbre(&mut self, timbre: Option<PreparedSource>, conditioning: Conditioning, now: Duration) {
        self.stream.set_conditioning(conditioning);
        self.timbre = timbre;
        self.player.input(now);
    }

    /// Follows the structure of another source, or of the one that plays again.
    pub(super) fn set_structure(
        &mut self,
        structure: Option<&PreparedSource>,
        now: Duration,
    ) -> Result<(), GenerateError> {
        self.stream.set_structure(structure)?;
        self.player.input(now);
        Ok(())
    }

    /// Whose timbre prompts are encoded with; none for the source's own.
    pub(super) fn timbre(&self) -> Option<PreparedSource> {
        self.timbre.clone()
    }

    pub(super) fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// What is playing.
    pub(super) fn source(&self) -> (TrackId, PreparedSource) {
        (self.track, self.source.clone())
    }

    /// Takes the newest parameters, and how long the last slice was under way.
    pub(super) fn take_params(&mut self, now: Duration) {
        if let Some(took) = self.playback.transmitted.take() {
            self.player.transmitted(took);
        }
        let Some(mut params) = self.params.take() else { return };
        if let Some(position_s) = params.playback_pos_s {
            self.player.position(now, position_s * f64::from(SAMPLE_RATE));
        }
        if self.loras.turn(&mut params.knobs) {
            self.wear(now);
        }
        // What is not said again stays where it was turned to.
        let mut knobs = self.knobs.clone();
        knobs.extend(
            params
                .knobs
                .into_iter()
                .filter(|(name, value)| self.is_turned(name, value)),
        );
        if knobs != self.knobs {
            self.stream.set_knobs(&knobs);
            self.knobs = knobs;
            self.player.input(now);
        }
    }

    /// Whether a knob is moved by more than what counts as no move.
    fn is_turned(&self, name: &str, value: &KnobValue) -> bool {
        let number = |value: &KnobValue| match value {
            KnobValue::Number(number) => Some(*number),
            _ => None,
        };
        let default = || match knobs::knob(name)?.default_value()? {
            knobs::KnobValue::Number(number) => Some(number),
            _ => None,
        };
        let before = self.knobs.get(name).map_or_else(default, number);
        match (before, number(value)) {
            (Some(before), Some(after)) => !knobs::is_no_move(name, before, after),
            _ => true,
        }
    }

    pub(super) fn command(&mut self, now: Duration, command: SessionCommand, shared: &Arc<Shared>) {
        match command {
            SessionCommand::LoopBand(band) => {
                let frame = |seconds: f64| (seconds.max(0.0) * f64::from(SAMPLE_RATE)) as u64;
                self.player
                    .loop_band(now, band.map(|(start, end)| (frame(start), frame(end))));
            }
            SessionCommand::PromptBlend(blend) => {
                self.stream.set_prompt_blend(blend);
                self.player.input(now);
            }
            SessionCommand::TimbreStrength(strength) => {
                self.stream.set_timbre_strength(strength);
                self.player.input(now);
            }
            SessionCommand::Depth(depth) => {
                let depth = self.stream.set_depth(depth);
                self.player.input(now);
                shared.desks.send(self.connection, announce::depth_applied(depth));
            }
            SessionCommand::EnableLora { id, strength } => {
                if self.loras.enable(shared.generator.loras(), &id, strength) {
                    self.wear(now);
                }
                self.loras.read_next(shared);
                self.tell_loras(shared);
            }
            SessionCommand::DisableLora { id } => {
                if self.loras.disable(&id) {
                    self.wear(now);
                }
                self.tell_loras(shared);
            }
        }
    }

    /// Takes a LoRA that was read, and has the next one read.
    pub(super) fn take_loras(&mut self, now: Duration, shared: &Arc<Shared>) {
        if self.loras.take_read() {
            self.wear(now);
            self.loras.read_next(shared);
            self.tell_loras(shared);
        }
    }

    /// Puts the LoRAs in force, from the next tick on.
    fn wear(&mut self, now: Duration) {
        if let Err(error) = self.stream.set_loras(&self.loras.in_force()) {
            self.loras.refused(&error);
        }
        self.player.input(now);
    }

    fn tell_loras(&self, shared: &Shared) {
        let entries = self.loras.entries(shared.generator.loras());
        shared.desks.send(self.connection, announce::lora_catalog(entries));
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Duration) -> Action {
        let action = self.player.next(now);
        self.playback
            .playhead_frame
            .store(self.player.playhead_frame(), Ordering::Relaxed);
        action
    }

    /// Whether it just ran out of things to do.
    pub(super) fn falls_asleep(&mut self) -> bool {
        !std::mem::replace(&mut self.asleep, true)
    }

    /// Whether it has ticked, and not run out of things to do since.
    pub(super) fn is_ticking(&self) -> bool {
        self.tick_ms > 0.0 && !self.asleep
    }

    /// Whether an input just gave it something to do again.
    pub(super) fn wakes_up(&mut self, now: Duration) -> bool {
        let wakes = self.asleep && !self.player.is_idle(now) && !self.is_broken();
        if wakes {
            self.asleep = false;
        }
        wakes
    }

    pub(super) fn is_broken(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// Ticks or decodes. The caller holds a pass.
    pub(super) fn play(&mut self, action: Action, cancel: &CancelFlag) -> Result<(), GenerateError> {
        let begun = Instant::now();
        match action {
            Action::Tick => {
                let tick = self.stream.tick(self.player.target_frame(), cancel)?;
                let took = begun.elapsed();
                self.generations = self.generations.wrapping_add(tick.finished);
                self.tick_ms = milliseconds(took);
                self.player.ticked(took, tick.finished);
            }
            Action::Decode(slice) => {
                if let Err(error) = self.decode(&slice, cancel) {
                    self.player.abandoned();
                    return Err(error);
                }
                let took = begun.elapsed();
                self.decode_ms = milliseconds(took);
                self.player.decoded(took);
                self.tell_writer();
            }
            Action::Wait(_) | Action::Rest => {}
        }
        Ok(())
    }

    /// Counts failures in a row; the words for the client once there were too many.
    pub(super) fn judge(&mut self, played: Result<(), JobError>) -> Option<Refusal> {
        match played {
            Ok(()) => self.failures = 0,
            Err(JobError::Cancelled) => {}
            Err(JobError::Failed(refusal)) => {
                self.failures += 1;
                tracing::warn!(failures = self.failures, message = %refusal.message, "playing failed");
                return self.is_broken().then_some(refusal);
            }
        }
        None
    }

    fn decode(&mut self, slice: &Slice, cancel: &CancelFlag) -> Result<(), GenerateError> {
        let channels = usize::from(self.source.audio.channels());
        let mut sounds = Vec::with_capacity(slice.windows.len());
        for window in &slice.windows {
            sounds.push(self.stream.decode(window.start, window.frames, cancel)?);
        }
        // Only once all of it is there: a slice is heard whole or not at all.
        for (window, sound) in slice.windows.iter().zip(&sounds) {
            self.playback
                .slices
                .write(window.start as usize, window.frames, |region| {
                    Window { start: 0, ..*window }.lay_into(region, channels, sound);
                });
        }
        Ok(())
    }

    fn tell_writer(&self) {
        self.playback.echo.put(Echo {
            made_at: Instant::now(),
            tick_ms: self.tick_ms,
            dec_ms: self.decode_ms,
            num_gens: self.generations,
            knobs: self.knobs.clone().into_iter().chain(self.loras.knobs()).collect(),
            prompt: self.prompt.tags.clone(),
        });
        self.playback.fresh.notify_one();
    }
}

fn milliseconds(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1_000.0
}
