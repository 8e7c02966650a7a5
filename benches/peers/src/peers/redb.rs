//! redb with its default cache, each value sealed by the bare cipher.

use super::rust_crypto::RustCrypto;
use crate::peer::{Library, RECORD, Reader, Writer, random};
use crate::turns::Failure;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::path::Path;

const RECORDS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("records");

pub struct Redb {
    database: Database,
    cipher: RustCrypto,
    names: Vec<[u8; 16]>,
}

impl Redb {
    pub fn make(dir: &Path, records: usize) -> Result<Self, Failure> {
        let (path, cipher) = (dir.join("redb"), RustCrypto::new()?);
        let names = (0..records).map(|_| random()).collect::<Result<Vec<[u8; 16]>, _>>()?;
        let database = Database::create(&path)?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for name in &names {
                table.insert(name, cipher.seal(&random::<RECORD>()?)?.as_slice())?;
            }
        }
        transaction.commit()?;
        drop(database);
        Ok(Self { database: Database::open(&path)?, cipher, names })
    }
}

impl Reader for Redb {
    fn name(&self) -> String {
        "redb and aes-gcm".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        let sealed = table.get(self.names[i])?.ok_or("no such record")?;
        self.cipher.open(sealed.value()).map(drop)
    }
}

impl Writer for Redb {
    fn name(&self) -> String {
        "redb and aes-gcm".into()
    }

    fn write(&self, i: usize) -> Result<(), Failure> {
        let sealed = self.cipher.seal(&random::<RECORD>()?)?;
        let transaction = self.database.begin_write()?;
        transaction.open_table(RECORDS)?.insert(self.names[i], sealed.as_slice())?;
        Ok(transaction.commit()?)
    }
}
