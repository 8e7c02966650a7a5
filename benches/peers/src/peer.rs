//! What is asked of the vault and of its peers alike.

use crate::turns::Failure;
use std::fmt;
use std::path::Path;
use std::time::Duration;

pub const PASSPHRASE: &str = "correct horse battery staple";
/// As many bytes as the vault keeps of an account and its key, before they are sealed: of the
/// two records that are read the longer one.
pub const RECORD: usize = 159;
/// As long as a record's own associated data.
pub const AAD: [u8; 48] = [7; 48];
/// Nothing here is secret.
pub const KEY: [u8; 32] = [3; 32];
/// What is signed: as much as a spend with two recipients.
pub const SUBJECT: usize = 300;

/// A store of many sealed records, opened anew after it was made.
pub trait Reader {
    fn name(&self) -> String;
    /// Gets a record and opens it.
    fn read(&self, i: usize) -> Result<(), Failure>;
}

/// A store that makes each record durable by itself.
pub trait Writer {
    fn name(&self) -> String;
    /// Writes a record so that a power cut does not take it back.
    fn write(&self, i: usize) -> Result<(), Failure>;
}

/// What is kept on disk under a passphrase. Closing it is not timed.
pub trait Keeper {
    fn name(&self) -> String;
    /// Makes one where there is none.
    fn create(&self, at: &Path) -> Result<Duration, Failure>;
    /// Opens what was made.
    fn unlock(&self, at: &Path) -> Result<Duration, Failure>;
}

/// A library's AES-256-GCM and HMAC-SHA256, their keys ready. A nonce is drawn for each record.
pub trait Library {
    fn name(&self) -> String;
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure>;
    /// Opens what it has sealed; answers how long that is.
    fn open(&self, sealed: &[u8]) -> Result<usize, Failure>;
    fn authenticate(&self);
}

/// Argon2id.
pub trait Kdf {
    fn name(&self) -> String;
    fn derive(&self, costs: Costs) -> Result<(), Failure>;
}

/// The costs of Argon2id.
#[derive(Clone, Copy)]
pub struct Costs {
    pub kibibytes: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Costs {
    pub const ONE_LANE: Self = Self { kibibytes: 64 << 10, passes: 3, lanes: 1 };
    /// What the vault takes unless told otherwise.
    pub const DEFAULT: Self = Self { lanes: 4, ..Self::ONE_LANE };
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB, t {}, p {}", self.kibibytes / 1024, self.passes, self.lanes)
    }
}

pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
