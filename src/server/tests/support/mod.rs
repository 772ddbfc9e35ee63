//! A pod without sockets: a client that deposits, tells and listens as a connection does.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary exports nothing and fails by panicking"
)]

use std::{
    f32::consts::TAU,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use greenroom::pod::{
    Ending, Frame, Inbox, Outgoing, Playback, Pod, PodConfig, PodHandle, SessionDeposit, ThreadSettings, UploadBody,
    UploadDeposit, Wants, needs,
};
use greenroom_audio::{Pcm, SAMPLE_RATE};
use greenroom_director::{
    ConnectionId, Event, Group, Intent, Limits, Mode, Plan, Policy, Source, Times, TrackId, Uploads,
};
use greenroom_generator::{Generator, PlayerSettings, Prompt, StreamSettings};
use greenroom_library::{Library, LibraryError, Limits as LibraryLimits, RealDisk, Uploads as LibraryUploads};
use greenroom_separator::{BatchOutcome, Rip, SeparateError, Separator, Stems};
use greenroom_stage::{GroupClass, Home, ModuleSlot, Stage, Tenant};
use greenroom_sync::CancelFlag;
use greenroom_wire::{Ready, ServerMessage, UploadOk};
use tokio::sync::mpsc::UnboundedSender;

/// Longer than anything here takes on a busy machine; waiting that long is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

pub const SEPARATOR_BYTES: u64 = 1 << 20;

/// Nobody else's workspace is of this size.
pub const WORKSPACE_BYTES: u64 = 4_321;

/// Mid as vocals, side as instruments, batch by batch; cannot work while parked.
pub struct MidSide {
    slot: ModuleSlot<()>,
    batch: Duration,
    /// Panics in the middle of a rip.
    pub panics: AtomicBool,
    /// Batches abandoned so far.
    pub abandoned: AtomicU32,
}

struct MidSideRip {
    separator: Arc<MidSide>,
    track: Arc<Pcm>,
    done: u32,
}

const BATCHES: u32 = 5;

impl MidSide {
    pub fn new(batch: Duration) -> Arc<Self> {
        Arc::new(Self {
            slot: ModuleSlot::new("separator"),
            batch,
            panics: AtomicBool::new(false),
            abandoned: AtomicU32::new(0),
        })
    }
}

impl Tenant for MidSide {
    fn name(&self) -> &'static str {
        "separator"
    }

    fn class(&self) -> GroupClass {
        GroupClass::Separator
    }

    fn weights_bytes(&self) -> u64 {
        SEPARATOR_BYTES
    }

    fn attach(&self, _home: &Home) -> Result<(), String> {
        self.slot.fill(());
        Ok(())
    }

    fn detach(&self) -> bool {
        self.slot.clear()
    }
}

/// The separator as the pod holds it.
pub struct Shared(pub Arc<MidSide>);

impl Separator for Shared {
    fn name(&self) -> &'static str {
        "mid-side"
    }

    fn workspace_bytes(&self) -> u64 {
        WORKSPACE_BYTES
    }

    fn begin(&self, track: Arc<Pcm>) -> Result<Box<dyn Rip>, SeparateError> {
        Ok(Box::new(MidSideRip {
            separator: Arc::clone(&self.0),
            track,
            done: 0,
        }))
    }
}

impl Rip for MidSideRip {
    fn progress(&self) -> (u32, u32) {
        (self.done, BATCHES)
    }

    fn run_batch(&mut self, cancel: &CancelFlag) -> Result<BatchOutcome, SeparateError> {
        let _modules = self.separator.slot.lease().map_err(|_| SeparateError::NotResident)?;
        assert!(!self.separator.panics.load(Ordering::Relaxed), "told to panic");
        let begun = Instant::now();
        while begun.elapsed() < self.separator.batch {
            if cancel.is_raised() {
                self.separator.abandoned.fetch_add(1, Ordering::Relaxed);
                return Ok(BatchOutcome::Abandoned);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.done += 1;
        Ok(BatchOutcome::Done)
    }

    fn finish(self: Box<Self>) -> Result<Stems, SeparateError> {
        let stem = |sign: f32| {
            let frames = self.track.samples().chunks_exact(2);
            let samples = frames
                .flat_map(|frame| [(frame[0] + sign * frame[1]) / 2.0; 2])
                .collect();
            Pcm::new(SAMPLE_RATE, 2, samples)
        };
        Ok(Stems {
            vocals: stem(1.0),
            instruments: stem(-1.0),
        })
    }
}

/// Two tones that are not the same left and right.
pub fn music(seconds: u32, pitch: f32) -> Pcm {
    let tone = |frame: u32, hertz: f32| 0.3 * (TAU * hertz * frame as f32 / SAMPLE_RATE as f32).sin();
    let samples = (0..seconds * SAMPLE_RATE)
        .flat_map(|frame| [tone(frame, pitch), tone(frame, pitch * 1.5)])
        .collect();
    Pcm::new(SAMPLE_RATE, 2, samples)
}

pub fn pod(
    root: &Path,
    generator: Arc<dyn Generator>,
    eager: [Option<u64>; 4],
    stage: Arc<dyn Stage>,
    separator: Arc<MidSide>,
) -> Pod {
    pod_that(Uploads::Wipe, root, generator, eager, stage, separator)
}

/// A pod that wipes uploads or keeps them.
pub fn pod_that(
    uploads: Uploads,
    root: &Path,
    generator: Arc<dyn Generator>,
    eager: [Option<u64>; 4],
    stage: Arc<dyn Stage>,
    separator: Arc<MidSide>,
) -> Pod {
    stage.register(Arc::clone(&separator) as Arc<dyn Tenant>).unwrap();
    let on_disk = match uploads {
        Uploads::Wipe => LibraryUploads::Wipe,
        Uploads::Keep => LibraryUploads::Keep,
    };
    let library = library(root, on_disk);
    let [dit, conditioner, text_encoder, vae] = eager;
    let plan = Plan {
        weights_bytes: [dit, conditioner, text_encoder, vae, Some(SEPARATOR_BYTES)],
        needs: needs(&*generator, Some(&Shared(Arc::clone(&separator)))),
        engines_only: greenroom_director::Components::NONE,
        budget_bytes: stage.read().capacity,
        keeps_stems: generator.description().keeps_sources,
        policy: Policy::Always,
        uploads,
        limits: Limits::default(),
        times: Times::default(),
    };
    Pod::start(PodConfig {
        generator,
        separator: Some(Arc::new(Shared(separator))),
        stage,
        library,
        plan,
        cache_bytes_max: 64 << 20,
        source_seconds_max: 240,
        player: PlayerSettings::default(),
        startup_warmup: true,
        threads: ThreadSettings::default(),
    })
    .unwrap()
}

/// The threads of a pod that has just ended may hold the directory a moment longer.
fn library(root: &Path, uploads: LibraryUploads) -> Library {
    let begun = Instant::now();
    loop {
        match Library::open(Arc::new(RealDisk), root, uploads, LibraryLimits::default()) {
            Err(LibraryError::InUse { .. }) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10))
            }
            opened => return opened.unwrap().0,
        }
    }
}

/// A connection.
pub struct Client {
    pub pod: PodHandle,
    pub inbox: Inbox,
}

impl Client {
    pub async fn open(pod: &PodHandle, intent: Intent) -> Self {
        let inbox = pod.open(pod.accept()).unwrap();
        let mut client = Self {
            pod: pod.clone(),
            inbox,
        };
        client
            .tell(Event::HandshakeDeclared {
                connection: client.inbox.connection,
                intent,
                bytes: 1 << 20,
            })
            .await;
        assert!(matches!(client.next().await, Outgoing::Proceed));
        client
    }

    pub async fn tell(&self, event: Event) {
        self.pod.tell(event).await.unwrap();
    }

    pub async fn next(&mut self) -> Outgoing {
        let next = tokio::time::timeout(PATIENCE, self.inbox.outgoing.recv()).await;
        next.expect("the pod answers").expect("the pod lives")
    }

    /// Uploads, and gives the answer.
    pub async fn upload(pod: &PodHandle, name: &str, body: UploadBody) -> Outgoing {
        let mut client = Self::open(pod, Intent::Upload).await;
        let track = pod.new_track();
        pod.deposit_upload(
            track,
            UploadDeposit {
                name: name.into(),
                key: None,
                time_signature: None,
                body,
            },
        );
        client
            .tell(Event::UploadAsked {
                connection: client.inbox.connection,
                track,
            })
            .await;
        client.next().await
    }

    pub async fn upload_ok(pod: &PodHandle, name: &str, audio: Pcm) -> UploadOk {
        match Self::upload(pod, name, UploadBody::Pcm(audio)).await {
            Outgoing::UploadOk(answer) => answer,
            other => panic!("upload_ok, not {other:?}"),
        }
    }

    /// Opens a session and asks for a source.
    pub async fn session(pod: &PodHandle, client_id: &str, source: SourceAsked, mode: Mode) -> Self {
        let client = Self::open(pod, Intent::Session).await;
        let connection = client.inbox.connection;
        let (source, sent) = match source {
            SourceAsked::Track(track) => (Source::Track(track), None),
            SourceAsked::Sent(audio) => {
                let track = pod.new_track();
                (Source::Sent(track), Some((track, pod.admit(audio).await.unwrap())))
            }
        };
        pod.deposit_session(connection, deposit(sent));
        client
            .tell(Event::SessionAsked {
                connection,
                client: pod.client_key(client_id),
                source,
                mode,
            })
            .await;
        client
    }

    /// Waits for `ready` and the initial buffer; progress and telemetry in between are allowed.
    pub async fn ready(&mut self) -> (Ready, Playback) {
        let ready = loop {
            match self.next().await {
                Outgoing::Text(ServerMessage::Ready(ready)) => break ready,
                Outgoing::Text(ServerMessage::Vram(_) | ServerMessage::StemProgress { .. }) => {}
                other => panic!("ready, not {other:?}"),
            }
        };
        match self.next().await {
            Outgoing::Play(playback) => (ready, playback),
            other => panic!("the initial buffer, not {other:?}"),
        }
    }

    /// Waits for something in particular and skips the rest.
    pub async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(Outgoing) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "{what} never came");
            if let Some(picked) = pick(self.next().await) {
                return picked;
            }
        }
    }

    /// Waits for stems; gives the mode they are said to come in.
    pub async fn stems(&mut self) -> String {
        self.until("stem_assets", |outgoing| match outgoing {
            Outgoing::Atomic(frames) => match &frames[..] {
                [
                    Frame::Text(ServerMessage::StemAssets {
                        source_mode, frames, ..
                    }),
                    Frame::Audio(vocals),
                    Frame::Audio(instruments),
                ] => {
                    assert_eq!(
                        (*frames, *frames),
                        (vocals.frames() as u64, instruments.frames() as u64)
                    );
                    Some(source_mode.clone())
                }
                other => panic!("a header and two stems, not {other:?}"),
            },
            _ => None,
        })
        .await
    }

    /// One of many: comes as far as the pod lets it, says so when it is ready, and goes when it is told to go.
    pub async fn knock(pod: PodHandle, audio: Pcm, ready: UnboundedSender<ConnectionId>) -> ConnectionId {
        let inbox = pod.open(pod.accept()).unwrap();
        let connection = inbox.connection;
        let mut client = Self { pod, inbox };
        let intent = Intent::Session;
        client
            .tell(Event::HandshakeDeclared {
                connection,
                intent,
                bytes: 1 << 20,
            })
            .await;
        if !matches!(client.next().await, Outgoing::Proceed) {
            return connection;
        }
        let track = client.pod.new_track();
        let audio = client.pod.admit(audio).await.unwrap();
        client.pod.deposit_session(connection, deposit(Some((track, audio))));
        let (source, mode) = (Source::Sent(track), Mode::Plain);
        client
            .tell(Event::SessionAsked {
                connection,
                client: None,
                source,
                mode,
            })
            .await;
        let mut ending = client.inbox.ending.clone();
        let played = async {
            client.ready().await;
            ready.send(connection).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = played => {}
            ending = ending.wait_for(|ending| *ending != Ending::Open) => {
                assert_eq!(*ending.unwrap(), Ending::Close(4001));
            }
        }
        connection
    }

    pub async fn ending(&mut self) -> Ending {
        let changed = self.inbox.ending.wait_for(|ending| *ending != Ending::Open);
        *tokio::time::timeout(PATIENCE, changed)
            .await
            .expect("the pod ends it")
            .expect("the pod lives")
    }
}

pub fn deposit(sent: Option<(TrackId, Arc<Pcm>)>) -> SessionDeposit {
    SessionDeposit {
        settings: StreamSettings {
            depth: 4,
            steps: 8,
            sde: false,
            walk: None,
        },
        prompt: Prompt {
            tags: "warm tape".into(),
            ..Prompt::default()
        },
        source_name: String::new(),
        sent,
        loras: Vec::new(),
        wants: Wants {
            stem_progress: true,
            vram: true,
            source_id: true,
        },
    }
}

pub enum SourceAsked {
    Track(TrackId),
    Sent(Pcm),
}

/// Waits for a slice.
pub async fn slice(playback: &Playback) -> greenroom_sync::Region {
    let begun = Instant::now();
    loop {
        if let Some(region) = playback.slices.take(0, 1 << 20) {
            return region;
        }
        assert!(begun.elapsed() < PATIENCE, "no slice came");
        let _ = tokio::time::timeout(Duration::from_millis(200), playback.fresh.notified()).await;
    }
}

pub fn eager_bytes(tenants: &[Arc<dyn Tenant>]) -> [Option<u64>; 4] {
    Group::EAGER.map(|group| {
        tenants
            .iter()
            .find(|tenant| tenant.name() == group.name())
            .map(|tenant| tenant.weights_bytes())
    })
}
