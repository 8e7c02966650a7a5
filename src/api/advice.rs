//! What BitGo's pages advise about long-lived tokens, as rules: what is not minted, and what is
//! minted with a warning.

use super::create_token::CreateToken;
use crate::environment::Environment;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest life BitGo allows.
const LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The longest life that goes without a word: rotate often.
const LIFETIME_ADVISED: Duration = Duration::from_secs(90 * 86_400);
/// The largest block of source addresses that BitGo takes, by its prefix.
const PREFIX_MIN: u8 = 24;

/// Why a token is not minted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFlaw {
    /// Neither a spending limit nor [`CreateToken::no_spending_limit`].
    #[error("it has no spending limit: set one, or say no_spending_limit()")]
    NoSpendingLimit,
    /// The scope `user_manage`, which BitGo gives to sessions alone.
    #[error("user_manage is for sessions: manage users in bitgo's web interface")]
    UserManage,
    /// The scope `all` in production.
    #[error("the scope all is for the test environment: name the few that are needed")]
    EverythingInProd,
    /// No source addresses in production, where BitGo demands them.
    #[error("it may come from anywhere: production wants ip_restrict")]
    AnywhereInProd,
    /// A source that is no IPv4 address and no CIDR block from /24 to /32.
    #[error("{0:.40} is no source: an ipv4 address is wanted, or a block from /24 to /32")]
    Source(Box<str>),
    /// A life of nothing, or longer than BitGo allows.
    #[error("it would live {days} days: more than none and at most 10 years are wanted")]
    Lifetime {
        /// Its life, in whole days.
        days: u64,
    },
}

/// What a token is minted with, though it would be better without.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRisk {
    /// It lives longer than 90 days: rotate more often.
    LongLived {
        /// Its life, in whole days.
        days: u64,
    },
    /// A scope that reaches everything of its kind (`…_all`, `all`): name wallets or an enterprise.
    WideScope(Box<str>),
    /// Administrative permissions.
    Admin,
    /// No spending limit, as was chosen: to spend, it must be unlocked time and again.
    NoSpendingLimit,
    /// A coin without a cap, as was chosen.
    Uncapped(Box<str>),
}

impl fmt::Display for TokenRisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongLived { days } => write!(f, "it lives {days} days: rotate more often"),
            Self::WideScope(scope) => {
                write!(f, "{scope} reaches everything of its kind: name wallets or an enterprise")
            }
            Self::Admin => f.write_str("it has administrative permissions"),
            Self::NoSpendingLimit => f.write_str("it has no spending limit"),
            Self::Uncapped(coin) => write!(f, "it may spend {coin} without a cap"),
        }
    }
}

/// How many reasons stand in one line.
const FLAWS_TOLD: usize = 8;

/// A token that is not minted, and every reason why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitToken(Vec<TokenFlaw>);

impl UnfitToken {
    /// The reasons: at least one.
    pub fn flaws(&self) -> &[TokenFlaw] {
        &self.0
    }
}

impl fmt::Display for UnfitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token is not minted: ")?;
        for (number, flaw) in self.0.iter().take(FLAWS_TOLD).enumerate() {
            write!(f, "{}{flaw}", if number > 0 { "; " } else { "" })?;
        }
        match self.0.len().saturating_sub(FLAWS_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for UnfitToken {}

impl CreateToken {
    /// Holds the token against what BitGo demands and advises; asks nobody. Answers what it would be
    /// better without.
    ///
    /// # Errors
    /// [`UnfitToken`] with every [`TokenFlaw`]. [`Vault::issue`](crate::Vault::issue) asks this first,
    /// and sends nothing then.
    pub fn check(&self, environment: &Environment) -> Result<Vec<TokenRisk>, UnfitToken> {
        let flaws = self.flaws(matches!(environment, Environment::Prod));
        match flaws.is_empty() {
            true => Ok(self.risks()),
            false => Err(UnfitToken(flaws)),
        }
    }

    fn flaws(&self, is_prod: bool) -> Vec<TokenFlaw> {
        let mut flaws = Vec::new();
        if !self.has_limit() && !self.is_unlimited_by_choice {
            flaws.push(TokenFlaw::NoSpendingLimit);
        }
        if self.scope.iter().any(|scope| scope == "user_manage") {
            flaws.push(TokenFlaw::UserManage);
        }
        if is_prod && self.scope.iter().any(|scope| scope == "all") {
            flaws.push(TokenFlaw::EverythingInProd);
        }
        if is_prod && self.ip_restrict.is_empty() {
            flaws.push(TokenFlaw::AnywhereInProd);
        }
        let unfit = self.ip_restrict.iter().filter(|source| !is_source(source));
        flaws.extend(unfit.map(|source| TokenFlaw::Source(source.as_str().into())));
        let lifetime = Duration::from_secs(self.duration);
        if lifetime.is_zero() || lifetime > LIFETIME_MAX {
            flaws.push(TokenFlaw::Lifetime { days: self.days() });
        }
        flaws
    }

    fn risks(&self) -> Vec<TokenRisk> {
        let mut risks = Vec::new();
        if Duration::from_secs(self.duration) > LIFETIME_ADVISED {
            risks.push(TokenRisk::LongLived { days: self.days() });
        }
        let wide = self.scope.iter().filter(|scope| *scope == "all" || scope.ends_with("_all"));
        risks.extend(wide.map(|scope| TokenRisk::WideScope(scope.as_str().into())));
        if self.admin.is_some() {
            risks.push(TokenRisk::Admin);
        }
        if !self.has_limit() {
            risks.push(TokenRisk::NoSpendingLimit);
        }
        risks.extend(self.uncapped().map(|coin| TokenRisk::Uncapped(coin.into())));
        risks
    }

    fn has_limit(&self) -> bool {
        !self.spending_limits.is_empty() || self.all_erc20_tokens_limit.is_some()
    }

    fn days(&self) -> u64 {
        self.duration.div_ceil(DAY.as_secs())
    }
}

/// Whether this is an IPv4 address, or a block of at most 256 of them.
fn is_source(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let fits = |prefix: &str| {
        prefix.len() <= 2
            && prefix.bytes().all(|b| b.is_ascii_digit())
            && prefix.parse().is_ok_and(|bits| (PREFIX_MIN..=32).contains(&bits))
    };
    address.parse::<Ipv4Addr>().is_ok() && prefix.is_none_or(fits)
}

#[cfg(test)]
mod tests {
    use super::super::wire::AdminScope;
    use super::*;
    use crate::money::{Amount, Coin};
    use crate::token::Label;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    /// A token that lives `lifetime` and is as good as it gets.
    fn living(lifetime: Duration) -> CreateToken {
        CreateToken::new(&Label::new("bot").unwrap(), lifetime)
            .scope("wallet_spend:5941b202b42fcbc707170d5b597491d9".parse().unwrap())
            .spending_limit(&Coin::new("tbtc").unwrap(), Amount::new(10))
            .ip_restrict("203.0.113.7")
    }

    fn fit() -> CreateToken {
        living(30 * DAY)
    }

    fn bare() -> CreateToken {
        CreateToken::new(&Label::new("bot").unwrap(), DAY)
    }

    fn scoped(scope: &str) -> CreateToken {
        fit().scope(scope.parse().unwrap())
    }

    #[test]
    fn what_is_advised_against_is_refused() {
        use TokenFlaw::*;
        let (prod, test) = (Environment::Prod, Environment::Test);
        let custom = Environment::custom("http://127.0.0.1:1", test.server_xpub()).unwrap();
        for (token, environment, flaws) in [
            (fit(), &prod, vec![]),
            (fit(), &test, vec![]),
            (bare(), &test, vec![NoSpendingLimit]),
            (bare(), &prod, vec![NoSpendingLimit, AnywhereInProd]),
            (bare().no_spending_limit(), &test, vec![]),
            (bare().no_spending_limit(), &custom, vec![]),
            (bare().no_spending_limit(), &prod, vec![AnywhereInProd]),
            (bare().all_erc20_tokens_limit(Amount::new(1)), &test, vec![]),
            (bare().dangerous_uncapped(&Coin::new("tbtc").unwrap()), &test, vec![]),
            (scoped("user_manage"), &test, vec![UserManage]),
            (scoped("user_manage"), &custom, vec![UserManage]),
            (scoped("all"), &prod, vec![EverythingInProd]),
            (scoped("all"), &test, vec![]),
            (scoped("all"), &custom, vec![]),
            (living(10 * YEAR), &prod, vec![]),
            (living(10 * YEAR + Duration::from_secs(1)), &test, vec![Lifetime { days: 3651 }]),
            (living(Duration::from_millis(999)), &test, vec![Lifetime { days: 0 }]),
        ] {
            let found = token.check(environment).err().map(|unfit| unfit.0).unwrap_or_default();
            assert_eq!(found, flaws, "{environment}: {token:?}");
        }
    }

    #[test]
    fn sources_are_addresses_and_small_blocks() {
        for (source, fits) in [
            ("203.0.113.7", true),
            ("203.0.113.7/32", true),
            ("203.0.113.0/24", true),
            ("203.0.112.0/23", false),
            ("0.0.0.0/0", false),
            ("203.0.113.0/33", false),
            ("203.0.113.0/", false),
            ("203.0.113.0/+24", false),
            ("203.0.113.0/024", false),
            ("203.0.113", false),
            ("203.0.113.256", false),
            ("2001:db8::1", false),
            ("example.com", false),
            ("", false),
        ] {
            let flaws = fit().ip_restrict(source).check(&Environment::Test).err();
            let expect = (!fits).then(|| UnfitToken(vec![TokenFlaw::Source(source.into())]));
            assert_eq!(flaws, expect, "{source}");
        }
    }

    #[test]
    fn what_is_risky_is_told() {
        let coin = Coin::new("tbtc").unwrap();
        let days = |days| vec![TokenRisk::LongLived { days }];
        for (token, risks) in [
            (fit(), vec![]),
            (living(90 * DAY), vec![]),
            (living(90 * DAY + Duration::from_secs(1)), days(91)),
            (living(YEAR), days(365)),
            (scoped("wallet_view_all"), vec![TokenRisk::WideScope("wallet_view_all".into())]),
            (
                scoped("enterprise_view_all"),
                vec![TokenRisk::WideScope("enterprise_view_all".into())],
            ),
            (scoped("all"), vec![TokenRisk::WideScope("all".into())]),
            (scoped("wallet_view_enterprise"), vec![]),
            (fit().admin(AdminScope::Read), vec![TokenRisk::Admin]),
            (bare().no_spending_limit(), vec![TokenRisk::NoSpendingLimit]),
            (fit().dangerous_uncapped(&coin), vec![TokenRisk::Uncapped("tbtc".into())]),
            (
                fit().dangerous_uncapped_erc20_tokens(),
                vec![TokenRisk::Uncapped("erc-20 coins".into())],
            ),
        ] {
            assert_eq!(token.check(&Environment::Test), Ok(risks), "{token:?}");
        }
    }

    #[test]
    fn every_line_says_what_to_do() {
        let unfit = bare().scope("user_manage".parse().unwrap()).ip_restrict("x");
        assert_eq!(
            unfit.check(&Environment::Prod).unwrap_err().to_string(),
            "the token is not minted: it has no spending limit: set one, or say no_spending_limit(); \
             user_manage is for sessions: manage users in bitgo's web interface; \
             x is no source: an ipv4 address is wanted, or a block from /24 to /32"
        );
        for (flaw, line) in [
            (
                TokenFlaw::EverythingInProd,
                "the scope all is for the test environment: name the few that are needed",
            ),
            (TokenFlaw::AnywhereInProd, "it may come from anywhere: production wants ip_restrict"),
            (
                TokenFlaw::Lifetime { days: 3651 },
                "it would live 3651 days: more than none and at most 10 years are wanted",
            ),
        ] {
            assert_eq!(flaw.to_string(), line);
        }
        for (risk, line) in [
            (TokenRisk::LongLived { days: 365 }, "it lives 365 days: rotate more often"),
            (
                TokenRisk::WideScope("all".into()),
                "all reaches everything of its kind: name wallets or an enterprise",
            ),
            (TokenRisk::Admin, "it has administrative permissions"),
            (TokenRisk::NoSpendingLimit, "it has no spending limit"),
            (TokenRisk::Uncapped("tbtc".into()), "it may spend tbtc without a cap"),
        ] {
            assert_eq!(risk.to_string(), line);
        }
    }
}
