//! The passphrase is changed under a vault at work: what it keeps stays, exactly one passphrase
//! opens it, and a kill at any point does not change that.
//!
//! The kill test runs itself again as the child, as `crash` does. The child spends without a
//! network: it signs, and the request is never sent, so that it counts for good.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, Desk, audited, coin, told, until, withdrawal};
use crate::victim::{self, Victim, random, say};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{Amount, AuditAction, Environment, Error, Login, Passphrase, StoreError, Vault};
use bitgo_vault::{VaultBuilder, WalletId};
use std::fs;
use std::io::{Write, stderr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const WRONG: &str = "wrong passphrase";

const KILLS_DEFAULT: u32 = 40;
/// The longest a child lives from its start, or from its first change.
const LIFE_MAX_MS: u64 = 200;

const NAME: &str = "passphrase::whatever_is_killed_exactly_one_passphrase_opens";

const AMOUNT: u128 = 3;
/// More than all children together can use up.
const LIMIT: u128 = 1 << 60;

/// The first and the second passphrase, between which all tests change.
fn passphrase(which: usize) -> Passphrase {
    Passphrase::new([desk::PASSPHRASE, "another one"][which])
}

async fn change(vault: &Vault, from: usize, to: usize) -> Result<(), String> {
    let changed = vault.change_passphrase(passphrase(from), passphrase(to)).await;
    changed.map_err(|error| told(&error))
}

/// The one of the two passphrases that opens the vault, and the vault.
async fn open(options: impl Fn() -> VaultBuilder) -> (usize, Vault) {
    let mut opened_by = Vec::new();
    for which in [0, 1] {
        match options().unlock(passphrase(which)).await {
            Ok(vault) => {
                vault.close().await.unwrap();
                opened_by.push(which);
            }
            Err(error) => assert_eq!(told(&error), WRONG),
        }
    }
    let &[which] = opened_by.as_slice() else { panic!("{opened_by:?} open it, not one") };
    (which, options().unlock(passphrase(which)).await.unwrap())
}

/// What happened to the vault itself, and how often.
async fn count(vault: &Vault, action: AuditAction) -> usize {
    let audit = vault.audit().await.unwrap();
    audit.into_iter().filter(|entry| entry.action == action && entry.token_id.is_none()).count()
}

#[tokio::test]
async fn a_changed_passphrase_opens_all_that_was_kept() {
    let desk = Desk::new().await;
    let id = desk.issue("bot", 1000).await.info.id;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase(0)).await.unwrap();
    desk.vault.send("bot", &desk.withdrawal(30)).await.unwrap();
    let spend = desk.withdrawal(40);
    let lease = desk.vault.lease("bot", &spend).unwrap();

    assert_eq!(change(&desk.vault, 0, 1).await, Ok(()));
    assert!(lease.sign().is_ok(), "a lease outlives the change");
    desk.vault.send("bot", &desk.withdrawal(50)).await.unwrap();
    let old = desk.vault.dangerous_allow_raw_exposure("bot", passphrase(0)).await;
    assert_eq!(told(&old.unwrap_err()), WRONG);
    let audit = audited(&desk.vault).await;
    let expect = [(AuditAction::ExposureAllowed, Some(id)), (AuditAction::PassphraseChanged, None)];
    assert!(audit.iter().copied().eq(expect), "{audit:?}");

    until(|| desk.counter("bot").allotted == Amount::ZERO).await;
    let (path, before) = (desk.path(), format!("{:?}", desk.vault.list()));
    desk.vault.close().await.unwrap();
    let options = || desk::options(&path, desk.bitgo.environment(), &desk.clock);
    let (which, vault) = open(options).await;
    assert_eq!(which, 1);
    assert_eq!(format!("{:?}", vault.list()), before);
    assert_eq!(audited(&vault).await, audit);
    vault.send("bot", &withdrawal(desk.wallet, 60)).await.unwrap();
    assert_eq!(desk.bitgo.spent(&coin()), Amount::new(30 + 50 + 60));
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let desk = Desk::new().await;
    let header = || fs::read(desk.path().join("header")).unwrap();
    let before = header();
    assert_eq!(change(&desk.vault, 1, 0).await.unwrap_err(), WRONG);
    let empty = desk.vault.change_passphrase(passphrase(0), Passphrase::new("")).await;
    assert!(matches!(empty, Err(Error::EmptyPassphrase)));
    let wrong = desk.vault.upgrade_kdf(passphrase(1), KdfParams::DEFAULT).await;
    assert_eq!(told(&wrong.unwrap_err()), WRONG);
    let weaker = KdfParams::new(8, 1, 1).unwrap();
    desk.vault.upgrade_kdf(passphrase(0), KdfParams::new(16, 1, 1).unwrap()).await.unwrap();
    assert_ne!(header(), before);
    let before = header();
    let weaker = desk.vault.upgrade_kdf(passphrase(0), weaker).await;
    assert!(matches!(weaker, Err(Error::Store(StoreError::WeakerKdf))));
    // What stands in the header's way is no reason to lose it.
    let in_the_way = desk.path().join("header.new");
    fs::create_dir(&in_the_way).unwrap();
    let refused = desk.vault.change_passphrase(passphrase(0), passphrase(1)).await;
    assert!(matches!(refused, Err(Error::Store(StoreError::Io(_)))), "{refused:?}");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(header(), before);

    let path = desk.path();
    desk.vault.close().await.unwrap();
    let (which, vault) = open(|| desk::options(&path, desk.bitgo.environment(), &desk.clock)).await;
    assert_eq!((which, vault.kdf().m_cost()), (0, 16));
    assert_eq!(count(&vault, AuditAction::KdfUpgraded).await, 1);
}

/// The change of the one is never undone by the other: each checks what the one before left.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_wins() {
    let desk = Desk::new().await;
    let (one, two) = tokio::join!(change(&desk.vault, 0, 1), change(&desk.vault, 0, 1));
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!((won, lost), (Ok(()), Err(WRONG.to_owned())));
    assert_eq!(change(&desk.vault, 1, 0).await, Ok(()));
    desk.reopened().await;
}

#[tokio::test]
async fn calibrated_costs_are_no_less_than_the_default() {
    let kdf = Vault::calibrate_kdf(Duration::from_millis(1), 0).await.unwrap();
    assert_eq!(kdf, KdfParams::DEFAULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_exactly_one_passphrase_opens() {
    if let Some(given) = victim::given() {
        return change_until_killed(&given).await;
    }
    let kills = victim::kills(KILLS_DEFAULT);
    let bitgo = Emulator::builder().without_traffic().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let options = || options(&path, bitgo.environment());
    let vault = options().create(passphrase(0)).await.unwrap();
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login).await.unwrap();
    let wallet = bitgo.wallet(&coin());
    vault.issue("desk", desk::spender("bot", wallet, LIMIT), bitgo.otp()).await.unwrap();
    let id = vault.status("bot").unwrap().info.id;
    vault.close().await.unwrap();

    let mut all = Said::default();
    let (mut mid_change, mut became, mut leftovers) = (0, 0, 0);
    for number in 0..kills {
        let now = all.which();
        let (place, paying) = (path.display().to_string(), wallet.to_string());
        let given = [&place, bitgo.url(), bitgo.server_xpub(), &paying, &now.to_string()];
        // Every other child lives until it has changed once; the rest die anywhere.
        let said = live_and_die(&given, number % 2 == 0).await;
        leftovers += u32::from(path.join("header.new").exists());
        let torn = said.begun > said.changed;
        all.changed += said.changed;
        all.spends += said.spends;

        let (which, vault) = open(options).await;
        if torn {
            mid_change += 1;
            became += u32::from(which != all.which());
            all.changed += usize::from(which != all.which());
        }
        assert_eq!(which, all.which(), "what was acknowledged holds");
        let status = vault.status("bot").unwrap();
        assert_eq!(status.info.id, id);
        let used = status.counters[&coin()].used().unwrap();
        assert!(used >= Amount::new(AMOUNT * all.spends), "{used} counted, {}", all.spends);
        let audited = count(&vault, AuditAction::PassphraseChanged).await;
        assert!(audited >= all.changed, "{audited} changes told of, {} made", all.changed);
        vault.close().await.unwrap();
    }
    // Past libtest, which keeps the words of tests that pass to itself.
    writeln!(
        stderr(),
        "{kills} kills, {mid_change} during a change ({became} had become the new one, \
         {leftovers} left a header behind), {} changes, {} spends",
        all.changed,
        all.spends,
    )
    .unwrap();
    assert!(all.changed >= kills as usize / 2, "too many children died before a change");
}

/// What children said before they died.
#[derive(Default)]
struct Said {
    begun: usize,
    changed: usize,
    spends: u128,
}

impl Said {
    /// The passphrase after this many changes back and forth.
    fn which(&self) -> usize {
        self.changed % 2
    }

    fn hear(&mut self, line: &str) {
        match line {
            "begun" => self.begun += 1,
            "changed" => self.changed += 1,
            "spent" => self.spends += 1,
            // libtest's own.
            _ => {}
        }
    }
}

async fn live_and_die(given: &[&str], until_changed: bool) -> Said {
    let victim = Victim::start(NAME, given);
    let mut said = Said::default();
    while until_changed && said.changed == 0 {
        said.hear(&victim.hear());
    }
    sleep(Duration::from_millis(random(LIFE_MAX_MS))).await;
    victim.kill().iter().for_each(|line| said.hear(line));
    said
}

fn options(path: &Path, environment: &Environment) -> VaultBuilder {
    desk::options(path, environment, &Arc::new(TokioClock::new()))
}

/// The child: the passphrase goes back and forth while others spend.
async fn change_until_killed(given: &[String]) {
    let [path, url, xpub, wallet, which] = given else { panic!("{given:?}") };
    let environment = Environment::custom(url, xpub).unwrap();
    let wallet: WalletId = wallet.parse().unwrap();
    let mut which: usize = which.parse().unwrap();
    let vault = options(Path::new(path), &environment).unlock(passphrase(which)).await.unwrap();
    for _ in 0..2 {
        tokio::spawn(spend(vault.clone(), wallet));
    }
    loop {
        say("begun");
        change(&vault, which, 1 - which).await.unwrap();
        say("changed");
        which = 1 - which;
        // Some are killed here, where it is certain which one opens.
        sleep(Duration::from_millis(random(8))).await;
    }
}

async fn spend(vault: Vault, wallet: WalletId) {
    let request = withdrawal(wallet, AMOUNT);
    loop {
        let lease = vault.lease_wait("bot", &request).await.unwrap();
        drop(lease.sign().unwrap());
        say("spent");
    }
}
