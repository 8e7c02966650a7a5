//! Backups: what comes back is what was put in, or an error.

mod file;

use super::*;
use crate::crypto::{CHUNK_LEN, CHUNK_OVERHEAD, OpeningStream, SealingStream, key_encryption_key};
use crate::secret::Passphrase;
use getrandom::SysRng;
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

type Plain = (u8, Vec<u8>, Vec<u8>);

const PASSPHRASE: &str = "correct horse";
const SECRET: &[u8] = b"v2x00112233445566778899aabbccddeeff";
/// Of a frame beyond its key and row.
const FRAME: usize = 1 + 2 + 4;
/// Of the trailer where one tree has records.
const TRAILER_LEN: usize = FRAME + 9;
const SEALED_CHUNK: usize = CHUNK_LEN + CHUNK_OVERHEAD;

fn origin() -> Origin {
    Origin {
        vault_id: VaultId([7; 16]),
        sequence: 42,
        kdf: KdfParams::new(8, 1, 1).unwrap(),
        salt: Salt([3; 16]),
    }
}

fn key() -> &'static KeyEncryptionKey {
    static KEY: LazyLock<KeyEncryptionKey> = LazyLock::new(|| {
        key_encryption_key(&Passphrase::new(PASSPHRASE), &origin().salt, origin().kdf).unwrap()
    });
    &KEY
}

fn few() -> Vec<Plain> {
    vec![
        (0, vec![1; 16], b"binding".to_vec()),
        (2, vec![2; 16], SECRET.to_vec()),
        (2, vec![3; 16], Vec::new()),
        (254, Vec::new(), vec![9; 20]),
    ]
}

fn seal(records: &[Plain]) -> Vec<u8> {
    let mut sealer = Sealer::start(Vec::new(), origin(), key()).unwrap();
    for (tree, name, row) in records {
        sealer.record(*tree, name, row).unwrap();
    }
    sealer.finish().unwrap()
}

/// All records up to the end, or the first error: as a restore reads them.
fn read<R: Read>(reader: Reader<R>) -> Result<Vec<Plain>, StoreError> {
    let plain = |record: Record| (record.tree, record.key, record.row.to_vec());
    reader.map(|record| record.map(plain)).collect()
}

fn open_under(mut bytes: &[u8], key: &KeyEncryptionKey) -> Result<Vec<Plain>, StoreError> {
    let header = Header::read(&mut bytes)?;
    read(Reader::start(bytes, &header, key)?)
}

fn open(bytes: &[u8]) -> Result<Vec<Plain>, StoreError> {
    open_under(bytes, key())
}

fn open_file(path: &Path, passphrase: &str) -> Result<Vec<Plain>, StoreError> {
    read(Reader::open(path, &Passphrase::new(passphrase))?)
}

/// The bytes with a checksum of the header that fits.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&bytes[..CONTENT_LEN]);
    bytes[CONTENT_LEN..LEN].copy_from_slice(&sum);
    bytes
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    (dir, path)
}

fn names(dir: &TempDir) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir(dir.path()).unwrap().map(name);
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_kept_comes_back() {
    let (dir, path) = place();
    let mut writer = Writer::create(&path, origin(), key()).unwrap();
    for (tree, name, row) in few() {
        writer.record(tree, &name, &row).unwrap();
    }
    assert_eq!(names(&dir), ["backup.new"]);
    writer.finish().unwrap();
    assert_eq!(names(&dir), ["backup"]);

    let reader = Reader::open(&path, &Passphrase::new(PASSPHRASE)).unwrap();
    assert_eq!(*reader.origin(), origin());
    assert_eq!(read(reader).unwrap(), few());
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(8).any(|part| SECRET.windows(8).any(|secret| secret == part)));
}

#[test]
fn an_empty_store_has_a_backup() {
    let bytes = seal(&[]);
    assert_eq!(bytes.len(), LEN + FRAME + CHUNK_OVERHEAD);
    assert_eq!(open(&bytes).unwrap(), []);
}

#[test]
fn the_header_stands_as_it_is_drawn() {
    let bytes = seal(&few());
    let drawn = [
        &b"BGBACKUP"[..],
        &[0, 1],
        &[7; 16],
        &[0, 0, 0, 0, 0, 0, 0, 42],
        &[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1],
        &[3; 16],
    ]
    .concat();
    assert_eq!(bytes[..62], drawn);
    assert_eq!(bytes[122..154], *Sha256::digest(&bytes[..122]));
    let file_key = key().unwrap(bytes[62..122].try_into().unwrap(), &drawn).unwrap();
    let mut stream = OpeningStream::new(file_key, &bytes[..122]).unwrap();
    let mut chunk = bytes[154..].to_vec();
    let frames = stream.open_chunk(&mut chunk, true).unwrap();
    let drawn = [
        &[0, 0, 16][..],
        &[1; 16],
        &[0, 0, 0, 7],
        b"binding",
        &[2, 0, 16],
        &[2; 16],
        &[0, 0, 0, 35],
        SECRET,
        &[2, 0, 16],
        &[3; 16],
        &[0, 0, 0, 0],
        &[254, 0, 0],
        &[0, 0, 0, 20],
        &[9; 20],
        &[255, 0, 0],
        &[0, 0, 0, 27],
        &[0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[2, 0, 0, 0, 0, 0, 0, 0, 2],
        &[254, 0, 0, 0, 0, 0, 0, 0, 1],
    ]
    .concat();
    assert_eq!(frames[..], drawn);
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_damage() {
    let (_dir, path) = place();
    fs::write(&path, seal(&few())).unwrap();
    let wrong = open_file(&path, "wrong");
    assert!(matches!(wrong, Err(StoreError::WrongPassphrase)), "{wrong:?}");
    assert!(open_file(&path, PASSPHRASE).is_ok());
}

/// Every bit of a small backup, every cut of it, something after it; then a bit of each byte at the
/// seams of one of three chunks. Each is an error by its type, and never an end.
#[test]
fn no_flip_and_no_cut_passes() {
    let (mut flips, mut cuts) = (0, 0);
    let refused = |bytes: &[u8], what: &str, at: usize| match open(bytes) {
        Err(StoreError::DamagedBackup { .. }) => {}
        other => panic!("{what} at {at}: {other:?}"),
    };
    let small = seal(&few());
    let large = seal(&[(0, vec![1], vec![2; ROW_MAX]), (1, vec![2], vec![3; ROW_MAX])]);
    assert_eq!((large.len() - LEN).div_ceil(SEALED_CHUNK), 3);
    let is_seam = |at: &usize| {
        let (within, left) = ((at - LEN) % SEALED_CHUNK, large.len() - at);
        within < 4 || within + 20 > SEALED_CHUNK || within.is_multiple_of(9973) || left < 40
    };
    let seams = (LEN..large.len()).filter(is_seam).collect();
    for (whole, places, bits) in
        [(&small, (0..small.len()).collect::<Vec<_>>(), 8), (&large, seams, 1)]
    {
        for at in places {
            for bit in 0..bits {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << ((at + bit) % 8);
                refused(&flipped, "flip", at);
                flips += 1;
            }
            refused(&whole[..at], "cut", at);
            cuts += 1;
        }
        refused(&[&whole[..], &[0]].concat(), "a byte more", whole.len());
        refused(&[whole, &whole[LEN..]].concat(), "its chunks again", whole.len());
        refused(&[&whole[..], whole].concat(), "itself again", whole.len());
    }
    // Whoever alters the header can mend its sum; the wrapped key is bound to all of it.
    for at in 10..CONTENT_LEN {
        for bit in 0..8 {
            let mut flipped = small.clone();
            flipped[at] ^= 1 << bit;
            match open(&mended(flipped)) {
                Err(StoreError::WrongPassphrase) => {}
                Err(StoreError::DamagedBackup { what: "its key derivation costs" })
                    if (34..46).contains(&at) => {}
                other => panic!("mended flip at {at}: {other:?}"),
            }
            flips += 1;
        }
    }
    eprintln!("{flips} flips and {cuts} cuts of a backup, none of which passed");
}

#[test]
fn later_formats_are_named() {
    let mut bytes = seal(&few());
    bytes[9] = 2;
    assert!(matches!(open(&bytes), Err(StoreError::DamagedBackup { .. })), "a flip is none");
    let refused = open(&mended(bytes));
    assert!(matches!(refused, Err(StoreError::UnknownBackupFormat { version: 2 })), "{refused:?}");
}

/// They are refused before a byte is allocated: what is asked for here nobody has.
#[test]
fn costs_rewritten_are_refused() {
    let (_dir, path) = place();
    let whole = seal(&few());
    for (costs, told) in [
        ([u32::MAX, u32::MAX, u32::MAX], "its key derivation costs"),
        ([1 << 21, 1, 1], "its key derivation costs"),
        ([8, 0, 1], "its key derivation costs"),
        ([8, 2, 1], "another key"),
        ([16, 1, 1], "another key"),
    ] {
        let mut bytes = whole.clone();
        for (at, cost) in [34, 38, 42].into_iter().zip(costs) {
            bytes[at..at + 4].copy_from_slice(&cost.to_be_bytes());
        }
        fs::write(&path, mended(bytes)).unwrap();
        match open_file(&path, PASSPHRASE) {
            Err(StoreError::DamagedBackup { what }) => assert_eq!(what, told),
            Err(StoreError::WrongPassphrase) => assert_eq!("another key", told),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn chunks_moved_are_refused() {
    let rows = |byte| {
        seal(&[(0, vec![1], vec![byte; ROW_MAX]), (0, vec![2], vec![byte; ROW_MAX - FRAME * 5])])
    };
    let (whole, other) = (rows(1), rows(2));
    let chunks = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes[LEN..].chunks(SEALED_CHUNK).map(<[u8]>::to_vec).collect()
    };
    let (own, others) = (chunks(&whole), chunks(&other));
    let [a, b] = [&own[0][..], &own[1]];
    assert_eq!(own.len(), 2);
    let with = |chunks: &[&[u8]]| [&whole[..LEN], &chunks.concat()].concat();
    assert!(open(&with(&[a, b])).is_ok());
    for (what, chunks) in [
        ("swapped", vec![b, a]),
        ("repeated", vec![a, a, b]),
        ("the last one repeated", vec![a, b, b]),
        ("the first left out", vec![b]),
        ("the last left out", vec![a]),
        ("none", vec![]),
        ("another backup's first", vec![&others[0], b]),
        ("another backup's last", vec![a, &others[1]]),
        ("another backup's", vec![&others[0], &others[1]]),
    ] {
        let refused = open(&with(&chunks));
        assert!(matches!(refused, Err(StoreError::DamagedBackup { .. })), "{what}");
    }
}

/// What only one with the key can make: frames that are none.
#[test]
fn malformed_frames_are_refused() {
    let row = |len: u32| [&[0, 0, 1, 5][..], &len.to_be_bytes()].concat();
    let trailer = |counts: &[u8]| {
        let len = u32::try_from(counts.len()).unwrap().to_be_bytes();
        [&[255, 0, 0][..], &len, counts].concat()
    };
    let (one, none) = (trailer(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), trailer(&[]));
    let record = [row(3), b"row".to_vec()].concat();
    let refused = "its records do not add up";
    for (frames, told) in [
        (vec![], "it ends before its trailer"),
        (record.clone(), "it ends before its trailer"),
        (record[..6].to_vec(), "it ends before its trailer"),
        ([&record[..], &one[..one.len() - 1]].concat(), "it ends before its trailer"),
        (vec![0, 2, 1], "a record's key is too long"),
        (vec![255, 255, 255], "a record's key is too long"),
        (row(0x10001), "a record is too long"),
        (row(u32::MAX), "a record is too long"),
        ([&record[..], &none].concat(), refused),
        (one.clone(), refused),
        ([&record[..], &record, &one].concat(), refused),
        (
            [&record[..], &trailer(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])]
                .concat(),
            refused,
        ),
        ([&record[..], &[255, 0, 1, 0], &one[3..]].concat(), refused),
        ([&record[..], &one, &one].concat(), "something follows its end"),
        ([&none[..], &record].concat(), "something follows its end"),
        ([&none[..], &vec![0; CHUNK_LEN]].concat(), "something follows its end"),
    ] {
        match open(&seal_frames(&frames)) {
            Err(StoreError::DamagedBackup { what }) => assert_eq!(what, told),
            other => panic!("{told}: {other:?}"),
        }
    }
    assert_eq!(open(&seal_frames(&none)).unwrap(), []);
    let kept = open(&seal_frames(&[record, one].concat())).unwrap();
    assert_eq!(kept, [(0, vec![5], b"row".to_vec())]);
}

/// A backup around any plaintext.
fn seal_frames(frames: &[u8]) -> Vec<u8> {
    let (header, file_key) = Header::seal(origin(), key(), &mut SysRng).unwrap();
    let mut stream = SealingStream::new(file_key, &header.content()).unwrap();
    let mut bytes = header.to_bytes().to_vec();
    let chunks = frames.len().div_ceil(CHUNK_LEN).max(1);
    for number in 0..chunks {
        let plaintext = &frames[number * CHUNK_LEN..];
        let plaintext = &plaintext[..plaintext.len().min(CHUNK_LEN)];
        let mut chunk = [plaintext, &[0; CHUNK_OVERHEAD]].concat();
        stream.seal_chunk(&mut chunk, number == chunks - 1).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// The plaintext ends just before, at and just after the end of a chunk, as does a row within it.
#[test]
fn records_cross_the_ends_of_chunks() {
    for chunks in 1..4 {
        for off in -3..=3_isize {
            let total = (chunks * CHUNK_LEN).checked_add_signed(off).unwrap();
            // As many full rows as fit, and one more for the rest.
            let (mut records, mut len) = (Vec::new(), TRAILER_LEN);
            while total - len > 2 * FRAME + 2 {
                let row = (total - len - FRAME - 1).min(ROW_MAX - 2 * FRAME);
                records.push((1, vec![1], vec![7; row]));
                len += FRAME + 1 + row;
            }
            let padding = total - len;
            if padding > 0 {
                records[0].1.extend(vec![2; padding]);
            }
            let bytes = seal(&records);
            let expect = LEN + total + CHUNK_OVERHEAD * total.div_ceil(CHUNK_LEN);
            assert_eq!(bytes.len(), expect, "{chunks} chunks and {off}");
            assert!(open(&bytes).unwrap() == records, "{chunks} chunks and {off}");
        }
    }
}

#[test]
fn rows_and_keys_end_at_their_caps() {
    let row = |len| (1, vec![1], vec![2; len]);
    let name = |len| (1, vec![1; len], vec![2]);
    for (record, fits) in [
        (row(ROW_MAX - 1), true),
        (row(ROW_MAX), true),
        (row(ROW_MAX + 1), false),
        (name(KEY_MAX), true),
        (name(KEY_MAX + 1), false),
        (name(1 << 17), false),
    ] {
        let mut sealer = Sealer::start(Vec::new(), origin(), key()).unwrap();
        let (tree, name, row) = &record;
        let added = sealer.record(*tree, name, row);
        match fits {
            true => added.unwrap(),
            false => assert!(matches!(added, Err(StoreError::TooLarge)), "{added:?}"),
        }
        let expect = if fits { vec![record] } else { Vec::new() };
        assert!(open(&sealer.finish().unwrap()).unwrap() == expect, "nothing of it is there");
    }
    let mut sealer = Sealer::start(Vec::new(), origin(), key()).unwrap();
    assert!(matches!(sealer.record(TRAILER, b"", b""), Err(StoreError::Crypto(_))));
}

/// However often it is asked.
#[test]
fn what_failed_never_ends() {
    let bytes = seal(&few());
    let mut bytes = &bytes[..bytes.len() - 1];
    let header = Header::read(&mut bytes).unwrap();
    let mut reader = Reader::start(bytes, &header, key()).unwrap();
    assert!((0..100).all(|_| matches!(reader.next(), Some(Err(_)))));
    let bytes = seal(&few());
    let mut bytes = &bytes[..];
    let header = Header::read(&mut bytes).unwrap();
    let mut reader = Reader::start(bytes, &header, key()).unwrap();
    assert_eq!(reader.by_ref().count(), few().len());
    assert!(reader.next().is_none());
}

/// A source that gives as little at a time as it likes, and is interrupted in between.
struct Dripping<'a> {
    bytes: &'a [u8],
    steps: usize,
}

impl Read for Dripping<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.steps += 1;
        if self.steps.is_multiple_of(3) {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = 1 + self.steps * 7919 % 9000;
        let len = out.len().min(most);
        self.bytes.read(&mut out[..len])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any records come back as a list keeps them, however the file is read; cut or altered
    /// anywhere, they do not.
    #[test]
    fn a_backup_is_a_list(
        sizes in prop::collection::vec((0..=254u8, 0..=KEY_MAX, prop_oneof![
            0..200usize,
            ROW_MAX - 40..=ROW_MAX,
            0..=ROW_MAX,
        ], any::<u8>()), 0..12),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let record = |(tree, key_len, row_len, byte)| (tree, vec![byte; key_len], vec![byte; row_len]);
        let records: Vec<Plain> = sizes.into_iter().map(record).collect();
        let bytes = seal(&records);
        let mut source = Dripping { bytes: &bytes, steps: 0 };
        let header = Header::read(&mut source).unwrap();
        let reader = Reader::start(source, &header, key()).unwrap();
        prop_assert!(read(reader).unwrap() == records);
        let at = at.index(bytes.len());
        prop_assert!(open(&bytes[..at]).is_err());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(open(&flipped).is_err());
    }
}
