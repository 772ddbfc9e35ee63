//! Pods with compiled engines.
#![allow(dead_code, reason = "every test file uses its own part")]

use greenroom_director::{
    ClientKey, Component, Components, ConnectionId, Engine, EngineId, Engines, Event, Failure, Found, Intent, Mode,
    Outcome, Plan, Source, TrackId,
};

use super::common::{Pod, spectral_plan};

pub(crate) const SHORT: TrackId = TrackId(1_001);
pub(crate) const LONG: TrackId = TrackId(1_002);
pub(crate) const OUT_OF_MEMORY: Outcome = Outcome::Failed(Failure::OutOfMemory);

pub(crate) fn engine(id: u32, bytes: u64) -> Option<Engine> {
    Some(Engine {
        id: EngineId(id),
        weights_bytes: bytes - 1,
        workspace_bytes: 1,
    })
}

pub(crate) fn decoder(id: u32, bytes: u64) -> Engines {
    Engines([engine(id, bytes), None, None])
}

/// A pod without an eager decoder, and a separator that weighs 5.
pub(crate) fn compiled(budget_bytes: u64) -> Plan {
    Plan {
        engines_only: Components::of(&[Component::Decoder]),
        budget_bytes,
        ..spectral_plan()
    }
}

/// A pod with two fixtures, a short one whose engine takes 10 bytes and a long one whose engine takes 16.
pub(crate) fn pod(plan: Plan) -> Pod {
    let mut pod = Pod::new(plan);
    for (track, engines) in [(SHORT, decoder(1, 10)), (LONG, decoder(2, 16))] {
        let found = Found::Fixture;
        pod.event(Event::TrackFound { track, found });
        pod.event(Event::SourceMeasured { track, engines });
    }
    pod
}

pub(crate) fn ask(pod: &mut Pod, client: u64, track: TrackId) -> ConnectionId {
    let connection = pod.connect();
    let (intent, bytes) = (Intent::Session, 1);
    pod.event(Event::HandshakeDeclared {
        connection,
        intent,
        bytes,
    });
    pod.event(Event::SessionAsked {
        connection,
        client: Some(ClientKey(client)),
        source: Source::Track(track),
        mode: Mode::Plain,
    });
    connection
}

pub(crate) fn swap(pod: &mut Pod, connection: ConnectionId, track: TrackId) {
    pod.event(Event::SwapAsked {
        connection,
        source: Source::Track(track),
        mode: Mode::Plain,
    });
}

pub(crate) fn measure(pod: &mut Pod, track: TrackId, engines: Engines) {
    pod.event(Event::SourceMeasured { track, engines });
}

/// A session that plays the short fixture; what led there is forgotten.
pub(crate) fn playing(plan: Plan) -> (Pod, ConnectionId) {
    let mut pod = pod(plan);
    let connection = ask(&mut pod, 1, SHORT);
    assert_eq!(pod.count(&["SessionReady"]), 1, "{:#?}", pod.said);
    pod.forget();
    (pod, connection)
}
