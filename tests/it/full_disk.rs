//! The disk is full: what was acknowledged stays, the vault says so and can still be opened and
//! read, and once there is room all goes on.
//!
//! The test runs itself again in a user and mount namespace of its own, where it mounts a small
//! tmpfs and fills it.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, coin, passphrase, told, withdrawal};
use crate::tools::{run_in_namespace, skipped, works};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Clock, Error, Login, Passphrase, Request, StoreError, Vault, VaultBuilder, WalletId,
};
use chrono::{DateTime, Utc};
use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where the child is to mount its disk.
const CHILD: &str = "BITGO_VAULT_FULL_DISK_CHILD";
const TEST: &str = "full_disk::a_full_disk_loses_nothing_and_can_be_opened";
/// As much as an empty vault takes, with room for its reserve twice.
const DISK: &str = "size=6m,mode=700";
const RESERVE: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// What is left to the vault when the disk is filled, in pages: nothing, enough to begin a write
/// and not to end it, and so on.
const LEFT: [u64; 8] = [0, 1, 2, 4, 16, 40, 130, 200];
const AMOUNT: u128 = 3;
/// More than all can spend.
const LIMIT: u128 = 1 << 60;

#[test]
fn a_full_disk_loses_nothing_and_can_be_opened() {
    if let Ok(given) = env::var(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(fill(Path::new(&given)));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    if !works(&["unshare", "-rm", "mount", "-t", "tmpfs", "-o", DISK, "tmpfs", path]) {
        return skipped(TEST, "no user namespace in which a tmpfs could be mounted");
    }
    run_in_namespace(TEST, CHILD, path);
}

/// A file that takes all the room but some.
struct Filler(PathBuf);

impl Filler {
    /// Leaves this many pages.
    fn new(disk: &Path, left: u64) -> Self {
        let path = disk.join("filler");
        let mut file = File::create(&path).unwrap();
        let page = [1; 4096];
        let refused = loop {
            if let Err(error) = file.write_all(&page) {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        let len = file.metadata().unwrap().blocks() * 512;
        file.set_len(len.checked_sub(left * PAGE).unwrap()).unwrap();
        Self(path)
    }

    fn free(self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// A clock by which so much lies between two spends that none is allotted what the next will need:
/// each is a write.
struct Slow {
    clock: Arc<TokioClock>,
    calls: AtomicU32,
}

impl Clock for Slow {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        self.clock.monotonic() + Duration::from_secs(10) * calls
    }
}

struct Scene {
    vault: PathBuf,
    bitgo: Emulator,
    wallet: WalletId,
    /// What was acknowledged, and what else was tried.
    spent: u128,
    tried: u128,
}

impl Scene {
    fn options(&self) -> VaultBuilder {
        let clock = Arc::new(TokioClock::new());
        let options = desk::options(&self.vault, self.bitgo.environment(), &clock);
        let slow = Slow { clock, calls: AtomicU32::new(0) };
        options.clock(Arc::new(slow)).lease_lifetime(desk::DAY)
    }

    async fn open(&self) -> Vault {
        let before = self.listing();
        let vault = self.options().unlock(passphrase()).await;
        let vault = vault.unwrap_or_else(|error| panic!("{error:?}\n{before}\n{}", self.listing()));
        self.check(&vault);
        vault
    }

    fn listing(&self) -> String {
        let listed = Command::new("ls").args(["-lRs"]).arg(self.vault.parent().unwrap()).output();
        String::from_utf8_lossy(&listed.unwrap().stdout).into_owned()
    }

    /// Nothing that was acknowledged is lost, and nothing is counted that was not tried.
    fn check(&self, vault: &Vault) {
        let used = vault.status("bot").unwrap().counters[&coin()].used().unwrap().base_units();
        let (spent, tried) = (self.spent, self.tried);
        assert!((spent..=spent + tried).contains(&used), "{used} counted, {spent} + {tried}");
    }

    /// Signs, and never sends: so that it counts for good.
    async fn spend(&mut self, vault: &Vault) -> Result<(), Error> {
        let request = withdrawal(self.wallet, AMOUNT);
        match vault.lease_wait("bot", &request).await {
            Ok(lease) => {
                self.spent += AMOUNT;
                lease.sign().map(drop)
            }
            Err(error) => {
                self.tried += AMOUNT;
                Err(error)
            }
        }
    }

    /// Spends until the disk is full; how often it went well.
    async fn spend_until_full(&mut self, vault: &Vault) -> u32 {
        for spends in 0..20_000 {
            match self.spend(vault).await {
                Ok(()) => {}
                Err(error) => {
                    assert!(is_full(&error), "{}", told(&error));
                    return spends;
                }
            }
        }
        panic!("the disk is never full");
    }
}

/// Whether an error says that the disk is full.
fn is_full(error: &Error) -> bool {
    match error {
        Error::Store(StoreError::StorageFull(_)) => true,
        Error::Store(StoreError::ReadOnly { cause }) => {
            ["No space left", "the disk was full when it was opened"]
                .iter()
                .any(|words| cause.contains(words))
        }
        _ => false,
    }
}

/// The child: fills the disk to several degrees, each in a vault of its own.
async fn fill(disk: &Path) {
    let mount = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", disk.to_str().unwrap()];
    assert!(works(&mount));
    let bitgo = Emulator::builder().without_traffic().start().await.unwrap();
    let wallet = bitgo.wallet(&coin());
    let mut scene = Scene { vault: disk.join("vault"), bitgo, wallet, spent: 0, tried: 0 };
    let mut given_up = 0;
    for left in LEFT {
        (scene.spent, scene.tried) = (0, 0);
        given_up += u32::from(fill_to(&mut scene, disk, left).await);
        fs::remove_dir_all(&scene.vault).unwrap();
    }
    assert!(given_up > 0, "no reserve was ever needed");
    nothing_is_made_on_a_full_disk(&scene, disk).await;
    eprintln!("{} degrees of fullness, the reserve given up in {given_up}", LEFT.len());
}

/// Whether the reserve was given up.
async fn fill_to(scene: &mut Scene, disk: &Path, left: u64) -> bool {
    let reserve = scene.vault.join("RESERVE");
    let room = || fs::metadata(&reserve).map_or(0, |metadata| metadata.blocks() * 512);
    let vault = scene.options().create(passphrase()).await.unwrap();
    let bitgo = &scene.bitgo;
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login).await.unwrap();
    let view = "wallet_view_all".parse().unwrap();
    let token = desk::spender("bot", scene.wallet, LIMIT).scope(view);
    vault.issue("desk", token, bitgo.otp()).await.unwrap();
    scene.spend(&vault).await.unwrap();
    assert_eq!(room(), RESERVE, "it is really there");
    let opened = vault.list().len();

    let filler = Filler::new(disk, left);
    scene.spend_until_full(&vault).await;
    scene.spend(&vault).await.unwrap_err();
    // What moves nothing needs no write.
    let view = Request::get(&format!("/api/v2/tbtc/wallet/{}", scene.wallet)).unwrap();
    vault.send("bot", &view).await.unwrap();
    scene.check(&vault);
    vault.close().await.unwrap();

    // Still full: it opens, over and over, and what can be read is read.
    for _ in 0..3 {
        let vault = scene.open().await;
        assert_eq!(vault.list().len(), opened);
        vault.send("bot", &view).await.unwrap();
        let on_reserve = room() < RESERVE;
        let spends = scene.spend_until_full(&vault).await;
        assert!(!on_reserve || spends == 0, "what room is left is for the next opening");
        let changed = vault.change_passphrase(passphrase(), Passphrase::new("new")).await;
        let refused = changed.unwrap_err();
        assert!(is_full(&refused), "{}", told(&refused));
        vault.close().await.unwrap();
    }
    let given_up = room() < RESERVE;

    filler.free();
    let vault = scene.open().await;
    assert_eq!(room(), RESERVE, "it is there again");
    scene.spend(&vault).await.unwrap();
    scene.check(&vault);
    vault.close().await.unwrap();
    given_up
}

async fn nothing_is_made_on_a_full_disk(scene: &Scene, disk: &Path) {
    for left in [0, 1, 2, 3] {
        let filler = Filler::new(disk, left);
        let refused = scene.options().create(passphrase()).await.err().unwrap();
        assert!(is_full(&refused), "{left} pages left: {}", told(&refused));
        filler.free();
        scene.options().create(passphrase()).await.unwrap().close().await.unwrap();
        scene.options().unlock(passphrase()).await.unwrap().close().await.unwrap();
        fs::remove_dir_all(&scene.vault).unwrap();
    }
}
