//! A token ends by the machine's clock or by BitGo's, whichever is later: one that was set back brings
//! none to life again.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{DAY, Desk, bot, coin, told, until};
use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{Amount, Label, Passphrase, Phase, Rule};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::sleep;

const ENDED: &str = "denied by expired";
const EXTEND: (&str, &str) = ("POST", "/api/v1/user/extendtoken");

/// BitGo is heard once the machine's clock was `ahead`, which is then set back to where it was.
async fn hear_then_set_back(desk: &Desk, ahead: TimeDelta) {
    desk.clock.jump(ahead);
    desk.vault.send("lasting", &desk.view()).await.unwrap();
    // With it goes to the disk what BitGo's clock showed.
    desk.vault.send("lasting", &desk.withdrawal(1)).await.unwrap();
    desk.clock.jump(-ahead);
}

async fn desk(builder: EmulatorBuilder) -> Desk {
    let desk = Desk::with(builder).await;
    let lasting = CreateToken::new(&Label::new("lasting").unwrap(), 10 * DAY);
    let lasting = lasting.scope("wallet_view_all".parse().unwrap());
    let lasting = lasting.scope("wallet_spend_all".parse().unwrap());
    desk.mint(lasting.spending_limit(&coin(), Amount::new(10))).await;
    desk
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_brings_no_token_to_life_again() {
    let desk = desk(Emulator::builder()).await;
    let token = bot("bot").scope("wallet_view_all".parse().unwrap());
    desk.mint(token.scope("wallet_spend_all".parse().unwrap())).await;
    let passphrase = || Passphrase::new(crate::desk::PASSPHRASE);
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let (view, spend) = (desk.view(), desk.withdrawal(0));
    let [signed, exposed] = [(); 2].map(|()| desk.vault.lease("bot", &view).unwrap());
    hear_then_set_back(&desk, TimeDelta::days(2)).await;

    assert_eq!(told(&signed.sign().unwrap_err()), ENDED, "a lease that was taken before");
    assert_eq!(told(&exposed.expose_token().await.unwrap_err()), ENDED);
    for request in [&view, &spend] {
        assert_eq!(told(&desk.vault.lease("bot", request).unwrap_err()), ENDED);
        assert_eq!(told(&desk.vault.lease_wait("bot", request).await.unwrap_err()), ENDED);
        assert_eq!(told(&desk.vault.send("bot", request).await.unwrap_err()), ENDED);
        let verdict = desk.vault.check("bot", request).unwrap();
        assert_eq!(verdict.verdict().unwrap_err().rule(), Rule::Expired);
    }
    assert_eq!(desk.vault.status("bot").unwrap().phase, Phase::Expired);
    assert_eq!(desk.vault.status("lasting").unwrap().phase, Phase::Fresh);
    let another = desk.spender("another", 1);
    let refused = desk.vault.issue("desk", another, desk.bitgo.otp()).await.unwrap_err();
    assert_eq!(told(&refused), ENDED, "a session ends as any token does");

    let desk = desk.reopened().await;
    let refused = desk.vault.lease("bot", &view).unwrap_err();
    assert_eq!(told(&refused), ENDED, "what BitGo's clock showed is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_put_renewal_off() {
    let builder = Emulator::builder().session_lifetime(Duration::from_secs(3600));
    let desk = desk(builder).await;
    desk.vault.login("token", desk.login().extensible()).await.unwrap();
    hear_then_set_back(&desk, TimeDelta::minutes(50)).await;
    assert_eq!(desk.vault.status("token").unwrap().phase, Phase::Advisory);
    sleep(Duration::from_secs(31)).await;
    until(|| desk.vault.status("token").unwrap().renewals == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_cuts_no_wait_short() {
    let lifetime = Duration::from_secs(4 * 3600);
    let desk = desk(Emulator::builder().session_lifetime(lifetime)).await;
    desk.vault.login("token", desk.login().extensible()).await.unwrap();
    let (method, path) = EXTEND;
    let busy = Fault::new(FaultKind::RetryAfter(3000)).on(method, path);
    desk.bitgo.inject(busy.times(u32::MAX));
    let asked = |desk: &Desk| desk.bitgo.requests(&format!("{method} {path}"));
    sleep(Duration::from_secs(3 * 3600 + 60)).await;
    until(|| asked(&desk) == 1).await;
    hear_then_set_back(&desk, TimeDelta::zero()).await;
    desk.clock.jump(TimeDelta::hours(-2));
    let desk = desk.reopened().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(asked(&desk), 1, "bitgo asked for more patience");
}
