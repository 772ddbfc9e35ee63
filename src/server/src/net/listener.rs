//! The accept loop: numbers every TCP connection in the order of its acceptance, then serves HTTP/1.1 on it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use greenroom_director::ConnectionId;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tower::ServiceExt;

use super::{Access, Counters, Net, NetConfig, http, upgrade};
use crate::pod::PodHandle;

/// TCP connections open at once; those beyond wait in the kernel.
const CONNECTIONS_MAX: usize = 512;
/// How long a request's head may take, and how long a kept connection may idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Pause after the machine could give no socket (no more file descriptors): some must be freed first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves the page, the routes and the sockets of a pod. Never returns; dropping it closes the port and every plain HTTP connection.
/// Sockets end when the pod ends them.
pub async fn serve(listener: TcpListener, pod: PodHandle, config: NetConfig) {
    let net = Arc::new(Net {
        pod,
        access: Access {
            api_key: config.api_key,
            allowed_origins: config.allowed_origins,
        },
        web_dir: config.web_dir,
        body_bytes_max: config.body_bytes_max,
        counters: Counters::default(),
    });
    let routes = http::routes(Arc::clone(&net));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = net.pod.accept();
                connections.spawn(connected(Arc::clone(&net), routes.clone(), connection, stream, permit));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn connected(
    net: Arc<Net>,
    routes: axum::Router,
    connection: ConnectionId,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small frames of a client may wait in the kernel");
    }
    let permit = Arc::new(permit);
    let service = service_fn(move |request| {
        let (net, routes) = (Arc::clone(&net), routes.clone());
        answered(net, routes, connection, request, Arc::clone(&permit))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%connection, %error, "an HTTP connection ended");
    }
}

/// Answers one request: any path can become a socket.
async fn answered(
    net: Arc<Net>,
    routes: axum::Router,
    connection: ConnectionId,
    mut request: Request<Incoming>,
    permit: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, Infallible> {
    if upgrade::is_upgrade(request.headers()) {
        let denied = net
            .access
            .check(request.method(), request.uri(), request.headers(), true)
            .err();
        if denied.is_some() {
            net.counters.denied();
        }
        return Ok(upgrade::upgrade(net, connection, &mut request, denied, permit));
    }
    routes.oneshot(request.map(Body::new)).await
}
