//! For the checker and the simulation alone: the sealed copy, the canonical hash, and a look inside.

use std::hash::{Hash, Hasher};

use crate::{
    alarms::Alarm,
    counters_default,
    director::Director,
    fork::{Fork, Rename},
    ids::{ClientKey, ConnectionId, JobId, LineageId, TrackId},
    moment::Moment,
    track::{Doom, Owed, Owner},
};

impl Director {
    /// A copy of everything, tokens included.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.renamed(&Rename::identity())
    }

    /// A hash that is equal for two directors with the same future: ids are renamed by rank, absolute times and counters are left out.
    pub fn canonical_hash(&self, hasher: &mut impl Hasher) {
        let canon = self.renamed(&self.ranks());
        (
            canon.life,
            &canon.connections,
            &canon.incumbent,
            &canon.candidate,
            &canon.chair,
            &canon.holds,
            canon.lineage,
        )
            .hash(hasher);
        (
            &canon.tracks,
            &canon.placements,
            canon.strikes,
            &canon.vacancy,
            canon.ledger,
            &canon.gate,
            canon.turn,
        )
            .hash(hasher);
        canon.jobs.hash(hasher);
        for alarm in canon.alarms.order() {
            alarm.hash(hasher);
        }
    }

    /// What is armed, soonest first, in words.
    #[must_use]
    pub fn armed(&self) -> Vec<(Moment, String)> {
        self.alarms
            .all()
            .iter()
            .map(|(at, alarm)| (*at, format!("{alarm:?}")))
            .collect()
    }

    /// Whether `connection` has the seat or waits for it.
    #[must_use]
    pub fn holds_or_awaits_seat(&self, connection: ConnectionId) -> bool {
        self.standing(connection) == Some(crate::connections::Standing::Seated)
    }

    /// The session on the chair: its connection and the name of its state.
    #[must_use]
    pub fn seat(&self) -> Option<(ConnectionId, &'static str)> {
        self.incumbent
            .as_ref()
            .map(|incumbent| (incumbent.connection, incumbent.seat.get().name()))
    }

    /// Tracks that still owe somebody something, or are on their way out: empty when the pod has come to rest.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let tracks = self.tracks.iter().filter(|(_, track)| {
            track.intake.get().is_open() || track.stems.get().is_pending() || track.doom != Doom::None
        });
        let tracks = tracks.map(|(id, track)| {
            format!(
                "track {id}: {} {} {:?}",
                track.intake.get().name(),
                track.stems.get().name(),
                track.doom
            )
        });
        let jobs = self.jobs.values().map(|job| format!("job {:?}", job.task));
        tracks.chain(jobs).collect()
    }

    /// Tracks whose owner waits for an answer about stems.
    #[must_use]
    pub fn owing(&self) -> Vec<TrackId> {
        self.tracks
            .iter()
            .filter(|(_, track)| track.owed == Owed::Answer)
            .map(|(id, _)| *id)
            .collect()
    }

    fn renamed(&self, rename: &Rename) -> Self {
        let mut alarms = crate::alarms::Alarms::default();
        for (at, alarm) in self.alarms.all() {
            alarms.set(alarm.fork(rename), *at);
        }
        Self {
            plan: self.plan.clone(),
            now: self.now,
            life: self.life,
            connections: self.connections.fork(rename),
            incumbent: self.incumbent.fork(rename),
            candidate: self
                .candidate
                .as_ref()
                .map(|(id, ask)| (id.fork(rename), ask.fork(rename))),
            chair: self.chair.fork(rename),
            holds: self.holds.fork(rename),
            lineage: self.lineage.fork(rename),
            lineages_begun: self.lineages_begun,
            tracks: self.tracks.fork(rename),
            placements: std::array::from_fn(|index| self.placements[index].fork(rename)),
            strikes: self.strikes,
            vacancy: self.vacancy.fork(rename),
            ledger: self.ledger,
            gate: self.gate.fork(rename),
            gate_closings: self.gate_closings,
            turn: self.turn,
            jobs: self.jobs.fork(rename),
            jobs_begun: self.jobs_begun,
            alarms,
            counters: counters_default(),
        }
    }

    fn ranks(&self) -> Rename {
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        let tracks: Vec<TrackId> = self.tracks.keys().copied().collect();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let mut lineages: Vec<LineageId> = self.lineage.iter().map(|lineage| lineage.id).collect();
        for track in self.tracks.values() {
            if let Owner::Lineage(id) = track.owner
                && !lineages.contains(&id)
            {
                lineages.push(id);
            }
        }
        let mut clients: Vec<ClientKey> = Vec::new();
        let known = self.lineage.and_then(|lineage| lineage.client).into_iter();
        let known = known.chain(self.incumbent.as_ref().and_then(crate::seat::Incumbent::client));
        let known = known
            .chain(self.candidate.as_ref().and_then(|(_, ask)| ask.client))
            .chain(self.holds.iter().copied());
        for client in known {
            if !clients.contains(&client) {
                clients.push(client);
            }
        }
        Rename::by_rank(connections, tracks, jobs, lineages, clients)
    }

    /// Whether a deadline of a job is the next thing that can happen by itself.
    #[must_use]
    pub fn awaits_job(&self) -> bool {
        self.alarms
            .next()
            .is_some_and(|(_, alarm)| matches!(alarm, Alarm::Job(_)))
    }
}
