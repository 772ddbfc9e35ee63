//! An event loop that stands still: health says so, the log says so, and both say when it gets on again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::{Duration, Instant};

use greenroom_tests::{Client, Program, song};
use serde_json::json;
use tempfile::TempDir;

/// `/healthz` turns after 5 s, and the log looks once a second; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a route answers: its status, whatever it is.
fn status(program: &Program, path: &str) -> u16 {
    match ureq::get(program.url(path)).call() {
        Ok(response) => response.status().as_u16(),
        Err(ureq::Error::StatusCode(code)) => code,
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_turns_red_and_green_again_and_the_log_says_why() {
    let folder = TempDir::new().unwrap();
    let wedge = folder.path().join("wedge");
    let variable = format!("GREENROOM_WEDGE_FILE={}", wedge.display());
    let program =
        Program::start_under(&["env", &variable], TempDir::new().unwrap(), &["--stage", "simulated"]).unwrap();
    let mut client = Client::session(program.address(), &json!({ "client_id": "listener" }), &song(3.0))
        .await
        .unwrap();
    client.ready().await.unwrap();
    assert_eq!(status(&program, "/healthz"), 200);

    std::fs::write(&wedge, "").unwrap();
    until("health turns red", || status(&program, "/healthz") == 503).await;
    assert_eq!(status(&program, "/readyz"), 503);
    until("the log says it", || {
        program
            .errors()
            .iter()
            .any(|line| line.contains("the event loop stands still"))
    })
    .await;
    // Whoever listens still hears: ticks do not ask the loop.
    client.still_plays().await.unwrap();

    std::fs::remove_file(&wedge).unwrap();
    until("health turns green", || status(&program, "/healthz") == 200).await;
    until("the log says it", || {
        program.log().contains("the event loop gets on again")
    })
    .await;
    client.still_plays().await.unwrap();
    assert_eq!(program.errors().len(), 1, "{:?}", program.errors());
}
