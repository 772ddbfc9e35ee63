//! A client behind a slow line: what it holds in the end is what the server holds, sample for sample.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use greenroom_tests::{Client, GENERATORS, Incoming, Program, Throttle, song};
use greenroom_wire::SliceHeader;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

const SECONDS: f64 = 6.0;
/// A fraction of what turning knobs makes.
const SLOW: usize = 64_000;
const THROTTLED: Duration = Duration::from_secs(60);
/// Three laps of the buffer: the first takes the difference away but for its rounding, the next that; and a place may be passed over once.
const LAPS: Duration = Duration::from_secs(20);

/// Plays for a while, with `denoise` by the turn; gives the slices that came.
async fn play(client: &mut Client, during: Duration, denoise: impl Fn(u32) -> f64) -> Vec<SliceHeader> {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(30));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut slices, mut turn) = (Vec::new(), 0);
    while started.elapsed() < during {
        tokio::select! {
            _ = ticks.tick() => {
                let position = started.elapsed().as_secs_f64() % SECONDS;
                let params = json!({ "type": "params", "raw": { "denoise": denoise(turn) }, "playback_pos": position });
                client.text(&params).await.unwrap();
                turn += 1;
            }
            incoming = client.next() => match incoming.unwrap() {
                Incoming::Slice(header, _) => slices.push(header),
                Incoming::Closed(code) => panic!("a slow client is not a dead one, and yet closed with {code:?}"),
                _ => {}
            },
        }
    }
    slices
}

async fn what_it_holds_is_what_the_server_holds(options: &[&str]) {
    let program = Program::start(options).unwrap();
    let line = Throttle::to(program.address()).await.unwrap();
    let audio = song(SECONDS as f32);
    let mut slow = Client::session(line.address(), &json!({ "client_id": "slow" }), &audio)
        .await
        .unwrap();
    slow.ready().await.unwrap();
    let source = slow.mirror.clone().unwrap();

    line.set(Some(SLOW));
    let slices = play(&mut slow, THROTTLED, |turn| f64::from(turn / 3 % 10) / 10.0).await;
    assert_ne!(
        slow.mirror.as_ref().unwrap().samples(),
        source.samples(),
        "something was made of the source"
    );
    let longest = slices.iter().map(|slice| slice.num_samples).max().unwrap();
    assert!(
        longest > 24_000,
        "no slices waited and became one: the line was not slow, and nothing is tested ({longest} samples)"
    );

    // The server's mirror is seen through what it sends: at denoise 0 the generator gives the source, each slice is the difference to
    // the server's mirror, and only a client that holds the same gets the source from it.
    line.set(None);
    play(&mut slow, LAPS, |_| 0.0).await;
    let held = slow.mirror.as_ref().unwrap();
    let edge = 48_000 / 20 * 2;
    let worst = held.samples()[edge..held.samples().len() - edge]
        .iter()
        .zip(&audio[edge..])
        .map(|(held, made)| (held - made).abs())
        .fold(0.0, f32::max);
    assert!(
        worst < 1e-5,
        "the buffer is off by {worst}: a slice was lost or applied to the wrong mirror"
    );
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_minute_it_holds_what_the_server_holds_with_the_embedded_generator() {
    what_it_holds_is_what_the_server_holds(GENERATORS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_minute_it_holds_what_the_server_holds_while_weights_move() {
    what_it_holds_is_what_the_server_holds(GENERATORS[1]).await;
}
