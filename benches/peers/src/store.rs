//! The stores that are compared, of as many records each.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use bitgo_vault::Passphrase;
use bitgo_vault::test_util::{ManyTokens, user};
use rusqlite::{Connection, params};
use sled::Tree;
use std::error::Error;
use std::path::Path;

pub fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple")
}

/// As many bytes as the vault keeps of an account and its key, before they are sealed: of the
/// two records that are read the longer one.
const RECORD: usize = 159;
/// As long as a record's own associated data.
const AAD: [u8; 48] = [7; 48];
/// Nothing here is secret.
const NONCE: [u8; 12] = [5; 12];

/// All numbers below `n`, one after the other, in an order that no cache foresees: 7919 shares no
/// divisor with `n`.
pub fn scattered(n: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |i| i * 7919 % n).cycle()
}

/// The vault's store with an account to each token.
pub struct VaultStore {
    pub store: ManyTokens,
    pub users: Vec<String>,
}

impl VaultStore {
    /// Opened anew after it was made, as every side is.
    pub fn make(dir: &Path, tokens: usize) -> Result<Self, Box<dyn Error>> {
        let dir = dir.join("vault");
        ManyTokens::create(&dir, &passphrase())?.add(tokens, 1)?;
        let store = ManyTokens::open(&dir, &passphrase())?;
        Ok(Self { store, users: (0..tokens).map(user).collect() })
    }
}

/// The least a sealed database can do: sled as the vault has it, and the bare cipher.
pub struct Floor {
    tree: sled::Tree,
    cipher: Aes256Gcm,
    names: Vec<[u8; 16]>,
}

impl Floor {
    pub fn make(dir: &Path, records: usize) -> Result<Self, Box<dyn Error>> {
        let path = dir.join("sled");
        let names = (0..records).map(|_| random()).collect::<Result<Vec<[u8; 16]>, _>>()?;
        let cipher = Aes256Gcm::new(&random::<32>()?.into());
        let db = Self::open(&path)?;
        for name in &names {
            let payload = Payload { msg: &random::<RECORD>()?, aad: &AAD };
            let sealed = cipher.encrypt(&NONCE.into(), payload).map_err(|_| "not sealed")?;
            db.insert(name, sealed)?;
        }
        db.flush()?;
        drop(db);
        Ok(Self { tree: Tree::clone(&*Self::open(&path)?), cipher, names })
    }

    fn open(path: &Path) -> sled::Result<sled::Db> {
        let mode = sled::Mode::HighThroughput;
        let config = sled::Config::new().path(path).cache_capacity(8 << 20).mode(mode);
        config.flush_every_ms(None).open()
    }

    pub fn read(&self, i: usize) -> Result<Vec<u8>, Box<dyn Error>> {
        let sealed = self.tree.get(self.names[i])?.ok_or("no such record")?;
        let payload = Payload { msg: &sealed, aad: &AAD };
        Ok(self.cipher.decrypt(&NONCE.into(), payload).map_err(|_| "not opened")?)
    }
}

/// SQLCipher with a raw key, so that no key derivation is counted, and its default cache.
pub struct SqlCipher {
    connection: Connection,
    ids: Vec<[u8; 16]>,
}

impl SqlCipher {
    pub fn make(dir: &Path, records: usize) -> Result<Self, Box<dyn Error>> {
        let path = dir.join("sqlcipher");
        let ids = (0..records).map(|_| random()).collect::<Result<Vec<[u8; 16]>, _>>()?;
        let mut connection = Self::open(&path)?;
        connection.execute_batch(
            "CREATE TABLE records (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        )?;
        let transaction = connection.transaction()?;
        for id in &ids {
            let value = random::<RECORD>()?;
            transaction
                .prepare_cached("INSERT INTO records VALUES (?1, ?2)")?
                .execute(params![id, value])?;
        }
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(Self { connection: Self::open(&path)?, ids })
    }

    fn open(path: &Path) -> Result<Connection, Box<dyn Error>> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "key", format!("x'{}'", "2a".repeat(32)))?;
        // Its quickest way to be as durable as the vault is.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    }

    pub fn version(&self) -> Result<String, Box<dyn Error>> {
        let cipher: String =
            self.connection.pragma_query_value(None, "cipher_version", |row| row.get(0))?;
        Ok(format!("SQLCipher {cipher}, SQLite {}", rusqlite::version()))
    }

    pub fn read(&self, i: usize) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut statement =
            self.connection.prepare_cached("SELECT value FROM records WHERE id = ?1")?;
        Ok(statement.query_row([self.ids[i]], |row| row.get(0))?)
    }

    pub fn write(&self, i: usize, value: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut statement =
            self.connection.prepare_cached("UPDATE records SET value = ?2 WHERE id = ?1")?;
        statement.execute(params![self.ids[i], value])?;
        Ok(())
    }
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
