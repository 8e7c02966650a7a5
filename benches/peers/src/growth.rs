//! What a store takes of disk and memory, and how it grows under overwriting.

use crate::Scale;
use crate::peers::vault::{passphrase, runtime, vault};
use crate::promise::Promise;
use crate::table::{digits, time, verdicts};
use crate::turns::{Failure, median};
use bitgo_vault::test_util::ManyTokens;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

const MIB: f64 = 1024.0 * 1024.0;
const TOKENS_PER_ACCOUNT: usize = 1000;
const WRITERS: usize = 64;
/// Processes that open each store.
const OPENINGS: usize = 5;
/// When the size under overwriting is looked at.
const LOOKS: usize = 5;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    let stores = [0, scale.few, scale.some, scale.many].map(|tokens| {
        let name = if tokens == 0 { "no token".into() } else { format!("{tokens} tokens") };
        (name, path(&tokens.to_string()), tokens)
    });
    for (_, path, tokens) in &stores {
        ManyTokens::create(path, &passphrase())?.add(*tokens, TOKENS_PER_ACCOUNT)?;
    }
    let worn = path("overwritten");
    let sizes = overwrite(&worn, scale)?;
    size(scale, &stores, &worn)?;
    overwriting(scale, &sizes);
    memory(&stores)
}

/// What a store is called, where it is, and how many tokens it has.
type Built = (String, PathBuf, usize);

fn size(scale: &Scale, stores: &[Built], worn: &Path) -> Result<(), Failure> {
    println!("## a store's size, and its opening\n");
    println!(
        "What disk to give a bot's host. Tokens with label, scopes, limits and ledger, \
         {TOKENS_PER_ACCOUNT} to an account. The payload is what the database's records amount to, \
         names and sealed bytes. Opened in a process of its own, the median of {OPENINGS}; the key \
         derivation costs next to nothing here. The first time sled reads its whole log and writes \
         a snapshot, which it reads when it opens again. Memory is what opening adds to the \
         process: resident after it, and at most. A vault holds each token in memory besides, \
         sealed, with what is known of it.\n"
    );
    println!(
        "| | on disk | payload | disk by payload | store alone: first | again | adds | at most | \
         and its tokens: first | again | adds | at most |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let name = format!("{} tokens, each overwritten {} times", scale.few, scale.overwrites);
    let named = stores.iter().map(|(name, path, _)| (name.as_str(), path.as_path()));
    let mut largest = 0.0;
    for (name, path) in named.chain([(name.as_str(), worn)]) {
        let (size, payload) = (disk(path)? as f64, payload(path)? as f64);
        let [alone, whole] = ["store", "tokens"].map(|what| cells(what, path));
        println!(
            "| {name} | {} MiB | {} MiB | {} | {} | {} |",
            digits(size / MIB),
            digits(payload / MIB),
            digits(size / payload),
            alone?,
            whole?
        );
        if path != worn {
            largest = (size - 6e6) / payload;
        }
    }
    println!();
    verdicts();
    Promise::at_most(2.1, format!("disk of {} tokens less 6 MB, by their payload", scale.many))
        .judge(largest);
    println!();
    Ok(())
}

fn overwriting(scale: &Scale, sizes: &[(usize, u64)]) {
    println!("## size under overwriting\n");
    println!(
        "Whether the disk of a bot that spends all day fills up. {} tokens, each with as many \
         reservations and settlements as said, from {WRITERS} threads.\n",
        scale.few
    );
    println!("| overwritten | on disk |\n|--:|--:|");
    for (times, size) in sizes {
        println!("| {times} times | {} MiB |", digits(*size as f64 / MIB));
    }
    println!();
    let largest = sizes.iter().map(|(_, size)| *size).max().unwrap_or_default();
    let what = format!("disk of {} tokens, each overwritten {} times", scale.few, scale.overwrites);
    verdicts();
    Promise::at_most(8.0, what)
        .in_unit(" MB")
        .missed_because(
            "of it 1 MiB is kept free for a full disk; the last looks tell whether it grows",
        )
        .judge(largest as f64 / 1e6);
    println!();
}

fn memory(stores: &[Built]) -> Result<(), Failure> {
    println!("## a vault's memory\n");
    println!(
        "What memory to give the bot's process. Resident memory that `unlock` adds to a process, and \
         by how much that is more than for a vault without tokens.\n"
    );
    println!("| | adds | at most | over an empty vault |\n|---|--:|--:|--:|");
    let mut added = Vec::new();
    for (name, path, tokens) in stores {
        let vault = Opening::of("vault", path, false)?;
        let (_, empty, _) = *added.first().unwrap_or(&(0, vault.resident, 0.0));
        let over = (vault.resident as f64 - empty as f64) / 1024.0;
        println!(
            "| {name} | {} | {} | {over:.1} MiB |",
            mebibytes(vault.resident),
            mebibytes(vault.peak)
        );
        added.push((*tokens, vault.resident, over));
    }
    println!();
    verdicts();
    if let [_, _, (some, _, over), (many, resident, _)] = added[..] {
        Promise::at_most(32.0, format!("memory of {some} tokens over an empty vault"))
            .in_unit(" MiB")
            .judge(over);
        Promise::at_most(16.0, format!("memory that unlocking {many} tokens adds"))
            .in_unit(" MiB")
            .missed_because("all tokens are held in memory, sealed, with what is known of each")
            .judge(resident as f64 / 1024.0);
    }
    println!();
    Ok(())
}

/// Overwrites every token's ledger as often as said; the sizes on the way.
fn overwrite(path: &Path, scale: &Scale) -> Result<Vec<(usize, u64)>, Failure> {
    let mut store = ManyTokens::create(path, &passphrase())?;
    store.add(scale.few, TOKENS_PER_ACCOUNT)?;
    let mut sizes = vec![(0, disk(path)?)];
    for look in 1..=LOOKS {
        // A reservation and its settlement are two writes.
        let pairs = scale.few * scale.overwrites / 2 / LOOKS;
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let write = || {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= pairs {
                        return Ok::<_, bitgo_vault::StoreError>(());
                    }
                    store.reserve(i % scale.few)?;
                    store.settle(i % scale.few);
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            writers.into_iter().try_for_each(|writer| writer.join().expect("a writer panicked"))
        })?;
        sizes.push((scale.overwrites * look / LOOKS, disk(path)?));
    }
    Ok(sizes)
}

/// What the disk gives to all that is below a directory.
fn disk(path: &Path) -> Result<u64, Failure> {
    fs::read_dir(path)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let below = if metadata.is_dir() { disk(&entry.path())? } else { metadata.blocks() * 512 };
        Ok(sum + below)
    })
}

/// Bytes of all records in the database, read past the store.
fn payload(path: &Path) -> Result<usize, Failure> {
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if !path.join("conf").exists() {
            continue;
        }
        // sled writes when it opens; the store is to be as its own last write left it.
        let copy = tempfile::tempdir()?;
        for name in ["conf", "db"] {
            fs::copy(path.join(name), copy.path().join(name))?;
        }
        let db = sled::Config::new().path(copy.path()).cache_capacity(8 << 20).open()?;
        for tree in db.tree_names() {
            for record in &db.open_tree(tree)? {
                let (name, value) = record?;
                sum += name.len() + value.len();
            }
        }
    }
    Ok(sum)
}

/// What a process tells that opened a store.
struct Opening {
    seconds: f64,
    /// KiB.
    resident: u64,
    peak: u64,
}

impl Opening {
    /// The median of some processes, each of which opens the store as if for the first time.
    fn of(what: &str, path: &Path, is_first: bool) -> Result<Self, Failure> {
        let mut told = [const { Vec::new() }; 3];
        for _ in 0..OPENINGS {
            if is_first {
                remove_snapshots(path)?;
            }
            let child = Command::new(std::env::current_exe()?)
                .args(["measure", what])
                .arg(path)
                .output()?;
            if !child.status.success() {
                return Err(String::from_utf8_lossy(&child.stderr).into());
            }
            let numbers = String::from_utf8(child.stdout)?;
            for (told, number) in told.iter_mut().zip(numbers.split_whitespace()) {
                told.push(number.parse::<u64>()?);
            }
        }
        let [micros, resident, peak] = told.map(median);
        Ok(Self { seconds: micros as f64 / 1e6, resident, peak })
    }
}

/// Four cells of the table. The first opening is of a copy: sled does not always find its way through
/// the log without the snapshot that it left, and then says that the store is damaged.
fn cells(what: &str, path: &Path) -> Result<String, Failure> {
    let copies = tempfile::tempdir()?;
    let copy = copies.path().join("copy");
    if !Command::new("cp").arg("-a").args([path, &copy]).status()?.success() {
        return Err("a store was not copied".into());
    }
    let first = Opening::of(what, &copy, true)
        .inspect_err(|error| eprintln!("opened without its snapshot: {error}"))
        .map_or("not opened".into(), |first| time(first.seconds));
    let again = Opening::of(what, path, false)?;
    let (resident, peak) = (mebibytes(again.resident), mebibytes(again.peak));
    Ok(format!("{first} | {} | {resident} | {peak}", time(again.seconds)))
}

/// Those of sled, which repeat what its log holds.
fn remove_snapshots(path: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_snapshots(&entry.path())?;
        } else if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{} MiB", digits(kibibytes as f64 / 1024.0))
}

/// The process that opens a store, and prints microseconds and KiB.
pub fn measure(what: &str, path: &Path) -> Result<(), Failure> {
    match what {
        "store" => report(|| Ok(ManyTokens::open_store_alone(path, &passphrase())?)),
        "tokens" => report(|| Ok(ManyTokens::open(path, &passphrase())?)),
        "vault" => {
            let runtime = runtime()?;
            report(|| Ok(runtime.block_on(vault(path).unlock(passphrase()))?))
        }
        _ => Err("no such measurement".into()),
    }
}

fn report<T>(open: impl FnOnce() -> Result<T, Failure>) -> Result<(), Failure> {
    let before = status("VmRSS")?;
    let begin = Instant::now();
    let opened = open()?;
    let time = begin.elapsed();
    let (resident, peak) = (status("VmRSS")? - before, status("VmHWM")? - before);
    println!("{} {resident} {peak}", time.as_micros());
    drop(opened);
    Ok(())
}

/// A field of what the kernel says of this process, in KiB.
fn status(field: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}
