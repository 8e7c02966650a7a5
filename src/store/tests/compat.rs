//! The frozen store of format 1 (tests/compat/v1): every later build opens it, reads every value,
//! and works on a copy of it.
//!
//! It is data. What a format changes gets a store of its own beside it.

use super::super::record::LedgerRow;
use super::super::reserve;
use super::place::set_mode;
use super::*;
use crate::id::{EnterpriseId, WalletId};
use crate::policy::{ActionKind, Book, Counter, Decay, Purpose, Slot, WindowRule};
use crate::renewal_memory::{Need, RenewalMemory};
use crate::rotation::RotationState;
use crate::scope::Scope;
use crate::secret::{ClientSecret, EcdhXprv, RefreshToken};
use base16ct::lower;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

const USER: &str = "5bd81700ae4b7d8a4f0e7e1d2a2ad0c1";
const XPRV: &str = "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi";
const WIF: &str = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1";
/// 1 January 2026.
const DAY_0: i64 = 1_767_225_600_000;

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/v1")
}

/// So many minutes into the day.
fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(DAY_0 + minutes * 60_000).unwrap()
}

fn lineage(number: u8) -> LineageId {
    LineageId::from_bytes([number; 16])
}

fn coin(name: &str) -> Coin {
    Coin::new(name).unwrap()
}

fn limit(cap: Option<u128>, spent: u128) -> SpendingLimit {
    SpendingLimit { limit: cap.map(Amount::new), spent: Amount::new(spent) }
}

/// A session that the vault extends, a token that spends, one that was handed out, one in clear whose
/// ledger is not believed, and one of OAuth's.
fn kept() -> [(TokenRecord, TokenSecret); 5] {
    let record = |number: u8, label: &str, kind| TokenRecord {
        lineage: lineage(number),
        label: Label::new(label).unwrap(),
        account: Some(USER.into()),
        renewal: Renewal::Manual,
        rules: LocalRules::default().into(),
        is_revoked: false,
        info: TokenInfo {
            id: TokenId::from_bytes([0x10 + number; 16]),
            kind,
            scopes: vec!["wallet_spend_all".parse().unwrap()],
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            created_at: Some(at(i64::from(number))),
            expires_at: Some(at(30 * 1440)),
            is_extensible: false,
            ip_restrict: Vec::new(),
            spending_limits: [].into(),
            erc20_limit: None,
            issued_in_clear: false,
        },
    };
    let secret = |number: u8, extension_key: Option<&str>| TokenSecret {
        token: AccessToken::new(format!("v2x{}", format!("{number:02x}").repeat(32))),
        extension_key: extension_key.map(|key| key.to_owned().into()),
    };
    let mut session = record(1, "desk", TokenKind::Session);
    session.renewal = Renewal::Extend { lifetime: Duration::from_secs(3600) };
    session.info.scopes = ["openid", "a_scope_of_later_years"].map(Scope::of_server).into();
    session.info.expires_at = Some(at(61));
    session.info.is_extensible = true;
    let mut spender = record(2, "market-maker", TokenKind::LongLived);
    spender.info.enterprise = Some(EnterpriseId::from_bytes([0xe2; 16]));
    spender.info.permitted_wallets = Some(vec![WalletId::from_bytes([0xa2; 16])]);
    spender.info.ip_restrict = vec!["203.0.113.7".into()];
    spender.info.spending_limits =
        [(coin("tbtc"), limit(Some(5_000_000), 1_000)), (coin("teth"), limit(None, 7))].into();
    spender.info.erc20_limit = Some(limit(Some(60), 2));
    let day = Duration::from_secs(86_400);
    let daily = WindowRule::new(Purpose::Withdrawal, &coin("tbtc"), day);
    spender.rules = LocalRules {
        actions: Some(vec![ActionKind::Spend]),
        destinations: Some(vec!["tb1qfrozen".into()]),
        windows: vec![daily.sum(Amount::new(4_000_000)).count(100)],
        decay: Some(Decay::new(day, day)),
        ..LocalRules::default()
    }
    .into();
    let mut exposed = record(3, "sweeper", TokenKind::LongLived);
    exposed.info.permitted_wallets = Some(Vec::new());
    exposed.info.spending_limits = [(coin("tbtc"), limit(Some(900), 0))].into();
    let mut in_clear = record(4, "überweisung", TokenKind::Internal);
    in_clear.account = None;
    in_clear.renewal = Renewal::InternalToken;
    in_clear.info.expires_at = None;
    in_clear.info.issued_in_clear = true;
    in_clear.info.spending_limits = [(coin("tbtc"), limit(Some(u128::MAX), 3))].into();
    let mut oauth = record(5, "oauth", TokenKind::Oauth);
    oauth.account = None;
    oauth.renewal = Renewal::Oauth;
    [
        (session, secret(1, Some(WIF))),
        (spender, secret(2, None)),
        (exposed, secret(3, None)),
        (in_clear, secret(4, None)),
        (oauth, secret(5, None)),
    ]
}

fn reissue() -> Reissue {
    let retired = Retired {
        token_id: TokenId::from_bytes([0x21; 16]),
        token: AccessToken::new(format!("v2x{}", "21".repeat(32))),
        account: Some("u1".into()),
        from: at(15),
        expires_at: Some(at(1440)),
    };
    let minted =
        |label: &str| Minted { label: label.into(), account: "u1".into(), asked_at: at(10) };
    Reissue {
        lineage: lineage(2),
        plan: r#"{"label":"market-maker"}"#.into(),
        intent: Some(minted("market-maker intended")),
        retired: vec![retired],
        orphans: vec![minted("market-maker lost")],
    }
}

/// How the frozen store was made. It is written where there is none.
#[test]
#[ignore = "it writes tests/compat/v1, which is frozen"]
fn a_store_to_freeze() {
    let (to, made) = (frozen(), tempfile::tempdir().unwrap());
    let (dir, backup) = (made.path().join("vault"), made.path().join("backup"));
    let (first, second) = (passphrase(), Passphrase::new("frozen battery staple"));
    let store = Store::create(&place(&dir), &first, kdf(), &Environment::Test, at(0)).unwrap();
    for (number, (record, secret)) in kept().iter().enumerate() {
        let ecdh_xprv = EcdhXprv::new(XPRV);
        let account = Account { user: USER.into(), ecdh_xprv };
        store.add_token(record, secret, (number == 0).then_some(&account)).unwrap();
    }
    let spend = |amount: u128, outcome: Option<Outcome>| {
        let charges = [Charge::withdrawal(coin("tbtc"), Amount::new(amount))];
        store.reserve_alone(&lineage(2), &charges).unwrap();
        if let Some(outcome) = outcome {
            store.settle_latest(&lineage(2), &charges, outcome);
        }
    };
    spend(20_000, Some(Outcome::Accepted));
    spend(300, Some(Outcome::Pending));
    spend(40, Some(Outcome::Uncertain));
    let [_, _, (mut exposed, _), (in_clear, _), _] = kept();
    exposed.rules = LocalRules { raw_exposure: true, ..LocalRules::default() }.into();
    let id = exposed.info.id;
    store.append_audit(AuditAction::ExposureAllowed, id, Some(&exposed), at(10)).unwrap();
    store.append_audit(AuditAction::Exposed, id, None, at(11)).unwrap();
    store.exhaust(lineage(3), 1).unwrap();
    store.adopt(&in_clear).unwrap();
    assert!(store.keep_totp_seed(USER, Some(b"12345678901234567890")).unwrap());
    let grant = Grant {
        label: Label::new("oauth").unwrap(),
        client_id: "client of nobody's".into(),
        client_secret: ClientSecret::new("secret of nobody's"),
        refresh_token: RefreshToken::new("refresh token of nobody's"),
        rotation: RotationState::Sent,
    };
    store.keep_grant(lineage(5), &grant).unwrap();
    let [(session, _), (mut spender, _), ..] = kept();
    let memory = RenewalMemory {
        failures: 3,
        not_before: Some(at(50)),
        need: Some(Need::OneTimePassword),
        dead: Some(session.info.id),
        deaths: 2,
    };
    store.remember_renewal(lineage(1), &memory).unwrap();
    spender.renewal = Renewal::Reissue;
    store.choose_reissue(&spender, &reissue()).unwrap();
    store.change_passphrase(&first, &second, at(12)).unwrap();
    store.rekey(at(13)).unwrap();
    spend(10_000, Some(Outcome::Accepted));
    spend(9_000, Some(Outcome::Rejected));
    // What a kill leaves: it is found as spent.
    spend(5, None);
    store.back_up(&backup, at(14)).unwrap();
    drop(store);

    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::create_dir(&to).unwrap();
    fs::create_dir(to.join("vault")).unwrap();
    copy(&dir, &to.join("vault"));
    fs::copy(&backup, to.join("backup")).unwrap();
    fs::write(to.join("PASSPHRASE"), format!("{}\n", second.expose())).unwrap();
    for needless in [lock::FILE, reserve::FILE] {
        fs::remove_file(to.join("vault").join(needless)).unwrap();
    }
}

/// Every value that a store keeps.
fn told(store: &Store) -> String {
    let mut told = String::new();
    let mut say = |line: String| writeln!(told, "    {}", line.trim_end()).unwrap();
    let time = |time: Option<DateTime<Utc>>| time.map_or("never".into(), |time| time.to_rfc3339());
    let ids = |ids: Vec<String>| ids.join(" ");
    let account = store.account(USER).unwrap().unwrap();
    say(format!("account {}: {}", account.user, account.ecdh_xprv.expose()));
    let seed = store.totp_seed(USER).unwrap().unwrap();
    say(format!("  one-time passwords from {}", lower::encode_string(&seed)));
    for (record, sealed) in store.tokens().unwrap() {
        let secret = store.open_secret(record.lineage, &sealed).unwrap();
        let TokenRecord { lineage, label, account, renewal, rules, info, .. } = &record;
        let TokenInfo { id, kind, scopes, enterprise, permitted_wallets, .. } = info;
        let TokenInfo { created_at, expires_at, is_extensible, ip_restrict, .. } = info;
        say(format!("token {label}: lineage {lineage}, id {id}, {kind:?}"));
        say(format!("  secret {}", secret.token.expose()));
        let key = secret.extension_key.as_ref().map_or("none", |key| key.as_str());
        say(format!("  extension key {key}, renewal {renewal:?}, extensible {is_extensible}"));
        say(format!("  account {}", account.as_deref().unwrap_or("none")));
        say(format!("  scopes {}", ids(scopes.iter().map(ToString::to_string).collect())));
        say(format!("  enterprise {}", enterprise.map_or("none".into(), |id| id.to_string())));
        let wallets = permitted_wallets.as_ref();
        let wallets = wallets.map(|wallets| wallets.iter().map(ToString::to_string).collect());
        say(format!("  wallets: {}", wallets.map_or("any".into(), ids)));
        say(format!("  created {}, expires {}", time(*created_at), time(*expires_at)));
        say(format!("  addresses {}", ids(ip_restrict.clone())));
        let LocalRules { raw_exposure, actions, destinations, windows, decay, .. } = &**rules;
        say(format!("  in clear {}, exposure {raw_exposure}", info.issued_in_clear));
        if let (Some(actions), Some(places), Some(decay)) = (actions, destinations, decay) {
            say(format!("  rules: only {actions:?} to {places:?}, {decay:?}"));
        }
        for WindowRule { purpose, coin, period, sum, count } in windows {
            say(format!("  within {period:?} of {purpose:?} {coin}: {sum:?}, {count:?}"));
        }
        if let Some(SpendingLimit { limit, spent }) = info.erc20_limit {
            say(format!("  limit of erc-20 coins: {limit:?}, of which BitGo had counted {spent}"));
        }
        for (coin, SpendingLimit { limit, spent }) in info.spending_limits.iter() {
            let limit = limit.map_or("none".into(), |limit| limit.to_string());
            say(format!("  limit {coin}: {limit}, of which BitGo had counted {spent}"));
        }
        let key = Key::Id(*lineage.as_bytes());
        let ledger = store.disk.epoch().row(Tree::Ledger, &key).unwrap().unwrap();
        if let Some(grant) = store.grant(*lineage).unwrap() {
            let Grant { label, client_id, client_secret, refresh_token, rotation } = grant;
            let (secret, token) = (client_secret.expose(), refresh_token.expose());
            say(format!("  grant {label}: {client_id}, {secret}, {token}, {rotation:?}"));
        }
        if let Some(Reissue { plan, intent, retired, orphans, .. }) =
            store.reissue(*lineage).unwrap()
        {
            say(format!("  reissue {plan}, {intent:?}, {orphans:?}"));
            for Retired { token_id, token, account, from, expires_at } in retired {
                let (token, until) = (token.expose(), time(expires_at));
                say(format!(
                    "  retired {token_id}: {token}, of {account:?}, from {}, {until}",
                    from.to_rfc3339()
                ));
            }
        }
        if let Some(memory) = store.renewal_memory(*lineage) {
            let RenewalMemory { failures, not_before, need, dead, deaths } = memory;
            let (wait, dead) = (time(not_before), dead.map_or("none".into(), |id| id.to_string()));
            say(format!(
                "  renewal: {failures} failures, waits until {wait}, {need:?}, dead {dead}, {deaths} deaths"
            ));
        }
        let LedgerRow { is_exposed, is_unreconciled, .. } = record::decode(&ledger).unwrap();
        say(format!("  ledger: exposed {is_exposed}, unreconciled {is_unreconciled}"));
        let book = store.escrow(*lineage).unwrap().look(Book::clone);
        for Slot { until_ms, sum, count } in book.windows.iter().flat_map(|window| &window.slots) {
            say(format!("  slot until {until_ms}: {sum}, {count} requests"));
        }
        for (coin, counter) in store.counters(*lineage).unwrap() {
            let Counter { limit, accepted, pending, uncertain, reserved, foreign, .. } = counter;
            let limit = limit.map_or("none".into(), |limit| limit.to_string());
            say(format!(
                "  spent {coin}: limit {limit}, accepted {accepted}, pending {pending}, \
                 uncertain {uncertain}, reserved {reserved}, foreign {foreign}"
            ));
        }
    }
    for AuditEntry { at, action, token_id: id, .. } in store.audit().unwrap() {
        let id = id.map_or("the vault".into(), |id| id.to_string());
        say(format!("audit {}: {action:?}, {id}", at.to_rfc3339()));
    }
    told
}

/// A copy of the frozen store to work on. git keeps no modes, and no directory that is empty.
fn thawed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&frozen().join("vault"), dir.path());
    close_to_others(dir.path());
    dir
}

fn close_to_others(dir: &Path) {
    set_mode(dir, 0o700);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => close_to_others(&path),
            false => set_mode(&path, 0o600),
        }
    }
}

fn origin() -> String {
    fs::read_to_string(frozen().join("ORIGIN.md")).unwrap()
}

fn its_passphrase() -> Passphrase {
    Passphrase::new(fs::read_to_string(frozen().join("PASSPHRASE")).unwrap().trim_end())
}

/// What the store holds, as ORIGIN.md has it.
fn content() -> String {
    let origin = origin();
    let (_, content) = origin.split_once("## What it holds\n\n").unwrap();
    content.split_inclusive('\n').take_while(|line| line.starts_with("    ")).collect()
}

#[test]
fn every_value_of_the_frozen_store_is_read() {
    let dir = thawed();
    assert!(matches!(open(dir.path()), Err(StoreError::WrongPassphrase)), "its first passphrase");
    let store = open_with(dir.path(), &its_passphrase(), &Environment::Test).unwrap();
    assert!(store.damage().is_none());
    assert_eq!(told(&store), content());
    let header = Header::read(dir.path()).unwrap();
    assert_eq!((header.epoch, header.kdf), (1, kdf()));
}

#[test]
fn the_frozen_store_goes_on() {
    let dir = thawed();
    let open = || open_with(dir.path(), &its_passphrase(), &Environment::Test).unwrap();
    let store = open();
    let before = used(&store, lineage(2));
    store.reserve_alone(&lineage(2), &charge(100)).unwrap();
    let denied = store.reserve_alone(&lineage(4), &charge(1));
    assert!(
        matches!(denied, Err(LedgerError::Denied(denied)) if denied.rule() == Rule::Unreconciled)
    );
    store.rekey(at(20)).unwrap();
    store.reserve_alone(&lineage(2), &charge(1)).unwrap();
    drop(store);
    let store = open();
    assert_eq!(used(&store, lineage(2)), before + 101);
    assert_eq!(Header::read(dir.path()).unwrap().epoch, 2);
    let spent = "uncertain 45,";
    assert!(content().contains(spent));
    let rekeyed = format!("    audit {}: Rekeyed, the vault\n", at(20).to_rfc3339());
    let after = content().replace(spent, "uncertain 146,");
    let after = after.replace("30345, 5 requests", "30446, 7 requests");
    assert_eq!(told(&store), after + &rekeyed);
}

#[test]
fn the_frozen_backup_becomes_a_vault() {
    let dir = tempfile::tempdir().unwrap();
    let (place, backup) = (place(&dir.path().join("vault")), frozen().join("backup"));
    let (opening, environment) = (Opening::Whole, &Environment::Test);
    let restored =
        Store::restore(opening, &place, &backup, &its_passphrase(), kdf(), environment, at(20));
    let restored_at = format!("    audit {}: Restored, the vault\n", at(20).to_rfc3339());
    let expect = content().replace("unreconciled false", "unreconciled true") + &restored_at;
    // What was allotted when it was made counts as spent, as after a kill.
    let expect = expect.replace("uncertain 45,", "uncertain 9040,");
    let expect = expect.replace("30345, 5 requests", "39340, 5 requests");
    // What its origin was minting is the origin's.
    let reissue = "reissue {\"label\":\"market-maker\"}, ";
    let minted = expect.split_once(reissue).and_then(|(_, rest)| rest.lines().next()).unwrap();
    let expect = expect.replace(minted, "None, []");
    assert_eq!(told(&restored.unwrap()), expect);
}

/// Nobody writes it anew unseen: a store that this code has made is no old one.
#[test]
fn the_frozen_store_is_the_one_its_origin_is_told_of() {
    let mut sums = String::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(within) = directories.pop() {
        for entry in fs::read_dir(frozen().join(&within)).unwrap() {
            let name = within.join(entry.unwrap().file_name());
            if frozen().join(&name).is_dir() {
                directories.push(name);
            } else if name != Path::new("ORIGIN.md") {
                let digest = Sha256::digest(fs::read(frozen().join(&name)).unwrap());
                let line = format!("    {}  {}\n", lower::encode_string(&digest), name.display());
                sums.push_str(&line);
                assert!(origin().contains(&line), "{line}");
            }
        }
    }
    let listed = origin().lines().filter(|line| line.contains("  vault/")).count();
    assert_eq!(listed, sums.matches("  vault/").count(), "{sums}");
}
