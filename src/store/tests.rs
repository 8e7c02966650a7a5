//! The store on a real disk: what was acknowledged is there, what was not is not half there.

use super::*;
use crate::id::{LineageId, TokenId};
use crate::money::{Amount, Coin};
use crate::policy::{Charge, Ledger, LocalRules, Outcome, Rule};
use crate::secret::AccessToken;
use crate::token::{Label, Renewal, SpendingLimit, TokenInfo, TokenKind};
use chrono::DateTime;
use std::os::unix::fs::PermissionsExt;

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

pub(super) fn try_create(place: &Place) -> Result<Store, StoreError> {
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
    [Charge { coin: tbtc(), amount: Amount::new(amount) }]
}

/// A token that may spend 100 tbtc.
pub(super) fn add(store: &Store, label: &str) -> LineageId {
    let limit = SpendingLimit { limit: Some(Amount::new(100)), spent: Amount::ZERO };
    let record = TokenRecord {
        lineage: store.new_lineage().unwrap(),
        label: Label::new(label).unwrap(),
        account: Some("user".into()),
        renewal: Renewal::InternalToken,
        rules: LocalRules::default(),
        info: TokenInfo {
            id: TokenId::from_bytes([5; 16]),
            kind: TokenKind::LongLived,
            scopes: vec!["wallet_spend_all".parse().unwrap()],
            enterprise: None,
            permitted_wallets: Some(Vec::new()),
            created_at: Some(DateTime::UNIX_EPOCH),
            expires_at: None,
            is_extensible: false,
            ip_restrict: vec!["10.0.0.0/24".into()],
            spending_limits: [(tbtc(), limit)].into(),
            issued_in_clear: false,
        },
    };
    let secret = TokenSecret { token: AccessToken::new(TOKEN), extension_key: None };
    store.add_token(&record, &secret, None).unwrap();
    record.lineage
}

pub(super) fn used(store: &Store, lineage: LineageId) -> u128 {
    store.counters(lineage).unwrap()[&tbtc()].used().unwrap().base_units()
}

/// What the disk holds now, as a process killed here would leave it.
pub(super) fn killed_copy(dir: &Path) -> tempfile::TempDir {
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
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    copied
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
fn one_process_holds_a_vault() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    match open(dir.path()) {
        Err(StoreError::InUse { path, holder: Some(holder) }) => {
            assert_eq!((path.as_path(), holder.pid), (dir.path(), std::process::id()));
            assert_eq!(holder.opened_at, NOW);
        }
        other => panic!("{:?}", other.err()),
    }
    // With the wrong passphrase it is the same: the key is not even derived.
    let wrong = open_with(dir.path(), &Passphrase::new("wrong"), &Environment::Test);
    assert!(matches!(wrong, Err(StoreError::InUse { .. })));
    drop(store);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_lock_file_removed_while_held_lets_no_second_one_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::InUse { holder: None, .. })));
    drop(store);
    assert!(open(dir.path()).is_ok());
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

/// What is refused, by the name of its last component, and why.
fn refusal(result: Result<Store, StoreError>) -> (String, &'static str) {
    match result.map(drop) {
        Err(StoreError::UnsafeDirectory { path, why }) => {
            (path.file_name().unwrap().to_string_lossy().into_owned(), why)
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_that_others_can_write_to_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    drop(create(&dir));
    for (name, unsafe_mode, own) in [
        ("", 0o770, 0o700),
        ("", 0o702, 0o755),
        ("db.0", 0o720, 0o700),
        (header::FILE, 0o606, 0o600),
        ("LOCK", 0o660, 0o600),
    ] {
        set_mode(&dir.join(name), unsafe_mode);
        let (path, why) = refusal(open(&dir));
        assert_eq!(path, if name.is_empty() { "vault" } else { name });
        assert!(why.starts_with("others can write to it; chmod"), "{name}: {why}");
        set_mode(&dir.join(name), own);
    }
    open(&dir).unwrap();
    assert!(matches!(open(&dir.join("none")), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_parent_is_not_judged() {
    let parent = tempfile::tempdir().unwrap();
    set_mode(parent.path(), 0o2775);
    drop(create(&parent.path().join("vault")));
    open(&parent.path().join("vault")).unwrap();
}

#[test]
fn links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, link) = (dir.path().join("vault"), dir.path().join("link"));
    let is_link = "it is a symbolic link";
    std::os::unix::fs::symlink(&vault, &link).unwrap();
    assert_eq!(refusal(try_create(&place(&link))), ("link".into(), is_link), "it leads nowhere");
    assert!(!vault.exists());
    drop(create(&vault));
    for written in [link.clone(), dir.path().join("link/"), dir.path().join("link/.")] {
        assert_eq!(refusal(open(&written)), ("link".into(), is_link));
        assert_eq!(refusal(try_create(&place(&written))), ("link".into(), is_link));
    }
    for name in [header::FILE, "header.new", "LOCK", CREATING, "db.0", "db.0/db"] {
        let (there, kept) = (vault.join(name), dir.path().join("kept"));
        let was_there = fs::rename(&there, &kept).is_ok();
        std::os::unix::fs::symlink(&kept, &there).unwrap();
        let last = name.strip_prefix("db.0/").unwrap_or(name);
        assert_eq!(refusal(open(&vault)), (last.into(), is_link));
        fs::remove_file(&there).unwrap();
        if was_there {
            fs::rename(&kept, &there).unwrap();
        }
    }
    open(&vault).unwrap();
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    for name in [header::FILE, "LOCK"] {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        set_mode(&path, 0o600);
        assert_eq!(refusal(open(dir.path())), (name.into(), "it is not a plain file"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        set_mode(&path, 0o600);
    }
    open(dir.path()).unwrap();
    let file = dir.path().join(header::FILE);
    assert_eq!(refusal(try_create(&place(&file))), ("header".into(), "it is not a directory"));
}

/// Only root gives things away, and not in every container; anyone else finds `/` to be another's.
#[test]
fn what_belongs_to_others_is_refused() {
    use std::os::unix::fs::{MetadataExt, chown};
    let foreign = "it belongs to another user";
    let own = rustix::process::geteuid().as_raw();
    if fs::metadata("/").unwrap().uid() != own {
        match try_create(&place(Path::new("/"))).map(drop) {
            Err(StoreError::UnsafeDirectory { why, .. }) => assert_eq!(why, foreign),
            other => panic!("{other:?}"),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    drop(create(&dir));
    if own != 0 || chown(dir.join("LOCK"), Some(1), None).is_err() {
        return;
    }
    for name in ["LOCK", header::FILE, "db.0", "db.0/db", ""] {
        let path = dir.join(name);
        chown(&path, Some(1), None).unwrap();
        let (refused, why) = refusal(open(&dir));
        assert_eq!((Some(&*refused), why), (path.file_name().unwrap().to_str(), foreign));
        chown(&path, Some(0), None).unwrap();
    }
    open(&dir).unwrap();
}

#[test]
fn file_systems_are_refused_unless_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    drop(create(&old));
    for (magic, name) in [
        (0x6969, FileSystem::Nfs),
        (0xfe53_4d42, FileSystem::Cifs),
        (0x794c_7630, FileSystem::Overlayfs),
    ] {
        let on = |path: &Path| Place::new(path).seeming(magic);
        let open = |place| Store::open(&place, &passphrase(), &Environment::Test, NOW);
        let others = [FileSystem::Nfs, FileSystem::Cifs, FileSystem::Overlayfs];
        let others = others.into_iter().filter(|other| *other != name);
        let wrong = others.fold(on(&old), Place::allow);
        for refused in [try_create(&on(&new)), open(on(&old)), open(wrong)] {
            match refused.map(drop) {
                Err(StoreError::UnsafeFileSystem { file_system, .. }) => {
                    assert_eq!(file_system, name);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fs::read_dir(&new).unwrap().count(), 0, "nothing is written there");
        open(on(&old).allow(name)).unwrap();
    }
    let local = Place::new(&new).seeming(0xef53);
    drop(try_create(&local).unwrap());
}

#[test]
fn a_creation_cut_short_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    fs::remove_file(dir.path().join(header::FILE)).unwrap();
    fs::write(dir.path().join(CREATING), b"").unwrap();
    drop(create(dir.path()));
    assert!(open(dir.path()).is_ok());
    let again = try_create(&place(dir.path()));
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
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
            store.reserve(&lineage, &charge(1)).unwrap();
        }
    }
    assert_eq!(used(&open(dir.path()).unwrap(), lineage), 6);
}

#[test]
fn a_reservation_outlives_a_kill_as_spent() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve(&lineage, &charge(30)).unwrap();
    store.reserve(&lineage, &charge(40)).unwrap();
    let killed = killed_copy(dir.path());
    let reopened = open(killed.path()).unwrap();
    assert_eq!(used(&reopened, lineage), 70);
    assert!(matches!(
        reopened.reserve(&lineage, &charge(31)),
        Err(LedgerError::Denied(denied)) if denied.rule() == Rule::Limit
    ));
    reopened.reserve(&lineage, &charge(30)).unwrap();
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
        store.reserve(&lineage, &charge(amount)).unwrap();
        store.settle(&lineage, &charge(amount), outcome);
    }
    let counters = store.counters(lineage);
    assert_eq!(used(&store, lineage), 7);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().counters(lineage), counters);
}

#[test]
fn a_lost_ledger_spends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let name = *lineage.as_bytes();
    store.commit(vec![Write { tree: Tree::Ledger, name, value: None }]).unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    match store.reserve(&lineage, &charge(1)) {
        Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::Unreconciled),
        other => panic!("{other:?}"),
    }
}

#[test]
fn spends_without_a_limit_are_denied() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let other = [Charge { coin: Coin::new("teth").unwrap(), amount: Amount::new(1) }];
    match store.reserve(&lineage, &other) {
        Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::NoLimit),
        other => panic!("{other:?}"),
    }
    let both = [charge(1)[0].clone(), other[0].clone()];
    assert!(store.reserve(&lineage, &both).is_err());
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
                    (0..20).filter(|_| store.reserve(&lineage, &charge(1)).is_ok()).count()
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
    let renewed = store.replace_token(&record, &secret);
    assert!(matches!(renewed, Err(StoreError::Removed)));
    store.settle(&lineage, &charge(1), Outcome::Accepted);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert!(store.tokens().unwrap().is_empty());
    assert!(store.counters(lineage).is_none());
}

#[test]
fn records_moved_or_swapped_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let (one, two) = (*add(&store, "one").as_bytes(), *add(&store, "two").as_bytes());
    let sealed = store.get(Tree::Tokens, &one).unwrap().unwrap().to_vec();
    store.commit(vec![Write { tree: Tree::Tokens, name: two, value: Some(sealed) }]).unwrap();
    assert!(matches!(store.tokens(), Err(StoreError::Damaged { tree: "tokens", .. })));
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
    let told: Vec<_> = store.audit().unwrap().into_iter().map(|entry| entry.1).collect();
    assert_eq!(told, [AuditAction::ExposureAllowed, AuditAction::Exposed, AuditAction::Exposed]);
    let second = store.names.name("audit", &1u64.to_be_bytes());
    store.commit(vec![Write { tree: Tree::Audit, name: second, value: None }]).unwrap();
    assert!(matches!(store.audit(), Err(StoreError::Damaged { tree: "audit", .. })));
}

#[test]
fn seals_are_granted_durably_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let granted = || Header::read(dir.path()).unwrap().seals;
    assert_eq!(granted(), SEALS_FIRST);
    lock(&store.header).used = SEALS_FIRST;
    let lineage = add(&store, "desk");
    assert_eq!(granted(), 2 * SEALS_FIRST);
    let killed = killed_copy(dir.path());
    let reopened = open(killed.path()).unwrap();
    assert_eq!(lock(&reopened.header).used, 2 * SEALS_FIRST, "what a crash loses counts as used");
    let used = lock(&store.header).used;
    drop(store);
    assert_eq!(granted(), used, "a close gives back the rest");
    let store = open(dir.path()).unwrap();
    lock(&store.header).used = SEALS_MAX;
    let refused = store.reserve(&lineage, &charge(1));
    assert!(matches!(refused, Err(LedgerError::Store(StoreError::SealsExhausted))));
}

/// A data key has seals for 2^31 records: opening must not use them up by itself.
#[test]
fn a_clean_opening_costs_the_seals_it_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    drop(store);
    let granted = || Header::read(dir.path()).unwrap().seals;
    for spends in (0..4).cycle().take(300) {
        let before = granted();
        let store = open(dir.path()).unwrap();
        for _ in 0..spends {
            store.reserve(&lineage, &charge(0)).unwrap();
        }
        drop(store);
        assert_eq!(granted() - before, spends);
    }
}

#[test]
fn a_killed_opening_costs_the_first_grant_at_most() {
    let mut dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    for round in 0..30 {
        let before = Header::read(dir.path()).unwrap().seals;
        let store = open(dir.path()).unwrap();
        store.reserve(&lineage, &charge(0)).unwrap();
        let killed = killed_copy(dir.path());
        drop(store);
        let cost = Header::read(killed.path()).unwrap().seals - before;
        assert!(cost <= SEALS_FIRST, "round {round}: {cost} seals");
        dir = killed;
    }
    open(dir.path()).unwrap().reserve(&lineage, &charge(100)).unwrap();
}

/// What is made is for its owner alone, whatever the directory was and whatever the umask says.
#[test]
fn all_that_is_made_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (there, new) = (dir.path().join("there"), dir.path().join("new/vault"));
    fs::create_dir(&there).unwrap();
    set_mode(&there, 0o755);
    for (dir, own) in [(&there, 0o755), (&new, 0o700)] {
        drop(create(dir));
        for (name, expect) in [("", own), ("db.0", 0o700), (header::FILE, 0o600), ("LOCK", 0o600)] {
            assert_eq!(mode(&dir.join(name)), expect, "{name} in {}", dir.display());
        }
        open(dir).unwrap();
    }
    // What was opened to the eyes of others since is closed again.
    for (name, seen, own) in [
        ("db.0", 0o755, 0o700),
        ("db.0/db", 0o666, 0o600),
        (header::FILE, 0o644, 0o600),
        ("LOCK", 0o644, 0o600),
    ] {
        set_mode(&new.join(name), seen);
        drop(open(&new).unwrap());
        assert_eq!(mode(&new.join(name)), own, "{name}");
    }
}

#[test]
fn a_mark_of_creation_does_not_outlive_the_vault_it_made() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    fs::write(dir.path().join(CREATING), b"").unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join(header::FILE)).unwrap();
    let again = try_create(&place(dir.path()));
    assert!(matches!(again, Err(StoreError::DamagedHeader { .. })), "the database is not wiped");
}

#[test]
fn an_exposed_token_gives_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve(&lineage, &charge(60)).unwrap();
    store.exhaust(lineage).unwrap();
    store.settle(&lineage, &charge(60), Outcome::Rejected);
    assert_eq!(used(&store, lineage), 100);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(used(&store, lineage), 100);
    assert!(store.reserve(&lineage, &charge(1)).is_err());
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
        record.info.spending_limits.insert(tbtc(), limit);
        store.replace_token(&record, &secret).unwrap();
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
    store.replace_token(&record, &secret).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap().tokens().unwrap()[0].0.info, record.info);
}

#[test]
fn nothing_on_disk_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    add(&store, "market maker");
    drop(store);
    let log = fs::read(dir.path().join("db.0/db")).unwrap();
    let contains = |text: &[u8]| log.windows(text.len()).any(|window| window == text);
    assert!(contains(b"tokens"), "the search finds the tree's name");
    for text in [TOKEN, "market maker", "tbtc", "wallet_spend", "10.0.0.0", "bitgo-test", "user"] {
        assert!(!contains(text.as_bytes()), "{text} stands on disk");
    }
    assert!(!contains(&[5; 16]), "the token's id stands on disk");
}
