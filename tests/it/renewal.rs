//! Renewal before the end: beside its use, over an outage, without a loop. Hours pass in virtual time.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, passphrase, told, until};
use bitgo_vault::api::{ClientSettings, Endpoint};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{Error, Need, Phase, TokenStatus};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);
/// Ten minutes: renewal begins at 6:40, is urgent from 9:00 on.
const LIFETIME: Duration = Duration::from_secs(600);
const EXTEND: (&str, &str) = ("POST", "/api/v1/user/extendtoken");
const INTERNAL: (&str, &str) = ("GET", "/api/v2/user/internalaccesstoken");
const WAYS: [(&str, &str); 2] = [EXTEND, INTERNAL];

fn ten_minutes() -> EmulatorBuilder {
    Emulator::builder().session_lifetime(LIFETIME).internal_lifetime(LIFETIME)
}

/// A vault that keeps one token, as `token`, and renews it by `way`.
async fn desk(way: (&str, &str), builder: EmulatorBuilder) -> Desk {
    let desk = Desk::empty(builder).await;
    if way == EXTEND {
        desk.vault.login("token", desk.login().extensible()).await.unwrap();
    } else {
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk.vault.fetch_internal("desk", "token").await.unwrap();
        desk.vault.remove("desk").await.unwrap();
    }
    desk
}

fn token(desk: &Desk) -> TokenStatus {
    desk.vault.status("token").unwrap()
}

fn asked(desk: &Desk, (method, path): (&str, &str)) -> usize {
    desk.bitgo.requests(&format!("{method} {path}"))
}

fn outage(desk: &Desk, way: (&str, &str), kind: FaultKind) {
    fault(desk, way, kind, u32::MAX);
}

fn fault(desk: &Desk, (method, path): (&str, &str), kind: FaultKind, times: u32) {
    desk.bitgo.inject(Fault::new(kind).on(method, path).times(times));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_moved_is_asked_where_the_vault_is_opened_to_ask() {
    let desk = desk(INTERNAL, ten_minutes()).await;
    let moved = desk.options().client(
        ClientSettings::default().retries(0).path(Endpoint::InternalToken, "/api/v2/user/moved"),
    );
    let desk = desk.reopened_with(moved).await;
    let gone = desk.vault.renew("token").await.unwrap();
    assert!(gone.last_error.unwrap().starts_with("the endpoint is gone"));
    assert_eq!((gone.need, gone.phase), (Some(Need::Endpoint), Phase::Fresh));
    desk.vault.send("token", &desk.view()).await.unwrap();
    let desk = desk.reopened().await;
    assert_eq!(token(&desk).need, Some(Need::Endpoint), "until it was asked");
    sleep(7 * MINUTE).await;
    until(|| token(&desk).renewals == 1).await;
    assert_eq!(token(&desk).need, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_once_a_window_and_used_all_day() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        let before = (token(&desk), asked(&desk, way));
        sleep(6 * MINUTE).await;
        assert_eq!((token(&desk), asked(&desk, way)), before, "fresh");
        for _ in 0..24 * 60 {
            sleep(MINUTE).await;
            desk.vault.send("token", &desk.view()).await.unwrap();
        }
        let after = token(&desk);
        assert_eq!((after.failures, &after.last_error), (0, &None));
        assert_eq!(after.info.id == before.0.info.id, way == EXTEND, "extended, or its successor");
        // Each lives 400 s of its 600 before it is renewed.
        assert!((214..=217).contains(&after.renewals), "{} renewals", after.renewals);
        assert_eq!((asked(&desk, way) - before.1) as u64, after.renewals, "one call for each");
    }
}

#[tokio::test(start_paused = true)]
async fn no_reader_waits_for_a_renewal_while_the_token_is_fresh_or_advisory() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        outage(&desk, way, FaultKind::Delay(20 * Duration::from_secs(1)));
        sleep(Duration::from_secs(405)).await;
        assert_eq!(token(&desk).phase, Phase::Advisory);
        let (view, start) = (desk.view(), Instant::now());
        for _ in 0..10 {
            drop(desk.vault.lease("token", &view).unwrap().sign().unwrap());
            drop(desk.vault.lease_wait("token", &view).await.unwrap().sign().unwrap());
            desk.vault.send("token", &view).await.unwrap();
        }
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
        assert_eq!(token(&desk).renewals, 0, "the renewal is on its way all the while");
        sleep(Duration::from_secs(20)).await;
        until(|| token(&desk).renewals == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_urgent_renewal_is_waited_for_a_second_and_no_longer() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        outage(&desk, way, FaultKind::Status(503, "{}".into()));
        sleep(Duration::from_secs(545)).await;
        desk.bitgo.clear_faults();
        outage(&desk, way, FaultKind::Delay(29 * Duration::from_secs(1)));
        sleep(Duration::from_secs(15)).await;
        assert_eq!(token(&desk).phase, Phase::Mandatory);
        let (view, start) = (desk.view(), Instant::now());
        let lease = desk.vault.lease_wait("token", &view).await.unwrap();
        let waited = start.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_millis(1100)).contains(&waited),
            "{waited:?}"
        );
        drop(lease.sign().unwrap());
        let at_once = Instant::now();
        drop(desk.vault.lease("token", &view).unwrap());
        assert_eq!(at_once.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_outlives_an_outage_of_its_whole_window() {
    for way in WAYS {
        for kind in [
            FaultKind::Status(500, "{}".into()),
            FaultKind::Status(424, "{}".into()),
            FaultKind::RetryAfter(5),
            FaultKind::DropBefore,
            FaultKind::Html,
            FaultKind::Status(401, "{}".into()),
            FaultKind::DeadToken,
            FaultKind::Status(404, "{}".into()),
        ] {
            let printed = format!("{way:?} {kind:?}");
            let desk = desk(way, ten_minutes()).await;
            let before = token(&desk);
            outage(&desk, way, kind);
            // To 4 seconds before its end.
            for _ in 0..596 {
                sleep(Duration::from_secs(1)).await;
                drop(desk.vault.lease("token", &desk.view()).expect(&printed));
            }
            desk.vault.send("token", &desk.view()).await.expect(&printed);
            let during = token(&desk);
            assert_eq!(during.info, before.info, "{printed}");
            assert!(during.failures >= 3, "{printed}: {} attempts", during.failures);
            assert!(during.failures < 60, "{printed}: {} attempts", during.failures);
            assert!(during.last_error.is_some(), "{printed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_once_the_outage_is_over() {
    for way in WAYS {
        for (kind, within) in [
            (FaultKind::Status(503, "{}".into()), 30),
            (FaultKind::RetryAfter(5), 30),
            (FaultKind::TornBody, 30),
            (FaultKind::NoHmac, 30),
            // What looks final is believed for a minute.
            (FaultKind::Status(404, "{}".into()), 61),
            (FaultKind::DeadToken, 61),
        ] {
            let printed = format!("{way:?} {kind:?}");
            let desk = desk(way, ten_minutes()).await;
            outage(&desk, way, kind);
            sleep(Duration::from_secs(500)).await;
            assert!(token(&desk).failures > 0, "{printed}");
            desk.bitgo.clear_faults();
            sleep(Duration::from_secs(within)).await;
            until(|| token(&desk).renewals == 1).await;
            let after = token(&desk);
            assert_eq!((after.failures, after.last_error), (0, None), "{printed}");
            sleep(LIFETIME).await;
            desk.vault.send("token", &desk.view()).await.expect(&printed);
        }
    }
}

/// More calls than there should be; then the server renews the token, which ends a loop.
const MANY: u32 = 100;

/// BitGo renews the internal token when it likes; until then the same one comes again.
#[tokio::test(start_paused = true)]
async fn an_internal_token_that_is_not_renewed_yet_is_not_asked_for_in_a_loop() {
    let desk = Desk::with(Emulator::builder().internal_lifetime(LIFETIME)).await;
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    let before = token(&desk);
    let id = before.info.id.to_string();
    // What it answers while it holds the token back: the traffic's last answer, again and again.
    let answered = desk.bitgo.traffic().into_iter().find(|exchange| {
        exchange.target == INTERNAL.1
            && exchange.answer_body.windows(32).any(|w| w == id.as_bytes())
    });
    let body = String::from_utf8(answered.unwrap().answer_body).unwrap();
    fault(&desk, INTERNAL, FaultKind::Status(200, body), MANY);
    let fetched = asked(&desk, INTERNAL);
    sleep(Duration::from_secs(590)).await;
    let during = token(&desk);
    assert_eq!((&during.info, during.renewals), (&before.info, 0));
    assert_eq!(
        during.last_error.as_deref(),
        Some("the server gave the same token with the same end again")
    );
    let calls = asked(&desk, INTERNAL) - fetched;
    assert!((5..40).contains(&calls), "{calls} calls in 190 seconds");
    desk.vault.send("token", &desk.view()).await.unwrap();
}

/// The answer that brings the token and the token's own record may tell its end a little apart.
#[tokio::test(start_paused = true)]
async fn an_end_told_in_two_ways_is_no_renewal() {
    let desk = Desk::with(Emulator::builder().internal_lifetime(LIFETIME)).await;
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    let before = token(&desk).info;
    let rounded = before.expires_at.unwrap().format("%FT%T.999Z");
    let (id, created) = (before.id, before.created_at.unwrap().format("%FT%T.000Z"));
    let record =
        format!(r#"{{"session":{{"id":"{id}","created":"{created}","expires":"{rounded}"}}}}"#);
    desk.vault.remove("token").await.unwrap();
    fault(&desk, ("GET", "/api/v2/user/session"), FaultKind::Status(200, record), MANY);
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    // BitGo gives the same token again, and its record never changes.
    let body = desk.bitgo.traffic().into_iter().rfind(|e| e.target == INTERNAL.1).unwrap();
    let body = String::from_utf8(body.answer_body).unwrap();
    fault(&desk, INTERNAL, FaultKind::Status(200, body), MANY);
    let fetched = asked(&desk, INTERNAL);
    sleep(Duration::from_secs(590)).await;
    let during = token(&desk);
    let unchanged = "the server gave the same token with the same end again";
    assert_eq!((during.renewals, during.last_error.as_deref()), (0, Some(unchanged)));
    let calls = asked(&desk, INTERNAL) - fetched;
    assert!((5..40).contains(&calls), "{calls} calls in 190 seconds");
}

/// A session of the same account is the better bearer, unless it is dead.
#[tokio::test(start_paused = true)]
async fn a_revoked_session_holds_up_no_other_token() {
    let desk = Desk::with(Emulator::builder().internal_lifetime(LIFETIME)).await;
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    desk.bitgo.revoke(desk.vault.status("desk").unwrap().info.id);
    sleep(Duration::from_secs(405)).await;
    until(|| token(&desk).renewals == 1).await;
    desk.vault.send("token", &desk.view()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_is_noticed_within_half_a_minute() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        sleep(Duration::from_secs(1)).await;
        desk.clock.jump(TimeDelta::seconds(405));
        sleep(Duration::from_secs(30)).await;
        until(|| token(&desk).renewals == 1).await;
        desk.clock.jump(TimeDelta::seconds(-405));
        desk.vault.send("token", &desk.view()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_is_asked_again_when_it_said() {
    let desk =
        desk(EXTEND, Emulator::builder().session_lifetime(3600 * Duration::from_secs(4))).await;
    outage(&desk, EXTEND, FaultKind::RetryAfter(600));
    sleep(3 * 60 * MINUTE + MINUTE).await;
    assert_eq!(asked(&desk, EXTEND), 1, "the window has just begun");
    sleep(50 * MINUTE).await;
    assert_eq!(asked(&desk, EXTEND), 6, "every ten minutes");
}

#[tokio::test(start_paused = true)]
async fn renewal_goes_on_after_reopening() {
    for way in WAYS {
        let mut desk = desk(way, ten_minutes()).await;
        for _ in 0..3 {
            sleep(Duration::from_secs(300)).await;
            desk = desk.reopened().await;
            assert_eq!(token(&desk).renewals, 0);
            sleep(Duration::from_secs(110)).await;
            until(|| token(&desk).renewals == 1).await;
            let renewed = token(&desk).info;
            desk = desk.reopened().await;
            let kept = token(&desk).info;
            let (kept, renewed) = ((kept.id, kept.expires_at), (renewed.id, renewed.expires_at));
            assert_eq!(kept, renewed, "a renewal is durable");
        }
        // Opened late: renewed at once.
        let (options, vault) = (desk.options(), desk.vault);
        vault.close().await.unwrap();
        sleep(Duration::from_secs(560)).await;
        let vault = options.unlock(passphrase()).await.unwrap();
        until(|| vault.status("token").unwrap().renewals == 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_vault_renews_nothing_and_a_removed_token_neither() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        let before = desk.bitgo.requests("");
        let clone = desk.vault.clone();
        assert!(matches!(clone.close().await, Err(Error::StillInUse)));
        sleep(3 * LIFETIME).await;
        assert_eq!(desk.bitgo.requests(""), before);

        let desk = self::desk(way, ten_minutes()).await;
        // Removed while its renewal is on its way.
        outage(&desk, way, FaultKind::Delay(20 * Duration::from_secs(1)));
        sleep(Duration::from_secs(405)).await;
        desk.vault.remove("token").await.unwrap();
        desk.bitgo.clear_faults();
        sleep(MINUTE).await;
        let before = asked(&desk, way);
        sleep(3 * LIFETIME).await;
        assert_eq!(asked(&desk, way), before);
        assert!(desk.reopened().await.vault.list().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_waited_for_and_comes_back() {
    // An internal token that has ended cannot ask for its successor; a session of the account can.
    let builder = Emulator::builder().internal_lifetime(LIFETIME).session_lifetime(24 * LIFETIME);
    let desk = Desk::with(builder).await;
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    outage(&desk, INTERNAL, FaultKind::Status(503, "{}".into()));
    sleep(LIFETIME + MINUTE).await;
    let view = desk.view();
    assert_eq!(token(&desk).phase, Phase::Expired);
    assert_eq!(told(&desk.vault.lease("token", &view).unwrap_err()), "denied by expired");
    desk.bitgo.clear_faults();
    // The next attempt may be a minute away.
    let lease = timeout(2 * MINUTE, desk.vault.lease_wait("token", &view)).await.unwrap();
    drop(lease.unwrap().sign().unwrap());
    assert_eq!(token(&desk).renewals, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_expired_token_hears_of_its_end_and_of_the_vaults() {
    for way in WAYS {
        for close in [false, true] {
            let desk = desk(way, ten_minutes()).await;
            // The next attempt is an hour away.
            outage(&desk, way, FaultKind::RetryAfter(3600));
            sleep(LIFETIME + MINUTE).await;
            let view = desk.view();
            let vault = desk.vault.clone();
            let waiting =
                tokio::spawn(async move { vault.lease_wait("token", &view).await.map(drop) });
            sleep(Duration::from_secs(1)).await;
            match close {
                false => desk.vault.remove("token").await.unwrap(),
                true => assert!(matches!(desk.vault.clone().close().await, Err(Error::StillInUse))),
            }
            let heard = timeout(MINUTE, waiting).await.expect("it waits for what never comes");
            let view = desk.view();
            let late = timeout(MINUTE, desk.vault.lease_wait("token", &view)).await;
            for error in
                [heard.unwrap().unwrap_err(), late.expect("so it does").map(drop).unwrap_err()]
            {
                match error {
                    Error::NoSuchToken { .. } => assert!(!close),
                    Error::Closed => assert!(close),
                    other => panic!("{other}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_an_expired_token_waits_90_seconds_and_no_longer() {
    for way in WAYS {
        let desk = desk(way, ten_minutes()).await;
        // The next attempt is an hour away.
        outage(&desk, way, FaultKind::RetryAfter(3600));
        sleep(LIFETIME + MINUTE).await;
        assert_eq!(token(&desk).phase, Phase::Expired);
        let (view, start) = (desk.view(), Instant::now());
        let error = desk.vault.lease_wait("token", &view).await.map(drop).unwrap_err();
        let waited = start.elapsed();
        assert_eq!(told(&error), "denied by expired");
        assert!((90..91).contains(&waited.as_secs()), "{waited:?}");
    }
}

/// A living session is the better bearer; a dead one is no reason to let the token end.
#[tokio::test(start_paused = true)]
async fn an_internal_token_outlives_the_session_that_fetched_it() {
    let desk = Desk::with(ten_minutes().session_lifetime(Duration::from_secs(365 * 86_400))).await;
    desk.vault.fetch_internal("desk", "token").await.unwrap();
    desk.bitgo.revoke(desk.vault.status("desk").unwrap().info.id);
    for renewals in 1..=3 {
        sleep(Duration::from_secs(405)).await;
        until(|| token(&desk).renewals == renewals).await;
        assert_eq!((token(&desk).failures, token(&desk).phase), (0, Phase::Fresh));
    }
    assert_ne!(desk.vault.status("desk").unwrap().phase, Phase::Expired, "as far as it knows");
    desk.vault.send("token", &desk.view()).await.unwrap();
}

/// What anyone on the way could have written is no reason to wait as if it were final.
#[tokio::test(start_paused = true)]
async fn an_unsigned_refusal_is_asked_about_again_at_once() {
    for way in WAYS {
        for status in [401, 403, 404] {
            let printed = format!("{way:?} {status}");
            let desk = desk(way, ten_minutes()).await;
            sleep(Duration::from_secs(399)).await;
            let before = asked(&desk, way);
            outage(&desk, way, FaultKind::Unsigned(status, "{}".into()));
            sleep(Duration::from_secs(6)).await;
            let during = token(&desk);
            assert!(asked(&desk, way) - before >= 3, "{printed}: {}", asked(&desk, way) - before);
            assert!(during.last_error.unwrap().contains("not signed"), "{printed}");
            desk.bitgo.clear_faults();
            sleep(Duration::from_secs(10)).await;
            until(|| token(&desk).renewals == 1).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_of_six_seconds_is_asked_for_more_than_once() {
    let six = || Emulator::builder().session_lifetime(Duration::from_secs(6));
    for kind in [FaultKind::DeadToken, FaultKind::Status(403, "{}".into())] {
        let printed = format!("{kind:?}");
        let dead = desk(EXTEND, six()).await;
        outage(&dead, EXTEND, kind.clone());
        sleep(Duration::from_millis(5990)).await;
        let attempts = asked(&dead, EXTEND);
        assert!((2..10).contains(&attempts), "{printed}: {attempts} attempts");

        let desk = desk(EXTEND, six()).await;
        desk.bitgo.inject(Fault::new(kind).on(EXTEND.0, EXTEND.1));
        sleep(Duration::from_millis(5500)).await;
        until(|| token(&desk).renewals == 1).await;
        desk.vault.send("token", &desk.view()).await.expect(&printed);
    }
}

#[tokio::test(start_paused = true)]
async fn windows_that_were_set_say_when_renewal_begins_and_is_urgent() {
    let desk = desk(EXTEND, ten_minutes()).await;
    let seconds = Duration::from_secs;
    let options = desk.options().renew_before(seconds(100)).urgent_before(seconds(20));
    let desk = desk.reopened_with(options).await;
    outage(&desk, EXTEND, FaultKind::Status(503, "{}".into()));
    for (passed, phase) in
        [(495, Phase::Fresh), (10, Phase::Advisory), (70, Phase::Advisory), (10, Phase::Mandatory)]
    {
        sleep(seconds(passed)).await;
        assert_eq!(token(&desk).phase, phase, "{passed}");
        assert_eq!(asked(&desk, EXTEND) > 0, phase != Phase::Fresh);
    }
    desk.bitgo.clear_faults();
    sleep(seconds(6)).await;
    until(|| token(&desk).renewals == 1).await;
}

/// The task is told of an attempt's end a little after whoever waits for it would be.
#[tokio::test(flavor = "multi_thread")]
async fn each_renewal_that_is_asked_for_after_another_is_made() {
    let desk = Desk::empty(Emulator::builder()).await;
    desk.vault.login("desk", desk.login().extensible()).await.unwrap();
    for renewals in 1..=30 {
        let renewed = timeout(MINUTE, desk.vault.renew("desk")).await;
        assert_eq!(renewed.expect("it hangs").unwrap().renewals, renewals);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_a_token_renewed_hears_that_it_was_revoked_meanwhile() {
    let desk = desk(EXTEND, ten_minutes()).await;
    fault(&desk, EXTEND, FaultKind::Delay(10 * MINUTE), 1);
    let vault = desk.vault.clone();
    let renewing = tokio::spawn(async move { vault.renew("token").await });
    sleep(Duration::from_secs(1)).await;
    desk.bitgo.inject(Fault::new(FaultKind::Status(503, "{}".into())).times(u32::MAX));
    desk.vault.revoke("token").await.unwrap();
    let renewed = timeout(Duration::from_secs(10), renewing).await.unwrap().unwrap().unwrap();
    assert!(renewed.is_revoked && renewed.renewals == 0, "{renewed:?}");
}

#[test]
fn who_has_a_token_renewed_hears_that_the_runtime_ended() {
    let [vaults, other] = [(); 2].map(|()| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    });
    let desk = vaults.block_on(desk(EXTEND, ten_minutes()));
    fault(&desk, EXTEND, FaultKind::Delay(10 * MINUTE), 1);
    other.block_on(async {
        let renew = || timeout(MINUTE, desk.vault.renew("token"));
        let end = async { vaults.shutdown_background() };
        let (renewed, ()) = tokio::join!(renew(), end);
        for renewed in [renewed, renew().await] {
            let error = renewed.expect("it hangs").unwrap_err();
            assert!(matches!(error, Error::Interrupted), "{error}");
        }
    });
}
