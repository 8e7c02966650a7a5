//! Any bytes as a record are opened or refused, with no more memory than they take themselves.
//! What is sealed comes back; altered or moved anywhere, it is refused. Any bytes as what stands
//! inside a record are refused, or written again byte for byte, within the memory of a few records.
//!
//! Input: a change (what, where, how), then the bytes.

#![no_main]

use bitgo_vault::crypto::{
    CryptoError, DataKey, RECORD_MAX, RECORD_OVERHEAD, RecordCipher, VaultId,
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

/// The cipher of a place, and those of its neighbours: another vault, tree or epoch.
struct Here {
    cipher: RecordCipher,
    elsewhere: Vec<RecordCipher>,
}

static HERE: LazyLock<Here> = LazyLock::new(|| {
    let vault = VaultId::random(&mut SysRng).unwrap();
    let key = DataKey::generate(&mut SysRng).unwrap();
    let mut elsewhere = vec![
        key.record_cipher(&VaultId::random(&mut SysRng).unwrap(), EPOCH, TREE),
        key.record_cipher(&vault, EPOCH + 1, TREE),
    ];
    let trees = TREES.into_iter().filter(|tree| *tree != TREE);
    elsewhere.extend(trees.map(|tree| key.record_cipher(&vault, EPOCH, tree)));
    Here { cipher: key.record_cipher(&vault, EPOCH, TREE), elsewhere }
});

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let (Some(what), Some(at), Some(how)) = (script.byte(), script.below(1 << 16), script.byte())
    else {
        return;
    };
    let bytes = script.rest();
    let here = &*HERE;

    for foreign in [bytes, &[&[1], bytes].concat()] {
        let (opened, heap) = peak_heap(|| here.cipher.open(&NAME, foreign));
        assert!(opened.is_err(), "nobody knows the key");
        assert!(heap <= foreign.len());
    }

    let record = here.cipher.seal(&NAME, bytes, &mut SysRng).unwrap();
    assert_eq!(record.len(), bytes.len() + RECORD_OVERHEAD);
    assert_eq!(here.cipher.open(&NAME, &record).unwrap()[..], *bytes);

    let (mut altered, mut cipher, mut name) = (record, &here.cipher, NAME);
    let at_byte = at % altered.len();
    match what % 8 {
        0..3 => altered[at_byte] ^= how.max(1),
        3 => altered.truncate(at_byte),
        4 => altered.insert(at_byte, how),
        5 => cipher = &here.elsewhere[at % here.elsewhere.len()],
        _ => name[at % 16] ^= how.max(1),
    }
    let refusal = cipher.open(&name, &altered).unwrap_err();
    assert!(matches!(
        refusal,
        CryptoError::CouldNotOpen | CryptoError::Version | CryptoError::Malformed(_)
    ));

    // One buffer of RECORD_MAX is the writer's own.
    let (rows, heap) = peak_heap(|| recode_rows(bytes));
    assert!(heap <= (rows.len() + 4) * RECORD_MAX, "{heap} bytes of heap");
    for (kind, row) in rows {
        assert_eq!(row[..], *bytes, "{kind}");
    }
    if let Some(once) = recode_token_info(bytes) {
        assert_eq!(recode_token_info(&once).unwrap()[..], once[..]);
    }
});
