//! Any text parses or is refused without a key derivation, and opens or is refused with one.
//! Any text, as password, associated data and plaintext, comes back out of an envelope.

#![no_main]

use bitgo_vault::crypto::{Envelope, V1Params, seal_v1};
use bitgo_vault::test_util::kdf_calls;
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let before = kdf_calls();
    let parsed = Envelope::parse(text);
    assert_eq!(kdf_calls(), before);
    if let Ok(envelope) = parsed
        && is_cheap(text)
    {
        let _ = envelope.open(b"pw");
        assert_eq!(kdf_calls(), before + 1);
    }

    let sizes = text.len();
    let params = V1Params {
        iterations: 1,
        key_bits: [128, 256][sizes % 2],
        tag_bits: [64, 96, 128][sizes % 3],
    };
    let envelope = seal_v1(params, text.as_bytes(), text, text, &mut SysRng).unwrap();
    let opened = Envelope::parse(&envelope).unwrap().open(text.as_bytes()).unwrap();
    assert_eq!(opened.expose_secret(), text);
});

/// The caps allow tenths of a second, which a fuzzer has not.
fn is_cheap(envelope: &str) -> bool {
    let envelope: Value = serde_json::from_str(envelope).unwrap_or_default();
    envelope["v"] == 1 && envelope["iter"].as_u64().is_some_and(|iter| iter <= 1000)
}
