//! One record, written so that a power cut does not take it back.

use crate::store::{SqlCipher, VaultStore, scattered};
use crate::{Scale, digits, median, time};
use bitgo_vault::test_util::ManyTokens;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Writes of each side, for each turn of a read.
const WRITES: usize = 10;
const BLOCK: usize = 4096;

const WRITERS: usize = 32;
/// Of each writer, in one turn: the first finds nobody to share with, the others do.
const RESERVATIONS: usize = 4;

/// A name, and what one write takes.
type Side<'a> = (&'a str, Box<dyn Fn(usize) -> Result<Duration, Box<dyn Error>> + 'a>);

pub fn section(scale: &Scale) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let vault = VaultStore::make(dir.path(), scale.few)?;
    let cipher = SqlCipher::make(dir.path(), scale.few)?;
    let block = File::create(dir.path().join("block"))?;
    block.write_all_at(&[0; BLOCK], 0)?;
    block.sync_all()?;
    let sides: [Side<'_>; 4] = [
        (
            "4 KiB overwritten, and fdatasync",
            Box::new(|i| {
                let begin = Instant::now();
                block.write_all_at(&[i.to_le_bytes()[0]; BLOCK], 0)?;
                block.sync_data()?;
                Ok(begin.elapsed())
            }),
        ),
        (
            "SQLCipher (WAL, synchronous FULL)",
            Box::new(|i| {
                let begin = Instant::now();
                cipher.write(i, &i.to_le_bytes().repeat(20)[..])?;
                Ok(begin.elapsed())
            }),
        ),
        (
            "**bitgo-vault**, a reservation",
            Box::new(|i| {
                let begin = Instant::now();
                vault.store.reserve(i)?;
                Ok(begin.elapsed())
            }),
        ),
        (
            "**bitgo-vault**, a reservation, 32 writers at a time",
            Box::new(|i| reserve_together(&vault.store, i, scale.few)),
        ),
    ];
    let mut times = sides.each_ref().map(|_| Vec::new());
    for i in scattered(scale.few).take(scale.turns * WRITES) {
        for ((_, write), times) in sides.iter().zip(&mut times) {
            times.push(write(i)?);
        }
    }
    println!("## write one record durably, beside SQLCipher\n");
    println!(
        "One of {} records, the sides in turn, the median of {} writes. The block is the least \
         that a disk can make durable; wanted are at most 4 times its time for \
         a writer alone, and 0.3 times for each of {WRITERS} that share their syncs.\n",
        scale.few,
        times[0].len()
    );
    println!("| | median | by the block |\n|---|--:|--:|");
    let medians: [Duration; 4] = times.map(median);
    for ((name, _), own) in sides.iter().zip(medians) {
        let ratio = digits(own.as_secs_f64() / medians[0].as_secs_f64());
        println!("| {name} | {} | {ratio} |", time(own));
    }
    println!();
    Ok(())
}

/// What one of many reservations takes, the time of all divided by their number.
fn reserve_together(
    store: &ManyTokens,
    first: usize,
    tokens: usize,
) -> Result<Duration, Box<dyn Error>> {
    let start = Barrier::new(WRITERS + 1);
    let elapsed = thread::scope(|scope| {
        let reserve = |writer| {
            let start = &start;
            move || {
                start.wait();
                (0..RESERVATIONS)
                    .try_for_each(|i| store.reserve((first + writer * RESERVATIONS + i) % tokens))
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(reserve(writer))).collect();
        start.wait();
        let begin = Instant::now();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().expect("a writer panicked"))
            .map(|()| begin.elapsed())
    })?;
    Ok(elapsed / u32::try_from(WRITERS * RESERVATIONS)?)
}
