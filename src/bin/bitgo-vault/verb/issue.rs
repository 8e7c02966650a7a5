//! `issue`: a long-lived token, minted by a session.

use super::token::{Token, session};
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use crate::secrets::OtpArgs;
use crate::words::{Money, both_units, duration};
use bitgo_vault::api::CreateToken;
use bitgo_vault::{EnterpriseId, Label, Scope, Vault, WalletId};
use clap::Args;
use std::collections::BTreeSet;
use std::time::Duration;

/// Mint a long-lived token, and keep it
///
/// Give it no more than its bot needs: the scopes it uses, a limit for each coin it spends, the addresses it
/// works from.
#[derive(Args)]
pub(crate) struct Issue {
    /// What the token is kept as
    label: String,
    /// What it may do, such as wallet_spend:WALLET_ID; once for each
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// The most it may spend of a coin over its life: COIN=0.5, or COIN=50000base in base units
    #[arg(long = "limit", value_name = "COIN=AMOUNT", value_parser = Money::read)]
    limits: Vec<Money>,
    /// Mint it without any limit, for one that only looks: unlocked, it could spend all that its scopes reach
    #[arg(long, conflicts_with = "limits")]
    no_limit: bool,
    /// How long it lives
    #[arg(long, value_name = "30d", value_parser = duration, default_value = "30d")]
    duration: Duration,
    /// An address or block that it may be used from (CIDR); once for each
    #[arg(long = "ip", value_name = "CIDR")]
    ips: Vec<String>,
    /// A wallet that it is confined to; once for each
    #[arg(long = "wallet", value_name = "ID")]
    wallets: Vec<WalletId>,
    /// The enterprise that it acts in
    #[arg(long, value_name = "ID")]
    enterprise: Option<EnterpriseId>,
    /// The session that mints it [default: the only one that lives]
    #[arg(long, value_name = "LABEL")]
    session: Option<String>,
    #[command(flatten)]
    otp: OtpArgs,
}

impl Issue {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let mut token = CreateToken::new(&Label::new(&self.label)?, self.duration);
        for scope in self.scopes {
            token = token.scope(scope);
        }
        tell_limits(&self.limits, printer)?;
        for Money { coin, amount } in &self.limits {
            token = token.spending_limit(coin, *amount);
        }
        if self.no_limit {
            token = token.no_spending_limit();
        }
        for ip in self.ips {
            token = token.ip_restrict(ip);
        }
        for wallet in self.wallets {
            token = token.permitted_wallet(wallet);
        }
        if let Some(enterprise) = self.enterprise {
            token = token.enterprise(enterprise);
        }
        let issuing = async |vault: &Vault| {
            let session = session(vault, self.session.as_deref())?;
            Ok(vault.issue(session.as_str(), token, self.otp.provider()).await?)
        };
        let status = common.within(printer, issuing).await?;
        printer.say(&Token::from(status))
    }
}

/// Tells limits in both units. A coin has one.
pub(super) fn tell_limits(limits: &[Money], printer: &Printer) -> Result<(), Failure> {
    for Money { coin, amount } in limits {
        printer.note(format_args!("limit: {}", both_units(coin, *amount)));
    }
    let coins: BTreeSet<_> = limits.iter().map(|money| &money.coin).collect();
    match coins.len() < limits.len() {
        true => Err(Failure::usage("a coin has two limits: give it one")),
        false => Ok(()),
    }
}
