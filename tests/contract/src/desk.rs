//! Our client, logged in at an emulator of its own.

use bitgo_vault::api::wire::{Issued, IssuedToken};
use bitgo_vault::api::{
    ApiError, Auth, Client, ClientSettings, CreateToken, Endpoint, LoginOptions,
};
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, EcdhPrivateKey, EcdhPublicKey, open_token, open_xprv,
};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder};
use bitgo_vault::{AccessToken, EcdhXprv, Label, SystemClock};
use http::Method;
use serde_json::Value;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Desk {
    pub(crate) bitgo: Emulator,
    pub(crate) client: Client,
    /// The session's token.
    pub(crate) session: AccessToken,
    pub(crate) key: Box<AuthKey>,
    ecdh_xprv: EcdhXprv,
}

impl Desk {
    pub(crate) async fn new(
        builder: EmulatorBuilder,
        options: &LoginOptions,
    ) -> Result<Self, Box<dyn Error>> {
        let bitgo = builder.start().await?;
        let client = client(&bitgo, &[])?;
        let password = bitgo.password();
        let login = client.login(bitgo.email(), &password, &bitgo.otp(), options).await?;
        let sealed = login.encrypted_ecdh_xprv.ok_or("the account has a keychain")?;
        let (ecdh_xprv, _) = open_xprv(&sealed.0, &password)?;
        let session = open(&bitgo, &ecdh_xprv, &login.issued)?;
        let key = AuthKey::new(&session);
        Ok(Self { bitgo, client, session, key, ecdh_xprv })
    }

    pub(crate) fn auth(&self) -> Auth<'_> {
        auth(&self.key)
    }

    /// Mints a token through `client`, which may ask elsewhere than ours; what signs with it.
    pub(crate) async fn mint(
        &self,
        client: &Client,
        token: &CreateToken,
    ) -> Result<Box<AuthKey>, Box<dyn Error>> {
        let issued = client.create_token(self.auth(), token, &self.bitgo.otp()).await?;
        self.opened(&issued)
    }

    pub(crate) fn opened(&self, issued: &IssuedToken) -> Result<Box<AuthKey>, Box<dyn Error>> {
        Ok(AuthKey::new(&open(&self.bitgo, &self.ecdh_xprv, &issued.issued)?))
    }

    /// Makes a call that the client has no method for; its status.
    pub(crate) async fn execute(
        &self,
        key: &AuthKey,
        call: &str,
        body: &Value,
    ) -> Result<u16, ApiError> {
        let (method, target) = call.split_once(' ').unwrap_or(("GET", call));
        let method: Method = method.parse().unwrap_or(Method::GET);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.execute(method, target, body, Some(auth(key))).await?;
        Ok(answer.status)
    }
}

/// A client that asks some calls at other paths, once.
pub(crate) fn client(
    bitgo: &Emulator,
    paths: &[(Endpoint, &str)],
) -> Result<Client, Box<dyn Error>> {
    let settings = ClientSettings::default().retries(0);
    let settings = paths.iter().fold(settings, |settings, (at, path)| settings.path(*at, path));
    Ok(Client::new(bitgo.environment(), Arc::new(SystemClock::new()), settings)?)
}

pub(crate) fn auth(key: &AuthKey) -> Auth<'_> {
    Auth::Hmac(key, AuthVersion::V3)
}

pub(crate) fn token(label: &str) -> Result<CreateToken, Box<dyn Error>> {
    Ok(CreateToken::new(&Label::new(label)?, Duration::from_secs(3600)))
}

fn open(
    bitgo: &Emulator,
    ecdh_xprv: &EcdhXprv,
    issued: &Issued,
) -> Result<AccessToken, Box<dyn Error>> {
    let Issued::Sealed { encrypted_token, derivation_path } = issued else {
        return Err("a token came in clear".into());
    };
    let client = EcdhPrivateKey::parse(ecdh_xprv)?;
    let server = EcdhPublicKey::parse(bitgo.server_xpub())?;
    Ok(open_token(&client, &server, derivation_path, encrypted_token)?)
}
