//! What an action is charged, before the ledger is asked: one charge a purpose and coin.

use super::{Action, ActionKind, Charge, Denied, LocalRules, Purpose, Transfer};

/// The charges of an action, one a purpose and coin.
///
/// An order moves money inside BitGo: it is a trade, and a withdrawal only where a rule says so.
pub(crate) fn charges(action: &Action, rules: &LocalRules) -> Result<Vec<Charge>, Denied> {
    match action.kind {
        ActionKind::View | ActionKind::Build | ActionKind::CancelOrder => Ok(Vec::new()),
        ActionKind::Spend => sums(Purpose::Withdrawal, &action.transfers),
        ActionKind::Order => {
            let mut charges = sums(Purpose::Trade, &action.transfers)?;
            if rules.trading.as_ref().is_some_and(|trading| trading.counts_as_withdrawal) {
                charges.extend(sums(Purpose::Withdrawal, &action.transfers)?);
            }
            Ok(charges)
        }
    }
}

/// What transfers add up to, coin by coin.
pub(super) fn sums(purpose: Purpose, transfers: &[Transfer]) -> Result<Vec<Charge>, Denied> {
    let mut sums: Vec<Charge> = Vec::with_capacity(1);
    for Transfer { coin, amount, is_erc20, .. } in transfers {
        match sums.binary_search_by(|charge| charge.coin.cmp(coin)) {
            Ok(at) => {
                if let Some(Charge { amount: sum, .. }) = sums.get_mut(at) {
                    let beyond = || Denied::body("the amounts add up to more than can be counted");
                    *sum = sum.checked_add(*amount).ok_or_else(beyond)?;
                }
            }
            Err(at) => {
                let (coin, is_erc20, amount) = (coin.clone(), *is_erc20, *amount);
                sums.insert(at, Charge { purpose, coin, is_erc20, amount });
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::super::{Request, TradingRules};
    use super::*;
    use crate::coin_map::CoinMap;
    use crate::money::{Amount, Coin};

    fn action(kind: ActionKind, moved: &[(&str, u128)]) -> Action {
        let transfers = moved.iter().map(|(coin, amount)| Transfer {
            coin: Coin::new(coin).unwrap(),
            amount: Amount::new(*amount),
            destination: "a".into(),
            is_erc20: *coin == "terc",
        });
        let session = Request::get("/api/v2/user/session").unwrap();
        let still = Action::of(&session, &CoinMap::default()).unwrap();
        Action { kind, transfers: transfers.collect(), ..still }
    }

    #[test]
    fn sums_are_made_by_coin_and_never_wrap() {
        let moved = [("terc", 1), ("hteth", 2), ("terc", 3), ("a", 4)];
        let charges = charges(&action(ActionKind::Spend, &moved), &LocalRules::default()).unwrap();
        let told: Vec<_> = charges
            .iter()
            .map(|it| (it.coin.as_str(), it.amount.base_units(), it.is_erc20, it.purpose))
            .collect();
        let out = Purpose::Withdrawal;
        assert_eq!(told, [("a", 4, false, out), ("hteth", 2, false, out), ("terc", 4, true, out)]);
        let over = action(ActionKind::Spend, &[("a", u128::MAX), ("a", 1)]);
        assert!(super::charges(&over, &LocalRules::default()).is_err());
    }

    #[test]
    fn only_what_moves_money_is_charged_and_a_trade_is_no_withdrawal() {
        use ActionKind::{Build, CancelOrder, Order, Spend, View};
        let mut trading = TradingRules::default();
        let rules = |trading| LocalRules { trading, ..LocalRules::default() };
        trading.counts_as_withdrawal = true;
        let (plain, both) = (rules(Some(TradingRules::default())), rules(Some(trading)));
        let (out, within) = (Purpose::Withdrawal, Purpose::Trade);
        for (kind, rules, expect) in [
            (View, &both, &[][..]),
            (Build, &both, &[]),
            (CancelOrder, &both, &[]),
            (Spend, &both, &[out]),
            (Order, &LocalRules::default(), &[within]),
            (Order, &plain, &[within]),
            (Order, &both, &[within, out]),
        ] {
            let charges = charges(&action(kind, &[("tbtc", 1)]), rules).unwrap();
            assert!(charges.iter().map(|charge| &charge.purpose).eq(expect), "{kind:?}");
        }
    }
}
