//! A client that reads slowly: what it holds in the end is what the server holds, sample for sample.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use greenroom_tests::{Client, Incoming, Program, song};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_it_holds_converges_to_what_was_made() {
    let program = Program::start(&[]).unwrap();
    let audio = song(10.0);
    let mut slow = Client::session(program.address(), &json!({ "client_id": "slow" }), &audio)
        .await
        .unwrap();
    slow.ready().await.unwrap();
    let source = slow.mirror.clone().unwrap();
    // Twelve seconds of turning knobs, one frame read every 120 ms: far less than what is made.
    for turn in 0..100_u32 {
        let denoise = f64::from(turn % 10) / 10.0;
        slow.text(
            &json!({ "type": "params", "raw": { "denoise": denoise }, "playback_pos": f64::from(turn) * 0.12 % 10.0 }),
        )
        .await
        .unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(20), slow.next()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(
        slow.mirror.as_ref().unwrap().samples(),
        source.samples(),
        "something was made of the source"
    );
    // Back at denoise 0 the generator gives the source; after one lap the buffer must be the source again, but for rounding.
    let lap = std::time::Instant::now();
    while lap.elapsed() < Duration::from_secs(14) {
        let position = lap.elapsed().as_secs_f64() % 10.0;
        slow.text(&json!({ "type": "params", "raw": { "denoise": 0 }, "playback_pos": position }))
            .await
            .unwrap();
        let pause = tokio::time::Instant::now() + Duration::from_millis(30);
        while let Ok(incoming) = tokio::time::timeout_at(pause, slow.next()).await {
            assert!(
                !matches!(incoming.unwrap(), Incoming::Closed(_)),
                "a slow client is not a dead one"
            );
        }
    }
    let held = slow.mirror.as_ref().unwrap();
    let edge = 48_000 / 20 * 2;
    let worst = held.samples()[edge..held.samples().len() - edge]
        .iter()
        .zip(&audio[edge..])
        .map(|(held, made)| (held - made).abs())
        .fold(0.0, f32::max);
    assert!(
        worst < 2e-3,
        "the buffer is off by {worst}: a slice was lost or applied to the wrong mirror"
    );
    assert_eq!(program.errors(), Vec::<String>::new());
}
