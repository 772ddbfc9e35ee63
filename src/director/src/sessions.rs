//! The seat: who has it, who gets it, and what the session on it waits for.

use crate::{
    alarms::Alarm,
    director::Director,
    effect::{Close, Effect, Effects, StemsAtHand, Task},
    event::{Failure, Mode, Outcome, Source},
    ids::{ConnectionId, JobId, TrackId},
    intake::Intake,
    machine::Cell,
    plan::Work,
    references::References,
    seat::{Ask, Candidate, Cause, Incumbent, Leaving, Prompt, Seat, Session, Stream, Swap},
    track::{Kind, Owed, Owner, Track},
};

/// Whether a session's source can be played yet.
pub(crate) enum Readiness {
    Playable,
    Waits,
    Failed(Failure),
}

impl Director {
    /// A whole handshake: it takes the pod over, waits for it, or is told that another connection has it.
    pub(crate) fn seat_asked(&mut self, connection: ConnectionId, ask: Ask, effects: &mut Effects) {
        let held = ask.client.is_some_and(|client| self.holds.contains(&client));
        let occupied = self.incumbent.is_some() || self.candidate.is_some();
        // Whoever is leaving has the pod no more: a 4001 would be final, and nobody would play.
        let older = self
            .incumbent
            .as_ref()
            .is_some_and(|incumbent| incumbent.leaving().is_none() && connection < incumbent.connection)
            || self
                .candidate
                .as_ref()
                .is_some_and(|(waiting, _)| connection < *waiting);
        if (held && occupied) || older {
            return self.pass_over(connection, ask, effects);
        }
        if let Some((waiting, its_ask)) = self.candidate.replace((connection, ask)) {
            self.pass_over(waiting, its_ask, effects);
        }
        if let Some(incumbent) = self.incumbent.as_ref().map(|incumbent| incumbent.connection) {
            self.leave(incumbent, Cause::Closed(Close::Preempted), effects);
        }
    }

    /// Tells a candidate that another connection has the pod.
    fn pass_over(&mut self, connection: ConnectionId, ask: Ask, effects: &mut Effects) {
        let _released = Candidate::new(ask).pass_over();
        if let Source::Sent(track) = ask.source {
            effects.push(Effect::Forget { track });
        }
        self.close(connection, Close::Preempted, effects);
    }

    /// The socket of a candidate or of the session on the chair is closed.
    pub(crate) fn seat_gone(&mut self, connection: ConnectionId, effects: &mut Effects) {
        if let Some((_, ask)) = self.candidate.take_if(|(waiting, _)| *waiting == connection) {
            if let Source::Sent(track) = ask.source {
                effects.push(Effect::Forget { track });
            }
            return;
        }
        self.leave(connection, Cause::Left, effects);
        if let Some(incumbent) = self
            .incumbent
            .as_mut()
            .filter(|incumbent| incumbent.connection == connection)
        {
            incumbent.seat.step(|seat| match seat {
                Seat::Draining(draining) => (draining.socket_gone().into(), ()),
                other => (other, ()),
            });
        }
    }

    /// The grace of the session's socket is over.
    pub(crate) fn seat_forced(&mut self, connection: ConnectionId) {
        let Some(incumbent) = self
            .incumbent
            .as_mut()
            .filter(|incumbent| incumbent.connection == connection)
        else {
            return;
        };
        incumbent.seat.step(|seat| match seat {
            Seat::Draining(draining) => (draining.force().into(), ()),
            other => (other, ()),
        });
        let Some(leaving) = incumbent.leaving() else { return };
        // It may never have seen the 4001: were it let in again, it would evict the winner in turn.
        if let (Cause::Closed(Close::Preempted), Some(client)) = (leaving.cause, leaving.client) {
            self.holds.insert(client);
            self.alarms
                .set(Alarm::Hold(client), self.now + self.plan.times.eviction_hold);
        }
    }

    /// Begins to tear the session on the chair down; a second cause changes nothing.
    pub(crate) fn leave(&mut self, connection: ConnectionId, cause: Cause, effects: &mut Effects) {
        let Some(incumbent) = self
            .incumbent
            .as_mut()
            .filter(|incumbent| incumbent.connection == connection)
        else {
            return;
        };
        let client = incumbent.client();
        let left = incumbent.seat.step(|seat| {
            let leaving = |stream| Leaving {
                client,
                cause,
                socket_open: true,
                forced: false,
                stream,
            };
            match seat {
                Seat::Creating(creating) => {
                    let stream = creating.opening().map_or(Stream::None, Stream::Opening);
                    (creating.leave(leaving(stream)).into(), true)
                }
                Seat::Live(live) => (live.leave(leaving(Stream::Open)).into(), true),
                other => (other, false),
            }
        });
        if !left {
            return;
        }
        match cause {
            Cause::Left => {}
            Cause::Closed(code) => self.close(connection, code, effects),
            Cause::Failed(failure) => self.refuse(connection, failure, effects),
        }
        if self.connections.contains_key(&connection) {
            self.alarms
                .set(Alarm::Grace(connection), self.now + self.plan.times.close_grace);
        }
        self.alarms.clear(Alarm::Stall(connection));
        self.cancel_live_jobs(effects);
    }

    pub(crate) fn client_stuck(&mut self, connection: ConnectionId) {
        if self.live_session().is_some_and(|(live, _)| live == connection)
            && !self.alarms.is_set(Alarm::Stall(connection))
        {
            self.alarms
                .set(Alarm::Stall(connection), self.now + self.plan.times.stall);
        }
    }

    pub(crate) fn swap_asked(&mut self, connection: ConnectionId, source: Source, mode: Mode, effects: &mut Effects) {
        if self.live_session().is_none_or(|(live, _)| live != connection) {
            if let Source::Sent(track) = source {
                effects.push(Effect::Forget { track });
            }
            return self.stale();
        }
        self.forgive_engines();
        let track = self.take_source(connection, source);
        let swap = Swap { track, mode, job: None };
        let Some(session) = self.incumbent.as_mut().and_then(Incumbent::live_mut) else {
            return;
        };
        let superseded = match session.swap {
            Some(running) if running.job.is_some() => session.next_swap.replace(swap),
            _ => session.swap.replace(swap),
        };
        if let Some(old) = superseded {
            effects.push(Effect::SwapFailed {
                connection,
                failure: Failure::Superseded,
            });
            self.drop_nameless(old.track, effects);
        }
    }

    pub(crate) fn prompt_asked(&mut self, connection: ConnectionId) {
        match self.live_session_mut(connection) {
            None => self.stale(),
            Some(session) => {
                session.prompt = match session.prompt {
                    Prompt::Settled | Prompt::Asked => Prompt::Asked,
                    Prompt::Encoding { job, .. } => Prompt::Encoding { job, again: true },
                };
            }
        }
    }

    pub(crate) fn playing(&mut self, connection: ConnectionId, wanted: bool) {
        match self.live_session_mut(connection) {
            None => self.stale(),
            Some(session) => session.wanted = wanted,
        }
    }

    /// The live session and its connection.
    pub(crate) fn live_session(&self) -> Option<(ConnectionId, &Session)> {
        let incumbent = self.incumbent.as_ref()?;
        incumbent.live().map(|session| (incumbent.connection, session))
    }

    pub(crate) fn live_session_mut(&mut self, connection: ConnectionId) -> Option<&mut Session> {
        self.incumbent
            .as_mut()
            .filter(|incumbent| incumbent.connection == connection)?
            .live_mut()
    }

    /// One step of the seat: a free chair to the candidate, a drained session off it.
    pub(crate) fn step_seat(&mut self, effects: &mut Effects) -> bool {
        if self.incumbent.is_none() {
            return self.admit(effects);
        }
        let Some(leaving) = self.incumbent.as_ref().and_then(Incumbent::leaving) else {
            return false;
        };
        if !leaving.socket_open && leaving.stream == Stream::None {
            self.release(leaving, effects);
            return true;
        }
        if leaving.stream == Stream::Open && self.is_lane_free(crate::jobs::Lane::Live) && self.gate_is_closed() {
            let Some(connection) = self.incumbent.as_ref().map(|incumbent| incumbent.connection) else {
                return false;
            };
            let job = self.start(Task::CloseStream { connection }, None, effects);
            if let Some(incumbent) = &mut self.incumbent {
                incumbent.set_stream(Stream::Closing(job));
            }
            return true;
        }
        false
    }

    fn admit(&mut self, effects: &mut Effects) -> bool {
        let Some((connection, ask)) = self.candidate.take() else {
            // Nobody is left whom a forced-out client could evict.
            for client in std::mem::take(&mut self.holds) {
                self.alarms.clear(Alarm::Hold(client));
            }
            return false;
        };
        let chair = self.chair.take().expect("the chair is here while nobody is on it");
        self.forgive_engines();
        self.begin_lineage(ask.client, effects);
        self.take_source(connection, ask.source);
        let seat = Cell::new(Candidate::new(ask).admit(chair).into());
        self.incumbent = Some(Incumbent { connection, seat });
        true
    }

    fn release(&mut self, leaving: Leaving, effects: &mut Effects) {
        let Some(mut incumbent) = self.incumbent.take() else {
            return;
        };
        self.chair = incumbent.seat.step(|seat| match seat {
            Seat::Draining(draining) => {
                let (released, chair) = draining.release();
                (released.into(), Some(chair))
            }
            other => (other, None),
        });
        let nameless: Vec<TrackId> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.kind == Kind::Nameless(incumbent.connection))
            .map(|(id, _)| *id)
            .collect();
        for track in nameless {
            self.doom(track, Failure::Superseded, effects);
        }
        let followed = self
            .candidate
            .as_ref()
            .is_some_and(|(_, ask)| ask.client.is_some() && ask.client == leaving.client);
        if leaving.forced && !followed {
            self.end_lineage(effects);
        } else {
            self.linger(effects);
        }
    }

    /// Makes the PCM that a connection sent a track of its session.
    pub(crate) fn take_source(&mut self, connection: ConnectionId, source: Source) -> TrackId {
        match source {
            Source::Track(track) => track,
            Source::Sent(track) => {
                let owner = self
                    .lineage
                    .map_or(Owner::Unclaimed, |lineage| Owner::Lineage(lineage.id));
                self.tracks.insert(
                    track,
                    Track::new(Kind::Nameless(connection), owner, Intake::arrived(None)),
                );
                track
            }
        }
    }

    /// One step of the session on the chair.
    pub(crate) fn step_session(&mut self, effects: &mut Effects) -> bool {
        let Some(incumbent) = &self.incumbent else { return false };
        let connection = incumbent.connection;
        match incumbent.seat.get() {
            Seat::Creating(creating) if creating.opening().is_none() => {
                let ask = creating.ask();
                self.step_creation(connection, ask, effects)
            }
            Seat::Live(live) => {
                let session = *live.session();
                self.step_prompt(connection, session, effects)
                    || self.step_swap(connection, session, effects)
                    || self.step_references(connection, session, effects)
            }
            _ => false,
        }
    }

    fn step_creation(&mut self, connection: ConnectionId, ask: Ask, effects: &mut Effects) -> bool {
        match self.readiness(ask.track(), ask.mode) {
            Readiness::Failed(failure) => {
                self.leave(connection, Cause::Failed(failure), effects);
                true
            }
            Readiness::Waits => false,
            Readiness::Playable if self.is_wiping() => false,
            Readiness::Playable => {
                let task = Task::OpenStream {
                    connection,
                    track: ask.track(),
                    mode: ask.mode,
                };
                let Some(job) = self.start_live(task, Work::OpenStream, effects) else {
                    return false;
                };
                if let Some(incumbent) = &mut self.incumbent {
                    incumbent.seat.step(|seat| match seat {
                        Seat::Creating(creating) => (creating.open(job).into(), ()),
                        other => (other, ()),
                    });
                }
                true
            }
        }
    }

    fn step_prompt(&mut self, connection: ConnectionId, session: Session, effects: &mut Effects) -> bool {
        if session.prompt != Prompt::Asked {
            return false;
        }
        let Some(job) = self.start_live(Task::EncodePrompt { connection }, Work::EncodePrompt, effects) else {
            return false;
        };
        if let Some(session) = self.live_session_mut(connection) {
            session.prompt = Prompt::Encoding { job, again: false };
        }
        true
    }

    fn step_swap(&mut self, connection: ConnectionId, session: Session, effects: &mut Effects) -> bool {
        let Some(swap) = session.swap else {
            let Some(next) = session.next_swap else { return false };
            if let Some(session) = self.live_session_mut(connection) {
                (session.swap, session.next_swap) = (Some(next), None);
            }
            return true;
        };
        if swap.job.is_some() {
            return false;
        }
        match self.readiness(swap.track, swap.mode) {
            Readiness::Failed(failure) => {
                if let Some(session) = self.live_session_mut(connection) {
                    session.swap = None;
                }
                effects.push(Effect::SwapFailed { connection, failure });
                self.drop_nameless(swap.track, effects);
                true
            }
            Readiness::Waits => false,
            Readiness::Playable => {
                let task = Task::SwapSource {
                    connection,
                    track: swap.track,
                    mode: swap.mode,
                };
                let Some(job) = self.start_live(task, Work::OpenStream, effects) else {
                    return false;
                };
                if let Some(session) = self.live_session_mut(connection) {
                    session.swap = Some(Swap { job: Some(job), ..swap });
                }
                true
            }
        }
    }

    /// Whether a session may play `track` in `mode` yet; asks for its stems where they are needed.
    pub(crate) fn readiness(&mut self, track: TrackId, mode: Mode) -> Readiness {
        let rips = self.plan.has(crate::Group::Separator);
        let lineage = self.lineage.map(|lineage| Owner::Lineage(lineage.id));
        let Some(state) = self
            .tracks
            .get_mut(&track)
            .filter(|track| track.is_usable() || track.intake.get().failure().is_some())
        else {
            return Readiness::Failed(Failure::Internal);
        };
        if let Some(failure) = state.intake.get().failure() {
            return Readiness::Failed(failure);
        }
        if Some(state.owner) != lineage && state.owner != Owner::Everybody {
            return Readiness::Failed(Failure::Internal);
        }
        if !state.intake.get().is_saved() {
            return Readiness::Waits;
        }
        if mode.waits_for_stems() || mode == Mode::Full {
            if rips && matches!(state.stems.get(), crate::stems::Stems::Absent(_)) {
                state.owe_stems();
                state.owed = Owed::Answer;
            }
            if mode.waits_for_stems()
                && (state.stems.get().failure().is_some() || !(rips || state.stems.get().is_ready()))
            {
                return Readiness::Failed(Failure::StemExtractFailed);
            }
        }
        if state.is_playable(mode) {
            Readiness::Playable
        } else {
            Readiness::Waits
        }
    }

    /// What to send of a track's stems with `ready` or `swap_ready`. That they failed is news to every session that would have had them,
    /// also when an earlier one was told.
    fn stems_at_hand(&mut self, track: TrackId, mode: Mode) -> StemsAtHand {
        let Some(state) = self.tracks.get_mut(&track) else {
            return StemsAtHand::Nothing;
        };
        if state.stems.get().is_ready() {
            state.owed = Owed::Nothing;
            return StemsAtHand::Ready;
        }
        match state.stems.get().failure() {
            Some(failure) if state.owed == Owed::Answer || mode == Mode::Full => {
                state.owed = Owed::Nothing;
                StemsAtHand::Failed(failure)
            }
            _ => StemsAtHand::Nothing,
        }
    }

    /// A nameless track that no session plays, borrows from or waits for is gone.
    pub(crate) fn drop_nameless(&mut self, track: TrackId, effects: &mut Effects) {
        let played = self.live_session().is_some_and(|(_, session)| {
            session.track == track
                || session.references.want(track)
                || [session.swap, session.next_swap]
                    .iter()
                    .flatten()
                    .any(|swap| swap.track == track)
        });
        let read = self
            .jobs
            .values()
            .any(|job| matches!(job.task, Task::Reference { track: Some(other), .. } if other == track));
        let nameless = self
            .tracks
            .get(&track)
            .is_some_and(|track| matches!(track.kind, Kind::Nameless(_)));
        if nameless && !played && !read {
            self.doom(track, Failure::Superseded, effects);
        }
    }

    pub(crate) fn stream_opened(&mut self, job: JobId, outcome: Outcome, effects: &mut Effects) {
        let Some(incumbent) = &mut self.incumbent else { return };
        let connection = incumbent.connection;
        if let Some(leaving) = incumbent.leaving() {
            if leaving.stream == Stream::Opening(job) {
                incumbent.set_stream(if outcome == Outcome::Done {
                    Stream::Open
                } else {
                    Stream::None
                });
            }
            return;
        }
        let Some(ask) = incumbent
            .creating()
            .filter(|creating| creating.opening() == Some(job))
            .map(|creating| creating.ask())
        else {
            return;
        };
        if let Some(failure) = failure_of(outcome) {
            // The job is over: the session leaves without a stream.
            self.leave(connection, Cause::Failed(failure), effects);
            if let Some(incumbent) = &mut self.incumbent {
                incumbent.set_stream(Stream::None);
            }
            return;
        }
        let (track, mode) = (ask.track(), ask.mode);
        let session = Session {
            client: ask.client,
            track,
            mode,
            wanted: true,
            swap: None,
            next_swap: None,
            prompt: Prompt::Settled,
            references: References::default(),
        };
        incumbent.seat.step(|seat| match seat {
            Seat::Creating(creating) => (creating.opened(session).into(), ()),
            other => (other, ()),
        });
        self.release_reserved(connection);
        let stems = self.stems_at_hand(track, mode);
        effects.push(Effect::SessionReady {
            connection,
            track,
            mode,
            stems,
        });
    }

    pub(crate) fn source_swapped(&mut self, job: JobId, outcome: Outcome, effects: &mut Effects) {
        let Some((connection, session)) = self.live_session() else {
            return;
        };
        let Some(swap) = session.swap.filter(|swap| swap.job == Some(job)) else {
            return;
        };
        let before = session.track;
        let failure = failure_of(outcome);
        if let Some(session) = self.live_session_mut(connection) {
            session.swap = None;
            if failure.is_none() {
                (session.track, session.mode, session.wanted) = (swap.track, swap.mode, true);
            }
        }
        if let Some(failure) = failure {
            effects.push(Effect::SwapFailed { connection, failure });
            self.drop_nameless(swap.track, effects);
        } else {
            let stems = self.stems_at_hand(swap.track, swap.mode);
            effects.push(Effect::SwapReady {
                connection,
                track: swap.track,
                mode: swap.mode,
                stems,
            });
            self.drop_nameless(before, effects);
        }
    }

    pub(crate) fn prompt_encoded(&mut self, job: JobId, outcome: Outcome, effects: &mut Effects) {
        let Some((connection, session)) = self.live_session() else {
            return;
        };
        let Prompt::Encoding { job: current, again } = session.prompt else {
            return;
        };
        if current != job {
            return;
        }
        if let Some(session) = self.live_session_mut(connection) {
            session.prompt = if again { Prompt::Asked } else { Prompt::Settled };
        }
        effects.push(match failure_of(outcome) {
            None => Effect::PromptApplied { connection },
            Some(failure) => Effect::PromptFailed { connection, failure },
        });
    }

    pub(crate) fn stream_closed(&mut self, job: JobId) {
        if let Some(incumbent) = &mut self.incumbent
            && incumbent
                .leaving()
                .is_some_and(|leaving| leaving.stream == Stream::Closing(job))
        {
            incumbent.set_stream(Stream::None);
        }
    }
}

/// Why a job that somebody waits for did not do it.
pub(crate) fn failure_of(outcome: Outcome) -> Option<Failure> {
    match outcome {
        Outcome::Done => None,
        Outcome::Failed(failure) => Some(failure),
        Outcome::Cancelled | Outcome::Yielded { .. } => Some(Failure::Internal),
    }
}
