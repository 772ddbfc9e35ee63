//! One step a table row.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use greenroom_audio::{Pcm, WavFormat};
use greenroom_tests::{Client, Incoming, Program, WITHOUT_STEMS, encoded, post_track, song, upload};
use greenroom_wire::{ServerMessage, StemState, http::TrackState};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::{figures::Figures, play::Listener};

pub(crate) fn raw(knob: &str, value: f64) -> Map<String, Value> {
    Map::from_iter([(knob.to_owned(), json!(value))])
}

/// The upload as it is timed: from the last byte in to the answer.
async fn timed_upload(address: &str, name: &str, audio: &[f32]) -> anyhow::Result<Duration> {
    let mut client = Client::connect(address).await?;
    client.text(&json!({ "type": "upload_track", "name": name })).await?;
    client.audio(2, audio).await?;
    let sent = Instant::now();
    client
        .message("upload_ok", |message| matches!(message, ServerMessage::UploadOk(_)))
        .await?;
    Ok(sent.elapsed())
}

async fn stems_are_there(program: &Program, name: &str) -> anyhow::Result<()> {
    loop {
        let state: TrackState = ureq::get(program.url(&format!("/api/tracks/{name}")))
            .call()?
            .body_mut()
            .read_json()?;
        match state.stems {
            StemState::Ready => return Ok(()),
            StemState::Failed => anyhow::bail!("the stems of {name} failed: {}", program.log()),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// 120 s through `greenroom separate`, nothing else running.
pub(crate) fn separation(figures: &mut Figures) -> anyhow::Result<()> {
    figures.say("separation");
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("song.wav");
    let mut wav = Vec::new();
    greenroom_audio::write_wav(&Pcm::new(48_000, 2, song(120.0)), WavFormat::Float32, &mut wav)?;
    std::fs::write(&file, wav)?;
    for _ in 0..5 {
        let output = Command::new(greenroom_tests::binary()?)
            .args(["separate", "--json", "--output"])
            .arg(folder.path())
            .arg(&file)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let line: Value = serde_json::from_str(text.trim())
            .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
        figures.take("separation_rtf", line["separation_rtf"].as_f64().context("no figure")?);
    }
    Ok(())
}

/// An upload on an idle pod, and soon another while the first one's rip runs. Each run has a client of its own, whose start wipes what
/// the last one left, rips included.
pub(crate) async fn uploads(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("uploads, quiet and during a rip");
    let program = Program::start(&[])?;
    let audio = song(120.0);
    for run in 0..=runs {
        let config = json!({ "client_id": format!("uploader {run}"), "wants": ["stem_progress"] });
        let mut session = Client::session(program.address(), &config, &song(2.0)).await?;
        session
            .message("stems of the session's own audio", |message| {
                matches!(message, ServerMessage::StemAssets { .. })
            })
            .await?;
        let quiet = timed_upload(program.address(), "quiet.wav", &audio).await?;
        session
            .message("a rip under way", |message| {
                matches!(
                    message,
                    ServerMessage::StemProgress {
                        state: StemState::Ripping,
                        ..
                    }
                )
            })
            .await?;
        tokio::time::sleep(Duration::from_millis(100 + 23 * (run as u64 % 10))).await;
        let busy = timed_upload(program.address(), "busy.wav", &audio).await?;
        if run > 0 {
            figures.take_ms("upload_ok_ms", quiet);
            figures.take_ms("upload_ok_rip_ms", busy);
        }
        session.close().await?;
    }
    Ok(())
}

/// The same music as mp3, by POST; a pod without weights, so that no rip of an earlier run is under way.
pub(crate) fn compressed(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("compressed uploads");
    let mp3 = encoded("mp3", &song(120.0))?;
    let program = Program::start(&[&WITHOUT_STEMS[..], &["--tracks-max", "200"]].concat())?;
    let url = format!("http://{}", program.address());
    for run in 0..=runs {
        let sent = Instant::now();
        post_track(&url, &format!("song{run}.mp3"), &mp3)?.map_err(|(_, refused)| anyhow::anyhow!(refused.error))?;
        if run > 0 {
            figures.take_ms("upload_ok_compressed_ms", sent.elapsed());
        }
    }
    Ok(())
}

/// A live session of this bench.
pub(crate) async fn session(program: &Program, seconds: f32) -> anyhow::Result<Client> {
    let config = json!({ "client_id": "bench", "wants": ["vram", "stem_progress"] });
    let mut client = Client::session(program.address(), &config, &song(seconds)).await?;
    client.ready().await?;
    Ok(client)
}

async fn timed_swap(client: &mut Client, name: &str) -> anyhow::Result<Duration> {
    let asked = Instant::now();
    client
        .text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": name }))
        .await?;
    client.ready().await?;
    client
        .text(&json!({ "type": "params", "raw": { "denoise": 0.5 }, "playback_pos": 0.0 }))
        .await?;
    client
        .until("a slice", |incoming| {
            matches!(incoming, Incoming::Slice(..)).then_some(())
        })
        .await?;
    Ok(asked.elapsed())
}

/// From the swap's request to the first slice of the new source.
pub(crate) async fn swaps(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("swaps, quiet and during a rip");
    let program = Program::start(&["--tracks-max", "200"])?;
    let mut client = session(&program, 5.0).await?;
    let (short, long) = (song(60.0), song(120.0));
    for (name, audio) in [("short.wav", &short), ("long.wav", &long)] {
        timed_upload(program.address(), name, audio).await?;
        stems_are_there(&program, name).await?;
    }
    for run in 0..runs {
        let name = if run % 2 == 0 { "short.wav" } else { "long.wav" };
        figures.take_ms("swap_to_first_slice_ms", timed_swap(&mut client, name).await?);
    }
    let mut run = 0;
    while run < runs {
        let ripping = format!("rip{run}.wav");
        timed_upload(program.address(), &ripping, &long).await?;
        for _ in 0..4 {
            let name = if run % 2 == 0 { "short.wav" } else { "long.wav" };
            figures.take_ms("swap_to_first_slice_rip_ms", timed_swap(&mut client, name).await?);
            run += 1;
        }
    }
    Ok(())
}

/// From a knob's message to the playhead at the first sample that it changed.
pub(crate) async fn knobs(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("knobs");
    let program = Program::start(&[])?;
    let mut listener = Listener::new(session(&program, 60.0).await?)?;
    listener.play(Duration::from_secs(3), raw("denoise", 0.0)).await?;
    // The first lap replaces the client's rounding of the source; what counts is what a knob changes.
    for run in 0..runs {
        let value = if run % 2 == 0 { 0.9 } else { 0.0 };
        figures.take_ms("knob_to_ear_ms", listener.knob_to_ear(raw("denoise", value)).await?);
        listener
            .play(Duration::from_millis(900 + 37 * (run as u64 % 7)), Map::new())
            .await?;
    }
    Ok(())
}

/// A minute of listening, quiet and while one rip follows the other.
pub(crate) async fn listening(figures: &mut Figures, seconds: u64) -> anyhow::Result<()> {
    figures.say("listening, quiet");
    let program = Program::start(&["--tracks-max", "200"])?;
    let mut listener = Listener::new(session(&program, 60.0).await?)?;
    listener.play(Duration::from_secs(2), raw("denoise", 0.6)).await?;
    listen(&mut listener, seconds).await?;
    let account = listener.account;
    figures.take("slices", account.slices as f64);
    figures.take("slices_late", account.late as f64);
    figures.take("played_fresh_pct", account.fresh_pct());
    figures.take("stale_ms_max", account.stale_ms_max);

    figures.say("listening during rips");
    let address = program.address().to_owned();
    let rips = tokio::spawn(async move {
        let audio = song(120.0);
        for number in 0.. {
            if upload(&address, &format!("rip{number}.wav"), &audio).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    });
    listener.play(Duration::from_secs(2), raw("denoise", 0.6)).await?;
    listen(&mut listener, seconds).await?;
    rips.abort();
    let account = listener.account;
    figures.take("slices_rip", account.slices as f64);
    figures.take("slices_late_rip", account.late as f64);
    figures.take("played_fresh_pct_rip", account.fresh_pct());
    figures.take("stale_ms_max_rip", account.stale_ms_max);
    Ok(())
}

/// A minute of listening to the production generator, tiny and random: quiet, and with rips that its weights make room for.
pub(crate) async fn acestep(figures: &mut Figures, seconds: u64) -> anyhow::Result<()> {
    let checkpoint = greenroom_tests::tiny_checkpoint()?;
    let folder = checkpoint.path().to_string_lossy().into_owned();
    let options = [
        "--generator",
        "acestep",
        "--acestep-models-dir",
        &folder,
        "--tracks-max",
        "200",
    ];
    let program = Program::start(&options)?;
    let mut listener = Listener::new(session(&program, 60.0).await?)?;
    let quiet = [
        "acestep_slices",
        "acestep_slices_late",
        "acestep_played_fresh_pct",
        "acestep_stale_ms_max",
    ];
    let during_rips = [
        "acestep_slices_rip",
        "acestep_slices_late_rip",
        "acestep_played_fresh_pct_rip",
        "acestep_stale_ms_max_rip",
    ];
    for (keys, rips) in [(quiet, false), (during_rips, true)] {
        figures.say(if rips {
            "listening to ACE-Step during rips"
        } else {
            "listening to ACE-Step, quiet"
        });
        let address = program.address().to_owned();
        let ripping = rips.then(|| {
            tokio::spawn(async move {
                let audio = song(60.0);
                for number in 0.. {
                    if upload(&address, &format!("rip{number}.wav"), &audio).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(15)).await;
                }
            })
        });
        listener.play(Duration::from_secs(3), raw("denoise", 0.6)).await?;
        listen(&mut listener, seconds).await?;
        if let Some(ripping) = ripping {
            ripping.abort();
        }
        let account = listener.account;
        let values = [
            account.slices as f64,
            account.late as f64,
            account.fresh_pct(),
            account.stale_ms_max,
        ];
        for (key, value) in keys.into_iter().zip(values) {
            figures.take(key, value);
        }
    }
    Ok(())
}

pub(crate) async fn listen(listener: &mut Listener, seconds: u64) -> anyhow::Result<()> {
    listener.forget();
    for turn in 0..seconds / 5 {
        listener.play(Duration::from_secs(5), raw("seed", turn as f64)).await?;
    }
    Ok(())
}

/// A rip that is owed has begun by then.
const RIP_BEGINS_MAX: Duration = Duration::from_secs(5);

/// Interactive work asked for in mid-rip, until the separator is off the device; with weights that have to make room.
pub(crate) async fn yields(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("giving way");
    let program = Program::start(&["--generator", "weighted", "--tracks-max", "200"])?;
    let mut client = session(&program, 5.0).await?;
    let audio = song(120.0);
    let mut taken = 0;
    let mut number = 0;
    let separator = |state: &'static str| move |message: &ServerMessage| matches!(message, ServerMessage::Vram(vram) if vram.groups.iter().any(|group| group.name == "separator" && group.state == state));
    while taken < runs {
        number += 1;
        timed_upload(program.address(), &format!("rip{number}.wav"), &audio).await?;
        while taken < runs {
            let on_device = client.message("the separator on the device", separator("resident"));
            if timeout(RIP_BEGINS_MAX, on_device).await.is_err() {
                break;
            }
            // Somewhere in a batch; but a turn or the rip may end before.
            let somewhere = Duration::from_millis(10 + 17 * (taken as u64 % 9));
            let off_device = client.message("the separator off the device", separator("parked"));
            if timeout(somewhere, off_device).await.is_ok() {
                continue;
            }
            let asked = Instant::now();
            client
                .text(&json!({ "type": "prompt", "tags": format!("prompt {taken}") }))
                .await?;
            client
                .message("the separator off the device", separator("parked"))
                .await?;
            figures.take_ms("yield_ms", asked.elapsed());
            taken += 1;
        }
    }
    Ok(())
}

/// 240 s through everything, with as many handshakes open as may be.
pub(crate) async fn memory(figures: &mut Figures) -> anyhow::Result<()> {
    figures.say("memory");
    let program = Program::start(&[])?;
    let mut client = session(&program, 240.0).await?;
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(Client::connect(program.address()).await?);
    }
    timed_upload(program.address(), "longest.wav", &song(240.0)).await?;
    timed_swap(&mut client, "longest.wav").await?;
    stems_are_there(&program, "longest.wav").await?;
    client.text(&json!({ "type": "swap_source", "use_server_source": true, "fixture_name": "longest.wav", "stem_source_mode": "vocals" })).await?;
    client.ready().await?;
    figures.take("peak_rss_mb", program.peak_rss_mb());
    Ok(())
}

/// From the last byte of a second connection's handshake to its `ready`.
pub(crate) async fn handovers(figures: &mut Figures, runs: usize) -> anyhow::Result<()> {
    figures.say("handovers");
    let program = Program::start(&[])?;
    let audio = song(10.0);
    let mut incumbent = session(&program, 10.0).await?;
    for _ in 0..runs {
        let reading =
            tokio::spawn(async move { while !matches!(incumbent.next().await, Ok(Incoming::Closed(_)) | Err(_)) {} });
        let mut next = Client::session(program.address(), &json!({ "client_id": "bench" }), &audio).await?;
        let sent = Instant::now();
        next.message("ready", |message| matches!(message, ServerMessage::Ready(_)))
            .await?;
        figures.take_ms("handover_ms", sent.elapsed());
        next.ready().await?;
        reading.await?;
        incumbent = next;
    }
    let mut wedged = vec![incumbent];
    for run in 0..runs {
        if let Some(incumbent) = wedged.last_mut() {
            // Turned knobs fill the socket that nobody reads.
            incumbent
                .text(&json!({ "type": "params", "raw": { "denoise": 0.9 }, "playback_pos": 1.0 }))
                .await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut next = Client::session(
            program.address(),
            &json!({ "client_id": format!("wedged{run}") }),
            &audio,
        )
        .await?;
        let sent = Instant::now();
        next.message("ready", |message| matches!(message, ServerMessage::Ready(_)))
            .await?;
        figures.take_ms("handover_wedged_ms", sent.elapsed());
        next.ready().await?;
        wedged.push(next);
    }
    Ok(())
}
