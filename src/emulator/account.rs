//! The one account the emulator serves, and the keys under which its tokens are issued.

use crate::crypto::{
    CryptoError, DerivationPath, EcdhPrivateKey, EcdhPublicKey, EnvelopeVersion, V1Params,
    V2Params, generate_keypair, password_hmac, random, seal_token, seal_v1, seal_v2,
};
use crate::id::{EnterpriseId, TokenId};
use crate::secret::{AccessToken, EcdhXprv, LoginPassword};
use base16ct::lower;
use getrandom::SysRng;

pub(super) const EMAIL: &str = "trader@bitgo.example";
/// The one-time password of BitGo's test environment.
pub(super) const OTP: &str = "0000000";

/// The account and both ends of its ECDH.
pub(super) struct Account {
    pub(super) password: LoginPassword,
    pub(super) password_hmac: String,
    pub(super) user: String,
    pub(super) enterprise: EnterpriseId,
    pub(super) server_xpub: String,
    /// The client's key, sealed under the login password: what a login answers.
    pub(super) encrypted_ecdh_xprv: String,
    pub(super) server_xprv: EcdhXprv,
    pub(super) client_xprv: EcdhXprv,
    server: EcdhPrivateKey,
    client: EcdhPublicKey,
    envelope_version: EnvelopeVersion,
}

impl Account {
    pub(super) fn new(envelope_version: EnvelopeVersion) -> Result<Self, CryptoError> {
        let password = LoginPassword::new(format!("login-{}", random_hex::<16>()?));
        let (server_xprv, server_xpub) = generate_keypair(&mut SysRng)?;
        let (client_xprv, client_xpub) = generate_keypair(&mut SysRng)?;
        let (key, xprv) = (password.expose().as_bytes(), client_xprv.expose());
        let encrypted_ecdh_xprv = match envelope_version {
            EnvelopeVersion::V1 => seal_v1(V1Params::default(), key, "", xprv, &mut SysRng)?,
            EnvelopeVersion::V2 => seal_v2(V2Params::default(), key, None, xprv, &mut SysRng)?,
        };
        Ok(Self {
            password_hmac: password_hmac(EMAIL, &password).to_string(),
            password,
            user: random_hex::<16>()?,
            enterprise: EnterpriseId::from_bytes(random(&mut SysRng)?),
            server_xpub,
            server: EcdhPrivateKey::parse(&server_xprv)?,
            client: EcdhPublicKey::parse(&client_xpub)?,
            encrypted_ecdh_xprv,
            server_xprv,
            client_xprv,
            envelope_version,
        })
    }

    /// Seals a token for the account's ECDH key along a fresh path: `(encryptedToken, derivationPath)`.
    pub(super) fn seal(&self, token: &AccessToken) -> Result<(String, String), CryptoError> {
        let step = || Ok(u32::from_be_bytes(random(&mut SysRng)?) >> 1);
        let path = format!("m/999999/{}/{}", step()?, step()?);
        let sealed = seal_token(
            &self.server,
            &self.client,
            &DerivationPath::parse(&path)?,
            token,
            self.envelope_version,
            &mut SysRng,
        )?;
        Ok((sealed, path))
    }
}

/// A token nobody has seen: one that signs, or one of the older kind that travels.
pub(super) fn fresh_token(signs: bool) -> Result<AccessToken, CryptoError> {
    let hex = random_hex::<32>()?;
    Ok(AccessToken::new(if signs { format!("v2x{hex}") } else { hex }))
}

pub(super) fn fresh_id() -> Result<TokenId, CryptoError> {
    random(&mut SysRng).map(TokenId::from_bytes)
}

pub(super) fn random_hex<const N: usize>() -> Result<String, CryptoError> {
    Ok(lower::encode_string(&random::<N>(&mut SysRng)?))
}
