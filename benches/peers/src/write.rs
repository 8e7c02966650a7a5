//! One record, written so that a power cut does not take it back.

use crate::store::{SqlCipher, VaultStore, scattered};
use crate::{Scale, digits, median, time};
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Writes of each side, for each turn of a read.
const WRITES: usize = 10;
const BLOCK: usize = 4096;

pub fn section(scale: &Scale) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let vault = VaultStore::make(dir.path(), scale.few)?;
    let cipher = SqlCipher::make(dir.path(), scale.few)?;
    let block = File::create(dir.path().join("block"))?;
    block.write_all_at(&[0; BLOCK], 0)?;
    block.sync_all()?;
    type Side<'a> = (&'a str, Box<dyn Fn(usize) -> Result<(), Box<dyn Error>> + 'a>);
    let sides: [Side<'_>; 3] = [
        (
            "4 KiB overwritten, and fdatasync",
            Box::new(|i| {
                block.write_all_at(&[i.to_le_bytes()[0]; BLOCK], 0)?;
                Ok(block.sync_data()?)
            }),
        ),
        ("SQLCipher (WAL, synchronous FULL)", Box::new(|i| cipher.write(i, &[1; 159]))),
        ("**bitgo-vault**, a reservation", Box::new(|i| Ok(vault.store.reserve(i)?))),
    ];
    let mut times = sides.each_ref().map(|_| Vec::new());
    for i in scattered(scale.few).take(scale.turns * WRITES) {
        for ((_, write), times) in sides.iter().zip(&mut times) {
            let begin = Instant::now();
            write(i)?;
            times.push(begin.elapsed());
        }
    }
    println!("## write one record durably, beside SQLCipher\n");
    println!(
        "One of {} records, the sides in turn, the median of {} writes. The block is the least \
         that a disk can make durable; at most 4 times its time is wanted.\n",
        scale.few,
        times[0].len()
    );
    println!("| | median | by the block |\n|---|--:|--:|");
    let medians: [Duration; 3] = times.map(median);
    for ((name, _), own) in sides.iter().zip(medians) {
        let ratio = digits(own.as_secs_f64() / medians[0].as_secs_f64());
        println!("| {name} | {} | {ratio} |", time(own));
    }
    println!();
    Ok(())
}
