//! Compiled engines on real sockets: chosen by shape, changed beside a session that plays, and done without where they fail. The engines are
//! the modules of a tiny ACE-Step, each bound to the lengths that its file declares.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

use std::time::{Duration, Instant};

use greenroom_acestep::Outcome;
use greenroom_compiled::Component;
use greenroom_tests::{Client, Program, module_engine, song, tiny_checkpoint, upload};
use greenroom_wire::{
    ServerMessage,
    http::{EngineEntry, EngineList},
};
use serde_json::json;
use tempfile::TempDir;

const NO_FAILURE: &[Outcome] = &[];
/// Loading is begun when nothing else is to be done.
const PATIENCE: Duration = Duration::from_secs(30);

fn build(checkpoint: &TempDir, engines: &TempDir, component: Component, seconds: u64, loads: &[Outcome]) {
    module_engine(engines.path(), checkpoint.path(), component, seconds, loads).unwrap();
}

/// What an engine's entry says of its state.
fn states(engines: &[EngineEntry]) -> Vec<(&str, &str)> {
    engines.iter().map(|engine| (&*engine.name, &*engine.state)).collect()
}

/// A pod with these engines: component, seconds that it takes, and what becomes of its first loads.
struct Pod {
    program: Program,
    checkpoint: TempDir,
    engines: TempDir,
}

impl Pod {
    fn start(engines: &[(Component, u64, &[Outcome])]) -> Self {
        let (checkpoint, folder) = (tiny_checkpoint().unwrap(), TempDir::new().unwrap());
        for (component, seconds, loads) in engines {
            build(&checkpoint, &folder, *component, *seconds, loads);
        }
        let (models, built) = (checkpoint.path().to_string_lossy(), folder.path().to_string_lossy());
        let options = [
            "--generator",
            "acestep",
            "--acestep-models-dir",
            &*models,
            "--engines-dir",
            &*built,
        ];
        Self {
            program: Program::start(&options).unwrap(),
            checkpoint,
            engines: folder,
        }
    }

    /// An engine is built while the pod runs.
    fn builds(&self, component: Component, seconds: u64) {
        build(&self.checkpoint, &self.engines, component, seconds, NO_FAILURE);
    }

    /// Its files are removed.
    fn removes(&self, component: Component, seconds: u64) {
        for ending in ["engine", "engine.json"] {
            let file = format!("{component}-{seconds}.{ending}");
            std::fs::remove_file(self.engines.path().join(file)).unwrap();
        }
    }

    /// What `/api/engines` says, after a look at the folder or as it is.
    fn listed(&self, looks: bool) -> Vec<EngineEntry> {
        let mut answer = if looks {
            ureq::post(self.program.url("/api/engines/scan")).send_empty()
        } else {
            ureq::get(self.program.url("/api/engines")).call()
        }
        .unwrap();
        answer.body_mut().read_json::<EngineList>().unwrap().engines
    }

    async fn session(&self, seconds: f32) -> Client {
        let config = json!({ "client_id": "me", "steps": 4, "wants": ["vram"] });
        let mut session = Client::session(self.program.address(), &config, &song(seconds))
            .await
            .unwrap();
        session.ready().await.unwrap();
        session
    }

    async fn upload(&self, name: &str, seconds: f32) {
        upload(self.program.address(), name, &song(seconds))
            .await
            .unwrap()
            .unwrap();
    }

    fn runs(&self, component: Component) -> f64 {
        let label = format!(r#"component="{component}""#);
        self.program.metric(&["engine_runs_total", &label]).unwrap()
    }

    /// Names of the engines on the device, from what the log tells of their coming and going.
    fn loaded(&self) -> Vec<String> {
        let mut loaded = Vec::new();
        for line in self.program.log().lines() {
            let engine = line.rsplit('"').nth(1).unwrap_or_default().to_owned();
            if line.contains("an engine is loaded") {
                loaded.push(engine);
            } else if line.contains("an engine is freed") {
                // One that was built anew is there beside the old one of its name.
                let place = loaded.iter().position(|known| *known == engine);
                loaded.remove(place.unwrap());
            }
        }
        loaded.sort();
        loaded
    }

    async fn comes_to(&self, engines: &[&str]) {
        let asked = Instant::now();
        while self.loaded() != engines {
            assert!(
                asked.elapsed() < PATIENCE,
                "{:?} are loaded, and not {engines:?}: {}",
                self.loaded(),
                self.program.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Plays until ticks are an engine's: one that is loaded is lent to them when their gate opens the next time.
    async fn ticks_by_an_engine(&self, session: &mut Client) {
        let (asked, ran) = (Instant::now(), self.runs(Decoder));
        while self.runs(Decoder) <= ran {
            assert!(asked.elapsed() < PATIENCE, "no engine ticks: {}", self.program.log());
            session.generation_after(0).await.unwrap();
        }
    }

    fn failed_loads(&self) -> f64 {
        let labels = ["jobs_ended_total", r#"task="load_engine""#, r#"outcome="failed""#];
        self.program.metric(&labels).unwrap_or(0.0)
    }
}

async fn swap(session: &mut Client, name: &str) {
    let swap =
        json!({ "type": "swap_source", "use_server_source": true, "fixture_name": name, "stem_source_mode": "full" });
    session.text(&swap).await.unwrap();
    session.ready().await.unwrap();
    let refused = session
        .texts
        .iter()
        .find(|text| matches!(text, ServerMessage::SwapFailed { .. }));
    assert!(refused.is_none(), "{refused:?}");
}

use Component::{Decoder, VaeDecode, VaeEncode};

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_upload_beside_a_session_simply_works_and_engines_change_with_what_plays() {
    let pod = Pod::start(&[
        (Decoder, 6, NO_FAILURE),
        (Decoder, 12, NO_FAILURE),
        (VaeEncode, 6, NO_FAILURE),
        (VaeEncode, 12, NO_FAILURE),
        (VaeDecode, 1, NO_FAILURE),
    ]);
    let mut session = pod.session(6.0).await;
    let generations = session.generation_after(0).await.unwrap();
    pod.comes_to(&["decoder-6", "vae_decode-1", "vae_encode-6"]).await;
    pod.ticks_by_an_engine(&mut session).await;
    session.generation_after(generations).await.unwrap();
    assert!(pod.runs(VaeDecode) > 0.0);

    // Twice as long as any engine takes that is loaded.
    let encoded = pod.runs(VaeEncode);
    pod.upload("long.wav", 12.0).await;
    assert_eq!(
        pod.runs(VaeEncode),
        encoded,
        "an engine that does not take it was not run"
    );
    pod.upload("short.wav", 5.0).await;
    for (name, seconds) in [("long.wav", 12), ("short.wav", 6), ("long.wav", 12)] {
        swap(&mut session, name).await;
        let engines = [
            format!("decoder-{seconds}"),
            "vae_decode-1".to_owned(),
            format!("vae_encode-{seconds}"),
        ];
        pod.comes_to(&engines.each_ref().map(|name| &**name)).await;
        pod.ticks_by_an_engine(&mut session).await;
    }
    assert_eq!(pod.program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_every_profile_the_modules_play() {
    let pod = Pod::start(&[(Decoder, 6, NO_FAILURE), (VaeEncode, 6, NO_FAILURE)]);
    let mut session = pod.session(6.0).await;
    session.generation_after(0).await.unwrap();
    pod.comes_to(&["decoder-6", "vae_encode-6"]).await;
    pod.upload("long.wav", 10.0).await;
    swap(&mut session, "long.wav").await;
    let (generations, ran) = (session.generation_after(0).await.unwrap(), pod.runs(Decoder));
    session.generation_after(generations + 4).await.unwrap();
    assert_eq!(
        pod.runs(Decoder),
        ran,
        "one of another length lies there and is not run"
    );
    assert_eq!(pod.program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_fail_cost_nobody_the_session_and_are_tried_again() {
    let failing = [
        Outcome::NullContext,
        Outcome::OutOfMemory,
        Outcome::NullContext,
        Outcome::Loaded,
    ];
    let pod = Pod::start(&[(Decoder, 6, NO_FAILURE), (Decoder, 12, &failing)]);
    let mut session = pod.session(6.0).await;
    session.generation_after(0).await.unwrap();
    pod.comes_to(&["decoder-6"]).await;
    pod.upload("long.wav", 10.0).await;
    pod.upload("short.wav", 5.0).await;
    swap(&mut session, "long.wav").await;
    let generations = session.generation_after(0).await.unwrap();
    session.generation_after(generations + 8).await.unwrap();
    let asked = Instant::now();
    while pod.failed_loads() < 2.0 {
        assert!(asked.elapsed() < PATIENCE, "{} loads failed", pod.failed_loads());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whoever asks next has tries of their own: a failure is not remembered.
    for name in ["short.wav", "long.wav"] {
        swap(&mut session, name).await;
        session.generation_after(0).await.unwrap();
    }
    pod.comes_to(&["decoder-12"]).await;
    pod.ticks_by_an_engine(&mut session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_while_the_pod_runs_is_used_after_a_look_and_what_is_removed_plays_on() {
    let pod = Pod::start(&[(VaeEncode, 6, NO_FAILURE)]);
    let mut session = pod.session(6.0).await;
    session.generation_after(0).await.unwrap();
    pod.builds(Decoder, 6);
    assert_eq!(pod.program.metric(&["engine_runs_total", "\"decoder\""]).unwrap(), 0.0);
    let found = pod.listed(true);
    assert_eq!(states(&found)[0].0, "decoder-6");
    pod.comes_to(&["decoder-6", "vae_encode-6"]).await;
    pod.ticks_by_an_engine(&mut session).await;
    let slot = ["engine_loaded", r#"component="decoder""#, r#"engine="decoder-6""#];
    assert_eq!(pod.program.metric(&slot).unwrap(), 1.0);
    assert_eq!(
        pod.program
            .metric(&["engine_graphs{", r#"component="decoder""#])
            .unwrap(),
        0.0
    );

    pod.removes(Decoder, 6);
    let expected = [("vae_encode-6", "loaded"), ("decoder-6", "loaded")];
    assert_eq!(states(&pod.listed(true)), expected);
    pod.ticks_by_an_engine(&mut session).await;
    assert_eq!(states(&pod.listed(false)), expected);
    assert_eq!(pod.program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_built_anew_takes_the_place_of_the_one_that_plays() {
    let pod = Pod::start(&[(Decoder, 6, NO_FAILURE)]);
    let mut session = pod.session(6.0).await;
    let told = |engine: &'static str| {
        move |message: &ServerMessage| {
            let ServerMessage::Vram(vram) = message else {
                return false;
            };
            vram.engines.iter().any(|loaded| loaded.name == engine)
        }
    };
    session
        .message("an engine on the device", told("decoder-6"))
        .await
        .unwrap();
    pod.ticks_by_an_engine(&mut session).await;
    // The same name, and other contents.
    build(&pod.checkpoint, &pod.engines, Decoder, 6, &[Outcome::Loaded]);
    pod.listed(true);
    let asked = Instant::now();
    let loads = || pod.program.log().matches("an engine is loaded").count();
    while loads() < 2 {
        assert!(
            asked.elapsed() < PATIENCE,
            "the new one does not come: {}",
            pod.program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pod.comes_to(&["decoder-6"]).await;
    pod.ticks_by_an_engine(&mut session).await;
    assert_eq!(pod.program.errors(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_tells_what_is_not_used_and_why_and_is_not_for_everybody() {
    let pod = Pod::start(&[]);
    std::fs::write(pod.engines.path().join("stray.engine"), "").unwrap();
    let found = pod.listed(true);
    assert_eq!(states(&found), [("stray", "unfit")]);
    let reason = found[0].error.as_deref().unwrap_or_default();
    assert!(reason.contains("stray.engine.json"), "{reason}");

    let (program, key) = (Program::start(&["--api-key", "secret"]).unwrap(), "apiKey=secret");
    let status = |path: &str| {
        let answer = ureq::post(program.url(path))
            .config()
            .http_status_as_error(false)
            .build()
            .send_empty();
        answer.unwrap().status().as_u16()
    };
    assert_eq!(status("/api/engines/scan"), 401);
    // The embedded generator has no networks to compile.
    assert_eq!(status(&format!("/api/engines/scan?{key}")), 404);
}
