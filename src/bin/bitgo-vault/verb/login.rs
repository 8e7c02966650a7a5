//! `login`: a session, by password and one-time password.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use crate::secrets::{OtpArgs, PasswordArgs};
use bitgo_vault::{Login, Phase, TokenKind, Vault};
use clap::Args;

/// Log in to a BitGo account, which opens a session of an hour or two
///
/// BitGo gets the password's HMAC, never the password. The account's key comes along and is kept sealed: with it
/// the vault opens the tokens that BitGo issues.
#[derive(Args)]
pub(crate) struct LogIn {
    /// The account's e-mail address
    email: String,
    /// What the session is kept as
    #[arg(long, default_value = "session")]
    label: String,
    /// Ask for a session that the vault extends by itself
    #[arg(long)]
    extensible: bool,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    otp: OtpArgs,
}

impl LogIn {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let Self { email, label, extensible, password, otp } = self;
        let login = Login::new(email, password.provider(), otp.provider());
        let login = if extensible { login.extensible() } else { login };
        let entering = async |vault: &Vault| {
            // What has ended is in nobody's way.
            if let Ok(former) = vault.status(&label)
                && former.info.kind == TokenKind::Session
                && former.phase == Phase::Expired
            {
                vault.remove(&label).await?;
            }
            // No spinner: somebody may be typing.
            Ok(vault.login(&label, login).await?)
        };
        let status = common.within(printer, entering).await?;
        printer.say(&Token::from(status))
    }
}
