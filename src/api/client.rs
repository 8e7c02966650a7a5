//! The HTTP client: reqwest stands here and nowhere else.
//!
//! One door leads out, [`Client::dispatch`]: it sends bytes as they are, once, and tells
//! "nothing left" from "it may have had its effect". [`Client::execute`] is that door with
//! a signature before it and the judgement of the answer after it. What changes nothing is asked
//! again where that may help (`retry`), each time with an id and a signature of its own.

use super::answer::{RawAnswer, Success};
use super::asked::{Asked, Auth};
use super::error::ApiError;
use super::refusal::Refusal;
use super::request_id::{REQUEST_ID, RequestId};
use super::retry::{RetryBudget, wait_before_retry};
use super::settings::ClientSettings;
use super::tls;
use crate::clock::{Clock, Stopwatch};
use crate::crypto::random;
use crate::environment::Environment;
use crate::server_clock::{Hearing, ServerClock};
use crate::telemetry;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use getrandom::SysRng;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an idle connection is kept. Shorter than servers keep theirs: a request that meets a
/// connection just closed has an unknown outcome, and an unknown outcome counts as spent.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest body accepted, in bytes: a full page of 200 records takes about 400 KiB.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// One call: what is asked, and by whom.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) target: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) auth: Option<Auth<'a>>,
}

/// Why nothing came back, and whether anything left.
#[derive(Debug)]
#[non_exhaustive]
pub enum DispatchError {
    /// The request cannot be sent as it is; nothing left.
    Unsendable(&'static str),
    /// No connection stood: nothing of the request left.
    NotSent {
        /// The request.
        request_id: RequestId,
        /// What went wrong below.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The request may have arrived and had its effect.
    OutcomeUnknown {
        /// The request.
        request_id: RequestId,
        /// What went wrong below.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<DispatchError> for ApiError {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Unsendable(why) => Self::Unsendable(why),
            DispatchError::NotSent { request_id, source } => {
                Self::Unreachable { request_id, source }
            }
            DispatchError::OutcomeUnknown { request_id, source } => {
                Self::Lost { request_id, source }
            }
        }
    }
}

/// A client of one BitGo environment.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    root_uri: Box<str>,
    clock: Arc<dyn Clock>,
    /// The server's, by which requests are dated and answers judged.
    server_clock: Arc<ServerClock>,
    /// How far beyond the clock they are dated instead.
    dated_by: Option<i64>,
    budget: Arc<RetryBudget>,
    /// How long a call may take as a whole.
    timeout: Duration,
    pub(super) settings: Arc<ClientSettings>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("root_uri", &self.root_uri).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that speaks to `environment` and to nothing else: no redirect is followed, no
    /// proxy is taken from the environment.
    ///
    /// # Errors
    /// [`ApiError::Setup`] if the platform's certificates or those of the settings cannot be used, or
    /// the proxy's URI is none.
    pub fn new(
        environment: &Environment,
        clock: Arc<dyn Clock>,
        settings: ClientSettings,
    ) -> Result<Self, ApiError> {
        let root_uri = environment.root_uri();
        // `Environment` allows plain HTTP on loopback alone.
        let is_https = root_uri.starts_with("https://");
        let setup = |error: reqwest::Error| ApiError::Setup(error.without_url().into());
        let tls = tls::config(is_https, &settings.extra_roots).map_err(ApiError::Setup)?;
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(is_https)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .user_agent(concat!("bitgo-vault/", env!("CARGO_PKG_VERSION")));
        if let Some(uri) = &settings.proxy {
            http = http.proxy(reqwest::Proxy::all(uri.0.as_str()).map_err(setup)?);
        }
        Ok(Self {
            http: http.build().map_err(setup)?,
            root_uri: root_uri.into(),
            clock,
            server_clock: Arc::default(),
            dated_by: None,
            budget: Arc::new(RetryBudget::new(settings.retry_budget)),
            timeout: settings.timeout,
            settings: Arc::new(settings),
        })
    }

    /// The same client, whose calls end after `timeout`: for a caller that has no more time than
    /// that. It shares connections and the budget of repetitions.
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client, which goes by what is known of the server's clock there, and adds to it.
    pub(crate) fn sharing(self, server_clock: &Arc<ServerClock>) -> Self {
        Self { server_clock: Arc::clone(server_clock), ..self }
    }

    /// The same client, which dates and judges by so many milliseconds beyond the clock.
    pub(crate) fn dated_by(&self, offset_ms: i64) -> Self {
        Self { dated_by: Some(offset_ms), ..self.clone() }
    }

    /// Sends exactly these bytes, once, and brings back what came, unchecked.
    ///
    /// `request_id` goes with it, by which answer and error know it.
    ///
    /// # Errors
    /// [`DispatchError`], which tells whether anything left.
    pub async fn dispatch(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        request_id: RequestId,
    ) -> Result<RawAnswer, DispatchError> {
        self.dispatch_within(method, target, headers, body, request_id, self.timeout).await
    }

    async fn dispatch_within(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        request_id: RequestId,
        timeout: Duration,
    ) -> Result<RawAnswer, DispatchError> {
        let (since, verb) = (Stopwatch::start(), verb(&method));
        let came = self.carry(method, target, headers, body, request_id, timeout).await;
        telemetry::called(verb, what_came(&came), since);
        came
    }

    async fn carry(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Vec<u8>,
        request_id: RequestId,
        timeout: Duration,
    ) -> Result<RawAnswer, DispatchError> {
        headers.insert(REQUEST_ID, request_id.to_header());
        let url = self.url(target)?;
        // The stack gets the buffer itself, which is wiped when its last reader lets go.
        let body = Bytes::from_owner(Zeroizing::new(body));
        let request = self.http.request(method, url).headers(headers).timeout(timeout).body(body);
        let sent = request.send().await;
        let mut response = sent.map_err(|error| dispatch_error(error, request_id))?;

        let lost = |source| DispatchError::OutcomeUnknown { request_id, source };
        let mut body = Zeroizing::new(Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_MAX => {
                    append(&mut body, &chunk)
                }
                Ok(Some(_)) => return Err(lost("the answer is larger than 4 MiB".into())),
                Ok(None) => break,
                Err(error) => return Err(lost(error.without_url().into())),
            }
        }
        Ok(RawAnswer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
            request_id,
        })
    }

    /// Signs a call, sends it once, and judges the answer.
    ///
    /// # Errors
    /// [`ApiError`] for every answer but a success that may be used.
    pub async fn execute(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        auth: Option<Auth<'_>>,
    ) -> Result<Success, ApiError> {
        let body = Zeroizing::new(body);
        self.call(Call { method, target, headers: HeaderMap::new(), body, auth }).await
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Result<Success, ApiError> {
        self.call_within(call, self.timeout).await
    }

    /// Makes a call that may be made twice, as often as it takes and is allowed.
    pub(super) async fn repeatable(
        &self,
        method: Method,
        target: &str,
        auth: Option<Auth<'_>>,
    ) -> Result<Success, ApiError> {
        let begun = self.clock.monotonic();
        let left = || {
            let taken = self.clock.monotonic().saturating_sub(begun);
            self.timeout.saturating_sub(taken)
        };
        let mut repeated = 0;
        loop {
            let (headers, body) = (HeaderMap::new(), Zeroizing::default());
            let call = Call { method: method.clone(), target, headers, body, auth };
            let error = match self.call_within(call, left()).await {
                Ok(success) => {
                    self.budget.earn();
                    return Ok(success);
                }
                Err(error) => error,
            };
            let jitter = random(&mut SysRng).map_or(0, u32::from_be_bytes);
            let most = self.settings.retries;
            match wait_before_retry(&error, repeated, most, left(), jitter) {
                Some(wait) if self.budget.take() => {
                    tracing::debug!(name: "http.repeated", %error, ?wait, "asked again");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
            repeated += 1;
        }
    }

    async fn call_within(&self, call: Call<'_>, timeout: Duration) -> Result<Success, ApiError> {
        let Call { method, target, mut headers, mut body, auth } = call;
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request_id = RequestId::random()
            .map_err(|_| ApiError::Unsendable("the system gives no randomness for its id"))?;
        let asked = Asked { auth, method: &method, target, request_id };
        let begun = self.clock.monotonic();
        headers.extend(asked.headers(&body, self.now())?);
        let body = std::mem::take(&mut *body);
        let sent = self.dispatch_within(method.clone(), target, headers, body, request_id, timeout);
        let answer = sent.await?;
        let judged = answer.judge(&asked, self.now());
        let server_time = match &judged {
            Ok(success) => success.server_time,
            Err(error) => error.refusal().and_then(Refusal::server_time),
        };
        if let Some(at) = server_time {
            let monotonic = self.clock.monotonic();
            let hearing = Hearing {
                answered_ms: at.timestamp_millis(),
                wall_ms: self.clock.now_ms(),
                monotonic: monotonic + self.clock.grain(),
                round_trip: monotonic.saturating_sub(begun),
            };
            self.server_clock.hear(&hearing, self.dated_by);
        }
        judged
    }

    /// The time by which the client dates its requests: that of its clock, unless the server's answers
    /// have shown that to be off by more than half a minute.
    pub fn now(&self) -> DateTime<Utc> {
        let (now, offset_ms) =
            (self.clock.now(), self.dated_by.unwrap_or_else(|| self.server_clock.offset_ms()));
        now.checked_add_signed(TimeDelta::milliseconds(offset_ms)).unwrap_or(now)
    }

    /// The URL of a target whose path and query stand in it unchanged, byte for byte: what was
    /// signed is what is sent.
    fn url(&self, target: &str) -> Result<reqwest::Url, DispatchError> {
        if !target.starts_with('/') {
            return Err(DispatchError::Unsendable("the target does not start with a slash"));
        }
        let url: reqwest::Url = format!("{}{target}", self.root_uri)
            .parse()
            .map_err(|_| DispatchError::Unsendable("the target is no path and query"))?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if url.path() != path || url.query() != query || query == Some("") {
            return Err(DispatchError::Unsendable("the target would not be sent as it stands"));
        }
        Ok(url)
    }
}

/// A method's name, of those that BitGo's calls use.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// What came of a call, in a word.
fn what_came(came: &Result<RawAnswer, DispatchError>) -> &'static str {
    match came {
        Ok(answer) => match answer.status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500..600 => "5xx",
            _ => "other",
        },
        Err(DispatchError::OutcomeUnknown { .. }) => "lost",
        Err(_) => "unsent",
    }
}

/// Appends to a buffer of secrets: grown by hand, so that the old one is wiped.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = body.len() + chunk.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// No connection and no request are the only proofs that nothing left.
fn dispatch_error(error: reqwest::Error, request_id: RequestId) -> DispatchError {
    let nothing_left = error.is_connect() || error.is_builder();
    let source = error.without_url().into();
    match nothing_left {
        true => DispatchError::NotSent { request_id, source },
        false => DispatchError::OutcomeUnknown { request_id, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn client(root_uri: &str) -> Client {
        let environment = Environment::custom(root_uri, Environment::Test.server_xpub()).unwrap();
        Client::new(&environment, Arc::new(SystemClock::new()), ClientSettings::default()).unwrap()
    }

    #[test]
    fn a_target_is_sent_as_it_stands_or_not_at_all() {
        let client = client("http://127.0.0.1:1");
        for (target, fits) in [
            ("/api/v2/user/session", true),
            ("/api/v2/user/accesstoken?limit=200&prevId=ab", true),
            ("/a%20b", true),
            ("/", true),
            ("", false),
            ("api", false),
            ("@evil.example/", false),
            (":81/", false),
            ("/a/../b", false),
            ("/a/./b", false),
            ("/a b", false),
            ("/a\\b", false),
            ("/a#b", false),
            ("/a?", false),
            ("/a\n", false),
            ("/é", false),
        ] {
            assert_eq!(client.url(target).is_ok(), fits, "{target:?}");
        }
    }

    #[test]
    fn a_client_over_tls_needs_no_process_default() {
        client("https://bitgo.example");
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn what_cannot_be_set_up_says_so() {
        let default = ClientSettings::default;
        for settings in [
            default().proxy("not a uri"),
            default().extra_root_certificates(""),
            default().extra_root_certificates("-----BEGIN CERTIFICATE-----\n!!\n"),
        ] {
            let clock = Arc::new(SystemClock::new());
            let made = Client::new(&Environment::Test, clock, settings.clone());
            assert!(matches!(made, Err(ApiError::Setup(_))), "{settings:?}");
        }
    }
}
