//! The HTTP server: listens, goes down and comes back, stops.

use super::exchange::Exchange;
use super::fault::FaultKind;
use super::line::{Line, Lines};
use super::received::Received;
use super::refused::Refused;
use super::reply::Reply;
use super::shared::Shared;
use super::{answer, control};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{self, ConnectInfo, Request};
use axum::response::Response;
use http::header::{DATE, HeaderName, HeaderValue};
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The longest request taken, in bytes.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// How long it waits before it asks for its port again, should another process have it.
const REBIND_AFTER: Duration = Duration::from_millis(20);
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The running server. It stops when dropped.
pub(super) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(shared: Arc<Shared>, listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(shared, listener, address, stopped));
        Ok(Self { address, stop, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        // A task that panicked has stopped, too.
        let _ = self.task.await;
    }
}

/// Serves until told to stop, with a pause on the same port for each time it goes down.
async fn run(
    shared: Arc<Shared>,
    mut listener: TcpListener,
    address: SocketAddr,
    mut stopped: oneshot::Receiver<()>,
) {
    let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
    loop {
        let service = router.clone().into_make_service_with_connect_info::<Line>();
        let (end, ended) = oneshot::channel::<()>();
        let serving = axum::serve(Lines(listener), service);
        // A sender that is dropped says stop as well. Serving itself never fails.
        let serving = serving.with_graceful_shutdown(async { drop(ended.await) });
        let mut serving = tokio::spawn(serving.into_future());
        let downtime = tokio::select! {
            _ = &mut stopped => None,
            downtime = shared.outage() => Some(downtime),
        };
        drop(end);
        let _ = (&mut serving).await;
        let Some(downtime) = downtime else { return };
        shared.set_up(false);
        let back = async {
            tokio::time::sleep(downtime).await;
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::time::sleep(REBIND_AFTER).await,
                }
            }
        };
        listener = tokio::select! {
            _ = &mut stopped => return,
            listener = back => listener,
        };
        shared.set_up(true);
    }
}

async fn serve(
    extract::State(shared): extract::State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return Reply::from(Refused::new(413, "TooLarge", "the body is too large")).into_response();
    };
    let received = Received::new(parts, body);
    if let Some(reply) = control::answer(&shared, &received) {
        return reply.into_response();
    }
    let _open = shared.open();
    let fault = shared.state().faults.take(&received.method, received.path());
    if let Some(FaultKind::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let Some(FaultKind::Late(delay)) = fault else {
        return happen(&shared, &line, &received, fault);
    };
    // The connection's end ends what serves it, so that this must not.
    let late = tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        happen(&shared, &line, &received, fault)
    });
    let stopped = |_| Reply::from(Refused::new(500, "Stopped", "it was stopped")).into_response();
    late.await.unwrap_or_else(stopped)
}

/// The call, as the fault has it happen, and its answer.
fn happen(shared: &Shared, line: &Line, received: &Received, fault: Option<FaultKind>) -> Response {
    let now = shared.now();
    let mut state = shared.state();
    let mut reply = answer::answer(&mut state, received, fault.as_ref(), now);
    let echo = match fault {
        Some(FaultKind::OtherRequestId) => Some(HeaderValue::from_static("another")),
        Some(FaultKind::NoRequestId) => None,
        _ => HeaderValue::from_str(&received.request_id).ok(),
    };
    if let Some(echo) = echo {
        reply.headers.insert(REQUEST_ID, echo);
    }
    // By its own clock, as all that it says.
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        reply.headers.insert(DATE, date);
    }
    let arrives = !matches!(
        fault,
        Some(
            FaultKind::DropBefore
                | FaultKind::DropAfterEffect
                | FaultKind::Reset
                | FaultKind::Restart(_)
        )
    );
    match fault {
        Some(FaultKind::Reset) => line.reset(),
        Some(FaultKind::TornBody) => line.tear(),
        _ if !arrives => line.cut(),
        _ => {}
    }
    if let Some(FaultKind::Restart(downtime)) = fault {
        shared.go_down(downtime);
    }
    if state.settings.traffic_recorded {
        let exchange = Exchange::new(received, arrives.then_some(&reply));
        state.traffic.push(exchange);
    }
    reply.into_response()
}
