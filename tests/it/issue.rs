//! What is minted is kept, revoked, or told of: no token lives on that nobody knows.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, DAY, Desk, bot, passphrase, told, until};
use crate::victim::{self, Victim};
use bitgo_vault::api::{Auth, Client, ClientSettings, CreateToken, Page, TokenFlaw};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    AccessToken, Alarm, EnterpriseId, Environment, Error, Event, Label, Otp, Provider, Revocation,
    StoreError, TokenId, Vault,
};
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const MINT: (&str, &str) = ("POST", "/api/v2/user/accesstoken");
/// A token that came is asked for its own record before it is kept.
const RECORD: (&str, &str) = ("GET", "/api/v2/user/session");
const LIST: (&str, &str) = ("GET", "/api/v2/user/accesstoken");
const REVOKE: (&str, &str) = ("DELETE", "/api/v2/user/accesstoken");
/// Tells the child that it is one.
const CHILD: &str = "BITGO_VAULT_READ_ONLY_CHILD";

/// Fails the next call of this kind.
fn fail(desk: &Desk, (method, path): (&str, &str), kind: FaultKind) {
    desk.bitgo.inject(Fault::new(kind).on(method, path));
}

/// Fails all calls of this kind: the vault goes on looking for what it could not revoke.
fn fail_all(desk: &Desk, (method, path): (&str, &str), kind: FaultKind) {
    desk.bitgo.inject(Fault::new(kind).on(method, path).times(u32::MAX));
}

fn status(status: u16) -> FaultKind {
    FaultKind::Status(status, "{}".into())
}

async fn issue(desk: &Desk) -> Result<(), Error> {
    let minted = desk.vault.issue("desk", desk.spender("bot", 10), desk.bitgo.otp());
    minted.await.map(drop)
}

/// The tokens called `bot` that live at BitGo.
async fn living(desk: &Desk) -> Vec<TokenId> {
    let settings = ClientSettings::default();
    let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();
    let key = AuthKey::new(&AccessToken::new(desk.bitgo.secrets().swap_remove(0)));
    let auth = Auth::Hmac(&key, AuthVersion::V3);
    let page = client.list_tokens(auth, &Page::default()).await.unwrap();
    let records = page.records.into_iter();
    // At BitGo the label has a random suffix.
    let is_bot = |label: &str| label.strip_prefix("bot#").is_some_and(|suffix| suffix.len() == 16);
    records.filter(|record| record.label.as_deref().is_some_and(is_bot)).map(|bot| bot.id).collect()
}

#[tokio::test]
async fn a_token_that_does_not_prove_itself_is_revoked() {
    let desk = Desk::new().await;
    for (kind, expect) in [
        (status(503), "transient"),
        (status(404), "rejected"),
        (FaultKind::BadHmac, "hmac wrong"),
        (FaultKind::NoHmac, "hmac missing"),
        (FaultKind::DeadToken, "dead"),
        (FaultKind::DropBefore, "lost"),
        (FaultKind::TornBody, "lost"),
    ] {
        let printed = format!("{kind:?}");
        let revoked = desk.bitgo.requests("DELETE");
        fail(&desk, RECORD, kind);
        assert_eq!(told(&issue(&desk).await.unwrap_err()), expect, "{printed}");
        assert_eq!(desk.bitgo.requests("DELETE") - revoked, 1, "{printed}");
        assert_eq!(living(&desk).await, [], "{printed}");
        assert!(desk.vault.status("bot").is_err(), "{printed}");
    }
    issue(&desk).await.unwrap();
    let kept = desk.vault.status("bot").unwrap().info.id;
    assert_eq!(living(&desk).await, [kept], "the search finds what lives");
}

#[tokio::test]
async fn a_token_that_is_revoked_already_is_no_orphan() {
    let desk = Desk::new().await;
    fail(&desk, MINT, FaultKind::AlreadyExpired);
    assert_eq!(told(&issue(&desk).await.unwrap_err()), "dead");
    let refused = desk.bitgo.traffic().pop().unwrap();
    assert_eq!(refused.method, "DELETE");
    assert!(refused.answer_head.starts_with(b"HTTP/1.1 404"), "it is not found");
}

#[tokio::test]
async fn a_token_that_could_not_be_revoked_is_told_of_by_its_id() {
    for (kind, lives) in [
        (status(503), true),
        (status(403), true),
        (FaultKind::RetryAfter(1), true),
        (FaultKind::DropBefore, true),
        (FaultKind::Html, true),
        // Revoked, but nobody can know.
        (FaultKind::BadHmac, false),
        (FaultKind::DropAfterEffect, false),
    ] {
        let printed = format!("{kind:?}");
        let desk = Desk::new().await;
        fail(&desk, RECORD, status(503));
        fail_all(&desk, REVOKE, kind);
        match issue(&desk).await.unwrap_err() {
            Error::Orphaned { id, source } => {
                assert_eq!(told(&source), "transient", "{printed}: why it was not kept");
                if lives {
                    assert_eq!(living(&desk).await, [id], "{printed}");
                }
            }
            other => panic!("{printed}: {other}"),
        }
        assert!(desk.vault.status("bot").is_err(), "{printed}");
    }
}

/// A store that fails to write keeps nothing that is minted. The test runs itself again as a
/// child that may let no file grow beyond a MiB at most; a write that reaches further fails.
#[tokio::test]
async fn a_store_that_cannot_write_mints_nothing() {
    if env::var_os(CHILD).is_some() {
        return mint_where_nothing_can_be_written().await;
    }
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 1024 && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "issue::a_store_that_cannot_write_mints_nothing", "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("nothing was minted"), "the child did nothing: {said}");
}

async fn mint_where_nothing_can_be_written() {
    let desk = Desk::new().await;
    let addresses = (0..3000).map(|n| format!("10.0.{}.{}", n / 250, n % 250));
    let bulky = addresses
        .fold(bot("bulky").ip_restrict("127.0.0.1"), |token, address| token.ip_restrict(&address));
    desk.mint(bulky).await;
    let error = loop {
        // Each time the whole record is written.
        if let Err(error) = desk.vault.forbid_raw_exposure("bulky").await {
            break error;
        }
    };
    assert!(matches!(error, Error::Store(StoreError::ReadOnly { .. })), "{error}");
    let before = desk.bitgo.requests("");
    for (what, minted) in [
        ("issue", issue(&desk).await),
        ("fetch", desk.vault.fetch_internal("desk", "internal").await.map(drop)),
    ] {
        let error = minted.unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::ReadOnly { .. })), "{what}: {error}");
    }
    assert_eq!(desk.bitgo.requests(""), before, "bitgo was not asked");
    eprintln!("nothing was minted");
}

/// Anyone on the way can write that a token is not found.
#[tokio::test(start_paused = true)]
async fn an_unsigned_answer_does_not_say_that_a_token_is_gone() {
    let desk = Desk::with(Emulator::builder().session_lifetime(Duration::from_secs(36_000))).await;
    fail(&desk, RECORD, FaultKind::Unsigned(401, "{}".into()));
    fail_all(&desk, REVOKE, FaultKind::Unsigned(404, "{}".into()));
    let issued = issue(&desk).await;
    let living = living(&desk).await;
    match issued.unwrap_err() {
        Error::Orphaned { id, .. } => assert_eq!(living, [id]),
        other => panic!("{living:?} lives on, and nobody is told: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_answer_is_lost_is_found_and_revoked() {
    for (kind, told_as, minted) in [
        (FaultKind::DropAfterEffect, "lost", true),
        (FaultKind::TornBody, "lost", true),
        (FaultKind::BadHmac, "hmac wrong", true),
        (FaultKind::NoHmac, "hmac missing", true),
        (FaultKind::OtherRequestId, "other request", true),
        (FaultKind::DropBefore, "lost", false),
        (FaultKind::Html, "html", false),
        (status(503), "transient", false),
        (status(200), "malformed", false),
    ] {
        let printed = format!("{kind:?}");
        let desk = Desk::new().await;
        fail(&desk, MINT, kind);
        assert_eq!(told(&issue(&desk).await.unwrap_err()), told_as, "{printed}");
        assert_eq!(living(&desk).await, [], "{printed}");
        assert!(desk.vault.status("bot").is_err(), "{printed}");
        assert_eq!(desk.bitgo.requests("POST /api/v2/user/accesstoken"), 1, "{printed}: not again");
        assert_eq!(desk.bitgo.requests("DELETE"), usize::from(minted), "{printed}");
    }
}

#[tokio::test]
async fn a_refusal_that_the_server_signed_minted_nothing() {
    for kind in [status(400), status(401), status(403), FaultKind::RetryAfter(1)] {
        let desk = Desk::new().await;
        fail(&desk, MINT, kind.clone());
        issue(&desk).await.unwrap_err();
        assert_eq!(desk.bitgo.requests("GET /api/v2/user/accesstoken"), 0, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_looked_for_is_told_of_by_its_label() {
    let desk = Desk::new().await;
    for broken in [LIST, REVOKE] {
        fail(&desk, MINT, FaultKind::DropAfterEffect);
        fail_all(&desk, broken, status(503));
        let error = issue(&desk).await.unwrap_err();
        let living = desk.bitgo.living("bot#");
        match error {
            Error::Unresolved { label, source } => {
                assert!(label.starts_with("bot#") && broken == LIST, "{label}");
                assert_eq!(told(&source), "lost");
            }
            Error::Orphaned { id, source } => {
                assert!(broken == REVOKE && living.contains(&id));
                assert_eq!(told(&source), "lost");
            }
            other => panic!("{living:?} lives on, and nobody is told: {other}"),
        }
        desk.bitgo.clear_faults();
    }
}

#[tokio::test]
async fn what_is_advised_against_is_not_asked_for() {
    let desk = Desk::new().await;
    let label = Label::new("bot").unwrap();
    let before = desk.bitgo.requests("");
    for (token, flaw) in [
        (CreateToken::new(&label, DAY), TokenFlaw::NoSpendingLimit),
        (bot("bot").scope("user_manage".parse().unwrap()), TokenFlaw::UserManage),
        (bot("bot").ip_restrict("0.0.0.0/0"), TokenFlaw::Source("0.0.0.0/0".into())),
        (
            CreateToken::new(&label, 3651 * DAY).no_spending_limit(),
            TokenFlaw::Lifetime { days: 3651 },
        ),
    ] {
        let asked = Provider::closure(|| -> Result<Otp, _> { panic!("nobody is to be asked") });
        match desk.vault.issue("desk", token, asked).await.unwrap_err() {
            Error::UnfitToken(unfit) => assert_eq!(unfit.flaws(), [flaw]),
            other => panic!("{other}"),
        }
    }
    assert_eq!(desk.bitgo.requests(""), before, "nothing was sent");
}

#[tokio::test]
async fn the_enterprises_that_it_is_confined_to_are_known() {
    let desk = Desk::new().await;
    let enterprise = EnterpriseId::from_bytes([7; 16]);
    let minted = desk.mint(desk.spender("bot", 10).permitted_enterprise(enterprise)).await;
    assert_eq!(minted.info.permitted_enterprises, Some(vec![enterprise]));
    let desk = desk.reopened().await;
    let info = desk.vault.status("bot").unwrap().info;
    assert_eq!(info.permitted_enterprises, Some(vec![enterprise]));
}

/// The label at BitGo of what may have been minted, once it may.
async fn orphan(vault: &Vault) -> String {
    until(|| !vault.control_status().orphans.is_empty()).await;
    vault.control_status().orphans.remove(0)
}

/// The child: issues, and is killed before it hears the answer.
#[tokio::test]
async fn what_a_kill_leaves_at_bitgo_is_told_of_and_revoked() {
    if let Some(given) = victim::given() {
        let [path, url, xpub, otp] = &given[..] else { panic!("{given:?}") };
        let environment = Environment::custom(url, xpub).unwrap();
        let clock = Arc::new(TokioClock::new());
        let options = desk::options(Path::new(path), &environment, &clock);
        let vault = options.unlock(passphrase()).await.unwrap();
        let _ = vault.issue("desk", bot("bot"), Otp::new(otp.as_str())).await;
        panic!("it was to be killed");
    }
    let desk = Desk::new().await;
    // The call happens, and whoever made it is killed before it knows what became of it.
    fail(&desk, MINT, FaultKind::DropAfterEffect);
    let slow = Fault::new(FaultKind::Delay(DAY)).on(LIST.0, LIST.1);
    desk.bitgo.inject(slow.times(u32::MAX));
    let given = [
        desk.path().display().to_string(),
        desk.bitgo.url().to_owned(),
        desk.bitgo.server_xpub().to_owned(),
        desk.bitgo.otp().expose().to_owned(),
    ];
    let name = "issue::what_a_kill_leaves_at_bitgo_is_told_of_and_revoked";
    let mint = format!("{} {}", MINT.0, MINT.1);
    let before = desk.bitgo.requests(&mint);
    let options = desk.options();
    let (bitgo, dir) = desk.closed().await;
    let child = Victim::start(name, &given.each_ref().map(String::as_str));
    until(|| bitgo.requests(&mint) > before).await;
    child.kill();
    assert_eq!(bitgo.living("bot#").len(), 1);
    bitgo.clear_faults();

    // Nobody can look for it while BitGo lists nothing.
    let down = Fault::new(status(503)).on(LIST.0, LIST.1).times(u32::MAX);
    bitgo.inject(down);
    let vault = options.unlock(passphrase()).await.unwrap();
    let mut events = vault.events();
    let label = orphan(&vault).await;
    assert!(label.starts_with("bot#"), "{label}");
    loop {
        let event = events.next().await.unwrap();
        if let Event::Alarm { alarm: Alarm::Orphan { label: told, .. }, .. } = event {
            break assert_eq!(*told, *label);
        }
    }
    assert!(told(&vault.revoke(&label).await.unwrap_err()).contains("transient"));
    assert_eq!(vault.control_status().orphans, std::slice::from_ref(&label));
    bitgo.clear_faults();
    // Whoever is first, the vault by itself or who asks.
    let revoked = vault.revoke(&label).await;
    assert!(matches!(revoked, Ok(Revocation::Confirmed)), "{revoked:?}");
    assert_eq!(vault.control_status().orphans, Vec::<String>::new());
    assert_eq!(bitgo.living("bot#"), []);
    let unknown = vault.revoke(&label).await.unwrap_err();
    assert!(matches!(unknown, Error::NoSuchToken { .. }), "{unknown}");
    vault.issue("desk", bot("bot"), bitgo.otp()).await.unwrap();
    assert_eq!(vault.control_status().orphans, Vec::<String>::new());
    vault.close().await.unwrap();
    drop(dir);
}

/// At BitGo it is called something longer than any label of a token that is kept.
#[tokio::test]
async fn an_orphan_of_the_longest_label_is_revoked_by_what_it_is_called() {
    let desk = Desk::new().await;
    fail(&desk, MINT, FaultKind::DropAfterEffect);
    fail_all(&desk, LIST, status(503));
    let longest = "b".repeat(128);
    desk.vault.issue("desk", bot(&longest), desk.bitgo.otp()).await.unwrap_err();
    let label = orphan(&desk.vault).await;
    assert!(label.starts_with(&longest) && label.len() > 128, "{label}");
    assert_eq!(desk.bitgo.living(&longest).len(), 1);
    desk.bitgo.clear_faults();
    let revoked = desk.vault.revoke(&label).await;
    assert!(matches!(revoked, Ok(Revocation::Confirmed)), "{revoked:?}");
    assert_eq!(desk.bitgo.living(&longest), []);
    let unknown = desk.vault.revoke(&label).await.unwrap_err();
    assert!(matches!(unknown, Error::Word(_)), "{unknown}");
}
