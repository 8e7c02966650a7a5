//! The HTTP server: receives, lets faults happen, answers, signs, remembers.

use super::auth::Identity;
use super::exchange::Exchange;
use super::fault::FaultKind;
use super::line::{Line, Lines};
use super::received::Received;
use super::refused::Refused;
use super::reply::Reply;
use super::routes;
use super::state::{State, Visit};
use crate::clock::Clock;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{self, ConnectInfo, Request};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::{HeaderName, HeaderValue};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The longest request taken, in bytes.
const BODY_MAX: usize = 4 * 1024 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What the server's task and its owner share.
pub(super) struct Shared {
    /// Held while one request is answered, never across an await: the server does one thing at a time.
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    offset_ms: AtomicI64,
}

impl Shared {
    pub(super) fn new(state: State, clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::new(state), clock, offset_ms: AtomicI64::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::milliseconds(self.offset_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

/// The running server. It stops when dropped.
pub(super) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let router = Router::new().fallback(serve).with_state(shared);
        let service = router.into_make_service_with_connect_info::<Line>();
        let task = tokio::spawn(async move {
            let serving = axum::serve(Lines(listener), service);
            // A sender that is dropped says stop as well. Serving itself never fails.
            let _ = serving.with_graceful_shutdown(async { drop(stopped.await) }).await;
        });
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
    let fault = shared.state().faults.take(&received.method, received.path());
    if let Some(FaultKind::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let now = shared.now();
    let mut state = shared.state();
    let mut reply = answer(&mut state, &received, fault.as_ref(), now);
    let echo = match fault {
        Some(FaultKind::OtherRequestId) => Some(HeaderValue::from_static("another")),
        Some(FaultKind::NoRequestId) => None,
        _ => HeaderValue::from_str(&received.request_id).ok(),
    };
    if let Some(echo) = echo {
        reply.headers.insert(REQUEST_ID, echo);
    }
    let sent = match fault {
        Some(FaultKind::DropBefore | FaultKind::DropAfterEffect) => {
            line.cut();
            None
        }
        Some(FaultKind::TornBody) => {
            line.tear();
            Some(&reply)
        }
        _ => Some(&reply),
    };
    if state.settings.traffic_recorded {
        let exchange = Exchange::new(&received, sent);
        state.traffic.push(exchange);
    }
    reply.into_response()
}

/// Answers a request, or lets the fault answer in its place, and signs what a known bearer gets.
fn answer(
    state: &mut State,
    received: &Received,
    fault: Option<&FaultKind>,
    now: DateTime<Utc>,
) -> Reply {
    let tokens_travel = !state.settings.has_ecdh_keychain;
    let identity = Identity::of(received, &state.tokens, tokens_travel, now);
    let mut reply = match fault {
        Some(FaultKind::Status(status, body)) => Reply::text(*status, body.clone()),
        Some(FaultKind::RetryAfter(secs)) => Reply::retry_after(*secs, &received.request_id),
        Some(FaultKind::Html) => return Reply::html(),
        Some(FaultKind::DeadToken) => Refused::dead().answering(&received.request_id).into(),
        Some(FaultKind::DropBefore) => Refused::new(500, "Dropped", "never sent").into(),
        _ => routes::answer(&mut Visit {
            state,
            received,
            identity: identity.as_ref(),
            now,
            already_expired: matches!(fault, Some(FaultKind::AlreadyExpired)),
        }),
    };
    let bearer = identity.as_ref().and_then(|identity| {
        Some((identity, state.tokens.iter().find(|token| token.id == identity.token)?))
    });
    if let Some((identity, token)) = bearer {
        reply.sign(&token.key, identity, now.timestamp_millis());
    }
    match fault {
        Some(FaultKind::BadHmac) => reply.falsify_hmac(),
        Some(FaultKind::NoHmac) => reply.drop_hmac(),
        _ => {}
    }
    reply
}
