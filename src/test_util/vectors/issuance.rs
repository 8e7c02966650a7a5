//! Issued tokens: both keys, the path, the sealed token.

use super::{Outcome, expect, expect_equal, read, text};
use crate::crypto::{
    CryptoError, DerivationPath, EcdhPrivateKey, EcdhPublicKey, EnvelopeVersion, open_token,
    open_xprv, seal_token, shared_secret,
};
use crate::secret::{AccessToken, EcdhXprv, LoginPassword};
use getrandom::SysRng;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    server_xpub: String,
    ecdh_xprv: String,
    derivation_path: String,
    encrypted_token: String,
    token: Option<String>,
    server_xprv: Option<String>,
    ecdh_xpub: Option<String>,
    login_password: Option<String>,
    #[serde(rename = "encryptedECDHXprv")]
    encrypted_ecdh_xprv: Option<String>,
    canonical_path: Option<String>,
    shared_secret: Option<String>,
}

impl Case {
    fn open(&self, encrypted_token: &str) -> Result<AccessToken, CryptoError> {
        let (client, server) = (private_key(&self.ecdh_xprv)?, self.server()?);
        open_token(&client, &server, &self.derivation_path, encrypted_token)
    }

    fn server(&self) -> Result<EcdhPublicKey, CryptoError> {
        EcdhPublicKey::parse(&self.server_xpub)
    }

    fn open_xprv(&self) -> Result<Option<EcdhXprv>, CryptoError> {
        let (Some(envelope), Some(password)) = (&self.encrypted_ecdh_xprv, &self.login_password)
        else {
            return Ok(None);
        };
        let opened = open_xprv(envelope, &LoginPassword::new(password.as_str()));
        opened.map(|(xprv, _)| Some(xprv))
    }
}

fn private_key(xprv: &str) -> Result<EcdhPrivateKey, CryptoError> {
    EcdhPrivateKey::parse(&EcdhXprv::new(xprv))
}

pub(super) fn check(case: &Value) -> Outcome {
    let case: Case = read(case)?;
    let path = DerivationPath::parse(&case.derivation_path).map_err(text)?;
    expect_equal(case.canonical_path.as_deref(), &path.to_string(), "canonical path differs")?;
    if let Some(ecdh_xprv) = case.open_xprv().map_err(text)? {
        expect(ecdh_xprv.expose() == case.ecdh_xprv, "ecdhXprv differs")?;
    }

    let secret = private_key(&case.ecdh_xprv)
        .and_then(|client| shared_secret(&client, &case.server()?, &path))
        .map_err(text)?;
    expect_equal(case.shared_secret.as_deref(), &secret, "shared secret differs")?;
    let token = case.open(&case.encrypted_token).map_err(text)?;
    expect_equal(case.token.as_deref(), token.expose(), "token differs")?;

    if let (Some(server_xprv), Some(ecdh_xpub)) = (&case.server_xprv, &case.ecdh_xpub) {
        let server = private_key(server_xprv).map_err(text)?;
        let client = EcdhPublicKey::parse(ecdh_xpub).map_err(text)?;
        let secret_there = shared_secret(&server, &client, &path).map_err(text)?;
        expect(*secret_there == *secret, "the server's shared secret differs")?;
        for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
            let sealed = seal_token(&server, &client, &path, &token, version, &mut SysRng)
                .and_then(|envelope| case.open(&envelope))
                .map_err(text)?;
            expect(sealed.expose() == token.expose(), "token sealed again differs")?;
        }
    }
    Ok(())
}

pub(super) fn attempt(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: Case = read(case)?;
    Ok(case.open(&case.encrypted_token).and_then(|_| case.open_xprv()).map(drop))
}
