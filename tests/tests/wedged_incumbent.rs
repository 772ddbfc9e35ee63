//! An incumbent whose socket nobody reads any more: it is forced out, and does not come back to evict the winner.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Duration;

use greenroom_tests::{Client, GENERATORS, Program, song};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_forced_out_and_kept_out() {
    for options in GENERATORS {
        let program = Program::start(options).unwrap();
        // Long enough that nobody's kernel can hold its buffer and its slices.
        let audio = song(60.0);
        let mut wedged = Client::session(program.address(), &json!({ "client_id": "wedged" }), &audio)
            .await
            .unwrap();
        wedged.ready().await.unwrap();
        // From here on nothing of it is read, and it hears of nothing.
        for _ in 0..20 {
            wedged
                .text(&json!({ "type": "params", "raw": { "denoise": 0.9 }, "playback_pos": 1.0 }))
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;

        let mut winner = Client::session(program.address(), &json!({ "client_id": "winner" }), &song(3.0))
            .await
            .unwrap();
        winner.ready().await.unwrap();

        let mut again = Client::session(program.address(), &json!({ "client_id": "wedged" }), &song(3.0))
            .await
            .unwrap();
        let code = again.closed().await.unwrap();
        assert_eq!(code, Some(4001), "the evicted client does not evict the winner in turn");
        winner.still_plays().await.unwrap();
        assert_eq!(program.errors(), Vec::<String>::new());
        drop(wedged);
    }
}
