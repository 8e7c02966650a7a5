//! A process that spends is killed at any point: what it had reserved stays counted, what it was
//! told is kept is there.
//!
//! The test runs itself again as the child. The server stays in the parent with its own limit off,
//! so that what holds is the vault's.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, coin, passphrase, told, until, withdrawal};
use crate::victim::{self, Victim, random, say};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Amount, Clock, Environment, Error, Login, Otp, Rule, TokenId, Vault, VaultBuilder,
};
use bitgo_vault::{TokenStatus, WalletId};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

const KILLS_DEFAULT: u32 = 500;
/// The longest a child lives from its start, or from its first spend.
const LIFE_MAX_MS: u64 = 60;

const NAME: &str = "crash::no_kill_spends_beyond_the_limit_or_loses_a_token";

/// As long as what was signed may be on its way, and a moment more.
const ON_ITS_WAY: Duration = Duration::from_secs(601);
const AMOUNT: u128 = 7;
/// Used up again and again, so that every kill is near the end of some token's budget.
const LIMIT: u128 = 30 * AMOUNT + 3;
const SPENDERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_spends_beyond_the_limit_or_loses_a_token() {
    if let Some(given) = victim::given() {
        return spend_until_killed(&given).await;
    }
    let kills = victim::kills(KILLS_DEFAULT);
    let clock = Arc::new(ShiftedClock::new());
    let bitgo = Emulator::builder().without_limits().without_traffic().clock(clock.clone());
    let bitgo = bitgo.start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let vault = options(&path, bitgo.environment()).create(passphrase()).await.unwrap();
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login).await.unwrap();
    vault.close().await.unwrap();

    let wallet = bitgo.wallet(&coin());
    let (place, paying, otp) = (path.display().to_string(), wallet.to_string(), bitgo.otp());
    let given = [&place, bitgo.url(), bitgo.server_xpub(), &paying, otp.expose()];
    let mut acknowledged = BTreeMap::new();
    let mut while_spending = 0;
    for number in 0..kills {
        let before = bitgo.spent(&coin());
        let child = Victim::start(NAME, &given);
        // Every other child lives until it spends; the rest die anywhere from their first step on.
        if number % 2 == 0 {
            until(|| bitgo.spent(&coin()) > before).await;
        }
        sleep(Duration::from_millis(random(LIFE_MAX_MS))).await;
        acknowledged.extend(child.kill().iter().filter_map(|line| kept(line)));
        while_spending += u32::from(bitgo.spent(&coin()) > before);

        let vault = options(&path, bitgo.environment()).unlock(passphrase()).await.unwrap();
        check(&bitgo, &vault, &acknowledged);
        vault.close().await.unwrap();
    }
    // Once nothing can be on its way any more, BitGo is asked: nothing that it refused stays counted.
    let options = options(&path, bitgo.environment()).clock(clock.clone());
    let vault = options.unlock(passphrase()).await.unwrap();
    clock.shift(ON_ITS_WAY);
    for TokenStatus { label, info, .. } in bots(&vault) {
        let after = vault.reconcile(label.as_str()).await.unwrap().counters[&coin()];
        let taken = bitgo.spent_by(info.id, &coin());
        assert_eq!((after.used(), after.uncertain), (Some(taken), Amount::ZERO), "{label}");
    }
    // What the last kill left is usable, to its end and not beyond.
    for TokenStatus { label, .. } in bots(&vault) {
        let spend = withdrawal(wallet, AMOUNT);
        while vault.send(label.as_str(), &spend).await.is_ok() {}
        let left = vault.status(label.as_str()).unwrap().counters[&coin()].left();
        assert!(left < Some(Amount::new(AMOUNT)), "{label} was denied with {left:?} left");
    }
    check(&bitgo, &vault, &acknowledged);
    let tokens = acknowledged.len();
    // Past libtest, which keeps the words of tests that pass to itself.
    writeln!(
        stderr(),
        "{kills} kills, {while_spending} while spending, over {tokens} tokens: {} of {} spent",
        bitgo.spent(&coin()),
        u128::try_from(bots(&vault).len()).unwrap() * LIMIT,
    )
    .unwrap();
    assert!(while_spending >= kills / 2, "too many children died before they could spend");
}

/// Neither more than the limit nor more than we count, and nothing that was acknowledged is gone.
fn check(bitgo: &Emulator, vault: &Vault, acknowledged: &BTreeMap<String, String>) {
    for (label, id) in acknowledged {
        let kept = vault.status(label).map(|status| status.info.id.to_string());
        assert_eq!(kept.ok().as_ref(), Some(id), "{label} was acknowledged");
    }
    for TokenStatus { label, info, counters, .. } in bots(vault) {
        let (counted, accepted) = (counters[&coin()], bitgo.spent_by(info.id, &coin()));
        assert!(accepted <= Amount::new(LIMIT), "{label}: {accepted} spent of {LIMIT}");
        assert!(Some(accepted) <= counted.used(), "{label}: {accepted} spent, {counted:?} counted");
        // What a sample has not resolved yet may be counted twice: as uncertain and as others'.
        let ours = counted.used().map(|used| used.saturating_sub(counted.foreign));
        assert!(ours <= Some(Amount::new(LIMIT)), "{label}: {counted:?}");
        assert!(counted.reserved == Amount::ZERO, "{label}: nothing is under way");
    }
}

fn bots(vault: &Vault) -> Vec<TokenStatus> {
    let mut tokens = vault.list();
    tokens.retain(|token| token.label.as_str() != "desk");
    tokens
}

fn options(path: &Path, environment: &Environment) -> VaultBuilder {
    desk::options(path, environment, &Arc::new(TokioClock::new()))
}

/// The machine's time, and on top of it what a test lets pass.
struct ShiftedClock {
    clock: TokioClock,
    shift_secs: AtomicU32,
}

impl ShiftedClock {
    fn new() -> Self {
        Self { clock: TokioClock::new(), shift_secs: AtomicU32::new(0) }
    }

    fn shift(&self, by: Duration) {
        self.shift_secs.fetch_add(u32::try_from(by.as_secs()).unwrap(), Ordering::Relaxed);
    }

    fn shifted(&self) -> Duration {
        Duration::from_secs(self.shift_secs.load(Ordering::Relaxed).into())
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + self.shifted()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + self.shifted()
    }
}

/// The label and the id of a token that the child was told is kept.
fn kept(line: &str) -> Option<(String, String)> {
    let (label, id) = line.strip_prefix("kept ")?.split_once(' ')?;
    Some((label.to_owned(), id.to_owned()))
}

/// The child: several tasks spend; when a token's limit is used up, the next one is issued.
async fn spend_until_killed(given: &[String]) {
    let [path, url, xpub, wallet, otp] = given else { panic!("{given:?}") };
    let environment = Environment::custom(url, xpub).unwrap();
    let wallet: WalletId = wallet.parse().unwrap();
    let vault = options(Path::new(path), &environment).unlock(passphrase()).await.unwrap();
    for number in bots(&vault).len().saturating_sub(1).. {
        let label = format!("bot-{number}");
        if vault.status(&label).is_err() {
            let id = issue(&vault, &label, wallet, otp).await;
            say(&format!("kept {label} {id}"));
        }
        let mut spenders = JoinSet::new();
        for _ in 0..SPENDERS {
            spenders.spawn(use_up(vault.clone(), label.clone(), wallet));
        }
        spenders.join_all().await;
    }
}

async fn issue(vault: &Vault, label: &str, wallet: WalletId, otp: &str) -> TokenId {
    let token = desk::spender(label, wallet, LIMIT);
    vault.issue("desk", token, Otp::new(otp)).await.unwrap().info.id
}

async fn use_up(vault: Vault, label: String, wallet: WalletId) {
    loop {
        match vault.send(&label, &withdrawal(wallet, AMOUNT)).await {
            Ok(_) => {}
            Err(Error::Denied(denied)) if denied.rule() == Rule::Limit => return,
            Err(error) => panic!("{}", told(&error)),
        }
    }
}
