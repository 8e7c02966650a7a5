//! Sealed records of two vaults, put, moved, swapped, copied back, cut, flipped and removed in any
//! order: a record opens if and only if its bytes are, to the last, such as were once sealed for
//! the place where they stand, and then yields what was sealed.
//!
//! That includes an old version put back in its own place, or a removed one: a record by itself
//! cannot tell. What all records add up to does, in the head and the anchor (src/store/head.rs).
//!
//! Input: operations of a few bytes each.

#![no_main]

use bitgo_vault::crypto::{DataKey, RecordCipher, VaultId};
use bitgo_vault_fuzz::Script;
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const VAULTS: usize = 2;
const EPOCHS: usize = 2;
const TREES: [&str; 3] = ["tokens", "secrets", "ledger"];
const NAMES: [[u8; 16]; 3] = [[0; 16], [1; 16], [0xff; 16]];
const PLACES: usize = VAULTS * EPOCHS * TREES.len() * NAMES.len();
const OPERATIONS: usize = 200;

/// One data key for both vaults and both epochs, which no true vault has: what keeps the places
/// apart is then the derivation of their ciphers and the data that each record is bound to.
struct World {
    ciphers: Vec<RecordCipher>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = DataKey::generate(&mut SysRng).unwrap();
    let vaults = [(); VAULTS].map(|()| VaultId::random(&mut SysRng).unwrap());
    let cipher = |at| {
        let spot = Spot::of(at);
        key.record_cipher(&vaults[spot.vault], spot.epoch, spot.tree)
    };
    let ciphers = (0..PLACES).map(cipher).collect();
    World { ciphers }
});

struct Spot {
    vault: usize,
    epoch: u32,
    tree: &'static str,
    name: &'static [u8; 16],
}

impl Spot {
    fn of(at: usize) -> Self {
        let (at, name) = (at / NAMES.len(), at % NAMES.len());
        let (at, tree) = (at / TREES.len(), at % TREES.len());
        let (vault, epoch) = (at / EPOCHS, at % EPOCHS);
        let epoch = u32::try_from(epoch).unwrap();
        Self { vault, epoch, tree: TREES[tree], name: &NAMES[name] }
    }
}

impl World {
    fn seal(&self, at: usize, plaintext: &[u8]) -> Vec<u8> {
        self.ciphers[at].seal(Spot::of(at).name, plaintext, &mut SysRng).unwrap()
    }

    fn open(&self, at: usize, record: &[u8]) -> Option<Vec<u8>> {
        self.ciphers[at].open(Spot::of(at).name, record).ok().map(|plaintext| plaintext.to_vec())
    }
}

/// What stands on disk, and, as the model, all that was ever sealed: where, as which bytes, and
/// around what.
#[derive(Default)]
struct Disk {
    records: BTreeMap<usize, Vec<u8>>,
    sealed: BTreeMap<(usize, Vec<u8>), Vec<u8>>,
    versions: Vec<Vec<u8>>,
}

impl Disk {
    fn set(&mut self, at: usize, record: Option<Vec<u8>>) {
        match record {
            Some(record) => self.records.insert(at, record),
            None => self.records.remove(&at),
        };
    }

    /// One operation; `None` at the end of the script.
    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        let operation = script.byte()?;
        let at = usize::from(script.byte()?) % PLACES;
        match operation % 9 {
            0 | 1 => {
                let len = usize::from(script.byte()?) % 48;
                let plaintext = script.bytes(len);
                let record = WORLD.seal(at, plaintext);
                self.sealed.insert((at, record.clone()), plaintext.to_vec());
                self.versions.push(record.clone());
                self.set(at, Some(record));
            }
            2 => {
                let from = usize::from(script.byte()?) % PLACES;
                let record = self.records.remove(&from);
                self.set(at, record);
            }
            3 => {
                let other = usize::from(script.byte()?) % PLACES;
                let (here, there) = (self.records.get(&at).cloned(), self.records.remove(&other));
                self.set(at, there);
                self.set(other, here);
            }
            4 => {
                let version = script.below(self.versions.len().max(1))?;
                if let Some(version) = self.versions.get(version).cloned() {
                    self.set(at, Some(version));
                }
            }
            5 => {
                let len = script.below(80)?;
                self.records.entry(at).and_modify(|record| record.truncate(len));
            }
            6 => {
                let (byte, how) = (script.below(80)?, script.byte()?);
                let record = self.records.get_mut(&at);
                if let Some(byte) = record.and_then(|record| record.get_mut(byte)) {
                    *byte ^= how;
                }
            }
            7 => {
                let byte = script.byte()?;
                self.records.entry(at).or_default().push(byte);
            }
            _ => self.set(at, None),
        }
        self.check(at);
        Some(())
    }

    fn check(&self, at: usize) {
        if let Some(record) = self.records.get(&at) {
            let expect = self.sealed.get(&(at, record.clone()));
            assert_eq!(WORLD.open(at, record).as_ref(), expect);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let (mut disk, mut script) = (Disk::default(), Script::new(input));
    for _ in 0..OPERATIONS {
        if disk.step(&mut script).is_none() {
            break;
        }
    }
    (0..PLACES).for_each(|at| disk.check(at));
});
