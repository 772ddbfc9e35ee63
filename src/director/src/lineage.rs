//! Whose track is it: a lineage is one line of sessions of the same client; tracks belong to it and go with it.

use crate::{
    alarms::Alarm,
    director::Director,
    effect::Effects,
    event::Failure,
    fork::fork_fields,
    ids::{ClientKey, LineageId, TrackId},
    plan::Uploads,
    track::{Kind, Owner},
};

/// A line of sessions of the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lineage {
    pub(crate) id: LineageId,
    /// None for a client that gave no `client_id`: nobody can go on with it.
    pub(crate) client: Option<ClientKey>,
}

fork_fields!(Lineage { id, client });

impl Director {
    /// A session of `client` begins: it goes on with the lineage that is there, or ends it and begins another.
    pub(crate) fn begin_lineage(&mut self, client: Option<ClientKey>, effects: &mut Effects) {
        self.alarms.clear(Alarm::Linger);
        let goes_on = client.is_some() && self.lineage.is_some_and(|lineage| lineage.client == client);
        if !goes_on {
            self.end_lineage(effects);
            self.lineages_begun += 1;
            self.lineage = Some(Lineage {
                id: LineageId(self.lineages_begun),
                client,
            });
        }
        let Some(lineage) = self.lineage else { return };
        for (track, state) in &mut self.tracks {
            if state.owner == Owner::Unclaimed {
                state.owner = Owner::Lineage(lineage.id);
                self.alarms.clear(Alarm::Unclaimed(*track));
            }
        }
    }

    /// Nobody can go on with the lineage any more: its tracks go with it, unless they are kept.
    pub(crate) fn end_lineage(&mut self, effects: &mut Effects) {
        self.alarms.clear(Alarm::Linger);
        let Some(lineage) = self.lineage.take() else { return };
        let owned = |owner: Owner| owner == Owner::Lineage(lineage.id);
        let tracks: Vec<TrackId> = self
            .tracks
            .iter()
            .filter(|(_, track)| owned(track.owner))
            .map(|(id, _)| *id)
            .collect();
        for track in tracks {
            let keep = self.plan.uploads == Uploads::Keep
                && self.tracks.get(&track).is_some_and(|track| track.kind == Kind::Upload);
            if keep {
                self.keep(track);
            } else {
                self.doom(track, Failure::Superseded, effects);
            }
        }
    }

    /// The session of the lineage is over; its client may come back for a while.
    pub(crate) fn linger(&mut self, effects: &mut Effects) {
        if self.lineage.is_some_and(|lineage| lineage.client.is_some()) {
            self.alarms
                .set(Alarm::Linger, self.now + self.plan.times.lineage_linger);
        } else {
            self.end_lineage(effects);
        }
    }

    fn keep(&mut self, track: TrackId) {
        if let Some(track) = self.tracks.get_mut(&track) {
            track.owner = Owner::Everybody;
            track.owed = crate::track::Owed::Nothing;
        }
    }
}
