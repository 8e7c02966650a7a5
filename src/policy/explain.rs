//! An explanation: what a request was read as, and every rule that was asked about it.
//!
//! A refusal names the first rule that forbids. Who sets rules wants to see the others too, and how
//! much of each is left: all rules are consulted here, in the order in which they are enforced.

use super::{Action, ActionKind, Denied, Rule, Transfer};
use crate::id::{EnterpriseId, WalletId};
use crate::money::{Amount, Coin};
use crate::scope::Permission;
use chrono::{DateTime, Utc};

/// What a request was read as, and what each rule says of it. Nothing was reserved for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What it is for; `None` where it cannot be read, and the first rule consulted says why.
    pub kind: Option<ActionKind>,
    /// The permission it needs; `None` for what every token may do.
    pub permission: Option<Permission>,
    /// The wallet it touches.
    pub wallet: Option<WalletId>,
    /// The enterprise it touches.
    pub enterprise: Option<EnterpriseId>,
    /// What it would move.
    pub transfers: Vec<Transfer>,
    /// What it would trade.
    pub product: Option<Box<str>>,
    /// Every rule consulted, in the order in which they are enforced.
    pub consulted: Vec<Consulted>,
}

impl Explanation {
    /// Whether the request would be allowed now.
    ///
    /// # Errors
    /// The first refusal, which is the one that [`Vault::lease`](crate::Vault::lease) answers with.
    pub fn verdict(&self) -> Result<(), &Denied> {
        match self.consulted.iter().find_map(|consulted| consulted.denied.as_ref()) {
            Some(denied) => Err(denied),
            None => Ok(()),
        }
    }

    /// Of a request that was read, and of which the rules said that.
    pub(crate) fn of(action: Action, consulted: Vec<Consulted>) -> Self {
        let Action { kind, permission, wallet, enterprise, transfers, product, .. } = action;
        Self { kind: Some(kind), permission, wallet, enterprise, transfers, product, consulted }
    }

    /// Of a request that cannot be read.
    pub(crate) fn unreadable(denied: Denied) -> Self {
        Self { consulted: vec![Consulted::denied(denied)], ..Self::default() }
    }
}

/// What one rule says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consulted {
    /// The rule.
    pub rule: Rule,
    /// The coin it is about, where it counts one.
    pub coin: Option<Coin>,
    /// What is asked for, in base units.
    pub asked: Option<Amount>,
    /// The most that it allows, in base units; `None` where it counts nothing, or sets no bound.
    pub limit: Option<Amount>,
    /// What is left of that, in base units.
    pub left: Option<Amount>,
    /// When it frees budget by itself; `None` where it never does.
    pub resets_at: Option<DateTime<Utc>>,
    /// Why it forbids the request; `None` where it does not.
    pub denied: Option<Denied>,
}

impl Consulted {
    /// A rule that counts nothing and forbids nothing.
    pub(crate) fn met(rule: Rule) -> Self {
        Self {
            rule,
            coin: None,
            asked: None,
            limit: None,
            left: None,
            resets_at: None,
            denied: None,
        }
    }

    /// A rule that forbids, with the numbers of its refusal.
    pub(crate) fn denied(denied: Denied) -> Self {
        Self {
            rule: denied.rule(),
            coin: denied.coin().cloned(),
            asked: denied.asked(),
            limit: denied.limit(),
            left: denied.left(),
            resets_at: denied.resets_at(),
            denied: Some(denied),
        }
    }

    /// What a check of that rule came to.
    pub(crate) fn of(rule: Rule, checked: Result<(), Denied>) -> Self {
        match checked {
            Ok(()) => Self::met(rule),
            Err(denied) => Self::denied(denied),
        }
    }

    /// The same, where `asked` of a coin stands against a bound that leaves `left`.
    pub(crate) fn counted(
        self,
        coin: &Coin,
        asked: Amount,
        limit: Option<Amount>,
        left: Option<Amount>,
    ) -> Self {
        let coin = Some(coin.clone());
        Self { coin, asked: Some(asked), limit, left, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_first_refusal() {
        let tbtc = Coin::new("tbtc").unwrap();
        let over = Denied::over(Rule::Limit, &tbtc, Amount::new(3), Amount::new(2), Amount::new(1));
        let scope = Denied::new(Rule::Scope, "no");
        let mut explained = Explanation::default();
        assert_eq!(explained.verdict(), Ok(()));
        explained.consulted = vec![
            Consulted::of(Rule::Expired, Ok(())),
            Consulted::of(Rule::Limit, Err(over.clone())),
            Consulted::denied(scope),
        ];
        assert_eq!(explained.verdict(), Err(&over));
        let numbers = &explained.consulted[1];
        assert_eq!(numbers.coin.as_ref(), Some(&tbtc));
        assert_eq!(
            (numbers.asked, numbers.limit, numbers.left),
            (Some(Amount::new(3)), Some(Amount::new(2)), Some(Amount::new(1)))
        );
    }
}
