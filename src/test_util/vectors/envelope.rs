//! Envelopes: a password, what is sealed under it, what comes out.

use super::{Outcome, expect, expect_refused, read, text};
use crate::crypto::{CryptoError, Envelope, EnvelopeVersion, V1Params, V2Params, seal_v1, seal_v2};
use getrandom::SysRng;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    password: String,
    envelope: String,
    #[serde(default)]
    plaintext: String,
}

pub(super) fn check(case: &Value) -> Outcome {
    let case: Case = read(case)?;
    let opens = |json: &str| -> Outcome {
        let plaintext =
            Envelope::parse(json).and_then(|it| it.open(case.password.as_bytes())).map_err(text)?;
        expect(plaintext.expose_secret() == case.plaintext, "plaintext differs")
    };
    opens(&case.envelope)?;
    let envelope = Envelope::parse(&case.envelope).map_err(text)?;
    let other = format!("{}!", case.password);
    expect_refused(envelope.open(other.as_bytes()), "opens with another password")?;
    let password = case.password.as_bytes();
    let sealed_again = match envelope.version() {
        EnvelopeVersion::V1 => {
            let params = V1Params { iterations: 1, ..V1Params::default() };
            seal_v1(params, password, "ädata %20 🔑", &case.plaintext, &mut SysRng)
        }
        EnvelopeVersion::V2 => {
            let params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };
            seal_v2(params, password, Some("ädata"), &case.plaintext, &mut SysRng)
        }
    };
    opens(&sealed_again.map_err(text)?).map_err(|why| format!("sealed again: {why}"))
}

pub(super) fn attempt(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: Case = read(case)?;
    let opened = Envelope::parse(&case.envelope).and_then(|it| it.open(case.password.as_bytes()));
    Ok(opened.map(drop))
}
