//! Somebody who is logged in and makes any call there is, JSON in and JSON out.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::class;
use bitgo_vault::api::wire::Issued;
use bitgo_vault::api::{ApiError, Auth, Client, ClientSettings, LoginOptions};
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, EcdhPrivateKey, EcdhPublicKey, open_token, open_xprv,
};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder};
use bitgo_vault::{EcdhXprv, SystemClock, WalletId};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const ACCESS_TOKEN: &str = "/api/v2/user/accesstoken";
pub(super) const SESSION: &str = "/api/v2/user/session";

/// A client, the session it holds and the emulator it speaks to.
pub(super) struct Visitor {
    pub(super) bitgo: Emulator,
    pub(super) client: Client,
    pub(super) session: Box<AuthKey>,
    ecdh_xprv: EcdhXprv,
}

/// A token that was minted: its id and what signs with it.
pub(super) struct Minted {
    pub(super) id: String,
    pub(super) key: Box<AuthKey>,
    pub(super) record: Value,
}

impl Visitor {
    pub(super) async fn new() -> Self {
        Self::with(Emulator::builder()).await
    }

    pub(super) async fn with(builder: EmulatorBuilder) -> Self {
        let bitgo = builder.start().await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let client = Client::new(bitgo.environment(), clock, ClientSettings::default()).unwrap();
        let (password, options) = (bitgo.password(), LoginOptions::default());
        let login = client.login(bitgo.email(), &password, &bitgo.otp(), &options).await.unwrap();
        let (ecdh_xprv, _) = open_xprv(&login.encrypted_ecdh_xprv.unwrap().0, &password).unwrap();
        let Issued::Sealed { encrypted_token, derivation_path } = login.issued else {
            panic!("the account has a keychain");
        };
        let session = key(&bitgo, &ecdh_xprv, &derivation_path, &encrypted_token);
        Self { bitgo, client, session, ecdh_xprv }
    }

    /// Makes a call with a token; the status of a success and its JSON.
    pub(super) async fn send(
        &self,
        key: &AuthKey,
        method: &str,
        target: &str,
        body: Value,
    ) -> Result<(u16, Value), ApiError> {
        let method: Method = method.parse().unwrap();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let auth = Some(Auth::Hmac(key, AuthVersion::V3));
        let answer = self.client.execute(method, target, body, auth).await?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap()))
    }

    /// The JSON of a call that must succeed with 200.
    pub(super) async fn done(&self, key: &AuthKey, call: &str, body: Value) -> Value {
        let (method, target) = call.split_once(' ').unwrap();
        let (status, answer) = self.send(key, method, target, body).await.expect(call);
        assert_eq!(status, 200, "{call}");
        answer
    }

    /// The class of a call's error, or `done`.
    pub(super) async fn told(&self, key: &AuthKey, call: &str, body: Value) -> &'static str {
        let (method, target) = call.split_once(' ').unwrap();
        match self.send(key, method, target, body).await {
            Ok(_) => "done",
            Err(error) => class(&error),
        }
    }

    /// Mints a token that may spend from every wallet; `more` is laid over its body.
    pub(super) async fn mint(&self, more: Value) -> Minted {
        let body = token(more);
        let record = self.done(&self.session, &format!("POST {ACCESS_TOKEN}"), body).await;
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let (path, sealed) = (text("derivationPath"), text("encryptedToken"));
        let key = key(&self.bitgo, &self.ecdh_xprv, &path, &sealed);
        Minted { id: text("id"), key, record }
    }

    /// Spends; the class of the refusal, or `done`.
    pub(super) async fn spend(
        &self,
        key: &AuthKey,
        coin: &str,
        wallet: WalletId,
        amount: u64,
    ) -> &'static str {
        let call = format!("POST /api/v2/{coin}/wallet/{wallet}/sendcoins");
        self.told(key, &call, json!({"address": "x", "amount": amount})).await
    }
}

/// The body that mints a token.
pub(super) fn token(more: Value) -> Value {
    let mut body = json!({
        "label": "bot", "otp": "0000000", "duration": 3600, "scope": ["wallet_spend_all"],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn key(bitgo: &Emulator, ecdh_xprv: &EcdhXprv, path: &str, sealed: &str) -> Box<AuthKey> {
    let client = EcdhPrivateKey::parse(ecdh_xprv).unwrap();
    let server = EcdhPublicKey::parse(bitgo.server_xpub()).unwrap();
    AuthKey::new(&open_token(&client, &server, path, sealed).unwrap())
}
