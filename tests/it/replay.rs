//! A refusal that somebody on the way keeps, and shows for another request than it answered. The
//! server's own limit is off: what holds here is the vault's.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, told, until};
use bitgo_vault::api::{Client, ClientSettings, Distrust, RawAnswer};
use bitgo_vault::crypto::AuthVersion;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Error, Outcome, Request, Signed, Standing};
use chrono::TimeDelta;
use http::Method;
use std::time::Duration;

const LIMIT: u128 = 1000;
const SPEND: u128 = 100;
const SEVEN_MINUTES: TimeDelta = TimeDelta::minutes(7);
/// The versions whose answers do not say which request they answer.
const UNBOUND: [AuthVersion; 2] = [AuthVersion::V2, AuthVersion::V3];
const VERSIONS: [AuthVersion; 3] = [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4];

/// A desk whose bot sends with a client of its own, so that it sees every answer.
struct Bot {
    desk: Desk,
    client: Client,
}

impl Bot {
    async fn new(version: AuthVersion) -> Self {
        let desk = Desk::with(Emulator::builder().without_limits()).await;
        let options = desk.options().auth_version(version);
        let desk = desk.reopened_with(options).await;
        desk.issue("bot", LIMIT).await;
        let settings = ClientSettings::default();
        let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();
        Self { desk, client }
    }

    fn sign<'r>(&self, request: &'r Request) -> Result<Signed<'r>, Error> {
        self.desk.vault.lease("bot", request)?.sign()
    }

    async fn ask(&self, request: &Request, signed: &Signed<'_>) -> RawAnswer {
        let (headers, body) = (signed.headers(), request.body().to_vec());
        let (target, id) = (request.target(), signed.request_id());
        self.client.dispatch(Method::POST, target, headers, body, id).await.unwrap()
    }

    /// The next spend is refused, by an answer that is signed as any.
    fn refuse_the_next(&self) {
        let refusal = FaultKind::Status(400, "{}".into());
        self.desk.bitgo.inject(Fault::new(refusal).on("POST", "/tx/initiate"));
    }

    /// What the server refuses one unit with.
    async fn refusal(&self, signed: &Signed<'_>, request: &Request) -> RawAnswer {
        self.refuse_the_next();
        let refusal = self.ask(request, signed).await;
        assert_eq!(refusal.status, 400);
        refusal
    }

    /// Spends until the vault denies it, each time with `shown` in place of the server's answer.
    async fn spend_all(&self, shown: &RawAnswer) {
        let big = self.desk.withdrawal(SPEND);
        for _ in 0..3 * LIMIT / SPEND {
            let signed = match self.sign(&big) {
                Ok(signed) => signed,
                Err(error) => {
                    assert_eq!(told(&error), "denied by limit");
                    break;
                }
            };
            assert_eq!(self.ask(&big, &signed).await.status, 200);
            let outcome = finish(signed, shown);
            assert_ne!(outcome.ok(), Some(Outcome::Rejected), "it was accepted");
            self.check();
        }
        assert!(self.desk.spent() >= LIMIT - SPEND, "and all of the limit was of use");
    }

    fn check(&self) {
        let (used, spent) = (self.desk.used("bot"), self.desk.spent());
        assert!(spent <= LIMIT, "{spent} spent of {LIMIT}");
        assert!(used >= spent, "{used} counted, {spent} spent");
    }
}

/// Shows an answer without the id that it echoes: no HMAC covers that.
fn finish(signed: Signed<'_>, shown: &RawAnswer) -> Result<Outcome, Error> {
    let mut headers = shown.headers.clone();
    headers.remove("request-id");
    signed.finish(shown.status, &headers, &shown.body)
}

/// Lets the server's clock go on, so that what it says next is later.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}

#[tokio::test]
async fn a_genuine_refusal_gives_the_reservation_back() {
    for version in VERSIONS {
        let bot = Bot::new(version).await;
        let whole = bot.desk.withdrawal(LIMIT);
        for _ in 0..3 {
            let signed = bot.sign(&whole).unwrap();
            let refusal = bot.refusal(&signed, &whole).await;
            assert_eq!(finish(signed, &refusal).unwrap(), Outcome::Rejected);
            assert_eq!((bot.desk.used("bot"), bot.desk.spent()), (0, 0));
            a_moment().await;
        }
    }
}

#[tokio::test]
async fn a_refusal_shown_again_frees_nothing() {
    for version in VERSIONS {
        let bot = Bot::new(version).await;
        let small = bot.desk.withdrawal(1);
        let signed = bot.sign(&small).unwrap();
        let refusal = bot.refusal(&signed, &small).await;
        assert_eq!(finish(signed, &refusal).unwrap(), Outcome::Rejected);
        bot.spend_all(&refusal).await;
    }
}

#[tokio::test]
async fn a_refusal_withheld_until_the_server_was_heard_again_frees_nothing() {
    for version in VERSIONS {
        let bot = Bot::new(version).await;
        let small = bot.desk.withdrawal(1);
        let signed = bot.sign(&small).unwrap();
        let refusal = bot.refusal(&signed, &small).await;
        drop(signed);
        assert_eq!(bot.desk.used("bot"), 1, "no answer came");
        a_moment().await;
        bot.desk.vault.send("desk", &bot.desk.view()).await.unwrap();
        bot.spend_all(&refusal).await;
    }
}

/// Two under way, one refused: its refusal is the answer to one of them and no more.
/// What the server says to the vault's own calls is heard as well.
#[tokio::test]
async fn a_refusal_withheld_until_the_vault_itself_heard_the_server_frees_nothing() {
    for version in UNBOUND {
        let bot = Bot::new(version).await;
        let small = bot.desk.withdrawal(1);
        let signed = bot.sign(&small).unwrap();
        let refusal = bot.refusal(&signed, &small).await;
        drop(signed);
        a_moment().await;
        bot.desk.vault.fetch_internal("desk", "internal").await.unwrap();
        bot.spend_all(&refusal).await;
    }
}

#[tokio::test]
async fn a_refusal_shown_to_two_at_once_frees_one() {
    for version in UNBOUND {
        let bot = Bot::new(version).await;
        let spend = bot.desk.withdrawal(SPEND);
        let (refused, accepted) = (bot.sign(&spend).unwrap(), bot.sign(&spend).unwrap());
        let refusal = bot.refusal(&refused, &spend).await;
        assert_eq!(bot.ask(&spend, &accepted).await.status, 200);
        assert_eq!(finish(accepted, &refusal).unwrap(), Outcome::Rejected);
        assert_eq!(finish(refused, &refusal).unwrap(), Outcome::Uncertain);
        assert_eq!((bot.desk.used("bot"), bot.desk.spent()), (SPEND, SPEND));
        bot.spend_all(&refusal).await;
    }
}

#[tokio::test]
async fn a_refusal_from_before_the_vault_was_opened_frees_nothing() {
    for version in VERSIONS {
        let bot = Bot::new(version).await;
        let small = bot.desk.withdrawal(1);
        let signed = bot.sign(&small).unwrap();
        let refusal = bot.refusal(&signed, &small).await;
        assert_eq!(finish(signed, &refusal).unwrap(), Outcome::Rejected);
        let Bot { desk, client } = bot;
        a_moment().await;
        let options = desk.options().auth_version(version);
        let desk = desk.reopened_with(options).await;
        Bot { desk, client }.spend_all(&refusal).await;
    }
}

/// Whoever stands between can swap the answers of two under way. In versions 2 and 3 that can free
/// a spend that was made; in version 4 neither is believed, and both count.
#[tokio::test]
async fn answers_that_were_swapped_are_not_believed_in_version_4() {
    let bot = Bot::new(AuthVersion::V4).await;
    let spend = bot.desk.withdrawal(SPEND);
    let (refused, accepted) = (bot.sign(&spend).unwrap(), bot.sign(&spend).unwrap());
    let refusal = bot.refusal(&refused, &spend).await;
    let success = bot.ask(&spend, &accepted).await;
    assert_eq!(success.status, 200);
    for (signed, shown) in [(refused, &success), (accepted, &refusal)] {
        let error = finish(signed, shown).unwrap_err();
        assert!(matches!(error, Error::Untrusted(Distrust::HmacWrong)), "{error}");
    }
    assert_eq!((bot.desk.used("bot"), bot.desk.spent()), (2 * SPEND, SPEND));
    bot.spend_all(&refusal).await;
}

/// The answer of a request is its own, whenever it comes: its time need not be news.
#[tokio::test]
async fn a_late_refusal_in_version_4_still_frees_its_own() {
    let bot = Bot::new(AuthVersion::V4).await;
    let (small, view) = (bot.desk.withdrawal(1), bot.desk.view());
    let signed = bot.sign(&small).unwrap();
    let refusal = bot.refusal(&signed, &small).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    bot.desk.vault.send("desk", &view).await.unwrap();
    assert_eq!(finish(signed, &refusal).unwrap(), Outcome::Rejected);
    assert_eq!(bot.desk.used("bot"), 0);
}

#[tokio::test]
async fn a_refusal_frees_nothing_once_the_clock_was_corrected() {
    for version in UNBOUND {
        let bot = Bot::new(version).await;
        let small = bot.desk.withdrawal(1);
        let signed = bot.sign(&small).unwrap();
        bot.desk.clock.jump(-SEVEN_MINUTES);
        bot.desk.bitgo.set_clock_offset_ms(SEVEN_MINUTES.num_milliseconds());
        let asked = || bot.desk.bitgo.requests("GET /api/v2/user/session");
        let before = asked();
        bot.desk.vault.send("desk", &bot.desk.view()).await.unwrap_err();
        let is_good = || bot.desk.vault.status("desk").unwrap().standing == Standing::Good;
        until(|| asked() >= before + 3 && is_good()).await;
        let refusal = bot.refusal(&signed, &small).await;
        assert_eq!(finish(signed, &refusal).unwrap(), Outcome::Uncertain);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_at_the_opening_holds_up_no_refusal_for_as_long() {
    for version in UNBOUND {
        let Bot { desk, client } = Bot::new(version).await;
        let ahead = TimeDelta::hours(2);
        desk.clock.jump(ahead);
        desk.bitgo.set_clock_offset_ms(-ahead.num_milliseconds());
        let options = desk.options().auth_version(version);
        let desk = desk.reopened_with(options).await;
        desk.clock.jump(-ahead);
        desk.bitgo.set_clock_offset_ms(0);
        let bot = Bot { desk, client };
        bot.desk.vault.send("desk", &bot.desk.view()).await.unwrap();
        let small = bot.desk.withdrawal(1);
        // As old as what was heard may have been.
        for (wait, outcome) in [(0, Outcome::Uncertain), (17, Outcome::Rejected)] {
            tokio::time::sleep(Duration::from_secs(wait * 60)).await;
            let signed = bot.sign(&small).unwrap();
            let refusal = bot.refusal(&signed, &small).await;
            assert_eq!(finish(signed, &refusal).unwrap(), outcome, "{wait}");
        }
    }
}
