//! Scenarios of renewal: files in `tests/renewal` that say what happens to one token and what must be
//! seen, played with a real vault and the emulator in virtual time. A test for each file.
//!
//! ```text
//! shows      the fact, in a sentence
//! way        how the token kept as `token` is renewed: extend, internal, oauth, reissue, manual
//! lifetime   of the token, in seconds
//! steps      in their order; each an object of one name (`Step`)
//! ```
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, bot, told};
use bitgo_vault::api::{CreateToken, OauthClient};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Alarm, ClientSecret, Clock, Event, Events, Label, RefreshToken, Request, Signed, TokenStatus,
};
use chrono::TimeDelta;
use http::HeaderMap;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    shows: String,
    way: Way,
    lifetime: u64,
    /// How long the session lives that an internal token is fetched with; it stays if it is named.
    session: Option<u64>,
    /// Played in a process of its own, whose files stay small.
    #[serde(default)]
    small_files: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Way {
    Extend,
    Internal,
    Oauth,
    Reissue,
    Manual,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    /// So many seconds pass.
    Pass(f64),
    /// The wall clock jumps by so many seconds.
    Jump(i64),
    /// The server's clock goes ahead by so many.
    Skew(i64),
    Fault {
        on: Call,
        kind: Kind,
        times: Option<u32>,
    },
    Clear {},
    /// The vault is closed, and opened after so many seconds.
    Restart(f64),
    /// The server refuses every connection for so many seconds.
    Down(f64),
    /// Another host revokes the token.
    Revoke {},
    /// The enterprise wants a single sign-on, or no more.
    Sso(bool),
    /// Seconds for which the token is unlocked at BitGo.
    Unlock(u64),
    /// The login that mints the next token is given.
    Login {},
    /// A human has it renewed now.
    Renew {},
    /// Writes until the disk takes no more.
    FillDisk {},
    /// A request is signed; its answer comes with `Late`.
    Sign {},
    /// The answer to what was signed: 401, with an HMAC of nobody's.
    Late {},
    /// A request is sent: `ok`, or what is told of the error.
    Send(String),
    /// A lease is taken at once: `ok`, or what is told of the error.
    Lease(String),
    /// So many readers at once; all get a lease within so many seconds, or none does.
    Readers {
        count: usize,
        within: f64,
        get: Option<bool>,
    },
    /// What is seen now.
    Expect(Seen),
    /// What is seen soon.
    Soon(Seen),
    /// An alarm came since the last step that named it.
    Alarm(String),
    /// No such alarm did.
    NoAlarm(String),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Renewal,
    OwnRecord,
    Use,
    Login,
    Mint,
    List,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Status(u16),
    Unsigned(u16),
    RetryAfter(u32),
    Delay(u64),
    Dead,
    Unauthorized,
    Otp,
    Sso,
    Forbidden,
    Html,
    BadHmac,
    DropBefore,
    DropAfter,
    Expired,
    /// The token that it answered last, again.
    Same,
    /// The token's own record, without its end.
    Endless,
}

/// What is seen of the token; what is not named may be anything.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Seen {
    phase: Option<String>,
    standing: Option<String>,
    need: Option<String>,
    renewals: Option<u64>,
    failures: Option<[u32; 2]>,
    error: Option<String>,
    /// Calls that renew, from and to.
    calls: Option<[usize; 2]>,
    /// Whether the token is the first one still.
    same: Option<bool>,
    /// Seconds until it is tried next, from and to.
    renewal_in: Option<[f64; 2]>,
    /// Long-lived tokens of its label that live at BitGo.
    living: Option<usize>,
}

/// Where what a scenario does is done.
struct Stage {
    way: Way,
    desk: Option<Desk>,
    events: Events,
    heard: Vec<String>,
    view: &'static Request,
    signed: Option<Signed<'static>>,
    first: String,
    calls_before: usize,
}

fn plan(desk: &Desk, lifetime: Duration) -> CreateToken {
    CreateToken::new(&Label::new("token").unwrap(), lifetime)
        .scope("wallet_view_all".parse().unwrap())
        .permitted_wallet(desk.wallet)
        .no_spending_limit()
}

impl Stage {
    async fn set(scenario: &Scenario) -> Self {
        let lifetime = Duration::from_secs(scenario.lifetime);
        let session = Duration::from_secs(scenario.session.unwrap_or(scenario.lifetime));
        let builder = Emulator::builder().session_lifetime(session).internal_lifetime(lifetime);
        let mut desk = Desk::empty(builder).await;
        match scenario.way {
            Way::Extend => {
                desk.vault.login("token", desk.login().extensible()).await.unwrap();
            }
            Way::Internal => {
                desk.vault.login("desk", desk.login()).await.unwrap();
                desk.vault.fetch_internal("desk", "token").await.unwrap();
            }
            Way::Oauth => {
                let options = desk.options().dangerous_accept_tokens_in_clear();
                desk = desk.reopened_with(options).await;
                let grant = desk.bitgo.grant_oauth().unwrap();
                let secret = ClientSecret::new(grant.client_secret);
                let client = OauthClient::new(grant.client_id, secret);
                let refresh_token = RefreshToken::new(grant.refresh_token);
                desk.vault.sign_in_oauth("token", client, refresh_token).await.unwrap();
            }
            Way::Reissue | Way::Manual => {
                desk.vault.login("desk", desk.login()).await.unwrap();
                desk.mint(plan(&desk, lifetime)).await;
                if scenario.way == Way::Reissue {
                    let plan = plan(&desk, lifetime);
                    desk.vault.reissue("token", plan, desk.login()).await.unwrap();
                }
            }
        }
        if scenario.session.is_none() && desk.vault.status("desk").is_ok() {
            desk.vault.remove("desk").await.unwrap();
        }
        let events = desk.vault.events();
        let view = Box::leak(Box::new(desk.view()));
        let first = desk.vault.status("token").unwrap().info.id.to_string();
        let mut stage = Self {
            way: scenario.way,
            desk: Some(desk),
            events,
            heard: Vec::new(),
            view,
            signed: None,
            first,
            calls_before: 0,
        };
        stage.calls_before = stage.calls();
        stage
    }

    fn desk(&self) -> &Desk {
        self.desk.as_ref().unwrap()
    }

    fn call(&self, call: Call) -> (&'static str, &'static str) {
        match call {
            Call::Renewal => match self.way {
                Way::Extend => ("POST", "/api/v1/user/extendtoken"),
                Way::Internal => ("GET", "/api/v2/user/internalaccesstoken"),
                Way::Oauth => ("POST", "/oauth/token"),
                Way::Reissue | Way::Manual => ("POST", "/api/v2/user/accesstoken"),
            },
            Call::OwnRecord => ("GET", "/api/v2/user/session"),
            Call::Use => ("GET", "/api/v2/tbtc/wallet"),
            Call::Login => ("POST", "/api/auth/v1/session"),
            Call::Mint => ("POST", "/api/v2/user/accesstoken"),
            Call::List => ("GET", "/api/v2/user/accesstoken"),
        }
    }

    fn calls(&self) -> usize {
        let (method, path) = self.call(Call::Renewal);
        self.desk().bitgo.requests(&format!("{method} {path}"))
    }

    fn token(&self) -> TokenStatus {
        self.desk().vault.status("token").unwrap()
    }

    fn fault(&self, call: Call, kind: &Kind) -> FaultKind {
        let body = || r#"{"error":"said so","name":"Said"}"#.to_owned();
        match kind {
            Kind::Status(status) => FaultKind::Status(*status, body()),
            Kind::Unsigned(status) => FaultKind::Unsigned(*status, body()),
            Kind::RetryAfter(secs) => FaultKind::RetryAfter(*secs),
            Kind::Delay(secs) => FaultKind::Delay(Duration::from_secs(*secs)),
            Kind::Dead => FaultKind::DeadToken,
            Kind::Unauthorized => FaultKind::Unauthorized,
            Kind::Otp => FaultKind::NeedsOtp,
            Kind::Sso => FaultKind::NeedsSso,
            Kind::Forbidden => FaultKind::Forbidden,
            Kind::Html => FaultKind::Html,
            Kind::BadHmac => FaultKind::BadHmac,
            Kind::DropBefore => FaultKind::DropBefore,
            Kind::DropAfter => FaultKind::DropAfterEffect,
            Kind::Expired => FaultKind::AlreadyExpired,
            Kind::Same => {
                let path = self.call(call).1;
                let traffic = self.desk().bitgo.traffic();
                let last = traffic.into_iter().rfind(|exchange| exchange.target == path).unwrap();
                FaultKind::Status(200, String::from_utf8(last.answer_body).unwrap())
            }
            Kind::Endless => {
                let id = self.token().info.id;
                FaultKind::Status(200, format!(r#"{{"session":{{"id":"{id}"}}}}"#))
            }
        }
    }

    async fn take(&mut self, step: &Step) {
        let desk = self.desk.as_ref().unwrap();
        let vault = &desk.vault;
        match step {
            Step::Pass(secs) => sleep(Duration::from_secs_f64(*secs)).await,
            Step::Jump(secs) => desk.clock.jump(TimeDelta::seconds(*secs)),
            Step::Skew(secs) => desk.bitgo.set_clock_offset_ms(secs * 1000),
            Step::Fault { on, kind, times } => {
                let (method, path) = self.call(*on);
                let fault = Fault::new(self.fault(*on, kind)).on(method, path);
                desk.bitgo.inject(fault.times(times.unwrap_or(u32::MAX)));
            }
            Step::Clear {} => desk.bitgo.clear_faults(),
            Step::Restart(secs) => self.restart(*secs).await,
            Step::Down(secs) => desk.bitgo.restart(Duration::from_secs_f64(*secs)).await,
            Step::Revoke {} => desk.bitgo.revoke(self.token().info.id),
            Step::Sso(wanted) => desk.bitgo.require_sso(*wanted),
            Step::Unlock(secs) => {
                let (otp, duration) = (desk.bitgo.otp(), Duration::from_secs(*secs));
                vault.dangerous_unlock_removing_limits("token", otp, duration).await.unwrap();
            }
            Step::Login {} => vault.provide_login("token", desk.login()).unwrap(),
            Step::Renew {} => drop(vault.renew("token").await.unwrap()),
            Step::FillDisk {} => {
                let addresses = (0..3000).map(|n| format!("10.0.{}.{}", n / 250, n % 250));
                let bulky = addresses
                    .fold(bot("bulky").ip_restrict("127.0.0.1"), |token, address| {
                        token.ip_restrict(address)
                    });
                vault.login("login", desk.login()).await.unwrap();
                vault.issue("login", bulky, desk.bitgo.otp()).await.unwrap();
                // Each time the whole record is written.
                while vault.forbid_raw_exposure("bulky").await.is_ok() {}
            }
            Step::Sign {} => {
                self.signed = Some(vault.lease("token", self.view).unwrap().sign().unwrap())
            }
            Step::Late {} => {
                let body = br#"{"error":"invalid token"}"#;
                let finished = self.signed.take().unwrap().finish(401, &HeaderMap::new(), body);
                finished.unwrap_err();
            }
            Step::Send(expect) => {
                let sent = vault.send("token", self.view).await;
                let got = match sent {
                    Ok(answer) if answer.status() == 200 => "ok".to_owned(),
                    Ok(answer) => answer.status().to_string(),
                    Err(error) => told(&error),
                };
                assert_eq!(&got, expect);
            }
            Step::Lease(expect) => {
                let lease = vault.lease("token", self.view).map(drop);
                assert_eq!(&lease.map_or_else(|error| told(&error), |()| "ok".into()), expect);
            }
            Step::Readers { count, within, get } => {
                self.read(*count, *within, get.unwrap_or(true)).await
            }
            Step::Expect(seen) => self.differs(seen).map_or((), |what| panic!("{what}")),
            Step::Soon(seen) => {
                let holds = async {
                    while self.differs(seen).is_some() {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                if timeout(Duration::from_secs(5), holds).await.is_err() {
                    panic!("{}", self.differs(seen).unwrap_or_default());
                }
            }
            Step::Alarm(wanted) => {
                self.listen().await;
                let place = self.heard.iter().position(|heard| heard == wanted);
                let place = place.unwrap_or_else(|| panic!("{wanted} in {:?}", self.heard));
                self.heard.drain(..=place);
            }
            Step::NoAlarm(unwanted) => {
                self.listen().await;
                assert!(!self.heard.contains(unwanted), "{:?}", self.heard);
            }
        }
    }

    async fn restart(&mut self, secs: f64) {
        self.listen().await;
        let desk = self.desk.take().unwrap();
        let mut options = desk.options();
        if self.way == Way::Oauth {
            options = options.dangerous_accept_tokens_in_clear();
        }
        drop(self.signed.take());
        let desk = desk.reopened_later(options, Duration::from_secs_f64(secs)).await;
        self.events = desk.vault.events();
        self.desk = Some(desk);
    }

    /// Takes up what alarms have come.
    async fn listen(&mut self) {
        while let Ok(Some(event)) = timeout(Duration::from_millis(1), self.events.next()).await {
            let Event::Alarm { alarm, .. } = event else { continue };
            self.heard.push(match alarm {
                Alarm::Ending { expires_at, .. } => {
                    let left = expires_at - self.desk().clock.now();
                    // Heard at most a second after it was told.
                    format!("ending {}", (left.as_seconds_f64() / 60.0).round())
                }
                Alarm::Ended => "ended".into(),
                Alarm::NeedsHuman { need, .. } => format!("needs {need:?}"),
                Alarm::Refused { standing, .. } => format!("{standing:?}").to_lowercase(),
                Alarm::Locking { .. } => "locking".into(),
                Alarm::Orphan { .. } => "orphan".into(),
                other => format!("{other:?}"),
            });
        }
    }

    async fn read(&self, count: usize, within: f64, get: bool) {
        let (mut readers, start) = (JoinSet::new(), Instant::now());
        for _ in 0..count {
            let (vault, view) = (self.desk().vault.clone(), self.view);
            readers.spawn(async move { vault.lease_wait("token", view).await.map(drop) });
        }
        let got = readers.join_all().await;
        let waited = start.elapsed();
        let refused = got.iter().filter_map(|got| got.as_ref().err()).map(told).next();
        assert_eq!(got.iter().all(Result::is_ok), get, "{refused:?}");
        assert!(waited <= Duration::from_secs_f64(within), "{waited:?}");
    }

    /// What is not as it should be seen.
    fn differs(&self, seen: &Seen) -> Option<String> {
        let Seen { phase, standing, need, renewals, failures, error, calls, same, .. } = seen;
        let token = self.token();
        let text = |word: String| word.to_lowercase();
        let asked = self.calls() - self.calls_before;
        let checks = [
            (phase.as_ref().is_none_or(|it| *it == text(format!("{:?}", token.phase))), "phase"),
            (
                standing.as_ref().is_none_or(|it| *it == text(format!("{:?}", token.standing))),
                "standing",
            ),
            (
                need.as_ref().is_none_or(|it| {
                    *it == token.need.map_or("none".into(), |need| format!("{need:?}"))
                }),
                "need",
            ),
            (renewals.is_none_or(|it| it == token.renewals), "renewals"),
            (failures.is_none_or(|[from, to]| (from..=to).contains(&token.failures)), "failures"),
            (
                error.as_ref().is_none_or(|it| {
                    token.last_error.as_ref().map_or(it == "none", |error| error.contains(it))
                }),
                "error",
            ),
            (calls.is_none_or(|[from, to]| (from..=to).contains(&asked)), "calls"),
            (same.is_none_or(|it| it == (token.info.id.to_string() == self.first)), "same"),
            (
                seen.renewal_in.is_none_or(|[from, to]| {
                    let now = self.desk().clock.now();
                    let left = token.renewal_at.map(|at| (at - now).as_seconds_f64());
                    left.is_some_and(|left| (from..=to).contains(&left))
                }),
                "renewal_in",
            ),
            (seen.living.is_none_or(|it| self.desk().bitgo.living("token#").len() == it), "living"),
        ];
        let (_, what) = checks.into_iter().find(|(holds, _)| !holds)?;
        Some(format!("{what}: {asked} calls, {token:?}"))
    }
}

/// Set in the process whose files stay small.
const CHILD: &str = "BITGO_VAULT_SMALL_FILES";

async fn play(name: &str) {
    let text = fs::read_to_string(directory().join(format!("{name}.json"))).unwrap();
    let scenario: Scenario = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    if scenario.small_files && env::var_os(CHILD).is_none() {
        return play_with_small_files();
    }
    let mut stage = Stage::set(&scenario).await;
    for (number, step) in scenario.steps.iter().enumerate() {
        let _place = Place { name, number, shows: &scenario.shows };
        stage.take(step).await;
    }
}

/// Tells where a scenario failed: dropped while a step panics.
struct Place<'a> {
    name: &'a str,
    number: usize,
    shows: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Self { name, number, shows } = self;
        if thread::panicking() {
            let _ = writeln!(stderr(), "{name}, step {number}: it does not show that {shows}");
        }
    }
}

/// The test again, as a process that may let no file grow beyond a MiB: a write that reaches further
/// fails, as on a full disk.
fn play_with_small_files() {
    let name = thread::current().name().unwrap().to_owned();
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 1024 && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/renewal")
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                play(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_file_is_played() {
            let names: BTreeSet<_> = [$(stringify!($name).to_owned()),*].into();
            let files = fs::read_dir(directory()).unwrap().map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is none")).to_owned()
            });
            assert_eq!(files.collect::<BTreeSet<_>>(), names);
            assert!(names.len() >= 25);
        }
    };
}

scenarios! {
    an_outage_over_the_whole_advisory_window
    an_outage_past_expiry
    a_storm_of_429
    a_401_for_an_old_token
    a_401_for_the_current_token
    an_answer_that_has_expired
    an_answer_without_an_end
    a_clock_that_jumps_ahead
    a_clock_that_jumps_back
    a_one_time_password_refused
    a_revocation_by_another_host
    a_restart_while_fresh
    a_restart_while_advisory
    a_restart_while_mandatory
    a_restart_after_the_end
    a_restart_while_suspect
    a_restart_while_revoked
    a_restart_while_a_human_is_needed
    a_thundering_herd_at_the_start
    a_server_that_is_down_at_the_start
    the_same_token_again
    an_endpoint_that_is_gone
    an_unsigned_401_of_a_token_that_is_fine
    an_unsigned_401_of_a_token_that_is_dead
    a_suspect_whom_nobody_answers_for
    a_single_sign_on_that_is_wanted
    a_disk_that_fills_while_renewing
    an_unlocking_that_draws_to_its_end
    an_answer_to_create_that_is_lost
    a_token_that_nobody_renews
    readers_while_renewal_is_urgent
    readers_just_before_the_end
    readers_while_renewal_is_advised
    a_crash_loop_on_what_is_final
    a_refresh_token_that_is_spent
}
