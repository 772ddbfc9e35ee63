//! What is written down of a history where somebody asks: words for people, figures for the timeline, deeds for shrinking.

use greenroom_director::{ConnectionId, Effect, Event, Group, JobId, Moment, Outcome, Phase, Task};

use crate::script::Deed;

/// A span of something on the timeline; `to` is none while it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) from: Moment,
    pub(crate) to: Option<Moment>,
    pub(crate) what: String,
    pub(crate) tone: Tone,
}

/// How a bar ended or what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Moving,
    There,
    Waiting,
    Live,
    Closing,
    Done,
    Cancelled,
    Failed,
}

/// What is written down.
#[derive(Clone, Debug, Default)]
pub struct Record {
    wants_words: bool,
    /// Events and effects, readable, in order.
    pub words: Vec<String>,
    deeds: Vec<Deed>,
    pub(crate) groups: [Vec<Bar>; 5],
    pub(crate) connections: Vec<(ConnectionId, Vec<Bar>)>,
    pub(crate) jobs: Vec<(JobId, Bar)>,
    pub(crate) bytes: Vec<(Moment, u64)>,
    pub(crate) restarts: Vec<Moment>,
    pub(crate) end: Moment,
}

impl Record {
    /// Writes down deeds alone.
    #[must_use]
    pub fn of_deeds() -> Self {
        Self::default()
    }

    /// Writes down everything.
    #[must_use]
    pub fn of_everything() -> Self {
        Self {
            wants_words: true,
            ..Self::default()
        }
    }

    /// Deeds done, in order.
    #[must_use]
    pub fn deeds(&self) -> &[Deed] {
        &self.deeds
    }

    pub(crate) fn deed(&mut self, deed: Deed) {
        self.deeds.push(deed);
    }

    pub(crate) fn event(&mut self, now: Moment, event: &Event) {
        self.end = self.end.max(now);
        if !self.wants_words {
            return;
        }
        self.words.push(format!("{:>14.6} s  {event:?}", now.0 as f64 / 1e6));
        match event {
            Event::HandshakeOpened { connection } => self.connection(now, *connection, "handshake", Tone::Waiting),
            Event::SessionAsked { connection, .. } => self.connection(now, *connection, "asked", Tone::Moving),
            Event::UploadAsked { connection, .. } => self.connection(now, *connection, "upload", Tone::There),
            Event::ConnectionGone { connection } => {
                if let Some((_, bars)) = self.connections.iter_mut().find(|(other, _)| other == connection) {
                    end_last(bars, now);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn effect(&mut self, now: Moment, effect: &Effect) {
        if !self.wants_words {
            return;
        }
        self.words.push(format!("{:>16}    → {effect:?}", ""));
        match effect {
            Effect::SessionReady { connection, .. } => self.connection(now, *connection, "live", Tone::Live),
            Effect::Close { connection, code } => {
                self.connection(now, *connection, &format!("closing {}", code.code()), Tone::Closing);
            }
            Effect::Refuse { connection, failure } => {
                self.connection(now, *connection, &format!("refused: {failure:?}"), Tone::Failed);
            }
            Effect::PlacementChanged { group, phase } => self.group(now, *group, *phase),
            _ => {}
        }
    }

    fn connection(&mut self, now: Moment, connection: ConnectionId, what: &str, tone: Tone) {
        let place = self.connections.iter().position(|(other, _)| *other == connection);
        let place = place.unwrap_or_else(|| {
            self.connections.push((connection, Vec::new()));
            self.connections.len() - 1
        });
        let bars = &mut self.connections[place].1;
        end_last(bars, now);
        bars.push(Bar {
            from: now,
            to: None,
            what: what.to_owned(),
            tone,
        });
    }

    fn group(&mut self, now: Moment, group: Group, phase: Phase) {
        let bars = &mut self.groups[group as usize];
        end_last(bars, now);
        let tone = match phase {
            Phase::Parked => return,
            Phase::Resident => Tone::There,
            Phase::Restoring | Phase::Parking => Tone::Moving,
        };
        bars.push(Bar {
            from: now,
            to: None,
            what: format!("{} {phase:?}", group.name()),
            tone,
        });
    }

    pub(crate) fn job_begins(&mut self, now: Moment, job: JobId, task: Task) {
        if self.wants_words {
            self.jobs.push((
                job,
                Bar {
                    from: now,
                    to: None,
                    what: format!("{task:?}"),
                    tone: Tone::Waiting,
                },
            ));
        }
    }

    pub(crate) fn job_ends(&mut self, now: Moment, job: JobId, outcome: Outcome) {
        let open = self
            .jobs
            .iter_mut()
            .rev()
            .find(|(other, bar)| *other == job && bar.to.is_none());
        let Some((_, bar)) = open else { return };
        bar.to = Some(now);
        bar.what = format!("{} {outcome:?}", bar.what);
        bar.tone = match outcome {
            Outcome::Done => Tone::Done,
            Outcome::Yielded { .. } | Outcome::Cancelled => Tone::Cancelled,
            Outcome::Failed(_) => Tone::Failed,
        };
    }

    pub(crate) fn bytes(&mut self, now: Moment, bytes: u64) {
        if self.wants_words && self.bytes.last().is_none_or(|(_, last)| *last != bytes) {
            self.bytes.push((now, bytes));
        }
    }

    pub(crate) fn restart(&mut self, now: Moment, crash: bool) {
        if !self.wants_words {
            return;
        }
        let why = if crash {
            "the machine loses power"
        } else {
            "the process ends"
        };
        self.words
            .push(format!("{:>14.6} s  ── {why}; another starts ──", now.0 as f64 / 1e6));
        self.restarts.push(now);
        for bars in &mut self.groups {
            end_last(bars, now);
        }
        for (_, bars) in &mut self.connections {
            end_last(bars, now);
        }
        for (_, bar) in &mut self.jobs {
            bar.to.get_or_insert(now);
        }
    }
}

fn end_last(bars: &mut [Bar], now: Moment) {
    if let Some(bar) = bars.last_mut() {
        bar.to.get_or_insert(now);
    }
}
