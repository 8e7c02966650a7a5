//! A KeePass file (KDBX 4) with one entry.

use crate::peer::{Costs, Keeper, PASSPHRASE, RECORD};
use crate::turns::Failure;
use keepass::config::KdfConfig;
use keepass::db::fields;
use keepass::{Database, DatabaseKey};
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

pub struct KeePass(pub Costs);

impl Keeper for KeePass {
    fn name(&self) -> String {
        format!("keepass, {}", self.0)
    }

    fn create(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let Costs { kibibytes, passes, lanes } = self.0;
        let mut database = Database::new();
        // Its default has the version of Argon2, whose type it does not name.
        let KdfConfig::Argon2 { version, .. } = database.config.kdf_config else {
            return Err("keepass has another default".into());
        };
        database.config.kdf_config = KdfConfig::Argon2id {
            iterations: passes.into(),
            memory: u64::from(kibibytes) * 1024,
            parallelism: lanes,
            version,
        };
        database.root_mut().add_entry().edit(|entry| {
            entry.set_protected(fields::PASSWORD, "x".repeat(RECORD));
        });
        let mut file = File::create_new(at)?;
        database.save(&mut file, DatabaseKey::new().with_password(PASSPHRASE))?;
        // It leaves that to the system; the vault does not.
        file.sync_all()?;
        Ok(begin.elapsed())
    }

    fn unlock(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let key = DatabaseKey::new().with_password(PASSPHRASE);
        black_box(Database::open(&mut File::open(at)?, key)?);
        Ok(begin.elapsed())
    }
}
