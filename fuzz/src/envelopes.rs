//! Envelopes, within the patience of a fuzzer.

use bitgo_vault::crypto::Envelope;
use bitgo_vault::test_util::kdf_calls;
use secrecy::ExposeSecret;
use serde_json::Value;

/// Whether an envelope asks for little work: the caps allow seconds and 256 MiB, which a fuzzer
/// has not. What cannot be parsed is cheap; what can is measured by its own numbers.
pub fn is_cheap(envelope: &str) -> bool {
    let envelope: Value = serde_json::from_str(envelope).unwrap_or_default();
    let at_most = |field: &str, cap| envelope[field].as_u64().is_none_or(|cost| cost <= cap);
    at_most("iter", 1000) && at_most("m", 1024) && at_most("t", 2)
}

/// Parses an envelope, which must cost no key derivation, and opens it, which must cost one.
pub fn parse_then_open(text: &str) {
    let before = kdf_calls();
    let parsed = Envelope::parse(text);
    assert_eq!(kdf_calls(), before);
    if let Ok(envelope) = parsed
        && is_cheap(text)
    {
        let _ = envelope.open(b"pw");
        assert_eq!(kdf_calls(), before + 1);
    }
}

/// What was sealed under itself comes back.
pub fn round_trip(envelope: &str, text: &str) {
    let opened = Envelope::parse(envelope).unwrap().open(text.as_bytes()).unwrap();
    assert_eq!(opened.expose_secret(), text);
}
