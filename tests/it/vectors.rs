//! What BitGo's own packages made comes out as they say (tests/vectors/ORIGIN.md).

use bitgo_vault::crypto::{CryptoError, Envelope};
use bitgo_vault::test_util::kdf_calls;
use bitgo_vault::test_util::vectors::check_dir;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

#[test]
fn every_vector_passes() {
    let reports = check_dir(&dir()).unwrap();
    let lines: Vec<_> = reports.iter().map(ToString::to_string).collect();
    let misses: Vec<_> = reports.iter().flat_map(|report| &report.misses).collect();
    assert!(misses.is_empty(), "{misses:#?}");
    assert_eq!(
        lines,
        [
            "envelope_v1.json: 27/27 valid opened, 23/23 invalid refused as named",
            "envelope_v2.json: 17/17 valid opened, 16/16 invalid refused as named",
            "extend_token.json: 6/6 valid opened, 0/0 invalid refused as named",
            "hmac.json: 109/109 valid opened, 0/0 invalid refused as named",
            "token_issuance.json: 12/12 valid opened, 10/10 invalid refused as named",
        ],
    );
}

/// All but a wrong password or an altered envelope is seen before a key is derived; an iteration
/// count of 2^32 among them.
#[test]
fn refused_parameters_cost_no_key_derivation() {
    let mut refused = 0;
    for file in ["envelope_v1.json", "envelope_v2.json"] {
        let document: Value =
            serde_json::from_str(&fs::read_to_string(dir().join(file)).unwrap()).unwrap();
        for case in document["invalid"].as_array().unwrap() {
            if case["error"] == "authentication" {
                continue;
            }
            let before = kdf_calls();
            let opened = Envelope::parse(case["envelope"].as_str().unwrap())
                .and_then(|envelope| envelope.open(b"pw"));
            assert!(!matches!(opened, Ok(_) | Err(CryptoError::CouldNotOpen)), "{}", case["name"]);
            assert_eq!(kdf_calls(), before, "{}", case["name"]);
            refused += 1;
        }
    }
    assert_eq!(refused, 27);
}
