//! The pod with its director, generators and library, told and heard as a connection would.

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use greenroom::pod::{Ending, Outgoing, Params, SessionDeposit, StemsState, SwapDeposit, UploadBody};
use greenroom_audio::Pcm;
use greenroom_director::{Event, Failure, Intent, Mode, Source, Uploads};
use greenroom_generator::{
    Conditioning, Description, GenerateError, Generator, KnobValue, LiveStream, PreparedSource, Prompt, StreamSettings,
    Work,
};
use greenroom_spectral::Spectral;
use greenroom_stage::{CpuStage, Fault, MemoryModel, SimulatedStage, Stage, StageOperation};
use greenroom_sync::CancelFlag;
use greenroom_weighted::{Weighted, WeightedConfig};
use greenroom_wire::{ErrorCode, ServerMessage, StemState};
use support::{Client, MidSide, SourceAsked, WORKSPACE_BYTES, deposit, eager_bytes, music, pod, pod_that, slice};

fn spectral_pod(root: &std::path::Path) -> greenroom::pod::Pod {
    let stage = Arc::new(CpuStage::new(1 << 30));
    pod(
        root,
        Arc::new(Spectral::new()),
        [None; 4],
        stage,
        MidSide::new(Duration::from_millis(20)),
    )
}

#[tokio::test]
async fn upload_play_stems_and_takeover() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();

    let answer = Client::upload_ok(&handle, "../a song.mp3", music(3, 220.0)).await;
    assert_eq!((answer.samples, answer.stems_pending), (144_000, true));
    assert_eq!(handle.user_uploads(), std::slice::from_ref(&answer.name));
    let track = handle.find(&answer.name).unwrap();

    let mut first = Client::session(&handle, "tab", SourceAsked::Track(track), handle.default_mode(track)).await;
    let (ready, playback) = first.ready().await;
    assert_eq!((ready.duration, ready.channels), (3.0, 2));
    assert_eq!(first.stems().await, "", "stems that come late are an overlay");
    assert_eq!(handle.track(&answer.name).unwrap().stems, StemsState::Ready);
    slice(&playback).await;

    let mut second = Client::session(&handle, "tab", SourceAsked::Track(track), Mode::Vocals).await;
    assert_eq!(first.ending().await, Ending::Close(4001));
    drop(first);
    let (_, playback) = second.ready().await;
    assert_eq!(second.stems().await, "vocals");
    let sent = playback.source.samples();
    assert!(
        (sent[2_000] - sent[2_001]).abs() < 1e-6,
        "the mid of both channels plays"
    );

    handle.tell(Event::ShutdownAsked).await.unwrap();
    assert_eq!(second.ending().await, Ending::Close(1001));
    drop(second);
    assert_eq!(running.exited().await, 0);
}

#[tokio::test]
async fn a_turned_knob_is_in_the_slices_and_in_their_echo() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();
    let mut client = Client::session(&handle, "", SourceAsked::Sent(music(4, 330.0)), Mode::Full).await;
    let (_, playback) = client.ready().await;
    let whole = playback.source.samples().to_vec();
    let same = slice(&playback).await;
    assert_eq!(
        same.samples,
        whole[same.start * 2..][..same.samples.len()],
        "denoise 0 is the source"
    );

    let knobs = BTreeMap::from([("denoise".to_owned(), KnobValue::Number(1.0))]);
    handle.set_params(
        client.inbox.connection,
        Params {
            knobs: knobs.clone(),
            playback_pos_s: Some(1.0),
        },
    );
    let changed = loop {
        let region = slice(&playback).await;
        if playback.echo.peek().is_some_and(|echo| echo.knobs == knobs) {
            break region;
        }
    };
    assert_ne!(changed.samples, whole[changed.start * 2..][..changed.samples.len()]);
}

#[tokio::test]
async fn a_swap_brings_its_buffer_and_slices_of_the_new_source_only() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();
    let mut client = Client::session(&handle, "", SourceAsked::Sent(music(2, 220.0)), Mode::Plain).await;
    client.ready().await;

    let connection = client.inbox.connection;
    let track = handle.new_track();
    let sent = handle.admit(music(5, 440.0)).await.unwrap();
    let deposit = SwapDeposit {
        track,
        sent: Some(sent),
        source_name: "mine".into(),
        tags: Some("glass".into()),
        key: Some("A minor".into()),
        time_signature: None,
    };
    handle.deposit_swap(connection, deposit);
    client
        .tell(Event::SwapAsked {
            connection,
            source: Source::Sent(track),
            mode: Mode::Plain,
        })
        .await;
    let fixture = client.until("swap_ready", |outgoing| match outgoing {
        Outgoing::Text(ServerMessage::SwapReady {
            duration,
            key,
            fixture_name,
            ..
        }) => {
            assert_eq!((duration, key.as_str()), (5.0, "A minor"));
            Some(fixture_name)
        }
        _ => None,
    });
    assert_eq!(fixture.await, "mine");
    let Outgoing::Play(playback) = client.next().await else {
        panic!("the initial buffer")
    };
    let region = slice(&playback).await;
    assert_eq!(
        region.samples,
        playback.source.samples()[region.start * 2..][..region.samples.len()]
    );
    assert_eq!(playback.echo.peek().unwrap().prompt, "glass");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();
    let refused = |body: UploadBody| {
        let handle = handle.clone();
        async move {
            match Client::upload(&handle, "bad", body).await {
                Outgoing::UploadFailed(refusal) => refusal,
                other => panic!("upload_failed, not {other:?}"),
            }
        }
    };
    let short = refused(UploadBody::Pcm(Pcm::new(48_000, 1, vec![0.0; 1_000]))).await;
    assert_eq!(short.failure, Failure::TooShort);
    assert!(short.message.contains("0.02 s"), "{}", short.message);
    let text = refused(UploadBody::File(Bytes::from_static(b"this is no music at all"))).await;
    assert_eq!(text.failure, Failure::BadAudio);
    assert!(text.message.contains("not an audio file"), "{}", text.message);
    let broken = refused(UploadBody::Pcm(Pcm::new(48_000, 1, vec![f32::NAN; 96_000]))).await;
    assert_eq!(broken.failure, Failure::BadAudio);
    assert!(handle.user_uploads().is_empty());
    let left = std::fs::read_dir(root.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing of them is on disk");
}

#[tokio::test]
async fn another_clients_session_wipes_the_uploads_of_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();
    let mut first = Client::session(&handle, "one", SourceAsked::Sent(music(2, 220.0)), Mode::Plain).await;
    first.ready().await;
    let answer = Client::upload_ok(&handle, "mine", music(2, 330.0)).await;
    assert_eq!(first.stems().await, "");
    drop(first);
    let mut second = Client::session(&handle, "two", SourceAsked::Sent(music(2, 220.0)), Mode::Plain).await;
    second.ready().await;
    assert_eq!(handle.find(&answer.name), None);
    assert!(handle.audio(&answer.name).await.unwrap().is_none());
    assert_eq!(std::fs::read_dir(root.path().join("tracks")).unwrap().count(), 0);
}

#[tokio::test]
async fn separator_and_generator_are_never_on_the_stage_together() {
    let root = tempfile::tempdir().unwrap();
    let generator = Weighted::new(&WeightedConfig::default(), None).unwrap();
    let met: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&met);
    let inner: Arc<std::sync::OnceLock<SimulatedStage>> = Arc::default();
    let stage_there = Arc::clone(&inner);
    let watch = move |operation: &StageOperation| {
        let resident = stage_there.get().map(|stage| stage.read().resident).unwrap_or_default();
        let separator = resident.contains_key("separator");
        let eager = resident.keys().any(|group| group != "separator");
        let clash = match operation {
            StageOperation::Restore(group) if group == "separator" => eager,
            StageOperation::Restore(_) => separator,
            _ => separator && eager,
        };
        if clash {
            seen.lock().unwrap().push(format!("{operation:?} with {resident:?}"));
        }
    };
    let stage = SimulatedStage::new(MemoryModel::new(1 << 30), Arc::new(watch));
    inner.set(stage.clone()).ok();
    let tenants = generator.tenants();
    let eager = eager_bytes(&tenants);
    for tenant in tenants {
        stage.register(tenant).unwrap();
    }
    let running = pod(
        root.path(),
        Arc::new(generator),
        eager,
        Arc::new(stage.clone()),
        MidSide::new(Duration::from_millis(60)),
    );
    let handle = running.handle();

    let mut client = Client::session(&handle, "one", SourceAsked::Sent(music(3, 220.0)), Mode::Full).await;
    let (_, playback) = client.ready().await;
    slice(&playback).await;
    let answer = Client::upload_ok(&handle, "second", music(2, 330.0)).await;
    assert!(answer.stems_pending);
    assert_eq!(client.stems().await, "");
    assert_eq!(client.stems().await, "");
    // The stage is the generator's again, and it plays.
    slice(&playback).await;
    let region = slice(&playback).await;
    assert_eq!(
        region.samples,
        playback.source.samples()[region.start * 2..][..region.samples.len()]
    );
    assert_eq!(*met.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_separator_that_panics_fails_its_track_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let separator = MidSide::new(Duration::from_millis(10));
    separator.panics.store(true, Ordering::Relaxed);
    let stage = Arc::new(CpuStage::new(1 << 30));
    let running = pod(
        root.path(),
        Arc::new(Spectral::new()),
        [None; 4],
        stage,
        Arc::clone(&separator),
    );
    let handle = running.handle();
    let mut client = Client::session(&handle, "one", SourceAsked::Sent(music(2, 220.0)), Mode::Full).await;
    let (_, playback) = client.ready().await;
    let failed = client.until("stem_failed", |outgoing| match outgoing {
        Outgoing::Text(ServerMessage::StemFailed { code, .. }) => Some(code),
        _ => None,
    });
    assert_eq!(failed.await, ErrorCode::Internal);
    slice(&playback).await;
    separator.panics.store(false, Ordering::Relaxed);
    let answer = Client::upload_ok(&handle, "next", music(2, 330.0)).await;
    assert_eq!(client.stems().await, "");
    assert_eq!(handle.track(&answer.name).unwrap().stems, StemsState::Ready);
}

/// A pod whose device has no room for the first `times` turns of rips; how many it refused is counted.
fn pod_without_room(root: &std::path::Path, times: u32) -> (greenroom::pod::Pod, Arc<AtomicU32>) {
    let asked: Arc<AtomicU32> = Arc::default();
    let counted = Arc::clone(&asked);
    let inner: Arc<std::sync::OnceLock<SimulatedStage>> = Arc::default();
    let stage_there = Arc::clone(&inner);
    let hook = move |operation: &StageOperation| {
        let is_rip = *operation == StageOperation::Admit(WORKSPACE_BYTES);
        if is_rip && counted.fetch_add(1, Ordering::Relaxed) < times {
            let stage = stage_there.get().expect("the pod was built after its stage");
            stage.with_model(|model| model.inject(Fault::Allocation(0)));
        }
    };
    let stage = SimulatedStage::new(MemoryModel::new(1 << 30), Arc::new(hook));
    inner.set(stage.clone()).ok();
    let separator = MidSide::new(Duration::from_millis(5));
    let running = pod(root, Arc::new(Spectral::new()), [None; 4], Arc::new(stage), separator);
    (running, asked)
}

#[tokio::test]
async fn a_rip_without_room_is_tried_again_and_its_stems_come() {
    let root = tempfile::tempdir().unwrap();
    let (running, asked) = pod_without_room(root.path(), 1);
    let handle = running.handle();
    let answer = Client::upload_ok(&handle, "short", music(2, 330.0)).await;
    let track = handle.find(&answer.name).unwrap();
    let mut client = Client::session(&handle, "one", SourceAsked::Track(track), Mode::Vocals).await;
    client.ready().await;
    assert_eq!(client.stems().await, "vocals");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(handle.track(&answer.name).unwrap().stems, StemsState::Ready);
}

#[tokio::test]
async fn a_rip_without_room_twice_is_told_and_the_next_has_a_try_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let (running, asked) = pod_without_room(root.path(), 2);
    let handle = running.handle();
    let mut client = Client::session(&handle, "one", SourceAsked::Sent(music(2, 220.0)), Mode::Full).await;
    let (_, playback) = client.ready().await;
    let failed = client.until("stem_failed", |outgoing| match outgoing {
        Outgoing::Text(ServerMessage::StemFailed { code, .. }) => Some(code),
        _ => None,
    });
    assert_eq!(failed.await, ErrorCode::OutOfMemory);
    assert_eq!(asked.load(Ordering::Relaxed), 2, "once more, and not again");
    slice(&playback).await;
    // Whoever uploads next has a first try again.
    let answer = Client::upload_ok(&handle, "next", music(2, 330.0)).await;
    assert_eq!(client.stems().await, "");
    assert_eq!(handle.track(&answer.name).unwrap().stems, StemsState::Ready);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_rip_gives_way_to_an_upload_and_its_stems_are_the_same() {
    let root = tempfile::tempdir().unwrap();
    let separator = MidSide::new(Duration::from_millis(150));
    let stage = Arc::new(CpuStage::new(1 << 30));
    let running = pod(
        root.path(),
        Arc::new(Spectral::new()),
        [None; 4],
        stage,
        Arc::clone(&separator),
    );
    let handle = running.handle();
    let mut client = Client::session(&handle, "one", SourceAsked::Sent(music(2, 220.0)), Mode::Full).await;
    let (_, playback) = client.ready().await;
    client
        .until("a rip under way", |outgoing| match outgoing {
            Outgoing::Text(ServerMessage::StemProgress {
                state: StemState::Ripping,
                total: 5,
                ..
            }) => Some(()),
            _ => None,
        })
        .await;
    // A batch is announced before it is begun: on a busy machine an upload could come in between.
    tokio::time::sleep(Duration::from_millis(50)).await;
    Client::upload_ok(&handle, "next", music(2, 330.0)).await;
    assert!(
        separator.abandoned.load(Ordering::Relaxed) >= 1,
        "the rip was in the middle of a batch"
    );
    let sums = |frames: &[greenroom::pod::Frame]| match &frames[1..] {
        [
            greenroom::pod::Frame::Audio(vocals),
            greenroom::pod::Frame::Audio(instruments),
        ] => {
            let both = vocals.samples().iter().zip(instruments.samples());
            both.map(|(vocals, instruments)| vocals + instruments)
                .collect::<Vec<_>>()
        }
        other => panic!("two stems, not {other:?}"),
    };
    let left = client.until("stems", |outgoing| match outgoing {
        Outgoing::Atomic(frames) => Some(sums(&frames)),
        _ => None,
    });
    let left = left.await;
    let close = |frame: (&[f32], &[f32])| (frame.0[0] - frame.1[0]).abs() < 1e-6;
    assert!(
        left.chunks_exact(2)
            .zip(playback.source.samples().chunks_exact(2))
            .all(close)
    );
}

#[tokio::test]
async fn a_kept_upload_and_its_stems_are_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let start = || {
        let stage = Arc::new(CpuStage::new(1 << 30));
        let separator = MidSide::new(Duration::from_millis(5));
        pod_that(
            Uploads::Keep,
            root.path(),
            Arc::new(Spectral::new()),
            [None; 4],
            stage,
            separator,
        )
    };
    let running = start();
    let handle = running.handle();
    let mut client = Client::session(&handle, "one", SourceAsked::Sent(music(1, 220.0)), Mode::Plain).await;
    client.ready().await;
    let answer = Client::upload_ok(&handle, "kept", music(2, 330.0)).await;
    assert_eq!(client.stems().await, "");
    drop(client);
    handle.tell(Event::ShutdownAsked).await.unwrap();
    assert_eq!(running.exited().await, 0);
    drop(handle);

    let running = start();
    let handle = running.handle();
    let track = handle.find(&answer.name).expect("it was kept");
    assert_eq!(handle.track(&answer.name).unwrap().stems, StemsState::Ready);
    let mut client = Client::session(&handle, "two", SourceAsked::Track(track), Mode::Instruments).await;
    let (ready, _) = client.ready().await;
    assert_eq!((ready.duration, ready.bpm), (2.0, answer.bpm));
    assert_eq!(client.stems().await, "instruments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_connections_leaves_one_live_session() {
    let root = tempfile::tempdir().unwrap();
    let running = spectral_pod(root.path());
    let handle = running.handle();
    let audio = music(1, 220.0);
    let (ready, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut storm: tokio::task::JoinSet<_> = (0..40)
        .map(|_| Client::knock(handle.clone(), audio.clone(), ready.clone()))
        .collect();
    // Everybody but one is told to go, and goes.
    let mut gone = Vec::new();
    while storm.len() > 1 {
        let next = tokio::time::timeout(Duration::from_secs(30), storm.join_next()).await;
        gone.push(next.expect("nobody else hangs").unwrap().unwrap());
    }
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
        if !gone.contains(&next.expect("the last one is ready").unwrap()) {
            break;
        }
    }
    assert!(handle.is_healthy() && !handle.is_ready());
    assert!(storm.try_join_next().is_none(), "it stays");
}

/// `spectral`, which notes what it is asked to encode.
#[derive(Default)]
struct Noting {
    inner: Spectral,
    prompts: Mutex<Vec<Prompt>>,
}

impl Generator for Noting {
    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn groups(&self, work: Work) -> &[&'static str] {
        self.inner.groups(work)
    }

    fn prepare_source(&self, audio: Arc<Pcm>, cancel: &CancelFlag) -> Result<PreparedSource, GenerateError> {
        self.inner.prepare_source(audio, cancel)
    }

    fn restore_source(&self, audio: Arc<Pcm>, sidecar: &[u8]) -> Result<PreparedSource, GenerateError> {
        self.inner.restore_source(audio, sidecar)
    }

    fn encode_prompt(
        &self,
        prompt: &Prompt,
        source: &PreparedSource,
        timbre: Option<&PreparedSource>,
        cancel: &CancelFlag,
    ) -> Result<Conditioning, GenerateError> {
        self.prompts.lock().expect("no prompt panics here").push(prompt.clone());
        self.inner.encode_prompt(prompt, source, timbre, cancel)
    }

    fn open(
        &self,
        source: PreparedSource,
        conditioning: Conditioning,
        settings: &StreamSettings,
    ) -> Result<Box<dyn LiveStream>, GenerateError> {
        self.inner.open(source, conditioning, settings)
    }
}

/// What a client says of a track of the pod's counts for nothing, what it says of its own audio does.
#[tokio::test]
async fn the_key_of_a_track_is_what_the_pod_knows_of_it() {
    let root = tempfile::tempdir().unwrap();
    let noting = Arc::new(Noting::default());
    let running = pod(
        root.path(),
        Arc::clone(&noting) as Arc<dyn Generator>,
        [None; 4],
        Arc::new(CpuStage::new(1 << 30)),
        MidSide::new(Duration::from_millis(5)),
    );
    let handle = running.handle();
    let answer = Client::upload_ok(&handle, "song", music(2, 220.0)).await;
    let told = if answer.key == "C# major" {
        "A minor"
    } else {
        "C# major"
    };
    for (sent, in_force) in [(false, answer.key.as_str()), (true, told)] {
        let mut client = Client::open(&handle, Intent::Session).await;
        let connection = client.inbox.connection;
        let (source, sent) = if sent {
            let track = handle.new_track();
            let audio = handle.admit(music(2, 330.0)).await.unwrap();
            (Source::Sent(track), Some((track, audio)))
        } else {
            (Source::Track(handle.find(&answer.name).unwrap()), None)
        };
        let prompt = Prompt {
            tags: "tape".into(),
            key: Some(told.into()),
            ..Prompt::default()
        };
        handle.deposit_session(
            connection,
            SessionDeposit {
                prompt,
                ..deposit(sent)
            },
        );
        client
            .tell(Event::SessionAsked {
                connection,
                client: handle.client_key("one"),
                source,
                mode: Mode::Plain,
            })
            .await;
        let (ready, _) = client.ready().await;
        assert_eq!(ready.key, in_force);
        let prompt = noting.prompts.lock().unwrap().last().cloned();
        assert_eq!(prompt.and_then(|prompt| prompt.key).as_deref(), Some(in_force));
    }
}
