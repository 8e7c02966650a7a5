//! What went wrong: one line what happened, one line what to do, and an exit code that scripts go by.
//!
//! ```text
//! 0  done                       5  a human must act: log in, approve, unlock
//! 1  anything else              6  BitGo: not reached, refused, or not believed
//! 2  said wrongly               7  the vault is open elsewhere
//! 3  denied by a rule           8  the vault is damaged or rolled back
//! 4  locked: wrong passphrase, or none
//! ```

use bitgo_vault::api::ApiError;
use bitgo_vault::{
    ControlError, Denied, Error, ErrorKind, Label, Need, ProviderError, Rule, StoreError,
    TokenStatus, WordError,
};
use serde_json::{Value, json};
use std::error::Error as StdError;
use std::path::PathBuf;
use std::{fmt, io};

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The vault says so.
    Vault(Error),
    /// The process that holds the vault says so.
    Control(ControlError),
    /// A token was not renewed.
    NotRenewed { label: Label, why: String, need: Option<Need> },
    /// It was said wrongly.
    Usage(String),
    /// A file beside the vault could not be had.
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// Something beside the vault failed.
    Other { doing: &'static str, source: Box<dyn StdError + Send + Sync> },
    /// A file is not what was written.
    Altered(io::Error),
}

/// The exit code of each kind.
const fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::Denied => 3,
        ErrorKind::Locked => 4,
        ErrorKind::NeedsHuman => 5,
        ErrorKind::Api => 6,
        ErrorKind::InUse => 7,
        ErrorKind::Damaged => 8,
        _ => 1,
    }
}

/// What the runbook tells of a damaged vault.
pub(crate) const DAMAGED: &str = ErrorKind::Damaged.runbook();

impl Failure {
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    /// A closure for `map_err` that says what was being done.
    pub(crate) fn could_not<E: Into<Box<dyn StdError + Send + Sync>>>(
        doing: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Other { doing, source: source.into() }
    }

    /// The same of a file.
    pub(crate) fn at_file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { doing, path: path.into(), source }
    }

    /// How a renewal went that ended so, if `renewals` had gone well before it.
    pub(crate) fn of_renewal(ended: TokenStatus, renewals: u64) -> Result<TokenStatus, Self> {
        if ended.renewals != renewals {
            return Ok(ended);
        }
        let why = ended.last_error.unwrap_or_else(|| "the attempt was cut short".into());
        Err(Self::NotRenewed { label: ended.label, why, need: ended.need })
    }

    pub(crate) fn exit_code(&self) -> u8 {
        exit_code(self.kind())
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Usage(_) => ErrorKind::Usage,
            Self::File { .. } | Self::Other { .. } => ErrorKind::Other,
            Self::Altered(_) => ErrorKind::Damaged,
            Self::Control(ControlError::Foreign { .. }) => ErrorKind::InUse,
            // As it would be if nobody held the vault.
            Self::Control(ControlError::Refused { kind, .. }) => *kind,
            Self::Control(_) => ErrorKind::Other,
            Self::NotRenewed { need: Some(_), .. } => ErrorKind::NeedsHuman,
            Self::NotRenewed { need: None, .. } => ErrorKind::Api,
            Self::Vault(error) => error.kind(),
        }
    }

    /// What to do about it, in terms of the command, where the line before does not say it.
    pub(crate) fn remedy(&self) -> Option<String> {
        let error = match self {
            Self::Vault(error) => error,
            Self::File { source, .. } => {
                let remedy = match source.kind() {
                    io::ErrorKind::NotFound => {
                        "name one that is there, in a directory that is there"
                    }
                    io::ErrorKind::AlreadyExists => "name one that is not there yet",
                    io::ErrorKind::PermissionDenied => "name one that is yours, or make it so",
                    io::ErrorKind::StorageFull => "free space, then try again",
                    _ => return None,
                };
                return Some(remedy.into());
            }
            Self::NotRenewed { need: Some(Need::Login), .. } => {
                return Some("mint it by a login: bitgo-vault rotate LABEL --email EMAIL".into());
            }
            Self::NotRenewed { need: Some(Need::OneTimePassword), .. } => {
                let remedy = "give two that are new, the first for the login and the next for the token: \
                              --otp CODE --otp CODE";
                return Some(remedy.into());
            }
            Self::NotRenewed { need, .. } => return need.map(|need| need.advice().into()),
            _ => return None,
        };
        let remedy = match error {
            Error::Store(StoreError::NotFound { .. }) => {
                "make a vault with bitgo-vault init, or name one with --store or BITGO_VAULT_STORE"
            }
            Error::Store(StoreError::WrongPassphrase) => {
                "try again, or say where the passphrase comes from with --passphrase-file, -fd or -command"
            }
            Error::Store(StoreError::InUse { .. }) => {
                "ask the process that holds it with status, check, freeze, renew, reconcile or audit, or end it"
            }
            // A repair reads the keys in it.
            Error::Store(StoreError::DamagedHeader { .. }) => {
                "put the directory aside, then make it anew with bitgo-vault restore BACKUP"
            }
            // Repairing mends none of them.
            Error::Store(StoreError::DamagedBackup { .. }) => return None,
            Error::Store(StoreError::RolledBack { .. }) => {
                "to take it as it is: bitgo-vault restore --in-place --dangerous-accept-rollback, or BACKUP for \
                 --in-place; then bitgo-vault reconcile LABEL"
            }
            // Mostly it was not named, or its disk is not there.
            Error::Store(StoreError::NoAnchor { .. } | StoreError::DamagedAnchor { .. }) => {
                "name it with --anchor or BITGO_VAULT_ANCHOR, or mount its disk; only where it is lost for good: \
                 bitgo-vault restore --in-place --dangerous-accept-rollback, or BACKUP for --in-place"
            }
            Error::Store(_) if error.kind() == ErrorKind::Damaged => {
                "look with bitgo-vault doctor, then mend with bitgo-vault restore --repair"
            }
            Error::Store(StoreError::AlreadyExists { .. }) => {
                "name another directory with --store; to replace the vault, move it away first"
            }
            Error::Store(StoreError::OtherEnvironment { .. }) => {
                "leave --env and its kin away: the vault knows its bitgo; or name another with --store"
            }
            Error::Store(StoreError::BackupExists { .. }) => {
                "name a file that is not there yet: bitgo-vault backup FILE"
            }
            Error::Store(StoreError::UnsafeFileSystem { .. }) => {
                "choose a local disk with --store, or judge it yourself: --dangerous-allow-file-system NAME"
            }
            Error::EmptyPassphrase => {
                "type a longer one, or name a source that is not empty with --passphrase-file, -fd or -command"
            }
            Error::LabelTaken { .. } => {
                "choose another label, or make room with bitgo-vault revoke LABEL, or remove LABEL"
            }
            Error::UnfitToken(_) => {
                "say --limit COIN=AMOUNT, or --no-limit for one that only looks; --ip and --duration \
                 where they are named above"
            }
            Error::NotRenewable { .. } => {
                "log in anew for a session: bitgo-vault login EMAIL; else bitgo-vault rotate LABEL --email EMAIL"
            }
            Error::CannotSign | Error::SendOnly | Error::IssuedInClear => {
                "if the token may travel in clear, repeat it with --dangerous-accept-tokens-in-clear"
            }
            Error::LoosensRules { .. } => "say --loosen, if that is meant",
            Error::NoSuchToken { .. } => "see what is kept with bitgo-vault list",
            Error::Provider(ProviderError::NoTerminal(_)) => {
                "without a terminal, name a source: --passphrase-file, --password-file, --otp and their kin"
            }
            Error::Denied(denied) => match denied.rule() {
                Rule::Unreconciled => "run bitgo-vault reconcile LABEL",
                Rule::RawExposure => {
                    "use sign or send; or set rawExposure with bitgo-vault policy set LABEL, if you must"
                }
                Rule::Frozen => "run bitgo-vault thaw, once you know why it was frozen",
                Rule::Total => {
                    "begin its budget anew with bitgo-vault renew-budget LABEL, if that is meant"
                }
                Rule::Limit | Rule::NoLimit => {
                    "issue a token with another limit: bitgo-vault issue LABEL --limit COIN=AMOUNT"
                }
                _ => "see which rule and why: bitgo-vault check LABEL METHOD PATH",
            },
            Error::Api(ApiError::OtpRequired(_)) => "give a one-time password with --otp CODE",
            Error::Api(ApiError::OtpRefused(_)) => {
                "wait for the next one, each is good once; then give it with --otp CODE"
            }
            Error::Api(ApiError::TokenDead(_) | ApiError::Unauthorized(_)) => {
                "log in anew with bitgo-vault login EMAIL, then issue or renew the token"
            }
            Error::Api(ApiError::Unreachable { .. }) => "check the network, then try again",
            _ => return None,
        };
        Some(remedy.into())
    }

    /// Where the runbook tells more: of a rule what to do about it, else by exit code.
    pub(crate) fn see(&self) -> &'static str {
        match self {
            Self::Vault(Error::Denied(denied)) => denied.rule().runbook(),
            _ => self.kind().runbook(),
        }
    }

    /// The failure as a script reads it.
    pub(crate) fn to_json(&self) -> Value {
        let kind = self.kind();
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let mut told = json!({
            "kind": kind.as_str(),
            "exit_code": exit_code(kind),
            "message": self.to_string(),
            "remedy": self.remedy(),
            "see": self.see(),
            "causes": causes,
        });
        if let (Self::Vault(Error::Denied(denied)), Value::Object(fields)) = (self, &mut told) {
            fields.insert("denied".into(), denied_to_json(denied));
        }
        told
    }
}

/// A refusal with its numbers, in base units.
pub(crate) fn denied_to_json(denied: &Denied) -> Value {
    json!({
        "rule": denied.rule().as_str(),
        "see": denied.rule().runbook(),
        "reason": denied.reason(),
        "coin": denied.coin().map(|coin| coin.as_str()),
        "asked": denied.asked().map(|amount| amount.to_string()),
        "limit": denied.limit().map(|amount| amount.to_string()),
        "left": denied.left().map(|amount| amount.to_string()),
        "resets_at": denied.resets_at().map(|time| time.to_rfc3339()),
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Vault(error)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Vault(denied.into())
    }
}

impl From<WordError> for Failure {
    fn from(error: WordError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::NotRenewed { label, why, .. } => write!(f, "{label} is not renewed: {why}"),
            Self::Usage(why) => f.write_str(why),
            Self::File { doing, path, .. } => write!(f, "could not {doing} {}", path.display()),
            Self::Other { doing, .. } => write!(f, "could not {doing}"),
            Self::Altered(why) => write!(f, "the file is not as it was written: {why}"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Vault(error) => error.source(),
            Self::Control(error) => error.source(),
            Self::NotRenewed { .. } | Self::Usage(_) => None,
            Self::File { source, .. } => Some(source),
            Self::Other { source, .. } => Some(&**source),
            Self::Altered(why) => why.source(),
        }
    }
}
