//! SecureStore: a file of JSON, each secret sealed under a key that stays in memory.

use crate::peer::{Keeper, PASSPHRASE, RECORD, Reader};
use crate::turns::Failure;
use securestore::{KeySource, SecretsManager};
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

pub struct SecureStore {
    manager: SecretsManager,
    names: Vec<String>,
}

impl SecureStore {
    pub fn make(records: usize) -> Result<Self, Failure> {
        let mut manager = SecretsManager::new(KeySource::Csprng)?;
        let names: Vec<_> = (0..records).map(|i| format!("market maker #{i}")).collect();
        for name in &names {
            manager.set(name, "x".repeat(RECORD));
        }
        Ok(Self { manager, names })
    }
}

impl Reader for SecureStore {
    fn name(&self) -> String {
        "securestore".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        black_box(self.manager.get(&self.names[i])?);
        Ok(())
    }
}

pub struct SecureStoreKeeper;

impl Keeper for SecureStoreKeeper {
    fn name(&self) -> String {
        "securestore, passphrase (PBKDF2-HMAC-SHA1, 256 000 rounds)".into()
    }

    fn create(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let mut manager = SecretsManager::new(KeySource::Password(PASSPHRASE))?;
        manager.set("token", "x".repeat(RECORD));
        manager.save_as(at)?;
        // It leaves that to the system; the vault does not.
        File::open(at)?.sync_all()?;
        Ok(begin.elapsed())
    }

    fn unlock(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        black_box(SecretsManager::load(at, KeySource::Password(PASSPHRASE))?);
        Ok(begin.elapsed())
    }
}
