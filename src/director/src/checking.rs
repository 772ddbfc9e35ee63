//! For the checker and the simulation alone: the sealed copy, the canonical hash, and a look inside.

use std::hash::{Hash, Hasher};

use crate::{
    alarms::Alarm,
    connections::Standing,
    director::{Counters, Director, Life},
    effect::{Task, Urgency},
    event::Intent,
    fork::{Fork, Rename},
    gate::Gate,
    ids::{ClientKey, ConnectionId, JobId, LineageId, TrackId},
    moment::Moment,
    stems::Rip,
    track::{Doom, Owed, Owner},
};

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// Its first frame is due.
    Greeting,
    /// Its audio is coming.
    Body(Intent),
    /// An upload in phase 1.
    Uploading,
    /// A candidate or the session on the chair.
    Seated,
    /// Told to close.
    Closing,
}

/// What the checker sees of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackView {
    /// Whether anybody may name it.
    pub is_usable: bool,
    /// Whether phase 1 is over and well.
    pub is_saved: bool,
    /// The state of its stems.
    pub stems: &'static str,
    /// How far its rip is.
    pub rip: Option<Rip>,
    /// Whether its owner is still to be told how the stems ended.
    pub is_owed: bool,
}

/// What the checker sees of the live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveView {
    /// Whose it is.
    pub connection: ConnectionId,
    /// Swaps under way and waiting.
    pub swaps: usize,
    /// Timbres and structures that are asked for and not under way.
    pub references: usize,
    /// Whether a prompt is asked for or being encoded.
    pub is_prompting: bool,
    /// Whether the live thread wants to tick.
    pub is_wanted: bool,
}

impl Director {
    /// A copy of everything, tokens included.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.renamed(&Rename::identity())
    }

    /// How ids are called in the canonical hash: by rank.
    #[must_use]
    pub fn ranks(&self) -> Rename {
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
        // Clients that nothing else knows than that they may not come back yet are alike: the order in which they may tells them apart.
        let known = known.chain(self.candidate.as_ref().and_then(|(_, ask)| ask.client));
        for client in known {
            if !clients.contains(&client) {
                clients.push(client);
            }
        }
        Rename::by_rank(connections, tracks, jobs, lineages, clients)
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
            &canon.slots,
            canon.missed,
            canon.ledger,
            &canon.gate,
            canon.turn,
            canon.overtaken,
        )
            .hash(hasher);
        canon.jobs.hash(hasher);
        for alarm in canon.alarms.order() {
            alarm.hash(hasher);
        }
    }

    /// What is under way, with how soon each was asked to end.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, Task, Option<Urgency>)> + '_ {
        self.jobs.iter().map(|(id, job)| (*id, job.task, job.cancelled))
    }

    /// Every connection and where it is.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, Stand)> + '_ {
        self.connections.iter().map(|(id, connection)| {
            let stand = match connection.standing {
                Standing::Greeting => Stand::Greeting,
                Standing::Body { intent, .. } => Stand::Body(intent),
                Standing::Uploading(_) => Stand::Uploading,
                Standing::Seated => Stand::Seated,
                Standing::Closing => Stand::Closing,
            };
            (*id, stand)
        })
    }

    /// Every track and how far it is.
    pub fn tracks(&self) -> impl Iterator<Item = (TrackId, TrackView)> + '_ {
        self.tracks.iter().map(|(id, track)| {
            let view = TrackView {
                is_usable: track.is_usable(),
                is_saved: track.intake.get().is_saved(),
                stems: track.stems.get().name(),
                rip: track.stems.get().rip(),
                is_owed: track.owed == Owed::Answer,
            };
            (*id, view)
        })
    }

    /// The live session's connection, and whether a swap or a prompt of its is under way.
    #[must_use]
    pub fn live(&self) -> Option<LiveView> {
        self.live_session().map(|(connection, session)| LiveView {
            connection,
            swaps: usize::from(session.swap.is_some()) + usize::from(session.next_swap.is_some()),
            references: session.references.waiting(),
            is_prompting: session.prompt != crate::seat::Prompt::Settled,
            is_wanted: session.wanted,
        })
    }

    /// The number of the gate's closing that waits for the live thread.
    #[must_use]
    pub fn closing(&self) -> Option<u64> {
        match self.gate {
            Gate::Closing { number, .. } => Some(number),
            _ => None,
        }
    }

    /// Whether a rip that waits has been overtaken as often as may be.
    #[must_use]
    pub fn owes_rip_a_turn(&self) -> bool {
        self.is_due()
    }

    /// Whether the pod has asked for its own end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.life == Life::Ended
    }

    /// Whether the pod is on its way to its end, or there.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.life != Life::Running
    }

    /// Bytes of residents and of workspaces that the ledger counts.
    #[must_use]
    pub fn ledger_bytes(&self) -> (u64, u64) {
        (self.ledger.resident, self.ledger.workspace)
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
        let leaving = self.slots.iter().filter(|slot| slot.get().awaits_last_call());
        let leaving = leaving.map(|slot| format!("an engine that is to go: {:?}", slot.get()));
        tracks.chain(jobs).chain(leaving).collect()
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

    /// Whether nothing is under way and nothing is owed: what [`unfinished`](Self::unfinished) says in words, and quicker.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let settled = |track: &crate::track::Track| {
            track.doom == Doom::None && !track.intake.get().is_open() && !track.stems.get().is_pending()
        };
        let leaving = self.slots.iter().any(|slot| slot.get().awaits_last_call());
        self.jobs.is_empty() && !leaving && self.tracks.values().all(settled)
    }

    /// Tracks that have files of their own, as far as the director knows.
    #[must_use]
    pub fn tracks_on_disk(&self) -> Vec<TrackId> {
        let on_disk = self.tracks.iter().filter(|(_, track)| track.is_on_disk());
        on_disk.map(|(id, _)| *id).collect()
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
            slots: std::array::from_fn(|index| self.slots[index].fork(rename)),
            missed: self.missed,
            ledger: self.ledger,
            gate: self.gate.fork(rename),
            gate_closings: self.gate_closings,
            turn: self.turn,
            overtaken: self.overtaken,
            jobs: self.jobs.fork(rename),
            jobs_begun: self.jobs_begun,
            alarms,
            counters: Counters::default(),
        }
    }

    /// Whether the next deadline is that of a job or of the live thread: it passes only where something hangs.
    #[must_use]
    pub fn awaits_job(&self) -> bool {
        self.alarms
            .next()
            .is_some_and(|(_, alarm)| matches!(alarm, Alarm::Job(_) | Alarm::Drain))
    }
}
