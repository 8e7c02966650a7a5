//! What the audit log can tell of.

use std::fmt;

/// What an entry of the audit log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditAction {
    /// A token was handed out.
    Exposed,
    /// A token's raw exposure was allowed.
    ExposureAllowed,
    /// A token's raw exposure was forbidden.
    ExposureForbidden,
    /// The passphrase was changed, or was about to be: the entry comes first, and stays where the
    /// change failed or was killed.
    PassphraseChanged,
    /// The costs of deriving the key were raised, or were about to be.
    KdfUpgraded,
    /// The data key was replaced, or was about to be.
    Rekeyed,
    /// A backup was made, or was about to be: a copy of every token.
    BackedUp,
    /// The vault was made of a backup.
    Restored,
    /// The vault was taken for the last one though its anchor knew another.
    RollbackAccepted,
    /// What was left of a damaged vault was made whole.
    Repaired,
    /// What a token spent was begun anew at what BitGo says.
    Reconciled,
    /// BitGo said of a token that somebody else acts as its user.
    SpooferSeen,
    /// A token's spending limits were removed at BitGo by unlocking it, or were about to be.
    LimitsRemoved,
    /// The seed of an account's one-time passwords was kept, or was about to be.
    TotpSeedKept,
    /// The seed of an account's one-time passwords was forgotten, or was about to be.
    TotpSeedForgotten,
    /// A token's local rules were made stricter.
    RulesTightened,
    /// A token's local rules were made looser.
    RulesLoosened,
    /// The vault was frozen.
    Frozen,
    /// The vault was thawed.
    Thawed,
    /// Requests that move money were signed: how many, how much of one coin, the first and the last.
    Signed,
    /// Requests that move no money were signed: how many, the first and the last.
    Viewed,
    /// Requests were refused by one rule: how many.
    Denied,
    /// The process before this one was cut off while budget of the token was reserved: requests that
    /// were signed in its last second may not be told of.
    Gap,
    /// The oldest entries were exported and removed; what they led up to is kept.
    Pruned,
    /// A token is to be revoked at BitGo, and is denied from here on.
    RevocationAsked,
    /// BitGo has confirmed that a token is revoked.
    Revoked,
    /// A token's budget began anew, or was about to.
    BudgetRenewed,
    /// A token that somebody had already was taken in, or was about to be; while it is unverified, by an
    /// id of the vault's own.
    Imported,
    /// BitGo said what an imported token may do, and its ledger began at what BitGo counts.
    Verified,
    /// A login brought a session, which is kept from here on.
    LoggedIn,
    /// A long-lived token was minted, and is kept from here on.
    Issued,
    /// The user's internal token was fetched, and is kept from here on.
    Fetched,
    /// A refresh token was exchanged for a token, which is kept from here on.
    SignedIn,
    /// A session was ended at BitGo, and is forgotten.
    LoggedOut,
}

impl AuditAction {
    /// In the order of their numbers on disk: new ones come last.
    pub(super) const ALL: [Self; 34] = [
        Self::Exposed,
        Self::ExposureAllowed,
        Self::ExposureForbidden,
        Self::PassphraseChanged,
        Self::KdfUpgraded,
        Self::Rekeyed,
        Self::BackedUp,
        Self::Restored,
        Self::RollbackAccepted,
        Self::Repaired,
        Self::Reconciled,
        Self::SpooferSeen,
        Self::LimitsRemoved,
        Self::TotpSeedKept,
        Self::TotpSeedForgotten,
        Self::RulesTightened,
        Self::RulesLoosened,
        Self::Frozen,
        Self::Thawed,
        Self::Signed,
        Self::Viewed,
        Self::Denied,
        Self::Gap,
        Self::Pruned,
        Self::RevocationAsked,
        Self::Revoked,
        Self::BudgetRenewed,
        Self::Imported,
        Self::Verified,
        Self::LoggedIn,
        Self::Issued,
        Self::Fetched,
        Self::SignedIn,
        Self::LoggedOut,
    ];

    /// Its name in exports and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exposed => "exposed",
            Self::ExposureAllowed => "exposureAllowed",
            Self::ExposureForbidden => "exposureForbidden",
            Self::PassphraseChanged => "passphraseChanged",
            Self::KdfUpgraded => "kdfUpgraded",
            Self::Rekeyed => "rekeyed",
            Self::BackedUp => "backedUp",
            Self::Restored => "restored",
            Self::RollbackAccepted => "rollbackAccepted",
            Self::Repaired => "repaired",
            Self::Reconciled => "reconciled",
            Self::SpooferSeen => "spooferSeen",
            Self::LimitsRemoved => "limitsRemoved",
            Self::TotpSeedKept => "totpSeedKept",
            Self::TotpSeedForgotten => "totpSeedForgotten",
            Self::RulesTightened => "rulesTightened",
            Self::RulesLoosened => "rulesLoosened",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
            Self::Signed => "signed",
            Self::Viewed => "viewed",
            Self::Denied => "denied",
            Self::Gap => "gap",
            Self::Pruned => "pruned",
            Self::RevocationAsked => "revocationAsked",
            Self::Revoked => "revoked",
            Self::BudgetRenewed => "budgetRenewed",
            Self::Imported => "imported",
            Self::Verified => "verified",
            Self::LoggedIn => "loggedIn",
            Self::Issued => "issued",
            Self::Fetched => "fetched",
            Self::SignedIn => "signedIn",
            Self::LoggedOut => "loggedOut",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their numbers stand on disk.
    #[test]
    fn each_stands_at_the_place_of_its_number() {
        for (at, action) in AuditAction::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, at, "{action}");
        }
    }
}
