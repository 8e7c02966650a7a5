//! One record, written so that a power cut does not take it back.

use crate::peer::Writer;
use crate::peers::block::Block;
use crate::peers::redb::Redb;
use crate::peers::sqlcipher::SqlCipher;
use crate::peers::vault::{Store, WRITERS};
use crate::promise::Promise;
use crate::turns::{Failure, Side, Times, scattered};
use crate::{Scale, table};

/// Turns of a write, for each turn of a read.
const TURNS: usize = 10;
const BLOCK: usize = 0;
const ALONE: usize = 1;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let block = Block::make(dir.path())?;
    let store = Store::make(dir.path(), scale.few)?;
    let sqlcipher = SqlCipher::make(dir.path(), scale.few)?;
    let redb = Redb::make(dir.path(), scale.few)?;
    let alone: [&dyn Writer; 4] = [&block, &store, &sqlcipher, &redb];
    let mut sides: Vec<_> = alone.map(|peer| Side::new(peer.name(), move |i| peer.write(i))).into();
    let together = sides.len();
    let name = format!("**bitgo-vault**, a reservation, {WRITERS} writers at a time");
    sides.push(Side::timed(name, |i| store.reserve_together(i)));
    let times = Times::take(&mut sides, scale.turns * TURNS, 1, scattered(scale.few))?;
    println!("## write one record durably, beside the peers\n");
    println!(
        "What a bot waits for where a spend is not drawn from an allotment, or one is taken. One of {} \
         records, the sides in turn, the median of {} writes. The block is the least that a \
         disk can make durable.\n",
        scale.few,
        scale.turns * TURNS
    );
    table::print("of a write", &sides, &times, &[("the block", BLOCK)]);
    table::verdicts();
    Promise::at_most(4.0, "a durable write, by a block and its fdatasync")
        .judge(times.ratio(ALONE, BLOCK));
    Promise::at_most(
        0.3,
        format!("one of {WRITERS} durable writes that share syncs, by the block"),
    )
    .judge(times.ratio(together, BLOCK));
    println!();
    Ok(())
}
