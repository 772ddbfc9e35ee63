//! The live thread: owns the session's stream, runs its ticks and decodes, and between them its jobs and commands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use greenroom_director::{ConnectionId, Event, Failure, Mode, Outcome, ReferenceKind, TrackId, Work};
use greenroom_generator::{Action, Lent, PlayerSettings, PreparedSource, Prompt};
use greenroom_sync::{CancelFlag, Latest, LeaseGate, Mailbox, ReceiveError, SendError, mailbox};

use super::{
    deposit::SessionCommand,
    events::TellError,
    job::{Job, JobError, guarded},
    live_session::LiveSession,
    loras::Loras,
    outbox::{Outgoing, Playback},
    shared::Shared,
    tracks::{Part, StemsState},
};

/// Orders that may wait; the director has at most one job here at a time.
const ORDERS_MAX: usize = 64;
/// Commands that may wait: a person does not turn more knobs at once.
const COMMANDS_MAX: usize = 64;
/// With nothing to do the thread still comes round this often.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the live thread is asked to do.
#[derive(Debug)]
pub(super) enum LiveOrder {
    /// Build the session's stream.
    Open {
        job: Job,
        connection: ConnectionId,
        track: TrackId,
        mode: Mode,
    },
    /// Give it another source.
    Swap {
        job: Job,
        connection: ConnectionId,
        track: TrackId,
        mode: Mode,
    },
    /// Encode the newest prompt.
    Prompt { job: Job, connection: ConnectionId },
    /// Give it the timbre or structure of another track, or its source's own again.
    Reference {
        job: Job,
        connection: ConnectionId,
        kind: ReferenceKind,
        track: Option<TrackId>,
    },
    /// Free the stream.
    Close { job: Job },
}

/// The ways to the live thread.
#[derive(Clone, Debug)]
pub(super) struct LiveLine {
    orders: Mailbox<LiveOrder>,
    commands: Mailbox<(ConnectionId, SessionCommand)>,
    /// The standing lease: a tick or decode runs only with a pass.
    pub(super) gate: LeaseGate,
    /// The engines that ticks may run, since the gate last opened.
    lent: Latest<Lent>,
}

impl LiveLine {
    pub(super) fn new() -> Self {
        Self {
            orders: mailbox(ORDERS_MAX),
            commands: mailbox(COMMANDS_MAX),
            gate: LeaseGate::new(),
            lent: Latest::new(),
        }
    }

    /// Gives an order; false if the thread takes none.
    pub(super) fn order(&self, order: LiveOrder) -> bool {
        self.orders.send(order).is_ok()
    }

    /// Passes a command of a session.
    pub(super) fn command(&self, connection: ConnectionId, command: SessionCommand) -> Result<(), TellError> {
        let sent = self.commands.send((connection, command)).map_err(|error| match error {
            SendError::Full(_) => TellError::Full,
            SendError::Closed(_) => TellError::Closed,
        });
        self.wake();
        sent
    }

    /// Says which engines ticks may run; before the gate opens for them.
    pub(super) fn lend(&self, engines: Lent) {
        self.lent.put(engines);
    }

    /// Says that there is something new, or that the gate is open: after it is, or the thread would look too early and wait.
    pub(super) fn wake(&self) {
        self.orders.nudge();
    }

    /// Ends the thread once it has done what waits.
    pub(super) fn close(&self) {
        self.orders.close();
        self.commands.close();
    }
}

/// The live thread's state.
pub(super) struct Live {
    shared: Arc<Shared>,
    line: LiveLine,
    session: Option<LiveSession>,
    started: Instant,
    /// Since when the session has been kept from playing.
    kept_away: Option<Duration>,
}

impl Live {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let line = shared.live.clone();
        Self {
            shared,
            line,
            session: None,
            started: Instant::now(),
            kept_away: None,
        }
    }

    /// Runs until the line is closed.
    pub(super) fn run(mut self) {
        loop {
            let patience = self.step();
            match self.line.orders.receive(patience) {
                Ok(order) => self.handle(order),
                Err(ReceiveError::TimedOut | ReceiveError::Nudged) => {}
                Err(ReceiveError::Closed) => return,
            }
            while let Some(order) = self.line.orders.try_receive() {
                self.handle(order);
            }
            self.take_inputs();
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn handle(&mut self, order: LiveOrder) {
        let shared = Arc::clone(&self.shared);
        let explain = |connection| {
            let shared = Arc::clone(&self.shared);
            move |refusal: &super::outbox::Refusal| shared.desks.explain(connection, refusal.clone())
        };
        match order {
            LiveOrder::Open {
                job,
                connection,
                track,
                mode,
            } => {
                let explain = explain(connection);
                job.run(&shared.events, || self.open(connection, track, mode, &job), explain);
            }
            LiveOrder::Swap {
                job,
                connection,
                track,
                mode,
            } => {
                let explain = explain(connection);
                job.run(&shared.events, || self.swap(connection, track, mode, &job), explain);
            }
            LiveOrder::Prompt { job, connection } => {
                let explain = explain(connection);
                job.run(&shared.events, || self.encode_prompt(connection, &job.cancel), explain);
            }
            LiveOrder::Reference {
                job,
                connection,
                kind,
                track,
            } => {
                let explain = explain(connection);
                job.run(&shared.events, || self.borrow(connection, kind, track, &job), explain);
            }
            LiveOrder::Close { job } => {
                let close = || {
                    self.session = None;
                    Ok(Outcome::Done)
                };
                job.run(&shared.events, close, |_| {});
            }
        }
    }

    /// Takes the newest parameters and all commands.
    fn take_inputs(&mut self) {
        let now = self.now();
        while let Some((connection, command)) = self.line.commands.try_receive() {
            if let Some(session) = self.session.as_mut().filter(|session| session.connection == connection) {
                session.command(now, command, &self.shared);
            }
        }
        if let Some(session) = &mut self.session {
            session.take_params(now);
            session.take_loras(now, &self.shared);
            if session.wakes_up(now) {
                self.shared.events.tell_blocking(Event::Playing {
                    connection: session.connection,
                    wanted: true,
                });
            }
        }
    }

    /// One step of playing, if the gate lets it in; returns how long there is nothing to do.
    fn step(&mut self) -> Duration {
        let now = self.now();
        let Some(session) = self.session.as_mut().filter(|session| !session.is_broken()) else {
            self.kept_away = None;
            return PATIENCE;
        };
        let Some(pass) = self.line.gate.enter() else {
            if session.is_ticking() {
                self.kept_away.get_or_insert(now);
            }
            return PATIENCE;
        };
        if let Some(lent) = self.line.lent.take() {
            session.lend(lent);
        }
        let patience = match session.next(now) {
            Action::Wait(until) => until.saturating_sub(now).min(PATIENCE),
            Action::Rest => {
                if session.falls_asleep() {
                    self.shared.events.tell_blocking(Event::Playing {
                        connection: session.connection,
                        wanted: false,
                    });
                }
                PATIENCE
            }
            action => {
                let shared = &self.shared;
                let played = guarded(|| {
                    let _room = shared.room_for(Work::Play)?;
                    Ok(session.play(action, pass.give_up())?)
                });
                if is_device_lost(&played) {
                    self.shared.events.tell_blocking(Event::DeviceLost);
                }
                if let Some(refusal) = session.judge(played) {
                    self.shared.events.tell_blocking(Event::Playing {
                        connection: session.connection,
                        wanted: false,
                    });
                    self.shared.desks.send(session.connection, Outgoing::Refuse(refusal));
                }
                Duration::ZERO
            }
        };
        if let Some(since) = self.kept_away.take() {
            let telemetry = &self.shared.telemetry;
            telemetry.let_in_again(self.started.elapsed().saturating_sub(since));
        }
        if let Some(closing) = pass.leave() {
            self.shared.events.tell_blocking(Event::GateDrained { closing });
        }
        patience
    }

    fn open(&mut self, connection: ConnectionId, track: TrackId, mode: Mode, job: &Job) -> Result<Outcome, JobError> {
        let cancel = &job.cancel;
        let deposit = self.shared.desks.session(connection).ok_or(JobError::Cancelled)?;
        let shared = Arc::clone(&self.shared);
        let _room = shared.room_for(Work::OpenStream)?;
        let source = shared.prepared_of(track, Part::from(mode), job.lent, cancel)?;
        preload_stems(&shared, track);
        // What the client said of the key of audio that it sent is known of the track by now; of the pod's own tracks the pod knows better.
        let prompt = self.prompt_for(
            track,
            Prompt {
                key: None,
                time_signature: None,
                ..deposit.prompt
            },
        );
        let generator = &self.shared.generator;
        let conditioning = generator.encode_prompt(&prompt, &source, None, cancel)?;
        let mut stream = generator.open(source.clone(), conditioning, &deposit.settings)?;
        let mut loras = Loras::opened(&**generator, &deposit.loras, cancel)?;
        if let Err(error) = stream.set_loras(&loras.in_force()) {
            loras.refused(&error);
        }
        let params = self.shared.desks.params(connection).ok_or(JobError::Cancelled)?;
        if cancel.is_raised() {
            return Err(JobError::Cancelled);
        }
        self.shared.desks.set_tags_applied(connection, prompt.tags.clone());
        let entries = loras.entries(generator.loras());
        self.shared.desks.set_loras(connection, entries);
        let playback = self.playback(connection, &source);
        let player = PlayerSettings {
            walk: deposit.settings.walk,
            ..shared.player
        };
        let session = LiveSession::new(
            connection,
            (self.now(), player),
            stream,
            (track, source),
            prompt,
            playback,
            params,
        );
        self.session = Some(session.with_loras(loras));
        Ok(Outcome::Done)
    }

    fn swap(&mut self, connection: ConnectionId, track: TrackId, mode: Mode, job: &Job) -> Result<Outcome, JobError> {
        let cancel = &job.cancel;
        let shared = Arc::clone(&self.shared);
        let _room = shared.room_for(Work::OpenStream)?;
        let source = shared.prepared_of(track, Part::from(mode), job.lent, cancel)?;
        preload_stems(&shared, track);
        let tags = self.shared.desks.swap(connection, track).and_then(|swap| swap.tags);
        let now = self.now();
        let (prompt, timbre) = {
            let session = self.session_of(connection)?;
            let timbre = session.timbre();
            let before = session.prompt().clone();
            let tags = tags.unwrap_or_else(|| before.tags.clone());
            // What was said of the old source's key says nothing of the new one's.
            let prompt = Prompt {
                tags,
                key: None,
                time_signature: None,
                ..before
            };
            (self.prompt_for(track, prompt), timbre)
        };
        let generator = &self.shared.generator;
        let conditioning = generator.encode_prompt(&prompt, &source, timbre.as_ref(), cancel)?;
        if cancel.is_raised() {
            return Err(JobError::Cancelled);
        }
        self.shared.desks.set_tags_applied(connection, prompt.tags.clone());
        let playback = self.playback(connection, &source);
        self.session_of(connection)?
            .swap((track, source), conditioning, prompt, playback, now);
        Ok(Outcome::Done)
    }

    fn encode_prompt(&mut self, connection: ConnectionId, cancel: &CancelFlag) -> Result<Outcome, JobError> {
        let Some(asked) = self.shared.desks.newest_prompt(connection) else {
            return Ok(Outcome::Done);
        };
        let shared = Arc::clone(&self.shared);
        let _room = shared.room_for(Work::EncodePrompt)?;
        let now = self.now();
        let session = self.session_of(connection)?;
        let ((track, source), timbre) = (session.source(), session.timbre());
        let prompt = self.prompt_for(track, asked.clone());
        let conditioning = self
            .shared
            .generator
            .encode_prompt(&prompt, &source, timbre.as_ref(), cancel)
            .map_err(JobError::from);
        let conditioning = conditioning.inspect_err(|error| {
            if *error == JobError::Cancelled {
                self.shared.desks.return_prompt(connection, asked);
            }
        })?;
        self.shared.desks.set_tags_applied(connection, prompt.tags.clone());
        self.session_of(connection)?.set_prompt(conditioning, prompt, now);
        Ok(Outcome::Done)
    }

    fn borrow(
        &mut self,
        connection: ConnectionId,
        kind: ReferenceKind,
        track: Option<TrackId>,
        job: &Job,
    ) -> Result<Outcome, JobError> {
        let cancel = &job.cancel;
        let shared = Arc::clone(&self.shared);
        let _room = kind.work(track).map(|work| shared.room_for(work)).transpose()?;
        let lender = track.map(|track| shared.prepared_of(track, Part::Whole, job.lent, cancel));
        let lender = lender.transpose()?;
        let now = self.now();
        let session = self.session_of(connection)?;
        match kind {
            ReferenceKind::Structure => session.set_structure(lender.as_ref(), now)?,
            ReferenceKind::Timbre => {
                let ((_, source), prompt) = (session.source(), session.prompt().clone());
                let conditioning = shared
                    .generator
                    .encode_prompt(&prompt, &source, lender.as_ref(), cancel)?;
                session.set_timbre(lender, conditioning, now);
            }
        }
        Ok(Outcome::Done)
    }

    /// The stream's session; gone only if the connection's stream was closed before its job came.
    fn session_of(&mut self, connection: ConnectionId) -> Result<&mut LiveSession, JobError> {
        self.session
            .as_mut()
            .filter(|session| session.connection == connection)
            .ok_or(JobError::Cancelled)
    }

    /// Fills in what is known of the track where the client said nothing else.
    fn prompt_for(&self, track: TrackId, prompt: Prompt) -> Prompt {
        let Some(facts) = self.shared.tracks.with(track, |entry| entry.facts.clone()).flatten() else {
            return prompt;
        };
        Prompt {
            key: prompt.key.or(Some(facts.key)),
            time_signature: prompt.time_signature.or(Some(facts.time_signature)),
            bpm: facts.bpm.round() as u32,
            ..prompt
        }
    }

    fn playback(&self, connection: ConnectionId, source: &PreparedSource) -> Playback {
        let playback = Playback::new(Arc::clone(&source.audio));
        self.shared.desks.set_playback(connection, playback.clone());
        playback
    }
}

fn is_device_lost(played: &Result<(), JobError>) -> bool {
    matches!(played, Err(JobError::Failed(refusal)) if refusal.failure == Failure::DeviceLost)
}

/// Stems that are there are sent right behind the initial buffer, so they are read before the source is announced.
fn preload_stems(shared: &Shared, track: TrackId) {
    let ready = shared
        .tracks
        .with(track, |entry| entry.stems_state == StemsState::Ready)
        .unwrap_or(false);
    if ready && let Err(error) = shared.stems_of(track) {
        tracing::warn!(%track, ?error, "stems could not be read: the track plays without");
    }
}
