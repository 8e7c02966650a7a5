//! Any bytes as a record are opened or refused, with no more memory than they take themselves.
//! What is sealed comes back; altered or moved anywhere, it is refused. Any bytes as what stands
//! inside a record are refused, or written again byte for byte, within the memory of a few records.
//!
//! Input: a change (what, where, how), then the bytes.

#![no_main]

use bitgo_vault::crypto::{
    CryptoError, DataKey, Place, RECORD_MAX, RECORD_OVERHEAD, RecordCipher, VaultId,
};
use bitgo_vault::test_util::{recode_rows, recode_token_info};
use bitgo_vault_fuzz::{Script, peak_heap};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const EPOCH: u32 = 7;
const TREES: [&str; 6] = ["meta", "tokens", "secrets", "accounts", "ledger", "audit"];
const TREE: &str = TREES[2];
const NAME: [u8; 16] = [9; 16];

struct Here {
    vault: VaultId,
    elsewhere: VaultId,
    cipher: RecordCipher,
}

static HERE: LazyLock<Here> = LazyLock::new(|| {
    let vault = VaultId::random(&mut SysRng).unwrap();
    let key = DataKey::generate(&mut SysRng).unwrap();
    let cipher = key.record_cipher(&vault, EPOCH, TREE);
    Here { vault, elsewhere: VaultId::random(&mut SysRng).unwrap(), cipher }
});

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let (Some(what), Some(at), Some(how)) = (script.byte(), script.below(1 << 16), script.byte())
    else {
        return;
    };
    let bytes = script.rest();
    let here = &*HERE;
    let place = Place { vault: &here.vault, epoch: EPOCH, tree: TREE, name: &NAME };

    for foreign in [bytes, &[&[1], bytes].concat()] {
        let (opened, heap) = peak_heap(|| here.cipher.open(place, foreign));
        assert!(opened.is_err(), "nobody knows the key");
        assert!(heap <= foreign.len());
    }

    let record = here.cipher.seal(place, bytes, &mut SysRng).unwrap();
    assert_eq!(record.len(), bytes.len() + RECORD_OVERHEAD);
    assert_eq!(here.cipher.open(place, &record).unwrap().as_slice(), bytes);

    let (mut altered, mut moved, mut name) = (record, place, NAME);
    let at_byte = at % altered.len();
    match what % 8 {
        0..3 => altered[at_byte] ^= how.max(1),
        3 => altered.truncate(at_byte),
        4 => altered.insert(at_byte, how),
        5 => moved.vault = &here.elsewhere,
        6 => {
            moved.tree = TREES.into_iter().filter(|tree| *tree != TREE).nth(at % 5).unwrap();
        }
        _ if how == 0 => moved.epoch ^= 1 << (at % 32),
        _ => {
            name[at % 16] ^= how;
            moved.name = &name;
        }
    }
    let refusal = here.cipher.open(moved, &altered).unwrap_err();
    assert!(matches!(
        refusal,
        CryptoError::CouldNotOpen | CryptoError::Version | CryptoError::Malformed(_)
    ));

    // One buffer of RECORD_MAX is the writer's own.
    let (rows, heap) = peak_heap(|| recode_rows(bytes));
    assert!(heap <= (rows.len() + 4) * RECORD_MAX, "{heap} bytes of heap");
    for (kind, row) in rows {
        assert_eq!(row.as_slice(), bytes, "{kind}");
    }
    if let Some(once) = recode_token_info(bytes) {
        assert_eq!(recode_token_info(&once).unwrap(), once);
    }
});
