//! The vault.

use crate::peer::{Costs, Kdf, Keeper, Library, PASSPHRASE, Reader, SUBJECT, Writer};
use crate::turns::Failure;
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, DataKey, KdfParams, RecordCipher, Salt, Subject, VaultId,
    key_encryption_key,
};
use bitgo_vault::test_util::{ManyTokens, user};
use bitgo_vault::{AccessToken, Environment, FileSystem, Passphrase, Request, VaultBuilder};
use getrandom::SysRng;
use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";
const TARGET: &str = "/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9/tx/initiate";
/// What the tokens of a store may view.
pub const VIEW: &str = "/api/v2/tbtc/wallet/5dd01b8dd76ec6b8efe1ed0ef94e6b62";
const NAME: [u8; 16] = [1; 16];

pub const WRITERS: usize = 32;
/// Of each writer, in one turn: the first finds nobody to share with, the others do.
const RESERVATIONS: usize = 4;

pub fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE)
}

/// A vault as it stands in a directory for temporary files, which in containers is an overlay.
pub fn vault(at: &Path) -> VaultBuilder {
    bitgo_vault::Vault::builder(at, Environment::Test)
        .without_control_socket()
        .dangerous_allow_file_system(FileSystem::Overlayfs)
}

/// Its store, with an account to each token.
pub struct Store {
    tokens: ManyTokens,
    users: Vec<String>,
}

impl Store {
    pub fn make(dir: &Path, tokens: usize) -> Result<Self, Failure> {
        let dir = dir.join("vault");
        ManyTokens::create(&dir, &passphrase())?.add(tokens, 1)?;
        let tokens = ManyTokens::open(&dir, &passphrase())?;
        let users = (0..tokens.count()).map(user).collect();
        Ok(Self { tokens, users })
    }

    /// What one of many reservations takes, the time of all divided by their number.
    pub fn reserve_together(&self, first: usize) -> Result<Duration, Failure> {
        let start = Barrier::new(WRITERS + 1);
        let elapsed = thread::scope(|scope| {
            let reserve = |writer| {
                let start = &start;
                move || {
                    start.wait();
                    (0..RESERVATIONS).try_for_each(|i| {
                        let token = first + writer * RESERVATIONS + i;
                        self.tokens.reserve(token % self.tokens.count())
                    })
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(reserve(writer))).collect();
            start.wait();
            let begin = Instant::now();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().expect("a writer panicked"))
                .map(|()| begin.elapsed())
        })?;
        Ok(elapsed / u32::try_from(WRITERS * RESERVATIONS)?)
    }
}

/// As a lease does it: a token lies sealed in memory.
pub struct Token<'a>(pub &'a Store);

impl Reader for Token<'_> {
    fn name(&self) -> String {
        "**bitgo-vault**, a token sealed in memory".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        black_box(self.0.tokens.read(i)?);
        Ok(())
    }
}

/// An account's key is got from sled, under a keyed hash of the account's name.
pub struct Account<'a>(pub &'a Store);

impl Reader for Account<'_> {
    fn name(&self) -> String {
        "**bitgo-vault**, an account from sled".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        black_box(self.0.tokens.read_account(&self.0.users[i])?);
        Ok(())
    }
}

/// The whole of what a bot pays for a request: policy, lease and signature of a view.
pub struct Lease {
    vault: bitgo_vault::Vault,
    view: Request,
    labels: Vec<String>,
    /// The vault's tasks run on it.
    _runtime: Runtime,
}

impl Lease {
    pub fn make(dir: &Path, tokens: usize) -> Result<Self, Failure> {
        let (dir, runtime) = (dir.join("leased"), runtime()?);
        ManyTokens::create(&dir, &passphrase())?.add(tokens, 1)?;
        let vault = runtime.block_on(vault(&dir).unlock(passphrase()))?;
        let (view, labels) = (Request::get(VIEW)?, (0..tokens).map(label).collect());
        Ok(Self { vault, view, labels, _runtime: runtime })
    }
}

impl Reader for Lease {
    fn name(&self) -> String {
        "**bitgo-vault**, lease and sign a view".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        drop(black_box(self.vault.lease(&self.labels[i], &self.view)?.sign()?));
        Ok(())
    }
}

/// The name of a token: the first has number 0.
pub fn label(token: usize) -> String {
    format!("market maker #{token}")
}

pub fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

impl Writer for Store {
    fn name(&self) -> String {
        "**bitgo-vault**, a reservation".into()
    }

    fn write(&self, i: usize) -> Result<(), Failure> {
        Ok(self.tokens.reserve(i)?)
    }
}

pub struct Vault {
    costs: Costs,
    runtime: Runtime,
}

impl Vault {
    pub fn new(costs: Costs) -> Result<Self, Failure> {
        Ok(Self { costs, runtime: runtime()? })
    }

    fn closed(&self, vault: bitgo_vault::Vault, begin: Instant) -> Result<Duration, Failure> {
        let took = begin.elapsed();
        self.runtime.block_on(vault.close())?;
        Ok(took)
    }
}

impl Keeper for Vault {
    fn name(&self) -> String {
        format!("**bitgo-vault**, {}", self.costs)
    }

    fn create(&self, at: &Path) -> Result<Duration, Failure> {
        let builder = vault(at).kdf(params(self.costs)?);
        let begin = Instant::now();
        self.closed(self.runtime.block_on(builder.create(passphrase()))?, begin)
    }

    fn unlock(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        self.closed(self.runtime.block_on(vault(at).unlock(passphrase()))?, begin)
    }
}

fn params(costs: Costs) -> Result<KdfParams, Failure> {
    Ok(KdfParams::new(costs.kibibytes, costs.passes, costs.lanes)?)
}

/// Its cryptography without a store.
pub struct Crypto {
    cipher: RecordCipher,
    key: Box<AuthKey>,
    body: String,
    salt: Salt,
}

impl Crypto {
    pub fn new() -> Result<Self, Failure> {
        let vault = VaultId::random(&mut SysRng)?;
        let head = format!("POST|1515748528011|3.0|{TARGET}|").len();
        Ok(Self {
            cipher: DataKey::generate(&mut SysRng)?.record_cipher(&vault, 0, "tokens"),
            key: AuthKey::new(&AccessToken::new(TOKEN)),
            body: "x".repeat(SUBJECT - head),
            salt: Salt::random(&mut SysRng)?,
        })
    }
}

impl Library for Crypto {
    fn name(&self) -> String {
        "**bitgo-vault**".into()
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(self.cipher.seal(&NAME, plaintext, &mut SysRng)?)
    }

    fn open(&self, sealed: &[u8]) -> Result<usize, Failure> {
        Ok(black_box(self.cipher.open(&NAME, sealed)?).len())
    }

    fn authenticate(&self) {
        let subject = Subject {
            version: AuthVersion::V3,
            timestamp_ms: 1_515_748_528_011,
            method: "POST",
            target: TARGET,
            auth_request_id: "",
        };
        black_box(self.key.sign_request(black_box(&subject), black_box(self.body.as_bytes())));
    }
}

/// The vault's key from its passphrase; its memory is wiped after it.
impl Kdf for Crypto {
    fn name(&self) -> String {
        "**bitgo-vault**".into()
    }

    fn derive(&self, costs: Costs) -> Result<(), Failure> {
        black_box(key_encryption_key(&passphrase(), &self.salt, params(costs)?)?);
        Ok(())
    }
}
