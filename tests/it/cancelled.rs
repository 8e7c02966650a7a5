//! Futures that are dropped: each of the vault's own, at each of its polls. Whatever was cut off, the
//! vault opens again, its audit log is whole, every token that it keeps is alive and no other was made,
//! and what BitGo has counted counts here.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, DAY, Desk, bot, passphrase};
use crate::floors::sources;
use bitgo_vault::api::OauthClient;
use bitgo_vault::crypto::{KdfParams, TotpSeed};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{
    ClientSecret, Clock, Control, Error, LocalRules, Passphrase, RefreshToken, Request, StoreError,
    TokenKind, Vault, VaultBuilder,
};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;

const NEW_PASSPHRASE: &str = "another battery, stapled to a horse";
const LIMIT: u128 = 10_000;
/// More polls than any takes.
const POLLS: usize = 200;

type Done<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
/// What is cut off, by the name of its function.
type Cut = (&'static str, for<'a> fn(&'a Scene) -> Done<'a>);

/// A vault with a session `desk`, and a token `bot` that may spend; and another, which is closed.
struct Scene {
    desk: Desk,
    elsewhere: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let desk = Desk::empty(Emulator::builder()).await;
        let options = desk.options().dangerous_accept_tokens_in_clear();
        let desk = desk.reopened_with(options).await;
        desk.vault.login("desk", desk.login().extensible()).await.unwrap();
        desk.issue("bot", LIMIT).await;
        desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
        let scene = Self { desk, elsewhere: tempfile::tempdir().unwrap() };
        scene.desk.vault.back_up(scene.file("backup")).await.unwrap();
        let other = scene.options("closed").create(passphrase()).await.unwrap();
        other.close().await.unwrap();
        scene
    }

    fn vault(&self) -> &Vault {
        &self.desk.vault
    }

    fn file(&self, name: &str) -> PathBuf {
        self.elsewhere.path().join(name)
    }

    /// For a vault in a directory beside.
    fn options(&self, name: &str) -> VaultBuilder {
        desk::options(&self.file(name), self.desk.bitgo.environment(), &self.desk.clock)
    }

    async fn control(&self) -> Control {
        Control::connect(self.desk.path()).await.unwrap()
    }

    fn oauth(&self) -> (OauthClient, RefreshToken) {
        let grant = self.desk.bitgo.grant_oauth().unwrap();
        let secret = ClientSecret::new(grant.client_secret);
        (OauthClient::new(grant.client_id, secret), RefreshToken::new(grant.refresh_token))
    }
}

macro_rules! cuts {
    ($($name:ident: |$scene:ident| $future:expr;)*) => {
        [$((stringify!($name), {
            fn cut($scene: &Scene) -> Done<'_> {
                Box::pin(async move { drop($future) })
            }
            cut as for<'a> fn(&'a Scene) -> Done<'a>
        })),*]
    };
}

fn day_to_day() -> Vec<Cut> {
    let cuts: [Cut; _] = cuts! {
        login: |s| s.vault().login("second", s.desk.login()).await;
        issue: |s| s.vault().issue("desk", bot("second").scope("wallet_view_all".parse().unwrap()), s.desk.bitgo.otp()).await;
        fetch_internal: |s| s.vault().fetch_internal("desk", "internal").await;
        import: |s| {
            let token = s.desk.newest();
            s.vault().remove("bot").await.unwrap();
            s.vault().import("bot", token).await
        };
        sign_in_oauth: |s| {
            let (client, refresh_token) = s.oauth();
            s.vault().sign_in_oauth("oauth", client, refresh_token).await
        };
        lease_wait: |s| s.vault().lease_wait("bot", &s.desk.withdrawal(100)).await.map(drop);
        send: |s| s.vault().send("bot", &s.desk.withdrawal(100)).await;
        expose_token: |s| {
            let request = Request::get("/api/v2/user/session").unwrap();
            s.vault().lease("bot", &request).unwrap().expose_token().await
        };
        remove: |s| s.vault().remove("bot").await;
        remove_and_shred: |s| s.vault().remove_and_shred("bot").await;
        dangerous_allow_raw_exposure: |s| s.vault().dangerous_allow_raw_exposure("bot", passphrase()).await;
        forbid_raw_exposure: |s| s.vault().forbid_raw_exposure("bot").await;
        set_rules: |s| s.vault().set_rules("bot", LocalRules::default(), Some(passphrase())).await;
        renew: |s| s.vault().renew("desk").await;
        reissue: |s| s.vault().reissue("bot", s.desk.spender("bot", LIMIT), s.desk.login()).await;
        reconcile: |s| s.vault().reconcile("bot").await;
        renew_budget: |s| s.vault().renew_budget("bot", passphrase()).await;
        remote_tokens: |s| s.vault().remote_tokens("desk").await;
        revoke: |s| s.vault().revoke("bot").await;
        logout: |s| s.vault().logout("desk").await;
        unlock_session: |s| s.vault().unlock_session("desk", s.desk.bitgo.otp(), DAY).await;
        dangerous_unlock_removing_limits: |s| {
            s.vault().dangerous_unlock_removing_limits("bot", s.desk.bitgo.otp(), DAY).await
        };
        lock_session: |s| s.vault().lock_session("desk").await;
        dangerous_keep_totp_seed: |s| {
            let seed = TotpSeed::from_base32("JBSWY3DPEHPK3PXPJBSWY3DP").unwrap();
            s.vault().dangerous_keep_totp_seed("desk", seed, passphrase()).await
        };
        forget_totp_seed: |s| s.vault().forget_totp_seed("desk").await;
    };
    cuts.into()
}

fn upkeep() -> Vec<Cut> {
    let cuts: [Cut; _] = cuts! {
        audit: |s| s.vault().audit().await;
        audit_since: |s| s.vault().audit_since(1).await;
        verify_audit: |s| s.vault().verify_audit().await;
        export_audit: |s| s.vault().export_audit(None, None, std::io::sink()).await;
        prune_audit: |s| s.vault().prune_audit(s.desk.clock.now(), s.file("pruned")).await;
        freeze: |s| s.vault().freeze().await;
        thaw: |s| {
            s.vault().freeze().await.unwrap();
            s.vault().thaw(passphrase()).await
        };
        change_passphrase: |s| {
            s.vault().change_passphrase(passphrase(), Passphrase::new(NEW_PASSPHRASE)).await
        };
        upgrade_kdf: |s| s.vault().upgrade_kdf(passphrase(), KdfParams::new(64, 1, 1).unwrap()).await;
        calibrate_kdf: |_s| Vault::calibrate_kdf(Duration::from_millis(1), 1 << 10).await;
        rekey: |s| s.vault().rekey().await;
        back_up: |s| s.vault().back_up(s.file("second backup")).await;
        reclaim: |s| s.vault().reclaim().await;
        close: |s| s.vault().clone().close().await;
        next: |s| {
            let mut events = s.vault().events();
            s.vault().freeze().await.unwrap();
            events.next().await
        };
    };
    cuts.into()
}

fn other_vaults() -> Vec<Cut> {
    let cuts: [Cut; _] = cuts! {
        create: |s| s.options("created").create(passphrase()).await;
        unlock: |s| s.options("closed").unlock(passphrase()).await;
        unlock_degraded: |s| s.options("closed").unlock_degraded(passphrase()).await;
        restore: |s| s.options("restored").restore(s.file("backup"), passphrase()).await;
        repair: |s| s.options("closed").repair(None, passphrase()).await;
        doctor: |s| s.options("closed").doctor(Some(passphrase())).await;
    };
    cuts.into()
}

fn from_another_process() -> Vec<Cut> {
    let cuts: [Cut; _] = cuts! {
        connect: |s| s.control().await;
        status: |s| s.control().await.status().await;
        freeze: |s| s.control().await.freeze().await;
        renew: |s| s.control().await.renew("desk").await;
        reconcile: |s| s.control().await.reconcile("bot").await;
        audit: |s| s.control().await.audit(10).await;
        check: |s| s.control().await.check("bot", &s.desk.withdrawal(1)).await;
    };
    cuts.into()
}

/// Polls a future so many times, and drops it. Whether it was done by then.
async fn poll(mut future: Done<'_>, times: usize) -> bool {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match pin!(&mut future).poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Opened once whatever was cut off has run to its end and let go.
async fn opened(options: impl Fn() -> VaultBuilder) -> Vault {
    for _ in 0..10_000 {
        let error = match options().unlock(passphrase()).await {
            Ok(vault) => return vault,
            Err(error) => error,
        };
        match error {
            Error::Store(StoreError::InUse { .. }) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Error::Store(StoreError::WrongPassphrase) => {
                return options().unlock(Passphrase::new(NEW_PASSPHRASE)).await.unwrap();
            }
            other => panic!("{other}"),
        }
    }
    panic!("something holds the vault for good");
}

/// The vault as it is found again.
async fn reopened(desk: Desk) -> Desk {
    let Desk { bitgo, vault, clock, wallet, dir } = desk;
    // Work that outlives its caller keeps it open for a while.
    match vault.close().await {
        Ok(()) | Err(Error::StillInUse) => {}
        Err(other) => panic!("{other}"),
    }
    let options = || {
        let options = desk::options(&dir.path().join("vault"), bitgo.environment(), &clock);
        options.dangerous_accept_tokens_in_clear()
    };
    let vault = opened(options).await;
    Desk { bitgo, vault, clock, wallet, dir }
}

/// What holds, whatever was cut off.
async fn check(scene: Scene, cut: &str) {
    // Whatever was begun to be made is a vault.
    for name in ["closed", "created", "restored"] {
        if scene.file(name).exists() {
            opened(|| scene.options(name)).await.close().await.unwrap();
        }
    }
    let desk = reopened(scene.desk).await;
    desk.vault.verify_audit().await.unwrap();
    if desk.vault.is_frozen() {
        desk.vault.thaw(passphrase()).await.unwrap();
    }
    let own_record = Request::get("/api/v2/user/session").unwrap();
    let may_end = ["logout", "revoke"].contains(&cut);
    for token in desk.vault.list() {
        let answer = desk.vault.send(token.label.as_str(), &own_record).await;
        let is_alive = answer.is_ok_and(|answer| answer.status() == 200);
        assert!(is_alive || may_end, "{cut}: {} is kept, and dead", token.label);
    }
    if desk.vault.status("bot").is_ok() {
        assert!(desk.used("bot") >= desk.spent(), "{cut}: what bitgo counted is forgotten");
    }
    // What somebody has taken out lives on at BitGo.
    let is_taken_out = ["import", "remove", "remove_and_shred"].contains(&cut);
    let (living, kept) = (desk.bitgo.living("").len(), kept(&desk.vault));
    assert!(living <= kept || is_taken_out, "{cut}: of {living} tokens at bitgo {kept} are kept");
    desk.vault.close().await.unwrap();
}

/// How many long-lived tokens the vault keeps.
fn kept(vault: &Vault) -> usize {
    let tokens = vault.list();
    tokens.iter().filter(|token| token.info.kind == TokenKind::LongLived).count()
}

async fn each_is_cut_at_each_poll(cuts: Vec<Cut>) {
    for (name, cut) in cuts {
        let mut times = 0;
        loop {
            let scene = Scene::new().await;
            let is_done = poll(cut(&scene), times).await;
            check(scene, name).await;
            if is_done {
                break;
            }
            times += 1;
            assert!(times < POLLS, "{name} is never done");
        }
        assert!(times > 0, "{name} has nothing to wait for");
    }
}

#[tokio::test]
async fn what_is_done_day_by_day_may_be_dropped_anywhere() {
    each_is_cut_at_each_poll(day_to_day()).await;
}

#[tokio::test]
async fn upkeep_may_be_dropped_anywhere() {
    each_is_cut_at_each_poll(upkeep()).await;
}

#[tokio::test]
async fn what_another_process_asks_may_be_dropped_anywhere() {
    each_is_cut_at_each_poll(from_another_process()).await;
}

#[tokio::test]
async fn an_opening_may_be_dropped_anywhere() {
    each_is_cut_at_each_poll(other_vaults()).await;
}

/// What is here is all that there is.
#[test]
fn each_future_of_the_vaults_is_cut() {
    let cut = [day_to_day(), upkeep(), other_vaults(), from_another_process()].concat();
    let cut: BTreeSet<_> = cut.into_iter().map(|(name, _)| name.to_owned()).collect();
    let declared: BTreeSet<_> = public_futures().collect();
    assert_eq!(cut, declared);
}

/// The names of the vault's own asynchronous functions.
fn public_futures() -> impl Iterator<Item = String> {
    let own = sources().into_iter().filter(|source| source.room == "vault");
    own.flat_map(|source| {
        let names = source.code.split("pub async fn ").skip(1);
        let names = names.map(|rest| rest.split(['(', '<']).next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    })
}
