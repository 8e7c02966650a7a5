//! `list`: what the vault keeps, and what there is at BitGo.

use super::token::{Token, session};
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::words::when;
use bitgo_vault::{Clock, RemoteToken, RemoteTokens, SystemClock, Vault};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

/// List the tokens that the vault keeps
#[derive(Args)]
pub(crate) struct List {
    /// List the account's long-lived tokens at BitGo instead: which are not kept here, and which of the kept are gone
    /// there
    #[arg(long)]
    remote: bool,
    /// The session that asks BitGo [default: the only one that lives]
    #[arg(long, value_name = "LABEL", requires = "remote")]
    session: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    tokens: Vec<Token>,
    #[serde(flatten)]
    remote: Option<Remote>,
}

/// What there is at BitGo beside what is kept.
#[derive(Serialize)]
struct Remote {
    remote: Vec<AtBitGo>,
    /// Labels of kept tokens that are dead at BitGo.
    gone: Vec<String>,
}

#[derive(Serialize)]
struct AtBitGo {
    id: String,
    label: Option<String>,
    kept_as: Option<String>,
    is_kept: bool,
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
}

impl From<&RemoteToken> for AtBitGo {
    fn from(token: &RemoteToken) -> Self {
        Self {
            id: token.info.id.to_string(),
            label: token.label.as_deref().map(str::to_owned),
            kept_as: token.kept_as.as_ref().map(ToString::to_string),
            is_kept: token.kept_as.is_some(),
            scopes: token.info.scopes.iter().map(ToString::to_string).collect(),
            expires_at: token.info.expires_at,
        }
    }
}

impl From<&RemoteTokens> for Remote {
    fn from(told: &RemoteTokens) -> Self {
        Self {
            remote: told.listed.iter().map(AtBitGo::from).collect(),
            gone: told.gone.iter().map(ToString::to_string).collect(),
        }
    }
}

impl AtBitGo {
    fn row(&self) -> [String; 5] {
        let now = SystemClock::new().now();
        [
            self.kept_as.clone().unwrap_or_else(|| "not kept".into()),
            self.label.clone().unwrap_or_default(),
            self.id.clone(),
            self.expires_at.map_or("unknown".into(), |end| when(end, now)),
            self.scopes.join(", "),
        ]
    }
}

impl Tell for Listed {
    fn tell(&self, page: &mut Page) {
        let Some(Remote { remote, gone }) = &self.remote else {
            return match self.tokens.is_empty() {
                true => page.line("the vault keeps no token: run bitgo-vault login EMAIL"),
                false => page.table(
                    ["label", "kind", "stands", "ends", "left"],
                    self.tokens.iter().map(Token::row).collect(),
                ),
            };
        };
        let mut rows: Vec<_> = remote.iter().map(AtBitGo::row).collect();
        rows.extend(gone.iter().map(|label| {
            let nothing = String::new;
            [label.clone(), "GONE".into(), nothing(), nothing(), nothing()]
        }));
        match rows.is_empty() {
            true => {
                page.line("the account has no long-lived token at bitgo, and the vault keeps none")
            }
            false => page.table(["kept as", "at bitgo", "id", "ends", "may"], rows),
        }
    }
}

impl List {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let listing = async |vault: &Vault| {
            let remote = match self.remote {
                false => None,
                true => {
                    let session = session(vault, self.session.as_deref())?;
                    let asking = vault.remote_tokens(session.as_str());
                    Some(Remote::from(&printer.busy("asking bitgo", asking).await?))
                }
            };
            Ok(Listed { tokens: vault.list().into_iter().map(Token::from).collect(), remote })
        };
        printer.say(&common.within(printer, listing).await?)
    }
}
