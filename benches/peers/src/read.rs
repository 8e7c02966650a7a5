//! One record, read and opened.

use crate::store::{Floor, SqlCipher, VaultStore, scattered};
use crate::{Scale, digits, median, time};
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Reads in a turn of one side.
const READS: usize = 1000;

pub fn section(scale: &Scale) -> Result<(), Box<dyn Error>> {
    println!("## read one record, beside SQLCipher\n");
    println!(
        "Records of one store in scattered order, each read and opened, {READS} reads a turn, the \
         median of {} turns. A lease finds its token sealed in memory; an account's key is got \
         from the database, under a keyed hash of the account's name; the floor is sled's `get` and \
         the bare cipher. The columns divide: wanted are 2.5 times SQLCipher's speed among {} and 10 among {}, and at most 1.3 times \
         the floor's time.\n",
        scale.turns, scale.few, scale.many
    );
    println!("| | median | SQLCipher's by this | this by the floor |\n|---|--:|--:|--:|");
    let mut version = String::new();
    for records in [scale.few, scale.many] {
        let dir = tempfile::tempdir()?;
        let vault = VaultStore::make(dir.path(), records)?;
        let floor = Floor::make(dir.path(), records)?;
        let cipher = SqlCipher::make(dir.path(), records)?;
        version = cipher.version()?;
        type Side<'a> = (&'a str, Box<dyn Fn(usize) -> Result<(), Box<dyn Error>> + 'a>);
        let sides: [Side<'_>; 4] = [
            (
                "SQLCipher",
                Box::new(|i| {
                    black_box(cipher.read(i)?);
                    Ok(())
                }),
            ),
            (
                "sled and aes-gcm",
                Box::new(|i| {
                    black_box(floor.read(i)?);
                    Ok(())
                }),
            ),
            (
                "**bitgo-vault**, a token sealed in memory",
                Box::new(|i| {
                    black_box(vault.store.read(i)?);
                    Ok(())
                }),
            ),
            (
                "**bitgo-vault**, an account from sled",
                Box::new(|i| {
                    black_box(vault.store.read_account(&vault.users[i])?);
                    Ok(())
                }),
            ),
        ];
        let mut order = sides.each_ref().map(|_| scattered(records));
        let mut times = sides.each_ref().map(|_| Vec::new());
        // The first turn fills the caches.
        for turn in 0..=scale.turns {
            for (((_, read), order), times) in sides.iter().zip(&mut order).zip(&mut times) {
                let begin = Instant::now();
                for i in order.take(READS) {
                    read(i)?;
                }
                if turn > 0 {
                    times.push(begin.elapsed() / u32::try_from(READS)?);
                }
            }
        }
        let medians: [Duration; 4] = times.map(median);
        for ((name, _), own) in sides.iter().zip(medians) {
            let speed = digits(medians[0].as_secs_f64() / own.as_secs_f64());
            let cost = digits(own.as_secs_f64() / medians[1].as_secs_f64());
            println!("| {records}, {name} | {} | {speed} | {cost} |", time(own));
        }
    }
    println!("\n{version}.\n");
    Ok(())
}
