//! How the client travels: connections, TLS, proxies, HTTP/2, what stands in every request.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::authority::Authority;
use crate::desk::{bot, class, until};
use bitgo_vault::api::wire::Pong;
use bitgo_vault::api::{ApiError, Auth, Client, ClientSettings, Endpoint, LoginOptions};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{AccessToken, Environment, SystemClock};
use std::env;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

/// Tells the child that it is one.
const CHILD: &str = "BITGO_VAULT_PROXY_CHILD";

fn client(environment: &Environment, settings: ClientSettings) -> Client {
    Client::new(environment, Arc::new(SystemClock::new()), settings).unwrap()
}

/// What a server of the test's own has seen, a line for each connection.
type Seen = Arc<Mutex<Vec<String>>>;

fn lines(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().clone()
}

/// Serves each connection by `serve`; the port.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Passes everything on to `port` of this machine.
async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, port: u16) {
    let mut onward = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // Whoever closes first ends it; that the other did not expect it does not matter here.
    let _ = copy_bidirectional(&mut stream, &mut onward).await;
}

fn port_of(bitgo: &Emulator) -> u16 {
    bitgo.url().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A proxy: tunnels what it is asked to `CONNECT`, and passes on what is plain HTTP. It notes the
/// first line it is sent, and the credentials.
async fn proxy(onward: u16) -> (u16, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let port = listen(move |mut stream| {
        let seen = Arc::clone(&noted);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let text = String::from_utf8(head.clone()).unwrap();
            let asked = text.lines().next().unwrap().to_owned();
            let credentials = text
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization"));
            let is_tunnel = asked.starts_with("CONNECT ");
            let note = [Some(asked.as_str()), credentials].into_iter().flatten();
            seen.lock().unwrap().push(note.collect::<Vec<_>>().join(" | "));
            match is_tunnel {
                true => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    pass_on(stream, onward).await;
                }
                false => {
                    let mut server = TcpStream::connect(("127.0.0.1", onward)).await.unwrap();
                    let (_, rest) = text.split_once("http://").unwrap();
                    let method = asked.split(' ').next().unwrap();
                    let head = format!("{method} {}", &rest[rest.find('/').unwrap()..]);
                    server.write_all(head.as_bytes()).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                }
            }
        }
    })
    .await;
    (port, seen)
}

/// TLS before an emulator: notes what each connection agreed to speak.
pub(crate) async fn tls_before(
    bitgo: &Emulator,
    authority: &Authority,
    offers: &[&[u8]],
) -> (u16, Seen) {
    let (seen, onward) = (Seen::default(), port_of(bitgo));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.certificate.clone()], authority.key.clone_key())
        .unwrap();
    config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
    let (acceptor, noted) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen));
    let port = listen(move |stream| {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&noted));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return seen.lock().unwrap().push("refused".to_owned());
            };
            let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
            seen.lock().unwrap().push(String::from_utf8(agreed).unwrap());
            pass_on(stream, onward).await;
        }
    })
    .await;
    (port, seen)
}

async fn ping(client: &Client) -> Result<Pong, ApiError> {
    client.ping().await
}

#[tokio::test]
async fn every_request_says_who_asks_and_what_it_is_called() {
    let bitgo = Emulator::start().await.unwrap();
    let client = client(bitgo.environment(), ClientSettings::default());
    client.ping().await.unwrap();
    client.client_constants().await.unwrap();
    let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
    client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
    let mut ids = Vec::new();
    for exchange in bitgo.traffic() {
        let head = String::from_utf8(exchange.request_head).unwrap();
        let agent = format!("user-agent: bitgo-vault/{}\r\n", env!("CARGO_PKG_VERSION"));
        assert!(head.contains(&agent), "{head}");
        let (_, id) = head.split_once("request-id: ").unwrap();
        ids.push(id[..32].to_owned());
        assert!(id.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit), "{id}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has its own");
}

#[tokio::test]
async fn calls_after_each_other_share_a_connection() {
    let bitgo = Emulator::start().await.unwrap();
    let (onward, seen) = (port_of(&bitgo), Seen::default());
    let noted = Arc::clone(&seen);
    let port = listen(move |stream| {
        noted.lock().unwrap().push(String::new());
        pass_on(stream, onward)
    })
    .await;
    let url = format!("http://127.0.0.1:{port}");
    let environment = Environment::custom(&url, bitgo.server_xpub()).unwrap();
    let client = client(&environment, ClientSettings::default());
    for _ in 0..5 {
        ping(&client).await.unwrap();
        ping(&client.clone()).await.unwrap();
    }
    assert_eq!((lines(&seen).len(), bitgo.requests("GET /api/v1/ping")), (1, 10));
}

#[tokio::test]
async fn each_call_is_asked_where_it_is_set() {
    let bitgo = Emulator::start().await.unwrap();
    let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
    let client = |endpoint, path: &str| {
        client(bitgo.environment(), ClientSettings::default().path(endpoint, path))
    };
    for path in ["/api/v2/user/login", "/api/v1/user/login", "/api/auth/v1/session"] {
        let client = client(Endpoint::Login, path);
        client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
        assert_eq!(bitgo.requests(&format!("POST {path}")), 1);
    }
    let key = AuthKey::new(&AccessToken::new(bitgo.secrets().swap_remove(0)));
    let auth = Auth::Hmac(&key, AuthVersion::V3);
    for path in ["/api/v1/user/session", "/api/v2/user/session"] {
        client(Endpoint::Session, path).session(auth).await.unwrap();
        assert_eq!(bitgo.requests(&format!("GET {path}")), 1);
    }
    for path in ["/api/v1/user/me", "/api/v2/user/me"] {
        client(Endpoint::Me, path).me(auth).await.unwrap();
        assert_eq!(bitgo.requests(&format!("GET {path}")), 1);
    }
    for base in ["/api/v1/user", "/api/v2/user", "/api/auth/v1"] {
        let path = format!("{base}/accesstoken");
        let client = client(Endpoint::AccessToken, &path);
        let id = client.create_token(auth, &bot("bot"), &otp).await.unwrap().record.id;
        assert_eq!(client.all_tokens(auth).await.unwrap().len(), 1);
        client.delete_token(auth, id).await.unwrap();
        for (method, calls) in [("POST", 1), ("GET", 1), ("DELETE", 1)] {
            assert_eq!(bitgo.requests(&format!("{method} {path}")), calls);
        }
    }
    for base in ["/api/v1/user", "/api/v2/user"] {
        let (unlock, lock) = (format!("{base}/unlock"), format!("{base}/lock"));
        let minute = Duration::from_secs(60);
        client(Endpoint::Unlock, &unlock)
            .dangerous_unlock_removing_limits(auth, &otp, minute)
            .await
            .unwrap();
        client(Endpoint::Lock, &lock).lock(auth).await.unwrap();
        assert_eq!(bitgo.requests(&format!("POST {unlock}")), 1);
        assert_eq!(bitgo.requests(&format!("POST {lock}")), 1);
    }
    client(Endpoint::Logout, "/api/v1/user/logout").logout(auth).await.unwrap();
    assert_eq!(class(&client(Endpoint::Ping, "/ping").me(auth).await.unwrap_err()), "dead");
}

/// A library must not be turned by the environment: the test runs itself again as a child that
/// has every variable of the kind.
#[test]
fn nothing_is_proxied_unasked() {
    if env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let bitgo = Emulator::start().await.unwrap();
            ping(&client(bitgo.environment(), ClientSettings::default())).await.unwrap();
            eprintln!("it went straight");
        });
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "transport::nothing_is_proxied_unasked", "--nocapture"]).env(CHILD, "");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, "http://127.0.0.1:9").env(name.to_lowercase(), "http://127.0.0.1:9");
    }
    let said = child.output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("it went straight"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_is_asked_for_passes_everything_on() {
    let bitgo = Emulator::start().await.unwrap();
    let (port, seen) = proxy(port_of(&bitgo)).await;
    let uri = format!("http://user:secret@127.0.0.1:{port}");
    let client = client(bitgo.environment(), ClientSettings::default().proxy(&uri));
    let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
    client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
    let asked = format!("POST {}/api/auth/v1/session HTTP/1.1", bitgo.url());
    assert_eq!(lines(&seen).len(), 1);
    assert!(lines(&seen)[0].starts_with(&asked), "{seen:?}");
    assert!(lines(&seen)[0].contains("Basic dXNlcjpzZWNyZXQ="), "{seen:?}");
}

#[tokio::test]
async fn an_extra_root_is_trusted_and_http_2_spoken_where_it_is_offered() {
    let (bitgo, authority) = (Emulator::start().await.unwrap(), Authority::new());
    for (offers, agreed) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], "h2"),
        (&[b"http/1.1".as_slice()], "http/1.1"),
        (&[], ""),
    ] {
        let (port, seen) = tls_before(&bitgo, &authority, offers).await;
        let url = format!("https://localhost:{port}");
        let environment = Environment::custom(&url, bitgo.server_xpub()).unwrap();
        let trusting = ClientSettings::default().extra_root_certificates(&authority.root_pem);
        let client = client(&environment, trusting);
        let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
        client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
        ping(&client).await.unwrap();
        assert_eq!(lines(&seen), [agreed], "one connection");
    }
}

#[tokio::test]
async fn a_root_that_was_not_given_is_not_trusted() {
    let (bitgo, authority) = (Emulator::start().await.unwrap(), Authority::new());
    let (port, seen) = tls_before(&bitgo, &authority, &[]).await;
    for (host, pem) in [
        ("localhost", None),
        ("localhost", Some(Authority::new().root_pem)),
        // The certificate is another host's.
        ("127.0.0.1", Some(authority.root_pem.clone())),
    ] {
        let url = format!("https://{host}:{port}");
        let environment = Environment::custom(&url, bitgo.server_xpub()).unwrap();
        let settings = ClientSettings::default().retries(0);
        let settings = match &pem {
            Some(pem) => settings.extra_root_certificates(pem),
            None => settings,
        };
        let error = ping(&client(&environment, settings)).await.unwrap_err();
        assert_eq!(class(&error), "unreachable", "{host}: nothing left");
    }
    until(|| lines(&seen) == ["refused"; 3]).await;
    assert_eq!(bitgo.requests(""), 0);
}

#[tokio::test]
async fn tls_passes_a_proxy_unread() {
    let (bitgo, authority) = (Emulator::start().await.unwrap(), Authority::new());
    let (tls_port, agreed) = tls_before(&bitgo, &authority, &[b"h2"]).await;
    let (port, seen) = proxy(tls_port).await;
    let environment = Environment::custom("https://localhost:8443", bitgo.server_xpub()).unwrap();
    let settings = ClientSettings::default()
        .extra_root_certificates(&authority.root_pem)
        .proxy(&format!("http://127.0.0.1:{port}"));
    ping(&client(&environment, settings)).await.unwrap();
    assert_eq!(lines(&seen), ["CONNECT localhost:8443 HTTP/1.1"]);
    assert_eq!(lines(&agreed), ["h2"]);
}

#[tokio::test]
async fn a_connection_that_does_not_stand_in_time_sends_nothing() {
    // It accepts, and never says a word: TLS does not come about.
    let port = listen(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let url = format!("https://localhost:{port}");
    let environment = Environment::custom(&url, Environment::Test.server_xpub()).unwrap();
    let settings = ClientSettings::default().connect_timeout(Duration::from_millis(100)).retries(0);
    let error = ping(&client(&environment, settings)).await.unwrap_err();
    assert_eq!(class(&error), "unreachable");
}

#[tokio::test]
async fn what_changes_nothing_is_asked_again_and_nothing_else_is() {
    let bitgo = Emulator::start().await.unwrap();
    let client = client(bitgo.environment(), ClientSettings::default());
    let status = |status| FaultKind::Status(status, "{}".into());
    for (kind, times, requests, answered) in [
        (FaultKind::DropBefore, 2, 3, true),
        (FaultKind::DropAfterEffect, 1, 2, true),
        (FaultKind::TornBody, 2, 3, true),
        (status(503), 2, 3, true),
        (status(503), 3, 3, false),
        (status(424), 1, 2, true),
        (FaultKind::RetryAfter(0), 1, 2, true),
        // It would be asked again long after the call's end.
        (FaultKind::RetryAfter(3600), 1, 1, false),
        (status(400), 1, 1, false),
        (status(401), 1, 1, false),
        (status(403), 1, 1, false),
        (status(302), 1, 1, false),
        (FaultKind::Html, 1, 1, false),
    ] {
        let (printed, before) = (format!("{kind:?}"), bitgo.requests(""));
        bitgo.inject(Fault::new(kind).times(times));
        assert_eq!(ping(&client).await.is_ok(), answered, "{printed}");
        assert_eq!(bitgo.requests("") - before, requests, "{printed}");
        bitgo.clear_faults();
        // What was repeated is earned back.
        for _ in 0..30 {
            ping(&client).await.unwrap();
        }
    }
    let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
    bitgo.inject(Fault::new(status(503)));
    let login = client.login(bitgo.email(), &password, &otp, &options).await;
    assert_eq!(class(&login.unwrap_err()), "transient");
    assert_eq!(bitgo.requests("POST"), 1, "a login mints");
}

#[tokio::test]
async fn an_outage_is_not_met_with_a_multiple_of_the_load() {
    let bitgo = Emulator::start().await.unwrap();
    let client = client(bitgo.environment(), ClientSettings::default().retry_budget(4));
    bitgo.inject(Fault::new(FaultKind::Status(503, String::new())).times(u32::MAX));
    for _ in 0..10 {
        assert_eq!(class(&ping(&client.clone()).await.unwrap_err()), "transient");
    }
    assert_eq!(bitgo.requests(""), 14, "10 calls, and the 4 that the clones share");
}

#[tokio::test]
async fn a_call_ends_in_its_time_however_often_it_is_made() {
    let bitgo = Emulator::start().await.unwrap();
    let patient = client(bitgo.environment(), ClientSettings::default().retries(100));
    bitgo.inject(Fault::new(FaultKind::Status(503, String::new())).times(u32::MAX));
    let begun = tokio::time::Instant::now();
    let error = ping(&patient.within(Duration::from_millis(500))).await.unwrap_err();
    assert_eq!(class(&error), "transient", "the last answer is told");
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!((2..=3).contains(&bitgo.requests("")), "{}", bitgo.requests(""));
}
