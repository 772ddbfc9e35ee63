//! Whoever is owed stems is answered exactly once: held against what the director says is owed, event by event.

use greenroom_director::{Director, Effect, StemsAtHand, TrackId, Uploads};

/// Tracks whose owner waits for an answer, with how often it was given during an event.
#[derive(Clone, Debug)]
pub struct Owing {
    tracks: Vec<(TrackId, u32)>,
    /// Tracks whose stems had ended, well or not, before the event.
    ended: Vec<TrackId>,
    keeps_uploads: bool,
}

impl Owing {
    /// Nothing is owed yet.
    #[must_use]
    pub fn new(uploads: Uploads) -> Self {
        Self {
            tracks: Vec::new(),
            ended: Vec::new(),
            keeps_uploads: uploads == Uploads::Keep,
        }
    }

    /// Before an event is handled.
    pub fn before(&mut self, director: &Director) {
        self.tracks.clear();
        self.ended.clear();
        for (track, view) in director.tracks() {
            if view.is_owed {
                self.tracks.push((track, 0));
            }
            if matches!(view.stems, "Ready" | "Failed" | "Discarded") {
                self.ended.push(track);
            }
        }
    }

    /// An effect of the event.
    ///
    /// # Errors
    /// If somebody is told of stems who does not wait for any.
    pub fn saw(&mut self, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::UploadOk(ack) if ack.stems_pending() => self.tracks.push((ack.track(), 0)),
            Effect::PushStems { track, .. } | Effect::PushStemFailure { track, .. } => return self.told(*track),
            // Stems that come with a source answer what is owed; later sessions may get them again.
            Effect::SessionReady { track, stems, .. } | Effect::SwapReady { track, stems, .. }
                if *stems != StemsAtHand::Nothing =>
            {
                self.answered(*track);
            }
            _ => {}
        }
        Ok(())
    }

    fn told(&mut self, track: TrackId) -> Result<(), String> {
        let waited_for = self.answered(track);
        if !waited_for && self.ended.contains(&track) {
            return Err(format!("stems of {track:?} are told and nobody waits for them"));
        }
        if !waited_for {
            // Asked for and come to nothing, all within the event.
            self.tracks.push((track, 1));
        }
        Ok(())
    }

    fn answered(&mut self, track: TrackId) -> bool {
        let owed = self.tracks.iter_mut().find(|(owed, _)| *owed == track);
        owed.map(|(_, answers)| *answers += 1).is_some()
    }

    /// After all effects of the event.
    ///
    /// # Errors
    /// If an answer was given twice, or was struck off without having been given.
    pub fn after(&self, director: &Director) -> Result<(), String> {
        for (track, answers) in &self.tracks {
            let view = director.tracks().find(|(id, _)| id == track).map(|(_, view)| view);
            let is_owed = view.is_some_and(|view| view.is_owed);
            // A discard is an answer of its own: the track is doomed. A kept track is nobody's when its session is over.
            let discarded = view.is_none_or(|view| !view.is_usable) || self.keeps_uploads;
            let as_owed = match answers {
                0 => is_owed || discarded,
                1 => !is_owed,
                _ => false,
            };
            if !as_owed {
                return Err(format!(
                    "stems of {track:?} are answered {answers} times, still owed: {is_owed}"
                ));
            }
        }
        Ok(())
    }
}
