//! Disks that are full, that let no file grow, and that cannot be written: a clear error, nothing half-done, and the session plays on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use greenroom_tests::{Client, Program, WITHOUT_STEMS, post_track, song, upload, wav, weights_are_there};
use greenroom_wire::{ErrorCode, ServerMessage, StemState, http::TrackState};
use serde_json::json;
use tempfile::TempDir;

/// The data directory is a file system of its own, in a mount namespace of its own, so large.
const ON_A_SMALL_DISK: [&str; 6] = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    r#"mount -t tmpfs -o size=64m greenroom "$GREENROOM_DATA_DIR" && exec "$0" "$@""#,
];

/// No file may grow beyond 8 MB: a write fails in the middle of a file.
const WITH_SMALL_FILES: [&str; 3] = ["sh", "-c", r#"trap "" XFSZ; exec prlimit --fsize=8000000 "$0" "$@""#];

/// Root writes where its permissions say no: this takes that from it.
const UNDER_ITS_PERMISSIONS: [&str; 3] = ["setpriv", "--bounding-set=-dac_override", "--"];

/// Names of what a directory holds.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What is on disk is what is listed, and no more.
fn nothing_is_half_done(program: &Program, data: &Path) {
    assert_eq!(names_in(&data.join("tmp")), Vec::<String>::new());
    let tracks = names_in(&data.join("tracks"));
    assert_eq!(
        tracks.len(),
        program.names("/api/user_uploads").unwrap().len(),
        "{tracks:?}"
    );
}

async fn refused_as_full(program: &Program, words: &str, seconds: f32) {
    let sent = upload(program.address(), "large.wav", &song(seconds))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        sent.code == ErrorCode::DiskFull && sent.error.contains(words),
        "{sent:?}"
    );
    let url = format!("http://{}", program.address());
    let file = wav(2, &song(seconds)).unwrap();
    let (status, posted) = post_track(&url, "large.wav", &file).unwrap().unwrap_err();
    assert!(status == 507 && posted.error.contains(words), "{status} {posted:?}");
}

fn state_of(program: &Program, name: &str) -> TrackState {
    let answer = ureq::get(program.url(&format!("/api/tracks/{name}"))).call();
    answer.unwrap().body_mut().read_json().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_fails_stems_and_serves_again_once_there_is_room() {
    assert!(weights_are_there(), "run `greenroom models fetch`");
    if !mounting_is_permitted() {
        eprintln!(
            "left out, since nothing may be mounted here; the next test fails in the middle of a write everywhere"
        );
        return;
    }
    let program = Program::start_under(&ON_A_SMALL_DISK, TempDir::new().unwrap(), &[]).unwrap();
    let data = program.data_inside();
    let config = json!({ "client_id": "me", "wants": ["stem_progress"] });
    let mut live = Client::session(program.address(), &config, &song(2.0)).await.unwrap();
    live.ready().await.unwrap();
    upload(program.address(), "first.wav", &song(40.0))
        .await
        .unwrap()
        .unwrap();

    let ballast = data.join("ballast");
    let begun = |message: &ServerMessage| matches!(message, ServerMessage::StemProgress { fixture_name, state: StemState::Ripping, .. } if fixture_name == "first.wav");
    live.message("a rip under way", begun).await.unwrap();
    fs::write(&ballast, vec![0; 44 << 20]).unwrap();
    refused_as_full(&program, "the disk is full", 5.0).await;
    let failed = |message: &ServerMessage| matches!(message, ServerMessage::StemFailed { fixture_name, error, .. } if fixture_name == "first.wav" && error.contains("the disk is full"));
    live.message("stem_failed", failed).await.unwrap();
    live.still_plays().await.unwrap();
    assert_eq!(state_of(&program, "first.wav").stems, StemState::Failed);
    nothing_is_half_done(&program, &data);
    let audio = ureq::get(program.url("/user_uploads/first.wav")).call();
    assert!(audio.is_ok(), "the track itself is whole");
    let track = &names_in(&data.join("tracks"))[0];
    let kept = names_in(&data.join("tracks").join(track));
    assert!(
        !kept.iter().any(|name| name == "stems" || name == "incoming"),
        "{kept:?}"
    );

    fs::remove_file(ballast).unwrap();
    upload(program.address(), "second.wav", &song(5.0))
        .await
        .unwrap()
        .unwrap();
    let made = |message: &ServerMessage| matches!(message, ServerMessage::StemAssets { fixture_name, .. } if fixture_name == "second.wav");
    live.message("stems of the second", made).await.unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

fn mounting_is_permitted() -> bool {
    let mut way = ON_A_SMALL_DISK.to_vec();
    way[5] = r#"mount -t tmpfs greenroom "$0""#;
    let place = TempDir::new().unwrap();
    let tried = Command::new(way[0]).args(&way[1..]).arg(place.path()).output();
    tried.is_ok_and(|tried| tried.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_fails_in_the_middle_and_leaves_nothing() {
    let program = Program::start_under(&WITH_SMALL_FILES, TempDir::new().unwrap(), &WITHOUT_STEMS).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    upload(program.address(), "small.wav", &song(5.0))
        .await
        .unwrap()
        .unwrap();
    refused_as_full(&program, "the disk is full (writing source.wav", 30.0).await;
    live.still_plays().await.unwrap();
    assert_eq!(program.names("/api/user_uploads").unwrap(), ["small.wav"]);
    nothing_is_half_done(&program, program.data());
    upload(program.address(), "another.wav", &song(5.0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}

/// What a process that heeds permissions is started by.
fn heeding_permissions() -> &'static [&'static str] {
    let folder = TempDir::new().unwrap();
    permit(folder.path(), false);
    let is_heeded = fs::write(folder.path().join("file"), "").is_err();
    permit(folder.path(), true);
    if is_heeded { &[] } else { &UNDER_ITS_PERMISSIONS }
}

fn permit(directory: &Path, writing: bool) {
    fs::set_permissions(directory, Permissions::from_mode(if writing { 0o700 } else { 0o500 })).unwrap();
}

#[test]
fn a_data_directory_that_cannot_be_written_keeps_the_pod_from_starting_and_says_what_to_do() {
    let data = TempDir::new().unwrap();
    permit(data.path(), false);
    let Err(error) = Program::start_under(heeding_permissions(), data, &[]) else {
        panic!("nothing can be written there")
    };
    let error = format!("{error:#}");
    for words in [
        "exit status: 1",
        "data directory",
        "cannot be written",
        "mount it writable",
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_becomes_read_only_refuses_uploads_until_it_is_writable_again() {
    let program = Program::start_under(heeding_permissions(), TempDir::new().unwrap(), &WITHOUT_STEMS).unwrap();
    let mut live = Client::witness(program.address()).await.unwrap();
    upload(program.address(), "before.wav", &song(2.0))
        .await
        .unwrap()
        .unwrap();
    let (tmp, tracks) = (program.data().join("tmp"), program.data().join("tracks"));
    permit(&tmp, false);
    refused_as_full(&program, "cannot be written", 2.0).await;
    // The draft can be written, and not made a track.
    permit(&tmp, true);
    permit(&tracks, false);
    refused_as_full(&program, "cannot be written", 2.0).await;
    permit(&tracks, true);
    live.still_plays().await.unwrap();
    assert_eq!(program.names("/api/user_uploads").unwrap(), ["before.wav"]);
    nothing_is_half_done(&program, program.data());
    upload(program.address(), "after.wav", &song(2.0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(program.errors(), Vec::<String>::new());
}
