//! Any text parses or is refused without a key derivation, and opens or is refused with one.
//! Any text, as password, associated data and plaintext, comes back out of an envelope.

#![no_main]

use bitgo_vault::crypto::{V2Params, seal_v2};
use bitgo_vault_fuzz::{parse_then_open, round_trip};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    parse_then_open(text);

    let p_cost = 1 + u32::try_from(text.len() % 3).unwrap();
    let params = V2Params { m_cost: 8 * p_cost, t_cost: 1, p_cost };
    let adata = (!text.is_empty()).then_some(text);
    let envelope = seal_v2(params, text.as_bytes(), adata, text, &mut SysRng).unwrap();
    round_trip(&envelope, text);
});
