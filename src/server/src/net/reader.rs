//! What a client says, as the pod understands it: deposits and events.

use std::sync::Arc;

use bytes::Bytes;
use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_director::{ConnectionId, Event, Failure, Intent, Mode, Source, TrackId};
use greenroom_generator::{KnobValue, Prompt, StreamSettings, Walk};
use greenroom_wire::{
    ClientMessage, ErrorCode, PcmFrame, PcmFrameError, ReferenceKind, ServerMessage, SessionConfig, StemSourceMode,
    SwapSource, UploadHeader, knobs,
};

use super::connection::Due;
use crate::pod::{
    Params, PodHandle, Refusal, SessionCommand, SessionDeposit, SwapDeposit, TellError, UploadBody, UploadDeposit,
    Wants,
};

/// Audio that a client sent, checked.
#[derive(Debug)]
pub(super) enum Audio {
    /// Of an upload: right in shape; phase 1 does the rest.
    Raw(Pcm),
    /// Of a session or a swap: a source.
    Source(Arc<Pcm>),
}

/// Reads and checks an audio frame, away from the workers: a frame may have 256 MB.
pub(super) async fn check(pod: PodHandle, frame: Bytes, intent: Intent) -> Result<Audio, Refusal> {
    let parsed = tokio::task::spawn_blocking(move || PcmFrame::parse(&frame)).await;
    let frame = parsed
        .map_err(|error| Refusal::new(Failure::Internal, format!("the audio could not be read: {error}")))?
        .map_err(refusal_of)?;
    let pcm = Pcm::new(SAMPLE_RATE, frame.channels, frame.samples);
    match intent {
        Intent::Upload => Ok(Audio::Raw(pcm)),
        Intent::Session => pod.admit(pcm).await.map(Audio::Source),
    }
}

fn refusal_of(error: PcmFrameError) -> Refusal {
    let failure = match error.code() {
        ErrorCode::TooShort => Failure::TooShort,
        _ => Failure::BadAudio,
    };
    Refusal::new(failure, error.to_string())
}

/// A client's way to the pod.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) pod: PodHandle,
    pub(super) connection: ConnectionId,
}

impl Asker {
    /// Asks for a session on a track of the server, or on the audio that was sent.
    pub(super) fn session(
        &self,
        config: SessionConfig,
        track: Option<TrackId>,
        audio: Option<Audio>,
    ) -> Result<(), TellError> {
        let (source, sent) = match (track, audio) {
            (Some(track), _) => (Source::Track(track), None),
            (None, audio) => {
                let track = self.pod.new_track();
                (Source::Sent(track), audio.map(|audio| (track, audio.into_source())))
            }
        };
        let source_name = config.fixture_name.clone().unwrap_or_default();
        let mode = self.mode(config.stem_source_mode, track, &source_name);
        let deposit = SessionDeposit {
            settings: settings(&config),
            loras: loras(&config),
            wants: Wants {
                stem_progress: config.wants("stem_progress"),
                vram: config.wants("vram"),
                source_id: config.wants("source_id"),
            },
            prompt: Prompt {
                tags: config.prompt,
                tags_b: config.prompt_b,
                key: config.key,
                time_signature: config.time_signature,
                bpm: 0,
            },
            source_name,
            sent,
        };
        self.pod.deposit_session(self.connection, deposit);
        self.pod.try_tell(Event::SessionAsked {
            connection: self.connection,
            client: self.pod.client_key(&config.client_id),
            source,
            mode,
        })?;
        if let Source::Track(track) = source {
            self.pod.measure(self.connection, track);
        }
        Ok(())
    }

    /// Hands an upload over.
    pub(super) fn upload(&self, header: UploadHeader, body: UploadBody) -> Result<(), TellError> {
        let track = self.pod.new_track();
        let deposit = UploadDeposit {
            name: header.name,
            key: header.key,
            time_signature: header.time_signature,
            body,
        };
        self.pod.deposit_upload(track, deposit);
        self.pod.try_tell(Event::UploadAsked {
            connection: self.connection,
            track,
        })
    }

    /// Does what a live client says; gives an answer where the pod will give none.
    pub(super) fn obey(&self, message: ClientMessage) -> Option<ServerMessage> {
        let command = match message {
            ClientMessage::Params(params) => {
                self.params(params);
                return None;
            }
            ClientMessage::Prompt(prompt) => {
                self.prompt(prompt);
                return None;
            }
            ClientMessage::SwapSource(swap) => return self.swap(swap, None),
            // Its audio came with it, or never will.
            ClientMessage::SetReference { .. } => return None,
            ClientMessage::SetReferenceFixture { kind, name } => {
                let Some(track) = self.pod.find(&name) else {
                    let (code, error) = (ErrorCode::BadAudio, unknown_track(&name));
                    return Some(ServerMessage::reference_failed(kind, code, error));
                };
                return self.reference(kind, Some(Source::Track(track)), None);
            }
            ClientMessage::LoopBand(band) => SessionCommand::LoopBand(band),
            ClientMessage::SetPromptBlend(blend) => SessionCommand::PromptBlend(blend),
            ClientMessage::SetDepth(depth) => SessionCommand::Depth(depth.round().clamp(1.0, 64.0) as u32),
            ClientMessage::EnableLora { id, strength } => SessionCommand::EnableLora { id, strength },
            ClientMessage::DisableLora { id } => SessionCommand::DisableLora { id },
            ClientMessage::SetTimbreStrength(strength) => SessionCommand::TimbreStrength(strength),
            ClientMessage::ClearReference(kind) => return self.reference(kind, None, None),
        };
        self.command(command)
    }

    /// Uses audio that was awaited for something.
    pub(super) fn apply(&self, due: Due, audio: Audio) -> Option<ServerMessage> {
        match due {
            Due::Swap(swap) => self.swap(swap, Some(audio.into_source())),
            Due::Reference { kind, name } => {
                let source = Source::Sent(self.pod.new_track());
                self.reference(kind, Some(source), Some((&name, audio.into_source())))
            }
        }
    }

    fn params(&self, params: greenroom_wire::Params) {
        let knobs = params
            .knobs
            .into_iter()
            .map(|(name, value)| (name, knob(value)))
            .collect();
        let params = Params {
            knobs,
            playback_pos_s: params.playback_pos,
        };
        self.pod.set_params(self.connection, params);
    }

    fn prompt(&self, prompt: greenroom_wire::Prompt) {
        let prompt = Prompt {
            tags: prompt.tags,
            tags_b: prompt.tags_b,
            key: prompt.key,
            time_signature: prompt.time_signature,
            bpm: 0,
        };
        self.pod.deposit_prompt(self.connection, prompt);
        let asked = self.pod.try_tell(Event::PromptAsked {
            connection: self.connection,
        });
        if let Err(error) = asked {
            // The text stays deposited: the next prompt asks for the newest.
            tracing::warn!(connection = %self.connection, %error, "a prompt could not be asked for");
        }
    }

    fn swap(&self, swap: SwapSource, sent: Option<Arc<Pcm>>) -> Option<ServerMessage> {
        let name = swap.fixture_name.clone().unwrap_or_default();
        let known = if sent.is_none() { self.pod.find(&name) } else { None };
        let (track, source) = match (&sent, known) {
            (Some(_), _) => {
                let track = self.pod.new_track();
                (track, Source::Sent(track))
            }
            (None, Some(track)) => (track, Source::Track(track)),
            (None, None) => return Some(Due::Swap(swap).failed(ErrorCode::BadAudio, unknown_track(&name))),
        };
        let mode = self.mode(swap.stem_source_mode, known, &name);
        let deposit = SwapDeposit {
            track,
            sent,
            source_name: name,
            tags: swap.tags.clone(),
            key: swap.key.clone(),
            time_signature: swap.time_signature.clone(),
        };
        self.pod.deposit_swap(self.connection, deposit);
        let asked = self.pod.try_tell(Event::SwapAsked {
            connection: self.connection,
            source,
            mode,
        });
        if asked.is_ok()
            && let Source::Track(track) = source
        {
            self.pod.measure(self.connection, track);
        }
        asked
            .err()
            .map(|error| Due::Swap(swap).failed(ErrorCode::Busy, error.to_string()))
    }

    fn command(&self, command: SessionCommand) -> Option<ServerMessage> {
        if let Err(error) = self.pod.command(self.connection, command) {
            tracing::debug!(connection = %self.connection, %error, "a command was passed over");
        }
        None
    }

    /// Asks for another timbre or structure, or for the source's own again. A generator that takes none refuses at once, and there is nothing to
    /// take away from it.
    fn reference(
        &self,
        kind: ReferenceKind,
        source: Option<Source>,
        sent: Option<(&str, Arc<Pcm>)>,
    ) -> Option<ServerMessage> {
        let description = self.pod.description();
        if !description.takes_references {
            return Some(match source {
                Some(_) => {
                    let error = greenroom_generator::no_references(description.name).to_string();
                    ServerMessage::reference_failed(kind, ErrorCode::Internal, error)
                }
                None => ServerMessage::reference_cleared(kind),
            });
        }
        let asked = match kind {
            ReferenceKind::Timbre => greenroom_director::ReferenceKind::Timbre,
            ReferenceKind::Structure => greenroom_director::ReferenceKind::Structure,
        };
        let told = self.pod.ask_reference(self.connection, asked, source, sent);
        let error = told.err()?;
        Some(ServerMessage::reference_failed(
            kind,
            ErrorCode::Busy,
            error.to_string(),
        ))
    }

    /// What a request without a mode means: a fixture is played without stems, also where the client sent its audio along.
    fn mode(&self, asked: Option<StemSourceMode>, track: Option<TrackId>, name: &str) -> Mode {
        let is_fixture = || self.pod.track(name).is_some_and(|view| view.is_fixture);
        match (asked, track) {
            (Some(StemSourceMode::Full), _) => Mode::Full,
            (Some(StemSourceMode::Vocals), _) => Mode::Vocals,
            (Some(StemSourceMode::Instruments), _) => Mode::Instruments,
            (None, Some(track)) => self.pod.default_mode(track),
            (None, None) if is_fixture() => Mode::Plain,
            (None, None) => Mode::Full,
        }
    }
}

impl Audio {
    /// What plays. Uploads are never made a source here, sessions always.
    fn into_source(self) -> Arc<Pcm> {
        match self {
            Self::Raw(pcm) => Arc::new(pcm),
            Self::Source(source) => source,
        }
    }
}

/// The LoRAs that a session opens with.
fn loras(config: &SessionConfig) -> Vec<(String, Option<f64>)> {
    let strength = |id: &String| config.lora_strengths.get(id).copied();
    config
        .enabled_loras
        .iter()
        .map(|id| (id.clone(), strength(id)))
        .collect()
}

/// What a session's stream is opened with.
fn settings(config: &SessionConfig) -> StreamSettings {
    StreamSettings {
        depth: config.depth,
        steps: config.steps,
        sde: config.sde,
        walk: config.walk_window.then(|| Walk::new(config.walk_window_s)),
    }
}

fn unknown_track(name: &str) -> String {
    format!("the pod has no track named {name:?}: ask for one of /api/fixtures or /api/user_uploads, or send its audio")
}

fn knob(value: knobs::KnobValue) -> KnobValue {
    match value {
        knobs::KnobValue::Number(number) => KnobValue::Number(number),
        knobs::KnobValue::Switch(on) => KnobValue::Bool(on),
        knobs::KnobValue::Choice(word) => KnobValue::Choice(word),
        knobs::KnobValue::Curve(values) => KnobValue::Curve(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(config: &str) -> StreamSettings {
        match greenroom_wire::FirstFrame::parse(config) {
            Ok(greenroom_wire::FirstFrame::Session(config)) => settings(&config),
            other => panic!("a session, not {other:?}"),
        }
    }

    #[test]
    fn a_source_is_walked_where_the_client_asks_for_it() {
        assert_eq!(settings_of(r#"{"walk_window_s":30}"#).walk, None);
        assert_eq!(settings_of(r#"{"walk_window":true}"#).walk, Some(Walk::new(60.0)));
        let settings = settings_of(r#"{"walk_window":true,"walk_window_s":30,"depth":2,"sde":true}"#);
        assert_eq!(settings.walk, Some(Walk::new(30.0)));
        assert_eq!((settings.depth, settings.sde), (2, true));
    }

    #[test]
    fn loras_open_with_the_strengths_that_are_said_of_them() {
        let config = r#"{"enabled_loras":["dub","tape",3],"lora_strengths":{"dub":7,"tape":"much","other":1}}"#;
        let Ok(greenroom_wire::FirstFrame::Session(config)) = greenroom_wire::FirstFrame::parse(config) else {
            panic!("it is a session")
        };
        assert_eq!(
            loras(&config),
            [("dub".to_owned(), Some(2.0)), ("tape".to_owned(), None)]
        );
    }
}
