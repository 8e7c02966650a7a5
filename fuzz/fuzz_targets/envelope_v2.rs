//! Any text parses or is refused without a key derivation, and opens or is refused with one.
//! Any text, as password, associated data and plaintext, comes back out of an envelope.

#![no_main]

use bitgo_vault::crypto::{Envelope, V2Params, seal_v2};
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

    let p_cost = 1 + u32::try_from(text.len() % 3).unwrap();
    let params = V2Params { m_cost: 8 * p_cost, t_cost: 1, p_cost };
    let adata = (!text.is_empty()).then_some(text);
    let envelope = seal_v2(params, text.as_bytes(), adata, text, &mut SysRng).unwrap();
    let opened = Envelope::parse(&envelope).unwrap().open(text.as_bytes()).unwrap();
    assert_eq!(opened.expose_secret(), text);
});

/// The caps allow seconds and 256 MiB, which a fuzzer has not.
fn is_cheap(envelope: &str) -> bool {
    let envelope: Value = serde_json::from_str(envelope).unwrap_or_default();
    let at_most = |field: &str, cap| envelope[field].as_u64().is_some_and(|cost| cost <= cap);
    envelope["v"] == 2 && at_most("m", 1024) && at_most("t", 2)
}
