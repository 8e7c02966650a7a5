//! Extended sessions: the key, what it signs, the signature.

use super::{Outcome, expect, expect_equal, expect_refused, read, text};
use crate::crypto::{CryptoError, ExtensionKey, verify_extension};
use crate::secret::AccessToken;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    wif: String,
    extension_address: String,
    token: String,
    timestamp_ms: i64,
    /// A number or a string: it is signed as it stands in the body.
    duration: Value,
    message: Option<String>,
    signature: String,
}

impl Case {
    fn duration(&self) -> String {
        self.duration.as_str().map_or_else(|| self.duration.to_string(), str::to_owned)
    }

    fn verify(&self, duration: &str) -> Result<(), CryptoError> {
        let token = AccessToken::new(self.token.as_str());
        let address = &self.extension_address;
        verify_extension(address, self.timestamp_ms, &token, duration, &self.signature)
    }
}

pub(super) fn check(case: &Value) -> Outcome {
    let case: Case = read(case)?;
    let duration = case.duration();
    let message = format!("{}|{}|{duration}", case.timestamp_ms, case.token);
    expect_equal(case.message.as_deref(), &message, "message differs")?;
    let key = ExtensionKey::from_wif(&case.wif).map_err(text)?;
    expect(*key.to_wif() == case.wif, "wif differs")?;
    expect(key.address() == case.extension_address, "address differs")?;
    let signature = key.sign(case.timestamp_ms, &AccessToken::new(case.token.as_str()), &duration);
    expect(signature == case.signature, "signature differs")?;
    case.verify(&duration).map_err(text)?;
    expect_refused(case.verify(&format!("{duration}0")), "another duration passes")
}

pub(super) fn attempt(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: Case = read(case)?;
    Ok(ExtensionKey::from_wif(&case.wif).and_then(|_| case.verify(&case.duration())))
}
