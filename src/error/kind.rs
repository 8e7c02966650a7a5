//! What an error asks of whoever meets it, in a word: the command's exit codes and the control socket's
//! answers go by it.

use super::Error;
use crate::api::ApiError;
use crate::store::StoreError;
use std::fmt;

/// What an [`Error`] asks of whoever meets it. Names stay; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Anything else.
    Other,
    /// It was said wrongly: say it otherwise.
    Usage,
    /// A rule denies it.
    Denied,
    /// The passphrase, or another secret, is wrong or was not brought.
    Locked,
    /// A human must act: log in, give a one-time password, approve.
    NeedsHuman,
    /// BitGo was not reached, refused, or is not believed.
    Api,
    /// The vault is open elsewhere.
    InUse,
    /// The vault is damaged or rolled back.
    Damaged,
}

impl ErrorKind {
    const ALL: [Self; 8] = [
        Self::Other,
        Self::Usage,
        Self::Denied,
        Self::Locked,
        Self::NeedsHuman,
        Self::Api,
        Self::InUse,
        Self::Damaged,
    ];

    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::Locked => "locked",
            Self::NeedsHuman => "needs-human",
            Self::Api => "api",
            Self::InUse => "in-use",
            Self::Damaged => "damaged",
        }
    }

    /// Its section in the runbook: [`guide::operations`](crate::guide::operations).
    pub const fn runbook(self) -> &'static str {
        match self {
            Self::Other => "BV-0001",
            Self::Usage => "BV-0002",
            Self::Denied => "BV-0003",
            Self::Locked => "BV-0004",
            Self::NeedsHuman => "BV-0005",
            Self::Api => "BV-0006",
            Self::InUse => "BV-0007",
            Self::Damaged => "BV-0008",
        }
    }

    /// The kind of that name; one that a later version has is [`ErrorKind::Other`] here.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// What it asks of whoever meets it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(_) | Self::LoosensRules { .. } | Self::HasLimits { .. } => {
                ErrorKind::Denied
            }
            Self::Store(error) => of_store(error),
            Self::EmptyPassphrase | Self::Provider(_) => ErrorKind::Locked,
            Self::Api(
                ApiError::OtpRequired(_)
                | ApiError::OtpRefused(_)
                | ApiError::NeedsUnlock(_)
                | ApiError::SsoRequired(_)
                | ApiError::TokenDead(_),
            )
            | Self::SignInAnew
            | Self::NotRenewable { .. }
            | Self::LimitsUnknown { .. }
            | Self::NoEcdhKey
            | Self::NoTotpSeed { .. } => ErrorKind::NeedsHuman,
            Self::Api(_)
            | Self::Untrusted(_)
            | Self::NoAccessToken
            | Self::WrongRecord
            | Self::ArrivedExpired { .. }
            | Self::Orphaned { .. }
            | Self::Unresolved { .. } => ErrorKind::Api,
            Self::Word(_) | Self::Request(_) | Self::Rules(_) | Self::UnfitToken(_) => {
                ErrorKind::Usage
            }
            _ => ErrorKind::Other,
        }
    }
}

fn of_store(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::WrongPassphrase => ErrorKind::Locked,
        StoreError::InUse { .. } => ErrorKind::InUse,
        StoreError::DamagedHeader { .. }
        | StoreError::DamagedDatabase { .. }
        | StoreError::Damaged { .. }
        | StoreError::Unreadable { .. }
        | StoreError::RolledBack { .. }
        | StoreError::NoAnchor { .. }
        | StoreError::DamagedAnchor { .. }
        | StoreError::DamagedBackup { .. }
        | StoreError::Degraded => ErrorKind::Damaged,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_and_what_is_new_is_other() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::named(kind.as_str()), kind);
            assert_eq!(kind.to_string(), kind.as_str());
        }
        assert_eq!(ErrorKind::named("of tomorrow"), ErrorKind::Other);
    }
}
