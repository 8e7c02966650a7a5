//! `rotate`: another token in a token's place, by a fresh login.

use super::issue::tell_limits;
use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::secrets::{OtpArgs, PasswordArgs};
use crate::words::{Money, duration};
use bitgo_vault::api::CreateToken;
use bitgo_vault::{
    AuditAction, CoinMap, EnterpriseId, Label, Login, Scope, SpendingLimit, TokenId, TokenInfo,
    TokenStatus, Vault, WalletId,
};
use clap::Args;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long the former token is left to what was signed with it: nobody else has the vault open.
const DRAIN: Duration = Duration::from_secs(2);
/// How long it is waited for BitGo's word that the former is revoked, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_millis(250);
/// What a token lives for where nobody says, and the present one does not tell.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// Mint a long-lived token anew by a fresh login, and revoke the former
///
/// The next one may do what the present one may, unless something else is said; its limits are cut to what is left
/// of the budget. It takes two one-time passwords: --otp CODE for the login, --otp CODE for the token. From here on the
/// token counts as one that a login renews.
#[derive(Args)]
pub(crate) struct Rotate {
    /// What the token is kept as
    label: String,
    /// The e-mail address of its account
    #[arg(long)]
    email: String,
    /// What it may do, instead of what it may now; once for each
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// The most it may spend of a coin, instead of its limits now: COIN=0.5, or COIN=50000base in base units
    #[arg(long = "limit", value_name = "COIN=AMOUNT", value_parser = Money::read)]
    limits: Vec<Money>,
    /// How long it lives [default: as long as the present one]
    #[arg(long, value_name = "30d", value_parser = duration)]
    duration: Option<Duration>,
    /// An address or block that it may be used from (CIDR), instead of those now; once for each
    #[arg(long = "ip", value_name = "CIDR")]
    ips: Vec<String>,
    /// A wallet that it is confined to, instead of those now; once for each
    #[arg(long = "wallet", value_name = "ID")]
    wallets: Vec<WalletId>,
    /// The enterprise that it acts in, instead of that now
    #[arg(long, value_name = "ID")]
    enterprise: Option<EnterpriseId>,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    otp: OtpArgs,
}

#[derive(Serialize)]
struct Rotated {
    #[serde(flatten)]
    token: Token,
    former: Former,
}

/// The token before it.
#[derive(Serialize)]
struct Former {
    id: String,
    is_revoked: bool,
}

impl Tell for Rotated {
    fn tell(&self, page: &mut Page) {
        self.token.tell(page);
        let Former { id, is_revoked } = &self.former;
        match is_revoked {
            true => page.pair("former", format_args!("{id} is revoked")),
            false => page.pair(
                "former",
                format_args!("{id}: bitgo has not confirmed yet that it is revoked, and is asked with each opening"),
            ),
        }
    }
}

impl Rotate {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let label = Label::new(&self.label)?;
        tell_limits(&self.limits, printer)?;
        let rotating = async |vault: &Vault| {
            let present = vault.status(label.as_str())?;
            let next = self.next(&label, &present.info);
            let login =
                Login::new(self.email.as_str(), self.password.provider(), self.otp.provider());
            vault.reissue(label.as_str(), next, login).await?;
            // No spinner: somebody may be typing.
            let ended = vault.renew(label.as_str()).await?;
            let status: TokenStatus = Failure::of_renewal(ended, present.renewals)?;
            let former = present.info.id;
            let is_revoked = printer.busy("revoking the former", is_revoked(vault, former)).await;
            let former = Former { id: former.to_string(), is_revoked };
            Ok(Rotated { token: Token::from(status), former })
        };
        let builder = common.builder()?.lease_lifetime(DRAIN);
        let passphrase = common.passphrase().await?;
        printer.say(&common.opened(builder, passphrase, printer, rotating).await?)
    }

    /// What is minted: like the present one, but for what was said.
    fn next(&self, label: &Label, present: &TokenInfo) -> CreateToken {
        let mut info = present.clone();
        if !self.scopes.is_empty() {
            info.scopes.clone_from(&self.scopes);
        }
        if !self.limits.is_empty() {
            let limits = self.limits.iter().map(|Money { coin, amount }| {
                let limit = Some(*amount);
                (coin.clone(), SpendingLimit { limit, spent: Default::default() })
            });
            info.spending_limits = limits.collect::<CoinMap<_>>();
            info.erc20_limit = None;
        }
        if !self.ips.is_empty() {
            info.ip_restrict.clone_from(&self.ips);
        }
        if !self.wallets.is_empty() {
            info.permitted_wallets = Some(self.wallets.clone());
        }
        info.enterprise = self.enterprise.or(info.enterprise);
        let lifetime = info.expires_at.zip(info.created_at);
        let lifetime = lifetime.and_then(|(end, start)| (end - start).to_std().ok());
        CreateToken::like(label, &info, self.duration.or(lifetime).unwrap_or(LIFETIME))
    }
}

/// Waits until the audit log tells that a token is revoked, for a while.
async fn is_revoked(vault: &Vault, id: TokenId) -> bool {
    let told = async {
        let mut next = 0;
        loop {
            for entry in vault.audit_since(next).await.unwrap_or_default() {
                if entry.action == AuditAction::Revoked && entry.token_id == Some(id) {
                    return;
                }
                next = entry.number + 1;
            }
            sleep(EVERY).await;
        }
    };
    timeout(PATIENCE, told).await.is_ok()
}
