//! SQLCipher through rusqlite, with its default cache.

use crate::peer::{KEY, Keeper, PASSPHRASE, RECORD, Reader, Writer, random};
use crate::turns::Failure;
use rusqlite::{Connection, params};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const TABLE: &str = "CREATE TABLE records (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";

/// With a raw key, so that no key derivation is counted.
pub struct SqlCipher {
    connection: Connection,
    ids: Vec<[u8; 16]>,
}

impl SqlCipher {
    pub fn make(dir: &Path, records: usize) -> Result<Self, Failure> {
        let path = dir.join("sqlcipher");
        let raw = format!("x'{}'", KEY.map(|byte| format!("{byte:02x}")).concat());
        let ids = (0..records).map(|_| random()).collect::<Result<Vec<[u8; 16]>, _>>()?;
        let mut connection = open(&path, &raw)?;
        connection.execute_batch(TABLE)?;
        let transaction = connection.transaction()?;
        for id in &ids {
            let value = random::<RECORD>()?;
            transaction
                .prepare_cached("INSERT INTO records VALUES (?1, ?2)")?
                .execute(params![id, value])?;
        }
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(Self { connection: open(&path, &raw)?, ids })
    }

    pub fn version(&self) -> Result<String, Failure> {
        let cipher: String =
            self.connection.pragma_query_value(None, "cipher_version", |row| row.get(0))?;
        Ok(format!("SQLCipher {cipher}, SQLite {}", rusqlite::version()))
    }
}

fn open(path: &Path, key: &str) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "key", key)?;
    // Its quickest way to be as durable as the vault is.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

impl Reader for SqlCipher {
    fn name(&self) -> String {
        "SQLCipher, raw key".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        let mut statement =
            self.connection.prepare_cached("SELECT value FROM records WHERE id = ?1")?;
        black_box(statement.query_row([self.ids[i]], |row| row.get::<_, Vec<u8>>(0))?);
        Ok(())
    }
}

impl Writer for SqlCipher {
    fn name(&self) -> String {
        "SQLCipher, raw key (WAL, synchronous FULL)".into()
    }

    fn write(&self, i: usize) -> Result<(), Failure> {
        let mut statement =
            self.connection.prepare_cached("UPDATE records SET value = ?2 WHERE id = ?1")?;
        statement.execute(params![self.ids[i], random::<RECORD>()?])?;
        Ok(())
    }
}

/// With a passphrase, under its own key derivation.
pub struct SqlCipherKeeper;

impl Keeper for SqlCipherKeeper {
    fn name(&self) -> String {
        "SQLCipher, passphrase (PBKDF2-HMAC-SHA512, 256 000 rounds)".into()
    }

    fn create(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let connection = open(at, PASSPHRASE)?;
        connection.execute_batch(TABLE)?;
        let took = begin.elapsed();
        connection.close().map_err(|(_, error)| error)?;
        Ok(took)
    }

    fn unlock(&self, at: &Path) -> Result<Duration, Failure> {
        let begin = Instant::now();
        let connection = open(at, PASSPHRASE)?;
        connection.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, u64>(0))?;
        let took = begin.elapsed();
        connection.close().map_err(|(_, error)| error)?;
        Ok(took)
    }
}
