//! What sockets and routes may ask of the pod.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use greenroom_audio::{Pcm, UploadError};
use greenroom_director::{ClientKey, ConnectionId, Event, Failure, Mode, ReferenceKind, Source, TrackId};
use greenroom_generator::{CompiledEngines, Description, EngineState, Prompt};
use greenroom_wire::http::LoraEntry;

use super::{
    deposit::{Params, SessionCommand, SessionDeposit, SwapDeposit, UploadDeposit},
    desk::Desks,
    events::TellError,
    loras,
    outbox::{self, Inbox, Refusal},
    shared::Shared,
    telemetry::Metric,
    tracks::{Told, TrackView},
};

/// The pod as sockets and routes see it; clones are one pod.
#[derive(Clone)]
pub struct PodHandle {
    shared: Arc<Shared>,
}

impl PodHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Numbers a connection (a socket, or the request of a POST) at its acceptance: the order decides who may take the pod over.
    #[must_use]
    pub fn accept(&self) -> ConnectionId {
        ConnectionId(self.shared.connections_accepted.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Numbers a track to be.
    #[must_use]
    pub fn new_track(&self) -> TrackId {
        self.shared.tracks.new_track()
    }

    /// Registers an authorised connection and tells `HandshakeOpened`. Dropping the inbox tells `ConnectionGone`.
    ///
    /// # Errors
    /// [`TellError::Full`] where too much waits (say `busy`), [`TellError::Closed`] after the pod's end.
    pub fn open(&self, connection: ConnectionId) -> Result<Inbox, TellError> {
        let (outbox, inbox) = outbox::channel(connection, self.shared.events.clone());
        self.desks().register(connection, outbox);
        // On failure the inbox is dropped, which tells of its end what the director then counts as unknown.
        self.shared.events.try_tell(Event::HandshakeOpened { connection })?;
        Ok(inbox)
    }

    /// Tells the director at once or not at all.
    ///
    /// # Errors
    /// See [`TellError`].
    pub fn try_tell(&self, event: Event) -> Result<(), TellError> {
        self.shared.events.try_tell(event)
    }

    /// Tells the director, waiting for room.
    ///
    /// # Errors
    /// [`TellError::Closed`].
    pub async fn tell(&self, event: Event) -> Result<(), TellError> {
        self.shared.events.tell(event).await
    }

    /// The key of a `client_id`: a keyed hash, so that what the director and the log hold cannot be used by another; none for an empty one.
    #[must_use]
    pub fn client_key(&self, client_id: &str) -> Option<ClientKey> {
        use std::hash::BuildHasher;
        (!client_id.is_empty()).then(|| ClientKey(self.shared.client_hasher.hash_one(client_id)))
    }

    /// Makes a source of PCM that came with a session or swap: finite, at least a second, trimmed to the limit and the pool.
    ///
    /// # Errors
    /// `bad_audio` or `too_short`, with words for the client.
    pub async fn admit(&self, pcm: Pcm) -> Result<Arc<Pcm>, Refusal> {
        let seconds_max = self.shared.seconds_max();
        // Not on the pool of signal processing: a rip may be at it, which gives way to others only when the director says so.
        let admitted = tokio::task::spawn_blocking(move || greenroom_audio::prepare_upload(pcm, seconds_max));
        match admitted.await {
            Ok(Ok(pcm)) => Ok(Arc::new(pcm)),
            Ok(Err(error)) => Err(refusal_of(&error)),
            Err(error) => {
                tracing::error!(%error, "audio could not be checked");
                Err(Refusal::plain(Failure::Internal))
            }
        }
    }

    /// Leaves what a session's handshake brought; before `SessionAsked`.
    pub fn deposit_session(&self, connection: ConnectionId, deposit: SessionDeposit) {
        if let Some((track, audio)) = &deposit.sent {
            let told = Told {
                key: deposit.prompt.key.clone(),
                time_signature: deposit.prompt.time_signature.clone(),
            };
            self.shared
                .tracks
                .deposit_sent(*track, &deposit.source_name, Arc::clone(audio), told);
        }
        self.desks().deposit_session(connection, deposit);
    }

    /// Leaves an upload's body; before `UploadAsked`.
    pub fn deposit_upload(&self, track: TrackId, deposit: UploadDeposit) {
        self.shared.tracks.deposit_upload(track, deposit);
    }

    /// Leaves a swap request; before `SwapAsked`.
    pub fn deposit_swap(&self, connection: ConnectionId, deposit: SwapDeposit) {
        if let Some(audio) = &deposit.sent {
            let told = Told {
                key: deposit.key.clone(),
                time_signature: deposit.time_signature.clone(),
            };
            self.shared
                .tracks
                .deposit_sent(deposit.track, &deposit.source_name, Arc::clone(audio), told);
        }
        self.desks().deposit_swap(connection, deposit);
    }

    /// Says how a track will be played that a session asked for, as far as is known; after `SessionAsked` or `SwapAsked`.
    pub fn measure(&self, connection: ConnectionId, track: TrackId) {
        if let Some(measure) = self.shared.measure(track, self.shared.desks.walk(connection))
            && let Err(error) = self.try_tell(measure)
        {
            // Whatever serves it otherwise does so still.
            tracing::warn!(%track, %error, "which engines serve a track was not told");
        }
    }

    /// Looks for compiled engines again: those that were built since are used without a restart. It can take as long as a checkpoint takes to
    /// read. Gives what is known then.
    ///
    /// # Errors
    /// With words for whoever asked; what was known stays then.
    pub async fn rescan_engines(&self) -> Result<Vec<EngineState>, Refusal> {
        let shared = Arc::clone(&self.shared);
        let looked = tokio::task::spawn_blocking(move || shared.rescan_engines());
        looked.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the engines could not be looked at");
            Err(Refusal::plain(Failure::Internal))
        })
    }

    /// The compiled engines that the pod knows, and the graphs that it captured.
    #[must_use]
    pub fn engines(&self) -> Vec<EngineState> {
        self.shared
            .generator
            .engines()
            .map(CompiledEngines::states)
            .unwrap_or_default()
    }

    /// Asks for the timbre or structure of a source; `sent` is its name and audio where it was sent along, already through [`admit`](Self::admit).
    ///
    /// # Errors
    /// See [`TellError`]; the audio is not kept then.
    pub fn ask_reference(
        &self,
        connection: ConnectionId,
        kind: ReferenceKind,
        source: Option<Source>,
        sent: Option<(&str, Arc<Pcm>)>,
    ) -> Result<(), TellError> {
        let deposited = match (source, sent) {
            (Some(Source::Sent(track)), Some((name, audio))) => {
                self.shared.tracks.deposit_sent(track, name, audio, Told::default());
                Some(track)
            }
            _ => None,
        };
        let told = self.shared.events.try_tell(Event::ReferenceAsked {
            connection,
            kind,
            source,
        });
        if let (Err(_), Some(track)) = (&told, deposited) {
            self.shared.tracks.forget(track);
        }
        told
    }

    /// Leaves the newest prompt; before `PromptAsked`. An older one that nobody encoded yet is forgotten. `bpm` is filled in by the pod.
    pub fn deposit_prompt(&self, connection: ConnectionId, prompt: Prompt) {
        self.desks().deposit_prompt(connection, prompt);
    }

    /// Sets the newest parameters; older ones that the live thread did not see are forgotten.
    pub fn set_params(&self, connection: ConnectionId, params: Params) {
        self.desks().set_params(connection, params);
        self.shared.live.wake();
    }

    /// Passes a command to the live thread, which answers through the outbox.
    ///
    /// # Errors
    /// [`TellError::Full`] where the session asks faster than the live thread takes: let it go.
    pub fn command(&self, connection: ConnectionId, command: SessionCommand) -> Result<(), TellError> {
        self.shared.live.command(connection, command)
    }

    /// The track of that name, fixture or upload.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TrackId> {
        self.shared.tracks.find(name)
    }

    /// The track of that name and what there is to say of it.
    #[must_use]
    pub fn track(&self, name: &str) -> Option<TrackView> {
        self.shared.tracks.view(name)
    }

    /// The mode that a request without `stem_source_mode` means: a fixture is played without stems, anything else is owed them.
    #[must_use]
    pub fn default_mode(&self, track: TrackId) -> Mode {
        if self.shared.tracks.is_fixture(track) {
            Mode::Plain
        } else {
            Mode::Full
        }
    }

    /// Names of the fixtures, sorted.
    #[must_use]
    pub fn fixtures(&self) -> Vec<String> {
        self.shared.tracks.names(true)
    }

    /// Names of the uploads that can be played, sorted.
    #[must_use]
    pub fn user_uploads(&self) -> Vec<String> {
        self.shared.tracks.names(false)
    }

    /// The audio of a track as a WAV file; none where there is no such track (any more).
    ///
    /// # Errors
    /// With words for the client, where the disk fails.
    pub async fn audio(&self, name: &str) -> Result<Option<Bytes>, Refusal> {
        self.shared.audio_file(name).await
    }

    /// What generator the pod has.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.shared.generator.description()
    }

    /// The folder that LoRAs are read from.
    #[must_use]
    pub fn lora_dir(&self) -> Option<String> {
        self.shared.lora_dir()
    }

    /// The LoRAs that the pod found, as nobody has them enabled.
    #[must_use]
    pub fn loras(&self) -> Vec<LoraEntry> {
        self.shared.generator.loras().entries.iter().map(loras::entry).collect()
    }

    /// Whether the event loop made progress lately (`/healthz`).
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.is_healthy()
    }

    /// Whether the pod is warm and free to serve (`/readyz`): the seat is empty and, where start-up waits for them, no weights are on their way
    /// in.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }

    /// Whether start-up is over; a session is served before that too, and waits for what it needs.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.shared.is_warm()
    }

    /// The counters and gauges of the driver (`/metrics`).
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics = self.shared.telemetry.metrics();
        let cache_bytes = self.shared.tracks.cache_bytes() as f64;
        metrics.push(Metric::gauge(
            "track_cache_bytes",
            "Bytes of audio and stems in memory.",
            cache_bytes,
        ));
        if let Some(engines) = self.shared.generator.engines() {
            metrics.extend(self.shared.loads.metrics(engines));
        }
        metrics
    }

    fn desks(&self) -> &Desks {
        &self.shared.desks
    }
}

/// The wire's words for audio that cannot be a source.
pub(super) fn refusal_of(error: &UploadError) -> Refusal {
    let failure = match error.code() {
        "too_short" => Failure::TooShort,
        "bad_audio" => Failure::BadAudio,
        _ => Failure::Internal,
    };
    Refusal::new(failure, error.to_string())
}
