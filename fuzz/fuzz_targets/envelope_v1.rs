//! Any text parses or is refused without a key derivation, and opens or is refused with one.
//! Any text, as password, associated data and plaintext, comes back out of an envelope.

#![no_main]

use bitgo_vault::crypto::{V1Params, seal_v1};
use bitgo_vault_fuzz::{parse_then_open, round_trip};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    parse_then_open(text);

    let sizes = text.len();
    let params = V1Params {
        iterations: 1,
        key_bits: [128, 256][sizes % 2],
        tag_bits: [64, 96, 128][sizes % 3],
    };
    let envelope = seal_v1(params, text.as_bytes(), text, text, &mut SysRng).unwrap();
    round_trip(&envelope, text);
});
