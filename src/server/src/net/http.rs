//! The HTTP routes (wire §7).

use std::{fmt::Write, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use greenroom_director::{Component, Failure, StemsPhase};
use greenroom_generator::{EngineState, Standing};
use greenroom_wire::{
    ErrorCode, StemState,
    http::{EngineEntry, EngineList, Loras, ServerInfo, TrackState},
};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    Net,
    access::Denied,
    page,
    upload::{self, Problem},
};
use crate::pod::{Metric, StemsState, TrackView};

type Shared = State<Arc<Net>>;

/// All routes; whatever is none of them is a file of the page.
pub(super) fn routes(net: Arc<Net>) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&net), guard);
    // Its body is limited by the pod's own settings, and reserved before it is read.
    let tracks = axum::routing::post(upload::post).layer(DefaultBodyLimit::disable());
    let guarded = Router::new()
        .route("/api/loras", get(loras))
        .route("/api/videos", get(videos))
        .route("/api/engines", get(engines))
        .route("/api/engines/scan", axum::routing::post(scan_engines))
        .route("/api/fixtures", get(fixtures))
        .route("/api/user_uploads", get(user_uploads))
        .route("/api/tracks", tracks)
        .route("/api/tracks/{name}", get(track))
        .route("/fixtures/{name}", get(fixture_audio))
        .route("/user_uploads/{name}", get(upload_audio))
        .route("/metrics", get(metrics))
        .route_layer(guard.clone())
        .route_layer(cors(Arc::clone(&net)));
    let open_to_pages = Router::new()
        .route("/api/server-info", get(server_info))
        .route_layer(guard);
    Router::new()
        .merge(guarded)
        .merge(open_to_pages)
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(page::page)
        .with_state(net)
}

/// Lets in who gives the key and, where something is changed, comes from an allowed origin.
async fn guard(State(net): Shared, request: Request, next: Next) -> Response {
    match net
        .access
        .check(request.method(), request.uri(), request.headers(), false)
    {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            net.counters.denied();
            let status = match denied {
                Denied::Key => StatusCode::UNAUTHORIZED,
                Denied::Origin => StatusCode::FORBIDDEN,
            };
            (status, denied.to_string()).into_response()
        }
    }
}

/// Pages of listed origins may read the answers.
fn cors(net: Arc<Net>) -> CorsLayer {
    let listed = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| net.access.lists(origin));
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("x-api-key"),
        ])
}

async fn server_info(State(net): Shared) -> impl IntoResponse {
    let info = ServerInfo {
        no_backend: false,
        kiosk: false,
        default_mode: None,
        warmup: (!net.pod.is_warm()).then(|| serde_json::json!({"state": "loading"})),
        server_side_fixtures: net.pod.fixtures(),
    };
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(info))
}

async fn loras(State(net): Shared) -> Json<Loras> {
    let description = net.pod.description();
    Json(Loras {
        dir: net.pod.lora_dir(),
        extra_dirs: Vec::new(),
        checkpoint: description.checkpoint.clone(),
        checkpoint_scale: description.checkpoint_scale.clone(),
        loras: net.pod.loras(),
    })
}

/// The pod has no videos of its own; clients ask for the list.
async fn videos() -> Json<Vec<String>> {
    Json(Vec::new())
}

async fn engines(State(net): Shared) -> Json<EngineList> {
    Json(engine_list(net.pod.engines()))
}

/// Looks for engines again, so that what was built meanwhile is used; answers with what there is.
async fn scan_engines(State(net): Shared) -> Result<Json<EngineList>, Problem> {
    match net.pod.rescan_engines().await {
        Ok(engines) => Ok(Json(engine_list(engines))),
        Err(refusal) if refusal.failure == Failure::EngineNotBuilt => Err(Problem::with_status(
            StatusCode::NOT_FOUND,
            refusal.code(),
            refusal.message,
        )),
        Err(refusal) => Err(refusal.into()),
    }
}

fn engine_list(engines: Vec<EngineState>) -> EngineList {
    let entry = |engine: EngineState| {
        let (state, error) = match engine.standing {
            Standing::Offered => ("offered", None),
            Standing::Loaded => ("loaded", None),
            Standing::Graph => ("graph", None),
            Standing::Unfit(reason) => ("unfit", Some(reason)),
        };
        EngineEntry {
            name: engine.name,
            component: engine
                .component
                .and_then(|component| Component::ALL.get(component))
                .map(|component| component.name().to_owned()),
            state: state.to_owned(),
            bytes: engine.bytes,
            error,
        }
    };
    EngineList {
        engines: engines.into_iter().map(entry).collect(),
    }
}

async fn fixtures(State(net): Shared) -> Json<Vec<String>> {
    Json(net.pod.fixtures())
}

async fn user_uploads(State(net): Shared) -> Json<Vec<String>> {
    Json(net.pod.user_uploads())
}

async fn track(State(net): Shared, Path(name): Path<String>) -> Result<Json<TrackState>, Problem> {
    net.pod
        .track(&name)
        .map(|view| Json(track_state(view)))
        .ok_or_else(|| no_such_track(&name))
}

fn track_state(view: TrackView) -> TrackState {
    let (stems, stems_done, stems_total) = match view.stems {
        StemsState::Absent => (StemState::Absent, 0, 0),
        StemsState::Pending { phase, done, total } => (stem_state(phase), done, total),
        StemsState::Ready => (StemState::Ready, 0, 0),
        StemsState::Failed(_) => (StemState::Failed, 0, 0),
    };
    let frames = view.facts.as_ref().map_or(0, |facts| facts.frames);
    TrackState {
        name: view.name,
        bpm: view.facts.as_ref().map_or(0, |facts| facts.bpm.round() as u32),
        duration_s: frames as f64 / f64::from(greenroom_audio::SAMPLE_RATE),
        samples: frames as u64,
        // Of a fixture that was never played nothing is known yet.
        key: view.facts.as_ref().map(|facts| facts.key.clone()).unwrap_or_default(),
        time_signature: view.facts.map(|facts| facts.time_signature).unwrap_or_default(),
        stems,
        stems_done,
        stems_total,
    }
}

fn stem_state(phase: StemsPhase) -> StemState {
    match phase {
        StemsPhase::Queued => StemState::Queued,
        StemsPhase::Ripping => StemState::Ripping,
        StemsPhase::Saving => StemState::Saving,
    }
}

fn no_such_track(name: &str) -> Problem {
    let words = format!("the pod has no track named {name:?}: /api/fixtures and /api/user_uploads list those it has");
    Problem::with_status(StatusCode::NOT_FOUND, ErrorCode::BadAudio, words)
}

async fn fixture_audio(State(net): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let is_listed = net.pod.fixtures().contains(&name);
    audio(&net, &name, is_listed).await
}

async fn upload_audio(State(net): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    let is_listed = net.pod.user_uploads().contains(&name);
    audio(&net, &name, is_listed).await
}

/// The audio of a listed track; a name that is not listed never gets near a path.
async fn audio(net: &Net, name: &str, is_listed: bool) -> Result<Response, Problem> {
    if !is_listed {
        return Err(no_such_track(name));
    }
    let bytes = net.pod.audio(name).await?.ok_or_else(|| no_such_track(name))?;
    let headers = [
        (header::CONTENT_TYPE, mime_type(&bytes)),
        // A name can be another's tomorrow.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, bytes).into_response())
}

/// What audio it is, by its first bytes: fixtures are files as their operator put them there.
fn mime_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'R', b'I', b'F', b'F', ..] => "audio/wav",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'I', b'D', b'3', ..] | [0xFF, 0xE0..=0xFF, ..] => "audio/mpeg",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "audio/mp4",
        _ => "application/octet-stream",
    }
}

async fn healthz(State(net): Shared) -> (StatusCode, &'static str) {
    if net.pod.is_healthy() {
        (StatusCode::OK, "the event loop gets on\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the event loop made no progress lately\n",
        )
    }
}

async fn readyz(State(net): Shared) -> (StatusCode, &'static str) {
    if net.pod.is_ready() {
        (StatusCode::OK, "warm and free to serve\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "warming up, or serving a session\n")
    }
}

async fn metrics(State(net): Shared) -> impl IntoResponse {
    let mut metrics = net.pod.metrics();
    metrics.push(Metric {
        name: "tasks",
        help: "Tasks of the sockets' runtime that are alive.",
        is_counter: false,
        labels: Vec::new(),
        value: tokio::runtime::Handle::current().metrics().num_alive_tasks() as f64,
    });
    let text = prometheus(&metrics) + &net.counters.to_text();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

/// The Prometheus text format; lines of one name stand together, under one head.
fn prometheus(metrics: &[Metric]) -> String {
    let mut sorted: Vec<&Metric> = metrics.iter().collect();
    sorted.sort_by_key(|metric| metric.name);
    let mut text = String::new();
    let mut last = "";
    for metric in sorted {
        let name = metric.name;
        if name != last {
            let kind = if metric.is_counter { "counter" } else { "gauge" };
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "# HELP greenroom_{name} {}\n# TYPE greenroom_{name} {kind}\n",
                metric.help
            );
            last = name;
        }
        let labels: Vec<String> = metric.labels.iter().map(label).collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(text, "greenroom_{name}{labels} {}", metric.value);
    }
    text
}

fn label((name, value): &(&'static str, String)) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &'static str, label: Option<&str>, value: f64) -> Metric {
        Metric {
            name,
            help: "Help.",
            is_counter: name.ends_with("_total"),
            labels: label.map(|label| ("group", label.to_owned())).into_iter().collect(),
            value,
        }
    }

    #[test]
    fn metrics_of_one_name_stand_under_one_head() {
        let text = prometheus(&[
            metric("jobs_total", Some("a\"b"), 1.0),
            metric("bytes", None, 2.5),
            metric("jobs_total", Some("c"), 3.0),
        ]);
        assert_eq!(
            text,
            "# HELP greenroom_bytes Help.\n# TYPE greenroom_bytes gauge\ngreenroom_bytes 2.5\n\
             # HELP greenroom_jobs_total Help.\n# TYPE greenroom_jobs_total counter\n\
             greenroom_jobs_total{group=\"a\\\"b\"} 1\ngreenroom_jobs_total{group=\"c\"} 3\n"
        );
    }

    #[test]
    fn audio_is_told_by_its_first_bytes() {
        for (bytes, expected) in [
            (&b"RIFF1234WAVE"[..], "audio/wav"),
            (b"fLaC", "audio/flac"),
            (b"OggS", "audio/ogg"),
            (b"ID3", "audio/mpeg"),
            (b"\xFF\xFB\x90", "audio/mpeg"),
            (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
            (b"", "application/octet-stream"),
            (b"<html>", "application/octet-stream"),
        ] {
            assert_eq!(mime_type(bytes), expected, "{bytes:?}");
        }
    }
}
