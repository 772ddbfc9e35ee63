//! Effects that are words for a client: turned into messages and queued in its outbox. Nothing here waits.

use std::sync::Arc;

use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_director::{
    ConnectionId, Effect, Failure, Group, Mode, Outcome, Phase, ReferenceKind, StemsAtHand, StemsPhase, Task, TrackId,
};
use greenroom_stage::Reading;
use greenroom_wire::{ErrorCode, Ready, ServerMessage, StemSourceMode, StemState, Vram, VramGroup, http::LoraEntry};

use super::{
    outbox::{Frame, Outgoing, Refusal},
    shared::Shared,
    shelf::seconds,
    telemetry::phase_name,
    tracks::{StemPair, StemsState, TrackFacts},
};

/// The `source_mode` of stems that come late: an overlay, never a change of mode.
const LATE: &str = "";

/// Carries out the effects that end in somebody's outbox.
pub(super) struct Announcer {
    shared: Arc<Shared>,
}

impl Announcer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Says what an effect wants said; effects that want nothing said are not for here.
    pub(super) fn announce(&self, effect: Effect) {
        match effect {
            Effect::Proceed { connection } => self.send(connection, Outgoing::Proceed),
            Effect::Refuse { connection, failure } => self.refuse(connection, failure),
            Effect::SessionReady {
                connection,
                track,
                mode,
                stems,
            } => {
                self.session_ready(connection, track);
                self.stems_at_hand(connection, track, mode, stems);
                self.tell_vram_to(connection);
            }
            Effect::SwapReady {
                connection,
                track,
                mode,
                stems,
            } => {
                self.swap_ready(connection, track);
                self.stems_at_hand(connection, track, mode, stems);
            }
            Effect::SwapFailed { connection, failure } => self.swap_failed(connection, failure),
            Effect::PromptApplied { connection } => self.prompt_applied(connection),
            Effect::PromptFailed { connection, failure } => {
                tracing::warn!(%connection, code = ?failure, "a prompt could not be encoded: the old one stays");
                // The wire has no word for it: the client is told what is in force.
                self.prompt_applied(connection);
            }
            Effect::ReferenceApplied {
                connection,
                kind,
                track,
            } => self.reference_applied(connection, kind, track),
            Effect::ReferenceFailed {
                connection,
                kind,
                failure,
            } => {
                let refusal = self.shared.desks.refusal(connection, failure);
                self.say(
                    connection,
                    ServerMessage::reference_failed(wired(kind), code(failure), refusal.message),
                );
            }
            Effect::UploadOk(ack) => self.upload_ok(ack.connection(), ack.track(), ack.stems_pending()),
            Effect::UploadFailed { connection, failure } => {
                let refusal = self.shared.desks.refusal(connection, failure);
                self.send(connection, Outgoing::UploadFailed(refusal));
            }
            Effect::PushStems { connection, track } => self.send_stems(connection, track, LATE),
            Effect::PushStemFailure {
                connection,
                track,
                failure,
            } => self.stem_failed(connection, track, failure),
            Effect::PushStemProgress {
                connection,
                track,
                done,
                total,
                state,
            } => {
                self.stem_progress(connection, track, (done, total), state);
            }
            Effect::PlacementChanged { group, phase } => self.placed(group, phase),
            other => tracing::error!(effect = ?other, "an effect that nobody carries out"),
        }
    }

    pub(super) fn job_started(&self, task: Task) {
        self.shared.telemetry.job_started(task);
        if matches!(task, Task::CloseStream { .. }) {
            self.shared.telemetry.set_live(false);
        }
    }

    pub(super) fn job_ended(&self, task: Task, outcome: Outcome) {
        self.shared
            .telemetry
            .job_ended(task, outcome, || self.shared.stage.read());
        if matches!(task, Task::LoadEngine { .. } | Task::UnloadEngine { .. }) {
            self.tell_vram(&self.shared.stage.read());
        }
    }

    fn send(&self, connection: ConnectionId, outgoing: Outgoing) {
        self.shared.desks.send(connection, outgoing);
    }

    fn say(&self, connection: ConnectionId, message: ServerMessage) {
        self.send(connection, Outgoing::Text(message));
    }

    /// What a slow client may miss.
    fn news(&self, connection: ConnectionId, message: ServerMessage) {
        self.shared.desks.send_news(connection, Outgoing::Text(message));
    }

    fn refuse(&self, connection: ConnectionId, failure: Failure) {
        let refusal = self.shared.desks.refusal(connection, failure);
        self.send(connection, Outgoing::Refuse(refusal));
    }

    fn session_ready(&self, connection: ConnectionId, track: TrackId) {
        let desks = &self.shared.desks;
        let (Some(playback), Some(session)) = (desks.take_playback(connection), desks.session(connection)) else {
            // Only a connection that has gone has no desk.
            return;
        };
        // Before the client knows: it may look.
        self.shared.telemetry.set_live(true);
        let description = self.shared.generator.description();
        let facts = self.facts(track, &playback.source);
        self.say(
            connection,
            ServerMessage::Ready(Ready {
                duration: seconds(playback.source.frames()),
                sample_rate: SAMPLE_RATE,
                channels: playback.source.channels(),
                lora_dir: self.shared.lora_dir(),
                lora_catalog: desks.take_loras(connection),
                lora_pending_enable: Vec::new(),
                bpm: facts.bpm.round() as u32,
                key: facts.key,
                time_signature: facts.time_signature,
                checkpoint: description.checkpoint.clone(),
                checkpoint_scale: description.checkpoint_scale.clone(),
                pipeline_depth: session.settings.depth.clamp(1, description.depth_max),
                max_pipeline_depth: description.depth_max,
                session_id: self.shared.session_id(connection),
                source_id: self.source_id(connection, track),
            }),
        );
        self.send(connection, Outgoing::Play(playback));
    }

    fn swap_ready(&self, connection: ConnectionId, track: TrackId) {
        let Some(playback) = self.shared.desks.take_playback(connection) else {
            return;
        };
        let facts = self.facts(track, &playback.source);
        self.say(
            connection,
            ServerMessage::SwapReady {
                duration: seconds(playback.source.frames()),
                sample_rate: SAMPLE_RATE,
                channels: playback.source.channels(),
                bpm: facts.bpm.round() as u32,
                key: facts.key,
                time_signature: facts.time_signature,
                fixture_name: self.name(track),
                source_id: self.source_id(connection, track),
            },
        );
        self.send(connection, Outgoing::Play(playback));
    }

    fn swap_failed(&self, connection: ConnectionId, failure: Failure) {
        let Refusal { message, .. } = self.shared.desks.refusal(connection, failure);
        let (code, build_command) = (code(failure), None);
        self.say(
            connection,
            ServerMessage::SwapFailed {
                error: message,
                code,
                build_command,
            },
        );
    }

    fn prompt_applied(&self, connection: ConnectionId) {
        let tags = self.shared.desks.tags_applied(connection);
        self.say(connection, ServerMessage::PromptApplied { tags });
    }

    fn reference_applied(&self, connection: ConnectionId, kind: ReferenceKind, track: Option<TrackId>) {
        let lender = track.map(|track| {
            let facts = self.shared.tracks.with(track, |entry| entry.facts.clone());
            let duration = facts.flatten().map_or(0.0, |facts| seconds(facts.frames));
            (self.name(track), duration)
        });
        self.say(
            connection,
            match lender {
                Some((name, duration)) => ServerMessage::reference_set(wired(kind), name, duration),
                None => ServerMessage::reference_cleared(wired(kind)),
            },
        );
    }

    fn upload_ok(&self, connection: ConnectionId, track: TrackId, stems_pending: bool) {
        if stems_pending {
            let queued = StemsState::Pending {
                phase: StemsPhase::Queued,
                done: 0,
                total: 0,
            };
            self.shared.tracks.set_stems_state(track, queued);
        }
        match self.shared.tracks.upload_ok(track, stems_pending) {
            Some(answer) => self.send(connection, Outgoing::UploadOk(answer)),
            // Forgotten between its saving and now.
            None => self.send(connection, Outgoing::UploadFailed(Refusal::plain(Failure::Superseded))),
        }
    }

    fn stems_at_hand(&self, connection: ConnectionId, track: TrackId, mode: Mode, stems: StemsAtHand) {
        match stems {
            StemsAtHand::Nothing => {}
            StemsAtHand::Ready => self.send_stems(connection, track, mode_name(mode)),
            StemsAtHand::Failed(failure) => self.stem_failed(connection, track, failure),
        }
    }

    /// Sends both stems; those that are no longer in memory once they are read.
    fn send_stems(&self, connection: ConnectionId, track: TrackId, source_mode: &'static str) {
        let whose = self.whose(connection, track);
        if let Some(stems) = self.shared.tracks.stems(track) {
            return self.send(connection, stem_assets(whose, &stems, source_mode));
        }
        let shared = Arc::clone(&self.shared);
        self.shared
            .disk
            .spawn_fifo(move || match super::job::guarded(|| shared.stems_of(track)) {
                Ok(stems) => shared.desks.send(connection, stem_assets(whose, &stems, source_mode)),
                Err(error) => {
                    tracing::warn!(%track, ?error, "stems could not be read back");
                    let refusal = Refusal::plain(Failure::StemExtractFailed);
                    shared.desks.send(connection, stem_failure(whose, refusal));
                }
            });
    }

    fn stem_failed(&self, connection: ConnectionId, track: TrackId, failure: Failure) {
        let kept = self.shared.tracks.with(track, |entry| match &entry.stems_state {
            StemsState::Failed(refusal) => Some(refusal.clone()),
            _ => None,
        });
        let refusal = kept
            .flatten()
            .filter(|refusal| refusal.failure == failure)
            .unwrap_or_else(|| Refusal::plain(failure));
        self.send(connection, stem_failure(self.whose(connection, track), refusal));
    }

    fn stem_progress(&self, connection: ConnectionId, track: TrackId, (done, total): (u32, u32), phase: StemsPhase) {
        if !self.shared.desks.wants(connection).stem_progress {
            return;
        }
        let (fixture_name, state) = (self.name(track), stem_state(phase));
        self.news(
            connection,
            ServerMessage::StemProgress {
                fixture_name,
                source_id: self.source_id(connection, track),
                done,
                total,
                state,
            },
        );
    }

    fn placed(&self, group: Group, phase: Phase) {
        let reading = self.shared.stage.read();
        self.shared.telemetry.placed(group, phase, &reading);
        self.tell_vram(&reading);
    }

    fn tell_vram(&self, reading: &Reading) {
        let watchers = self.shared.desks.vram_watchers();
        if !watchers.is_empty() {
            let vram = self.vram(reading);
            for watcher in watchers {
                self.news(watcher, ServerMessage::Vram(vram.clone()));
            }
        }
    }

    fn tell_vram_to(&self, connection: ConnectionId) {
        if self.shared.desks.wants(connection).vram {
            self.say(connection, ServerMessage::Vram(self.vram(&self.shared.stage.read())));
        }
    }

    fn vram(&self, reading: &Reading) -> Vram {
        let telemetry = &self.shared.telemetry;
        let group = |(group, phase): (Group, Phase)| VramGroup {
            name: group.name().to_owned(),
            state: phase_name(phase).to_owned(),
            bytes: self.shared.plan.weights(group),
        };
        Vram {
            phase: telemetry.vram_phase().map_or("", |phase| phase.name()).to_owned(),
            groups: telemetry.phases().into_iter().map(group).collect(),
            engines: self.shared.loaded_engines(),
            budget_bytes: self.shared.plan.budget_bytes,
            workspace_bytes: reading.workspace,
            resident_bytes: reading.resident.values().sum(),
        }
    }

    /// How a client that wants it tells a source from others: names may be empty, or given twice.
    fn source_id(&self, connection: ConnectionId, track: TrackId) -> Option<String> {
        let wants = self.shared.desks.wants(connection).source_id;
        wants.then(|| track.to_string())
    }

    fn whose(&self, connection: ConnectionId, track: TrackId) -> Whose {
        (self.name(track), self.source_id(connection, track))
    }

    fn name(&self, track: TrackId) -> String {
        self.shared
            .tracks
            .with(track, |entry| entry.name.clone())
            .flatten()
            .unwrap_or_default()
    }

    /// What is known of a track; a track that plays was analysed, unless it was forgotten just now.
    fn facts(&self, track: TrackId, source: &Pcm) -> TrackFacts {
        self.shared
            .tracks
            .with(track, |entry| entry.facts.clone())
            .flatten()
            .unwrap_or_else(|| TrackFacts {
                bpm: 0.0,
                key: String::new(),
                time_signature: super::shelf::DEFAULT_TIME_SIGNATURE.to_owned(),
                frames: source.frames(),
                channels: source.channels(),
            })
    }
}

/// The wire's name of a kind of reference.
const fn wired(kind: ReferenceKind) -> greenroom_wire::ReferenceKind {
    match kind {
        ReferenceKind::Timbre => greenroom_wire::ReferenceKind::Timbre,
        ReferenceKind::Structure => greenroom_wire::ReferenceKind::Structure,
    }
}

/// Name and number of a source.
type Whose = (String, Option<String>);

fn stem_assets((fixture_name, source_id): Whose, stems: &StemPair, source_mode: &str) -> Outgoing {
    let header = ServerMessage::StemAssets {
        fixture_name,
        source_id,
        sample_rate: stems.vocals.sample_rate(),
        channels: stems.vocals.channels(),
        frames: stems.vocals.frames() as u64,
        stems: vec![
            StemSourceMode::Vocals.name().to_owned(),
            StemSourceMode::Instruments.name().to_owned(),
        ],
        source_mode: source_mode.to_owned(),
    };
    let (vocals, instruments) = (Arc::clone(&stems.vocals), Arc::clone(&stems.instruments));
    Outgoing::Atomic(vec![
        Frame::Text(header),
        Frame::Audio(vocals),
        Frame::Audio(instruments),
    ])
}

fn stem_failure((fixture_name, source_id): Whose, refusal: Refusal) -> Outgoing {
    let (error, code) = (refusal.message, code(refusal.failure));
    Outgoing::Text(ServerMessage::StemFailed {
        fixture_name,
        source_id,
        error,
        code,
    })
}

/// Answer to `set_depth`.
pub(super) fn depth_applied(value: u32) -> Outgoing {
    Outgoing::Text(ServerMessage::DepthApplied { value })
}

/// Answer to `enable_lora` and `disable_lora`.
pub(super) fn lora_catalog(catalog: Vec<LoraEntry>) -> Outgoing {
    Outgoing::Text(ServerMessage::LoraCatalog { catalog })
}

/// The code of a failure on the wire.
pub(super) const fn code(failure: Failure) -> ErrorCode {
    match failure {
        // The wire has no code of its own for audio that never came whole.
        Failure::BadAudio | Failure::TooSlow => ErrorCode::BadAudio,
        Failure::TooLong => ErrorCode::TooLong,
        Failure::TooShort => ErrorCode::TooShort,
        Failure::OutOfMemory => ErrorCode::OutOfMemory,
        Failure::Busy => ErrorCode::Busy,
        Failure::DiskFull => ErrorCode::DiskFull,
        Failure::DeviceLost => ErrorCode::DeviceLost,
        Failure::Superseded => ErrorCode::Superseded,
        Failure::StemExtractFailed => ErrorCode::StemExtractFailed,
        Failure::EngineNotBuilt => ErrorCode::EngineNotBuilt,
        // The wire has no code of its own for what only an operator can do something about.
        Failure::NullContext | Failure::Internal => ErrorCode::Internal,
    }
}

/// The wire's name of a mode; whether stems are wanted later is nothing to it.
const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Full | Mode::Plain => StemSourceMode::Full.name(),
        Mode::Vocals => StemSourceMode::Vocals.name(),
        Mode::Instruments => StemSourceMode::Instruments.name(),
    }
}

const fn stem_state(phase: StemsPhase) -> StemState {
    match phase {
        StemsPhase::Queued => StemState::Queued,
        StemsPhase::Ripping => StemState::Ripping,
        StemsPhase::Saving => StemState::Saving,
    }
}
