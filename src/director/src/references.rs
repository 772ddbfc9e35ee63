//! What a session borrows of other sources: its timbre, its structure. The live thread keeps what is in force; here is what was asked for.

use crate::{
    director::Director,
    effect::{Effect, Effects, Task},
    event::{Failure, Mode, Outcome, ReferenceKind, Source},
    fork::fork_fields,
    ids::{ConnectionId, TrackId},
    jobs::Lane,
    plan::Work,
    seat::Session,
    sessions::{Readiness, failure_of},
};

/// What is borrowed from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Of which track; none for nothing any more.
    pub(crate) track: Option<TrackId>,
}

/// One kind of reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Whether something is borrowed.
    pub(crate) held: bool,
    /// The newest wish that the live thread is not at yet.
    pub(crate) asked: Option<Wish>,
}

/// A session's references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct References {
    timbre: Reference,
    structure: Reference,
}

fork_fields!(Wish { track });
fork_fields!(Reference { held, asked });
fork_fields!(References { timbre, structure });

impl References {
    pub(crate) fn of(&self, kind: ReferenceKind) -> Reference {
        match kind {
            ReferenceKind::Timbre => self.timbre,
            ReferenceKind::Structure => self.structure,
        }
    }

    fn of_mut(&mut self, kind: ReferenceKind) -> &mut Reference {
        match kind {
            ReferenceKind::Timbre => &mut self.timbre,
            ReferenceKind::Structure => &mut self.structure,
        }
    }

    /// How many wishes wait.
    #[cfg(feature = "checking")]
    pub(crate) fn waiting(&self) -> usize {
        [self.timbre.asked, self.structure.asked].iter().flatten().count()
    }

    /// Whether a wish waits that names the track.
    pub(crate) fn want(&self, track: TrackId) -> bool {
        let wishes = [self.timbre.asked, self.structure.asked];
        wishes.into_iter().flatten().any(|wish| wish.track == Some(track))
    }
}

impl ReferenceKind {
    /// What it takes to borrow from a track, or from none any more: the track may have to be encoded first, and prompts hear a timbre. To let
    /// go of hints takes nothing.
    #[must_use]
    pub fn work(self, track: Option<TrackId>) -> Option<Work> {
        match (self, track) {
            (Self::Timbre, Some(_)) => Some(Work::OpenStream),
            (Self::Timbre, None) => Some(Work::EncodePrompt),
            (Self::Structure, Some(_)) => Some(Work::EncodeSource),
            (Self::Structure, None) => None,
        }
    }
}

impl Director {
    pub(crate) fn reference_asked(
        &mut self,
        connection: ConnectionId,
        kind: ReferenceKind,
        source: Option<Source>,
        effects: &mut Effects,
    ) {
        if self.live_session().is_none_or(|(live, _)| live != connection) {
            if let Some(Source::Sent(track)) = source {
                effects.push(Effect::Forget { track });
            }
            return self.stale();
        }
        let track = source.map(|source| self.take_source(connection, source));
        let Some(session) = self.live_session_mut(connection) else {
            return;
        };
        let superseded = session.references.of_mut(kind).asked.replace(Wish { track });
        if let Some(old) = superseded {
            self.refuse_reference(connection, kind, old, Failure::Superseded, effects);
        }
    }

    fn refuse_reference(
        &mut self,
        connection: ConnectionId,
        kind: ReferenceKind,
        wish: Wish,
        failure: Failure,
        effects: &mut Effects,
    ) {
        effects.push(Effect::ReferenceFailed {
            connection,
            kind,
            failure,
        });
        if let Some(track) = wish.track {
            self.drop_nameless(track, effects);
        }
    }

    /// The wish that is carried out next, if nothing but the device and the live thread keep it.
    fn next_reference(&self, session: &Session) -> Option<(ReferenceKind, Wish)> {
        ReferenceKind::ALL.into_iter().find_map(|kind| {
            let reference = session.references.of(kind);
            let wish = reference.asked?;
            let ready = match wish.track {
                Some(track) => self.tracks.get(&track)?.is_playable(Mode::Plain),
                None => true,
            };
            ready.then_some((kind, wish))
        })
    }

    /// The work of the wish that is carried out next.
    pub(crate) fn next_reference_work(&self, session: &Session) -> Option<Work> {
        let (kind, wish) = self.next_reference(session)?;
        kind.work(wish.track)
    }

    /// The wish that is carried out next cannot be.
    pub(crate) fn fail_next_reference(&mut self, failure: Failure, effects: &mut Effects) {
        let next = self.live_session().and_then(|(connection, session)| {
            let (kind, wish) = self.next_reference(session)?;
            Some((connection, kind, wish))
        });
        if let Some((connection, kind, wish)) = next {
            self.drop_wish(connection, kind);
            self.refuse_reference(connection, kind, wish, failure, effects);
        }
    }

    /// One step of the references: a wish that cannot be had is refused, the next one is carried out.
    pub(crate) fn step_references(
        &mut self,
        connection: ConnectionId,
        session: Session,
        effects: &mut Effects,
    ) -> bool {
        for kind in ReferenceKind::ALL {
            let Some(wish) = session.references.of(kind).asked else {
                continue;
            };
            let readiness = wish.track.map(|track| self.readiness(track, Mode::Plain));
            if let Some(Readiness::Failed(failure)) = readiness {
                self.drop_wish(connection, kind);
                self.refuse_reference(connection, kind, wish, failure, effects);
                return true;
            }
        }
        self.step_next_reference(connection, session, effects)
    }

    fn step_next_reference(&mut self, connection: ConnectionId, session: Session, effects: &mut Effects) -> bool {
        let Some((kind, wish)) = self.next_reference(&session) else {
            return false;
        };
        // A change of the same kind that is under way counts first.
        if !self.is_running() || !self.is_lane_free(Lane::Live) {
            return false;
        }
        let track = wish.track;
        if track.is_some() || session.references.of(kind).held {
            let task = Task::Reference {
                connection,
                kind,
                track,
            };
            let started = match kind.work(track) {
                Some(work) => self.start_live(task, work, effects),
                None => Some(self.start(task, None, effects)),
            };
            if started.is_none() {
                return false;
            }
        } else {
            effects.push(Effect::ReferenceApplied {
                connection,
                kind,
                track,
            });
        }
        self.drop_wish(connection, kind);
        true
    }

    fn drop_wish(&mut self, connection: ConnectionId, kind: ReferenceKind) {
        if let Some(session) = self.live_session_mut(connection) {
            session.references.of_mut(kind).asked = None;
        }
    }

    pub(crate) fn reference_changed(
        &mut self,
        connection: ConnectionId,
        kind: ReferenceKind,
        track: Option<TrackId>,
        outcome: Outcome,
        effects: &mut Effects,
    ) {
        let Some(session) = self.live_session_mut(connection) else {
            return;
        };
        match failure_of(outcome) {
            Some(failure) => self.refuse_reference(connection, kind, Wish { track }, failure, effects),
            None => {
                session.references.of_mut(kind).held = track.is_some();
                effects.push(Effect::ReferenceApplied {
                    connection,
                    kind,
                    track,
                });
                // The live thread keeps what it took of it.
                if let Some(track) = track {
                    self.drop_nameless(track, effects);
                }
            }
        }
    }
}
