//! The store on a real disk: what was acknowledged is there, what was not is not half there.

mod audit;
mod compat;
mod copies;
mod freeze;
mod head;
mod index;
pub(super) mod place;
mod rekey;
mod review;
mod seals;
mod sled_faults;

use super::*;
use crate::coin_map::CoinMap;
use crate::crypto::KdfParams;
use crate::id::{LineageId, TokenId};
use crate::money::{Amount, Coin};
use crate::policy::{Charge, LocalRules, Moment, Outcome, Rule};
use crate::secret::{AccessToken, Passphrase};
use crate::token::{Label, Renewal, SpendingLimit, TokenInfo, TokenKind};
use chrono::{DateTime, Utc};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
const TOKEN: &str = "v2x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub(super) fn kdf() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse")
}

/// Overlayfs is where containers have their temporary directories.
pub(super) fn place(dir: &Path) -> Place {
    Place::new(dir).allow(FileSystem::Overlayfs)
}

pub(super) fn create(dir: &Path) -> Store {
    try_create(&place(dir)).unwrap()
}

fn try_create(place: &Place) -> Result<Store, StoreError> {
    Store::create(place, &passphrase(), kdf(), &Environment::Test, NOW)
}

pub(super) fn open(dir: &Path) -> Result<Store, StoreError> {
    open_with(dir, &passphrase(), &Environment::Test)
}

pub(super) fn open_with(
    dir: &Path,
    passphrase: &Passphrase,
    environment: &Environment,
) -> Result<Store, StoreError> {
    Store::open(&place(dir), passphrase, environment, NOW)
}

fn tbtc() -> Coin {
    Coin::new("tbtc").unwrap()
}

pub(super) fn charge(amount: u128) -> [Charge; 1] {
    [Charge::withdrawal(tbtc(), Amount::new(amount))]
}

/// A token that may spend 100 tbtc.
pub(super) fn add(store: &Store, label: &str) -> LineageId {
    let limit = SpendingLimit { limit: Some(Amount::new(100)), spent: Amount::ZERO };
    let record = TokenRecord {
        lineage: store.new_lineage().unwrap(),
        label: Label::new(label).unwrap(),
        account: Some("user".into()),
        renewal: Renewal::InternalToken,
        rules: LocalRules::default().into(),
        is_revoked: false,
        info: TokenInfo {
            id: TokenId::from_bytes([5; 16]),
            kind: TokenKind::LongLived,
            scopes: vec!["wallet_spend_all".parse().unwrap()],
            enterprise: None,
            permitted_wallets: Some(Vec::new()),
            permitted_enterprises: None,
            created_at: Some(DateTime::UNIX_EPOCH),
            expires_at: None,
            is_extensible: false,
            ip_restrict: vec!["10.0.0.0/24".into()],
            spending_limits: [(tbtc(), limit)].into(),
            erc20_limit: None,
            issued_in_clear: false,
        },
    };
    let secret = TokenSecret { token: AccessToken::new(TOKEN), extension_key: None };
    store.add_token(&record, &secret, None).unwrap();
    record.lineage
}

/// A token of which nothing is known but what it may spend.
pub(super) fn info_of(limits: impl Into<CoinMap<SpendingLimit>>) -> TokenInfo {
    TokenInfo::of_limits(TokenId::from_bytes([5; 16]), limits.into())
}

pub(super) fn used(store: &Store, lineage: LineageId) -> u128 {
    store.counters(lineage).unwrap()[&tbtc()].used().unwrap().base_units()
}

/// What the disk holds now, as a process killed here would leave it.
pub(super) fn killed_copy(dir: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    copied
}

/// Copies what a directory holds.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn tokens_come_back_as_they_were_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let before = format!("{:?}", store.tokens().unwrap()[0].0);
    drop(store);
    let store = open(dir.path()).unwrap();
    let tokens = store.tokens().unwrap();
    assert_eq!(format!("{:?}", tokens[0].0), before);
    let secret = store.open_secret(lineage, &tokens[0].1).unwrap();
    assert_eq!(secret.token.expose(), TOKEN);
}

#[test]
fn wrong_passphrase_is_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let wrong = open_with(dir.path(), &Passphrase::new("wrong"), &Environment::Test);
    assert!(matches!(wrong, Err(StoreError::WrongPassphrase)));
    let header = dir.path().join(header::FILE);
    let whole = fs::read(&header).unwrap();
    for (bytes, what) in [
        ([&whole[..20], &[whole[20] ^ 1], &whole[21..]].concat(), "its checksum"),
        (whole[..100].to_vec(), "its length"),
        (Vec::new(), "it is no vault header"),
    ] {
        fs::write(&header, bytes).unwrap();
        match open(dir.path()) {
            Err(StoreError::DamagedHeader { what: told }) => assert_eq!(told, what),
            other => panic!("{:?}", other.err()),
        }
    }
    fs::remove_file(&header).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::DamagedHeader { .. })));
    let again = try_create(&place(dir.path()));
    assert!(matches!(again, Err(StoreError::DamagedHeader { .. })), "nothing is overwritten");
    fs::write(&header, whole).unwrap();
    assert!(open(dir.path()).is_ok(), "nothing was lost by trying");
}

#[test]
fn a_vault_is_bound_to_its_environment() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let other = open_with(dir.path(), &passphrase(), &Environment::Prod);
    assert!(matches!(other, Err(StoreError::OtherEnvironment { .. })));
    let root = Environment::Test.root_uri();
    let other_key = Environment::custom(root, Environment::Prod.server_xpub()).unwrap();
    let other = open_with(dir.path(), &passphrase(), &other_key);
    assert!(matches!(other, Err(StoreError::OtherEnvironment { .. })), "the server key counts");
}

/// Killed while sled opens, it leaves a snapshot that is not yet one.
#[test]
fn a_snapshot_cut_short_does_not_keep_a_vault_shut() {
    let dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    let whole = fs::read_dir(dir.path().join("db.0")).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_snapshot = entry.file_name().to_string_lossy().starts_with("snap.");
        is_snapshot.then(|| fs::read(entry.path()).unwrap())
    });
    for left in [Vec::new(), vec![0xa5; 200], whole.unwrap_or_default()] {
        for number in ["0000000000000350", "7FFFFFFFFFFFFFFF"] {
            let unfinished = dir.path().join(format!("db.0/snap.{number}.generating"));
            fs::write(&unfinished, &left).unwrap();
            let store = open(dir.path()).unwrap();
            assert!(!unfinished.exists());
            store.reserve_alone(&lineage, &charge(1)).unwrap();
        }
    }
    assert_eq!(used(&open(dir.path()).unwrap(), lineage), 6);
}

#[test]
fn a_reservation_outlives_a_kill_as_spent() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(30)).unwrap();
    store.reserve_alone(&lineage, &charge(40)).unwrap();
    let killed = killed_copy(dir.path());
    let reopened = open(killed.path()).unwrap();
    assert_eq!(used(&reopened, lineage), 70);
    assert!(matches!(
        reopened.reserve_alone(&lineage, &charge(31)),
        Err(LedgerError::Denied(denied)) if denied.rule() == Rule::Limit
    ));
    reopened.reserve_alone(&lineage, &charge(30)).unwrap();
}

#[test]
fn settlements_are_kept_by_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    for (amount, outcome) in [
        (1, Outcome::Accepted),
        (2, Outcome::Pending),
        (4, Outcome::Uncertain),
        (8, Outcome::Rejected),
    ] {
        store.reserve_alone(&lineage, &charge(amount)).unwrap();
        store.settle_latest(&lineage, &charge(amount), outcome);
    }
    let mut counters = store.counters(lineage).unwrap();
    assert_eq!(used(&store, lineage), 7);
    assert_eq!(counters[&tbtc()].allotted, Amount::new(8), "what was refused");
    drop(store);
    // It is returned by a clean close, and by nothing less.
    counters.at_mut(0).unwrap().allotted = Amount::ZERO;
    assert_eq!(open(dir.path()).unwrap().counters(lineage).unwrap(), counters);
}

#[test]
fn what_is_allotted_counts_as_spent_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(8)).unwrap();
    store.settle_latest(&lineage, &charge(8), Outcome::Rejected);
    let killed = killed_copy(dir.path());
    assert_eq!(used(&open(killed.path()).unwrap(), lineage), 8);
    (0..9).for_each(|_| store.ledger.post());
    let allotted = || store.counters(lineage).unwrap()[&tbtc()].allotted;
    assert_eq!(allotted(), Amount::ZERO, "an idle book returns it");
    // Behind this commit the return is durable.
    store.renew_budget(lineage).unwrap();
    assert_eq!(used(&open(killed_copy(dir.path()).path()).unwrap(), lineage), 0);
}

#[test]
fn a_lost_ledger_spends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.commit(vec![Write::remove(Tree::Ledger, Key::Id(*lineage.as_bytes()))]).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    match store.reserve_alone(&lineage, &charge(1)) {
        Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::Unreconciled),
        other => panic!("{other:?}"),
    }
}

#[test]
fn spends_without_a_limit_are_denied() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let other = [Charge::withdrawal(Coin::new("teth").unwrap(), Amount::new(1))];
    match store.reserve_alone(&lineage, &other) {
        Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::NoLimit),
        other => panic!("{other:?}"),
    }
    let both = [charge(1)[0].clone(), other[0].clone()];
    assert!(store.reserve_alone(&lineage, &both).is_err());
    assert_eq!(used(&store, lineage), 0, "all charges or none");
}

#[test]
fn threads_share_a_limit_to_the_last_unit() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let made: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..20).filter(|_| store.reserve_alone(&lineage, &charge(1)).is_ok()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(made, 100);
    assert_eq!(used(&store, lineage), 100);
}

#[test]
fn a_removed_token_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let (record, sealed) = store.tokens().unwrap().remove(0);
    let secret = store.open_secret(lineage, &sealed).unwrap();
    store.remove_token(lineage).unwrap();
    let renewed = store.replace_token(&record, &secret, 1);
    assert!(matches!(renewed, Err(StoreError::Removed)));
    store.settle_latest(&lineage, &charge(1), Outcome::Accepted);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert!(store.tokens().unwrap().is_empty());
    assert!(store.counters(lineage).is_none());
}

#[test]
fn the_audit_chain_shows_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let (id, now) = (TokenId::from_bytes([5; 16]), DateTime::UNIX_EPOCH);
    for action in [AuditAction::ExposureAllowed, AuditAction::Exposed, AuditAction::Exposed] {
        store.append_audit(action, id, None, now).unwrap();
    }
    drop(store);
    let store = open(dir.path()).unwrap();
    let told: Vec<_> = store.audit().unwrap().into_iter().map(|entry| entry.action).collect();
    assert_eq!(told, [AuditAction::ExposureAllowed, AuditAction::Exposed, AuditAction::Exposed]);
    let second = Key::Text(1u64.to_be_bytes().to_vec());
    store.commit(vec![Write::remove(Tree::Audit, second)]).unwrap();
    assert!(matches!(store.audit(), Err(StoreError::Unreadable { tree: "audit", .. })));
}

#[test]
fn an_exposed_token_gives_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(60)).unwrap();
    store.exhaust(lineage, 1).unwrap();
    store.settle_latest(&lineage, &charge(60), Outcome::Rejected);
    assert_eq!(used(&store, lineage), 100);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(used(&store, lineage), 100);
    assert!(store.reserve_alone(&lineage, &charge(1)).is_err());
}

#[test]
fn a_successor_may_only_tighten_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let (mut record, sealed) = store.tokens().unwrap().remove(0);
    let secret = store.open_secret(lineage, &sealed).unwrap();
    for (limit, expect) in [(500, 100), (40, 40), (60, 40)] {
        let limit = SpendingLimit { limit: Some(Amount::new(limit)), spent: Amount::ZERO };
        record.info.spending_limits = [(tbtc(), limit)].into();
        store.replace_token(&record, &secret, 1).unwrap();
        assert_eq!(store.counters(lineage).unwrap()[&tbtc()].limit, Some(Amount::new(expect)));
    }
}

#[test]
fn scopes_of_later_years_spoil_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let (mut record, sealed) = store.tokens().unwrap().remove(0);
    let secret = store.open_secret(lineage, &sealed).unwrap();
    for word in ["Wallet-Teleport.v2", "wallet_spend:nothex", &"x".repeat(500), ""] {
        record.info.scopes.push(crate::scope::Scope::of_server(word));
    }
    store.replace_token(&record, &secret, 1).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap().tokens().unwrap()[0].0.info, record.info);
}

#[test]
fn nothing_on_disk_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "market maker");
    drop(store);
    let log = fs::read(dir.path().join("db.0/db")).unwrap();
    let contains = |text: &[u8]| log.windows(text.len()).any(|window| window == text);
    assert!(contains(lineage.as_bytes()), "the search finds what is there: a record's name");
    for text in [TOKEN, "market maker", "tbtc", "wallet_spend", "10.0.0.0", "bitgo-test", "user"] {
        assert!(!contains(text.as_bytes()), "{text} stands on disk");
    }
    assert!(!contains(&[5; 16]), "the token's id stands on disk");
}

#[test]
fn a_removed_tokens_allotment_is_drawn_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let escrow = store.escrow(lineage).unwrap();
    store.reserve_alone(&lineage, &charge(8)).unwrap();
    store.settle_latest(&lineage, &charge(8), Outcome::Rejected);
    let draw = || escrow.draw_allotted(&charge(1), Moment { server_ms: 1, ..Moment::default() });
    assert!(draw().is_some());
    store.remove_token(lineage).unwrap();
    assert!(draw().is_none());
}
