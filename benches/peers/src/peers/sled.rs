//! The least a sealed database can do: sled as the vault has it, and the bare cipher.

use super::rust_crypto::RustCrypto;
use crate::peer::{Library, RECORD, Reader, random};
use crate::turns::Failure;
use std::path::Path;

pub struct Sled {
    tree: sled::Tree,
    cipher: RustCrypto,
    names: Vec<[u8; 16]>,
}

impl Sled {
    pub fn make(dir: &Path, records: usize) -> Result<Self, Failure> {
        let (path, cipher) = (dir.join("sled"), RustCrypto::new()?);
        let names = (0..records).map(|_| random()).collect::<Result<Vec<[u8; 16]>, _>>()?;
        let db = open(&path)?;
        for name in &names {
            db.insert(name, cipher.seal(&random::<RECORD>()?)?)?;
        }
        db.flush()?;
        drop(db);
        Ok(Self { tree: sled::Tree::clone(&*open(&path)?), cipher, names })
    }
}

fn open(path: &Path) -> sled::Result<sled::Db> {
    let mode = sled::Mode::HighThroughput;
    let config = sled::Config::new().path(path).cache_capacity(8 << 20).mode(mode);
    config.flush_every_ms(None).open()
}

impl Reader for Sled {
    fn name(&self) -> String {
        "sled and aes-gcm".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        let sealed = self.tree.get(self.names[i])?.ok_or("no such record")?;
        self.cipher.open(&sealed).map(drop)
    }
}
