//! Logins: a session from an account's password, which opens the account's ECDH key on the way.

use super::core::Core;
use super::entry::{TokenStatus, lifetime};
use super::mint::{AccountOf, Arrival, Opened, keep, look_for_spoofer, open, open_of, own_record};
use crate::api::{ApiError, LoginOptions};
use crate::crypto::{self, ExtensionKey};
use crate::environment::Environment;
use crate::error::Error;
use crate::id::TokenId;
use crate::provider::Provider;
use crate::secret::{LoginPassword, Otp};
use crate::store::{Account, TokenSecret};
use crate::token::{Label, Renewal, TokenKind};
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use std::fmt;
use std::sync::Arc;

/// What a login needs.
pub struct Login {
    email: String,
    password: Arc<Provider<LoginPassword>>,
    pub(super) otp: Arc<Provider<Otp>>,
    extensible: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("extensible", &self.extensible).finish_non_exhaustive()
    }
}

impl Login {
    /// A login with a password and a one-time password, each known or from a [`Provider`]. BitGo gets
    /// the password's HMAC, never the password. A one-time password that is known goes along at once;
    /// else its provider is asked once BitGo wants it.
    pub fn new(
        email: impl Into<String>,
        password: impl Into<Provider<LoginPassword>>,
        otp: impl Into<Provider<Otp>>,
    ) -> Self {
        let (password, otp) = (Arc::new(password.into()), Arc::new(otp.into()));
        Self { email: email.into(), password, otp, extensible: false }
    }

    /// Asks for a session that the vault can extend by itself, with a key made for it.
    pub fn extensible(mut self) -> Self {
        self.extensible = true;
        self
    }
}

pub(super) async fn login(
    core: Arc<Core>,
    label: Label,
    login: Login,
) -> Result<TokenStatus, Error> {
    let _claim = core.claim(&label)?;
    core.store.check_writable()?;
    let extension = login
        .extensible
        .then(|| ExtensionKey::generate(&mut SysRng))
        .transpose()
        .map_err(Error::crypto("new extension key"))?;
    let session = enter(&core, &login, extension.as_ref()).await?;
    let Session { opened: Opened { token, in_clear }, account, token_id, expires_at } = session;

    let record = own_record(&core, &token, token_id).await?;
    look_for_spoofer(&core, &token, record.id).await?;
    let mut info = record.to_info(TokenKind::Session, in_clear);
    info.expires_at = info.expires_at.or(Some(expires_at));
    let renewal = match extension.is_some() && info.is_extensible {
        true => Renewal::Extend { lifetime: lifetime(&info) },
        false => Renewal::Manual,
    };
    let extension_key = extension.map(|key| key.to_wif());
    let secret = TokenSecret { token, extension_key };
    let (lineage, kind) = (core.store.new_lineage()?, TokenKind::Session);
    keep(&core, Arrival { lineage, label, kind, renewal }, info, secret, account).await
}

/// A session as a login brought it. It is kept nowhere yet.
pub(super) struct Session {
    pub(super) opened: Opened,
    pub(super) account: AccountOf,
    token_id: Option<TokenId>,
    expires_at: DateTime<Utc>,
}

/// Logs in, with a session that `extension` may extend.
pub(super) async fn enter(
    core: &Arc<Core>,
    login: &Login,
    extension: Option<&ExtensionKey>,
) -> Result<Session, Error> {
    let Login { email, password, otp, .. } = login;
    let options = match extension {
        Some(key) if core.environment == Environment::Prod => {
            LoginOptions::default().extensible(&key.address())
        }
        Some(key) => LoginOptions::default().extensible(&key.test_address()),
        None => LoginOptions::default(),
    };
    let password = core.ask(password).await?;
    let first = match otp.is_given() {
        true => core.ask(otp).await?,
        false => Otp::new(""),
    };
    let answer = match core.client.login(email, &password, &first, &options).await {
        // None may be refused as a wrong one is.
        Err(ApiError::OtpRequired(_) | ApiError::OtpRefused(_)) if !otp.is_given() => {
            let otp = core.ask(otp).await?;
            core.client.login(email, &password, &otp, &options).await?
        }
        answer => answer?,
    };

    let user = answer.user_id.map_or_else(|| email.to_lowercase(), Into::into);
    let (sealed_xprv, issued) = (answer.encrypted_ecdh_xprv, answer.issued);
    let opened = core.blocking(move |core| {
        let opened = match sealed_xprv {
            Some(sealed) => {
                let (ecdh_xprv, key) = crypto::open_xprv(&sealed.0, &password)
                    .map_err(Error::crypto("account's ecdh key"))?;
                let opened = open(core, issued, || Ok(key))?;
                (opened, AccountOf::New(Account { user, ecdh_xprv }))
            }
            None => (open_of(core, issued, &user)?, AccountOf::Known(user)),
        };
        Ok::<_, Error>(opened)
    });
    let (opened, account) = opened.await??;
    Ok(Session { opened, account, token_id: answer.token_id, expires_at: answer.expires_at })
}
