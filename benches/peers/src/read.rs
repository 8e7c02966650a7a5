//! One record, read and opened.

use crate::peer::Reader;
use crate::peers::redb::Redb;
use crate::peers::securestore::SecureStore;
use crate::peers::sled::Sled;
use crate::peers::sqlcipher::SqlCipher;
use crate::peers::vault::{Account, Lease, Store, Token};
use crate::promise::Promise;
use crate::turns::{Failure, Side, Times, scattered};
use crate::{Scale, table};

/// Reads in a turn of one side.
const READS: usize = 1000;
/// Places of those that others are held against.
const TOKEN: usize = 0;
const ACCOUNT: usize = 1;
const FLOOR: usize = 2;
const SQLCIPHER: usize = 3;
const SECURESTORE: usize = 5;
#[cfg(feature = "stronghold")]
const LEASE: usize = 6;
#[cfg(feature = "stronghold")]
const STRONGHOLD: usize = 7;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    println!("## read one record, beside the peers\n");
    println!(
        "What a lease pays to get at its token, and what a bot that keeps tokens elsewhere would pay \
         for each. Records of one store in scattered order, each read and opened, {READS} reads a \
         turn, the median of {} turns. A lease finds its token sealed in memory; an account's key \
         is got from the database, under a keyed hash of the account's name. The floor is sled's \
         `get` and the bare cipher. securestore keeps all of its file in memory, each secret \
         sealed; of Stronghold no secret is read, its HMAC procedure works with one.\n",
        scale.turns
    );
    few(scale)?;
    many(scale)
}

fn few(scale: &Scale) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let store = Store::make(dir.path(), scale.few)?;
    let sqlcipher = SqlCipher::make(dir.path(), scale.few)?;
    let version = sqlcipher.version()?;
    let peers: Vec<Box<dyn Reader + '_>> = vec![
        Box::new(Token(&store)),
        Box::new(Account(&store)),
        Box::new(Sled::make(dir.path(), scale.few)?),
        Box::new(sqlcipher),
        Box::new(Redb::make(dir.path(), scale.few)?),
        Box::new(SecureStore::make(scale.few)?),
        Box::new(Lease::make(dir.path(), scale.few)?),
        #[cfg(feature = "stronghold")]
        Box::new(crate::peers::stronghold::Stronghold::make()?),
    ];
    let times = compare(scale, scale.few, &peers)?;
    println!("{version}.\n");
    table::verdicts();
    Promise::at_most(1.3, format!("read one of {}, by sled and aes-gcm: a token", scale.few))
        .judge(times.ratio(TOKEN, FLOOR));
    Promise::at_most(1.3, format!("read one of {}, by sled and aes-gcm: an account", scale.few))
        .missed_because("its name is hashed with a key first, and its row is decoded")
        .judge(times.ratio(ACCOUNT, FLOOR));
    Promise::at_least(2.5, format!("read one of {}: SQLCipher's by a token's", scale.few))
        .judge(times.ratio(SQLCIPHER, TOKEN));
    Promise::at_least(15.0, "read one secret: securestore's by a token's")
        .judge(times.ratio(SECURESTORE, TOKEN));
    #[cfg(feature = "stronghold")]
    {
        Promise::at_least(100.0, "read one secret: Stronghold's procedure by a token's")
            .judge(times.ratio(STRONGHOLD, TOKEN));
        Promise::at_least(100.0, "Stronghold's HMAC procedure, by lease and sign")
            .judge(times.ratio(STRONGHOLD, LEASE));
    }
    println!();
    Ok(())
}

fn many(scale: &Scale) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let store = Store::make(dir.path(), scale.many)?;
    let peers: Vec<Box<dyn Reader + '_>> = vec![
        Box::new(Token(&store)),
        Box::new(Account(&store)),
        Box::new(Sled::make(dir.path(), scale.many)?),
        Box::new(SqlCipher::make(dir.path(), scale.many)?),
        Box::new(Redb::make(dir.path(), scale.many)?),
    ];
    let times = compare(scale, scale.many, &peers)?;
    table::verdicts();
    Promise::at_least(10.0, format!("read one of {}: SQLCipher's by a token's", scale.many))
        .judge(times.ratio(SQLCIPHER, TOKEN));
    Promise::at_least(10.0, format!("read one of {}: SQLCipher's by an account's", scale.many))
        .missed_because(format!(
            "by bare sled and aes-gcm it is {:.2}",
            times.ratio(SQLCIPHER, FLOOR)
        ))
        .judge(times.ratio(SQLCIPHER, ACCOUNT));
    println!();
    Ok(())
}

fn compare(
    scale: &Scale,
    records: usize,
    peers: &[Box<dyn Reader + '_>],
) -> Result<Times, Failure> {
    let mut sides: Vec<_> =
        peers.iter().map(|peer| Side::new(peer.name(), |i| peer.read(i))).collect();
    let times = Times::take(&mut sides, scale.turns, READS, scattered(records))?;
    let by = [("a token's", TOKEN), ("an account's", ACCOUNT), ("the floor's", FLOOR)];
    table::print(&format!("of {records}"), &sides, &times, &by);
    Ok(times)
}
