//! Two, five and fifty tabs at once: exactly one live session is left, the others are told, and nothing goes wrong inside.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use greenroom_tests::{Client, Incoming, Program, song};
use greenroom_wire::{ErrorCode, ServerMessage};
use serde_json::json;

/// How a tab ended.
#[derive(Debug, PartialEq)]
enum Fate {
    Live,
    Preempted,
    Busy,
}

async fn tab(address: String, number: usize, audio: Vec<f32>) -> (Fate, Option<Client>) {
    let config = json!({ "client_id": format!("tab-{number}"), "prompt": "storm" });
    let mut client = match Client::session(&address, &config, &audio).await {
        Ok(client) => client,
        // Refused before its audio was sent.
        Err(_) => return (Fate::Busy, None),
    };
    let mut busy = false;
    loop {
        match tokio::time::timeout(std::time::Duration::from_secs(6), client.next()).await {
            Err(_) => return (Fate::Live, Some(client)),
            Ok(Ok(Incoming::Text(ServerMessage::Error {
                code: ErrorCode::Busy, ..
            }))) => busy = true,
            Ok(Ok(Incoming::Closed(code))) => {
                assert!(busy || code == Some(4001), "a tab ended with {code:?}");
                return (if busy { Fate::Busy } else { Fate::Preempted }, None);
            }
            Ok(Ok(Incoming::Slice(..))) if client.since.elapsed().as_secs() > 8 => return (Fate::Live, Some(client)),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("{error:#}"),
        }
    }
}

async fn storm(program: &Program, tabs: usize) {
    let audio = song(3.0);
    let all = (0..tabs).map(|number| tokio::spawn(tab(program.address().to_owned(), number, audio.clone())));
    let mut live = Vec::new();
    for task in all.collect::<Vec<_>>() {
        let (fate, client) = task.await.unwrap();
        if fate == Fate::Live {
            live.push(client);
        }
    }
    assert_eq!(live.len(), 1, "of {tabs} tabs; log: {}", program.log());
    assert_eq!(program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_survives_with_the_embedded_generator() {
    let program = Program::start(&[]).unwrap();
    for tabs in [2, 5, 50] {
        storm(&program, tabs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_survives_while_weights_move() {
    let program = Program::start(&["--generator", "weighted"]).unwrap();
    for tabs in [2, 5, 50] {
        storm(&program, tabs).await;
    }
}
