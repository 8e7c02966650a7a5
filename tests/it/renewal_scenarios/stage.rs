//! Where what a scenario says is done: a vault with one token, at its own emulator.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::script::{Call, Kind, Scenario, Seen, Step, Way};
use crate::desk::{Desk, bot, told};
use bitgo_vault::api::{CreateToken, OauthClient};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Alarm, ClientSecret, Clock, Event, Events, Label, RefreshToken, Request, Signed, TokenStatus,
};
use chrono::TimeDelta;
use http::HeaderMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Where what a scenario does is done.
pub(super) struct Stage {
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
    pub(super) async fn set(scenario: &Scenario) -> Self {
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

    pub(super) async fn take(&mut self, step: &Step) {
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
                Alarm::ClockSkew { .. } => "clock skew".into(),
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
