//! The page: static files of the built client.

use std::{convert::Infallible, path::Path, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use super::Net;

/// File names below here carry a hash of what they hold, so they never change.
const HASHED: &str = "/assets/";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>greenroom</title>\
<body style=\"font:16px/1.5 system-ui;max-width:40em;margin:4em auto;padding:0 1em\">\
<h1>The page is not built yet</h1>\
<p>The pod runs, and programs can connect to it. For the page, build the client once and load this again:</p>\
<pre>cargo xtask serve</pre>\
<p>or, by hand, <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code>. If the built page lies elsewhere, \
start the pod with <code>--web-dir</code>.</p>";

const NOT_FOUND: &str = "there is nothing at this address: the page is at /, the routes are below /api";

/// Serves a file of the page.
pub(super) async fn page(State(net): State<Arc<Net>>, request: Request) -> Response {
    if !is_built(&net.web_dir).await {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::CACHE_CONTROL, "no-store")],
            Html(NOT_BUILT),
        )
            .into_response();
    }
    let is_hashed = request.uri().path().starts_with(HASHED);
    let files = ServeDir::new(&net.web_dir);
    let mut response = match files.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => absurd(never),
    };
    if response.status() == StatusCode::NOT_FOUND {
        return (StatusCode::NOT_FOUND, NOT_FOUND).into_response();
    }
    let cache = if is_hashed {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn is_built(web_dir: &Path) -> bool {
    tokio::fs::try_exists(web_dir.join("index.html")).await.unwrap_or(false)
}

fn absurd(never: Infallible) -> Response {
    match never {}
}
