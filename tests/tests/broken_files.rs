//! Files of every format, cut short and corrupted, and files that are too long: each is a track that plays or a clear refusal, and the
//! session beside it keeps its slices.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{
    Client, FORMATS, Incoming, Program, WITHOUT_STEMS, encoded, post_track, song, upload, wav, with_flips,
};
use greenroom_wire::{ErrorCode, UploadOk};
use serde_json::json;
use tokio::sync::oneshot;

const SECONDS: f32 = 3.0;

/// What a file became.
fn post(program: &Program, what: &str, file: &[u8]) -> Option<UploadOk> {
    let url = format!("http://{}", program.address());
    let track = match post_track(&url, &format!("{what}.bin"), file).unwrap() {
        Ok(track) => track,
        Err((status, refused)) => {
            let code = refused.code;
            assert!(
                status == 400 && matches!(code, ErrorCode::BadAudio | ErrorCode::TooShort),
                "{what}: {status} {refused:?}"
            );
            assert!(
                refused.error.contains(' '),
                "{what} is refused with words: {:?}",
                refused.error
            );
            return None;
        }
    };
    let audio = ureq::get(program.url(&format!("/user_uploads/{}", track.name.replace(' ', "%20"))))
        .call()
        .unwrap()
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_vec()
        .unwrap();
    let heard = greenroom_audio::decode(&audio, &greenroom_audio::DecodeLimits::default()).unwrap();
    assert_eq!(
        heard.pcm.frames() as u64,
        track.samples,
        "{what}: a whole track is kept"
    );
    assert!(track.samples >= 48_000, "{what}: a track has a second at least");
    Some(track)
}

/// A session that is played all the while, and counts its slices until it is asked for them.
fn listen(mut live: Client) -> (oneshot::Sender<()>, tokio::task::JoinHandle<usize>) {
    let (stop, mut stopped) = oneshot::channel();
    let listening = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
        let (mut slices, mut position) = (0, 0.0_f64);
        loop {
            tokio::select! {
                _ = &mut stopped => return slices,
                _ = ticks.tick() => {
                    position = (position + 0.05) % 4.0;
                    let params = json!({ "type": "params", "raw": { "denoise": 0.5 }, "playback_pos": position });
                    live.text(&params).await.unwrap();
                }
                incoming = live.next() => match incoming.unwrap() {
                    Incoming::Slice(..) => slices += 1,
                    Incoming::Closed(code) => panic!("the session beside the uploads ended with {code:?}"),
                    _ => {}
                },
            }
        }
    });
    (stop, listening)
}

fn pod() -> Program {
    Program::start(&[&WITHOUT_STEMS[..], &["--tracks-max", "1000"]].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_cut_short_anywhere_are_shorter_tracks_or_refused() {
    let program = pod();
    let (stop, listening) = listen(Client::witness(program.address()).await.unwrap());
    for (ending, _) in FORMATS {
        let file = encoded(ending, &song(SECONDS)).unwrap();
        let whole = post(&program, ending, &file).unwrap_or_else(|| panic!("a whole {ending} is refused"));
        assert!(
            (whole.duration_s - f64::from(SECONDS)).abs() < 0.3,
            "{ending}: {whole:?}"
        );
        // Within the header, then within the audio.
        for bytes in [1, 3, 4, 11, 12, 27, 43, 44, 45, 64, 100, 200] {
            post(&program, &format!("{bytes} bytes of {ending}"), &file[..bytes]);
        }
        for percent in [10, 25, 50, 75, 90, 99] {
            let cut = post(
                &program,
                &format!("{percent} % of {ending}"),
                &file[..file.len() * percent / 100],
            );
            let longest = whole.duration_s + 0.01;
            assert!(
                cut.is_none_or(|cut| cut.duration_s <= longest),
                "{percent} % of {ending} grew"
            );
        }
        let last_byte = post(
            &program,
            &format!("{ending} but its last byte"),
            &file[..file.len() - 1],
        );
        // What is written front to back is played as far as it goes; an m4a's index is at its end.
        if ending != "m4a" {
            let cut = last_byte.unwrap_or_else(|| panic!("{ending} without its last byte is refused"));
            assert!(cut.duration_s > whole.duration_s - 0.3, "{ending}: {cut:?}");
        }
    }
    stop.send(()).unwrap();
    assert!(listening.await.unwrap() > 0, "the session beside them kept its slices");
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_flipped_bytes_are_tracks_or_refused() {
    let program = pod();
    let (stop, listening) = listen(Client::witness(program.address()).await.unwrap());
    for (ending, _) in FORMATS {
        let file = encoded(ending, &song(SECONDS)).unwrap();
        for (flips, seed) in [(1, 0), (1, 1), (4, 2), (16, 3), (16, 4), (64, 5), (512, 6), (4096, 7)] {
            let broken = with_flips(&file, flips, seed);
            post(&program, &format!("{flips} flips of seed {seed} in {ending}"), &broken);
        }
        // The header decides most: many flips there, none after it.
        for seed in 10..18 {
            let (head, rest) = file.split_at(256);
            let broken = [&with_flips(head, 6, seed), rest].concat();
            post(&program, &format!("a head of seed {seed} in {ending}"), &broken);
        }
    }
    stop.send(()).unwrap();
    assert!(listening.await.unwrap() > 0, "the session beside them kept its slices");
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// A mono file of so many seconds at 8 kHz, small for its length.
fn long_file(seconds: f64) -> Vec<u8> {
    let beat = |frame: usize| {
        if frame % 4000 < 400 {
            ((frame % 80) as f32 / 40.0 - 1.0) * 0.5
        } else {
            0.0
        }
    };
    let samples: Vec<f32> = (0..(seconds * 8000.0) as usize).map(beat).collect();
    let mut file = Vec::new();
    let pcm = greenroom_audio::Pcm::new(8000, 1, samples);
    greenroom_audio::write_wav(&pcm, greenroom_audio::WavFormat::Pcm16 { dither: false }, &mut file).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_are_trimmed_and_more_than_twenty_are_too_long() {
    let program = pod();
    let mut live = Client::witness(program.address()).await.unwrap();
    let url = format!("http://{}", program.address());
    for (name, seconds) in [("ten minutes.wav", 600.0), ("twenty minutes.wav", 1200.0)] {
        let track = post_track(&url, name, &long_file(seconds)).unwrap().unwrap();
        assert_eq!((track.duration_s, track.samples), (240.0, 240 * 48_000), "{name}");
    }
    let (status, refused) = post_track(&url, "a frame more.wav", &long_file(1200.0 + 1.0 / 8000.0))
        .unwrap()
        .unwrap_err();
    assert_eq!((status, refused.code), (413, ErrorCode::TooLong));
    assert!(
        refused.error.contains("1200 s"),
        "it says how long a file may be: {}",
        refused.error
    );

    // As the reference's clients send it: ten minutes of one channel are 115 MB, in one frame.
    let second: Vec<f32> = song(1.0).iter().step_by(2).copied().collect();
    let sent = upload_mono(&program, &second.repeat(600)).await;
    assert_eq!((sent.duration_s, sent.samples), (240.0, 240 * 48_000));
    assert_eq!(
        upload(program.address(), "after.wav", &song(2.0))
            .await
            .unwrap()
            .unwrap()
            .duration_s,
        2.0
    );
    live.still_plays().await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

async fn upload_mono(program: &Program, samples: &[f32]) -> UploadOk {
    let mut client = Client::connect(program.address()).await.unwrap();
    let header = json!({ "type": "upload_track", "name": "ten minutes sent.wav" });
    client.text(&header).await.unwrap();
    client.audio(1, samples).await.unwrap();
    client
        .until("upload_ok", |incoming| match incoming {
            Incoming::Text(greenroom_wire::ServerMessage::UploadOk(track)) => Some(track.clone()),
            _ => None,
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_serves_less_trims_to_that() {
    let program = Program::start(&[&WITHOUT_STEMS[..], &["--source-seconds-max", "20"]].concat()).unwrap();
    let track = upload(program.address(), "long.wav", &song(30.0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((track.duration_s, track.samples), (20.0, 960_000));
    let file = wav(2, &song(30.0)).unwrap();
    let url = format!("http://{}", program.address());
    assert_eq!(post_track(&url, "posted.wav", &file).unwrap().unwrap().duration_s, 20.0);
}
