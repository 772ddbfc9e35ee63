//! `greenroom serve`: the pod, until it is told to end.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use greenroom_director::Event;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::Config,
    house,
    net::{self, NetConfig},
    pod::{Pod, PodHandle},
    telemetry,
};

/// Serves; gives the exit code that the pod ended with.
#[allow(clippy::print_stdout, reason = "whoever starts it wants to know where it listens")]
pub(super) fn run(config: Config) -> anyhow::Result<u8> {
    telemetry::start(config.log_format, &config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads for sockets")?;
    runtime.block_on(async {
        // The port first: where it is taken nothing else needs to start.
        let listener = listen(&config).await?;
        let address = listener.local_addr().context("the listening socket has no address")?;
        let (pod_config, recovery) = house::build(&config)?;
        for line in &recovery.lines {
            tracing::info!("at boot: {line}");
        }
        let pod = Pod::start(pod_config)?;
        let handle = pod.handle();
        tokio::spawn(end_on_signals(handle.clone()));
        tokio::spawn(tell_of_health(handle.clone()));
        println!("greenroom listens on http://{address}");
        let serving = tokio::spawn(net::serve(listener, handle, net_config(config)));
        let code = pod.exited().await;
        serving.abort();
        Ok(code)
    })
}

fn net_config(config: Config) -> NetConfig {
    NetConfig {
        api_key: config.api_key,
        allowed_origins: config.allowed_origins,
        web_dir: config.web_dir,
        body_bytes_max: config.body_bytes_max,
    }
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(config.host, config.port);
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: is another greenroom running? Choose another port with --port")
    })
}

/// How often the log looks at what `/healthz` says.
const HEALTH_LOOKED_AT: Duration = Duration::from_secs(1);

/// Says in the log when the event loop stands still and when it gets on again: whoever reads it later asks no route. Ending the pod is the
/// supervisor's decision.
async fn tell_of_health(pod: PodHandle) {
    let mut was_healthy = true;
    loop {
        tokio::time::sleep(HEALTH_LOOKED_AT).await;
        let is_healthy = pod.is_healthy();
        match (was_healthy, is_healthy) {
            (true, false) => tracing::error!(
                "the event loop stands still: nothing is decided any more and /healthz says so; if it does not get on, start the pod anew"
            ),
            (false, true) => tracing::warn!("the event loop gets on again"),
            _ => {}
        }
        was_healthy = is_healthy;
    }
}

/// SIGTERM and Ctrl-C ask for an orderly end; a second one ends at once.
async fn end_on_signals(pod: PodHandle) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard: end the process by force");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to end");
        if pod.tell(Event::ShutdownAsked).await.is_err() {
            return;
        }
    }
}
