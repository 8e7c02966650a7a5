//! Rules read from JSON: a closed list of fields, each once and of one kind; who wrote them is told the
//! first that is not.

use super::super::bounds::JSON_MAX;
use super::super::json_reader::{Reader, text};
use super::{
    ActionKind, CoinRules, CoinUnit, Decay, LocalRules, Purpose, RulesError, TradingRules,
    WindowRule, purpose_name,
};
use crate::coin_map::CoinMap;
use crate::money::{Amount, Coin};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

/// As much of a name as fits a message, in characters.
const NAME_MAX: usize = 100;

/// Reads rules, which may still break a bound.
pub(super) fn read(json: &str) -> Result<LocalRules, RulesError> {
    if json.len() > JSON_MAX {
        return Err(RulesError::TooLong);
    }
    let mut rules = LocalRules::default();
    Value { path: "the rules".into(), json, is_whole: true }.members(|name, value| {
        match name {
            "rawExposure" => rules.raw_exposure = value.flag()?,
            "declaredAmounts" => rules.declared_amounts = value.flag()?,
            "actions" => rules.actions = value.unless_null(|it| it.list(Value::kind))?,
            "wallets" => rules.wallets = value.unless_null(|it| it.list(Value::id))?,
            "destinations" => rules.destinations = value.unless_null(|it| it.list(Value::text))?,
            "coins" => rules.coins = value.by_coin(Value::bounds)?,
            "windows" => rules.windows = value.list(Value::window)?,
            "trading" => rules.trading = value.unless_null(Value::trading)?,
            "decay" => rules.decay = value.unless_null(Value::decay)?,
            "units" => rules.units = value.by_coin(Value::unit)?,
            _ => return Err(value.unknown()),
        }
        Ok(())
    })?;
    Ok(rules)
}

/// A value as it stands, and the names that lead to it.
struct Value<'a> {
    path: String,
    json: &'a str,
    /// Whether it is all there is.
    is_whole: bool,
}

impl<'a> Value<'a> {
    fn wants(&self, wanted: &'static str) -> RulesError {
        RulesError::Unreadable { field: self.path.as_str().into(), wanted }
    }

    fn unknown(&self) -> RulesError {
        RulesError::Unknown { field: self.path.as_str().into() }
    }

    /// A field that must be there.
    fn needs<T>(
        &self,
        name: &str,
        value: Option<T>,
        wanted: &'static str,
    ) -> Result<T, RulesError> {
        value.ok_or_else(|| self.within(name, "").wants(wanted))
    }

    fn within(&self, name: &str, json: &'a str) -> Self {
        let name: String = name.escape_debug().take(NAME_MAX).collect();
        let path = if self.is_whole { name } else { format!("{}.{name}", self.path) };
        Self { path, json, is_whole: false }
    }

    fn unless_null<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, RulesError>,
    ) -> Result<Option<T>, RulesError> {
        if self.json == "null" { Ok(None) } else { read(self).map(Some) }
    }

    fn flag(&self) -> Result<bool, RulesError> {
        match self.json {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wants("true or false")),
        }
    }

    fn word(&self, wanted: &'static str) -> Result<Cow<'a, str>, RulesError> {
        text(self.json).ok_or_else(|| self.wants(wanted))
    }

    fn text(&self) -> Result<String, RulesError> {
        self.word("a string").map(Cow::into_owned)
    }

    fn id<T: FromStr>(&self) -> Result<T, RulesError> {
        const WANTED: &str = "an id, a string of 32 lower-case hex digits";
        self.word(WANTED)?.parse().map_err(|_| self.wants(WANTED))
    }

    fn amount(&self) -> Result<Amount, RulesError> {
        const WANTED: &str = "an amount, a string of digits in base units";
        self.word(WANTED)?.parse().map_err(|_| self.wants(WANTED))
    }

    fn number<T: FromStr>(&self) -> Result<T, RulesError> {
        self.json.parse().map_err(|_| self.wants("a whole number that is not too large"))
    }

    fn seconds(&self) -> Result<Duration, RulesError> {
        self.number().map(Duration::from_secs)
    }

    fn kind(&self) -> Result<ActionKind, RulesError> {
        const WANTED: &str = "view, build, spend, order or cancel-order";
        let word = self.word(WANTED)?;
        let known = ActionKind::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| self.wants(WANTED))
    }

    fn purpose(&self) -> Result<Purpose, RulesError> {
        const WANTED: &str = "withdrawal or trade";
        let word = self.word(WANTED)?;
        let mut known = [Purpose::Withdrawal, Purpose::Trade].into_iter();
        known.find(|purpose| purpose_name(*purpose) == word).ok_or_else(|| self.wants(WANTED))
    }

    fn coin(&self) -> Result<Coin, RulesError> {
        const WANTED: &str = "the name of a coin";
        Coin::new(&self.word(WANTED)?).map_err(|_| self.wants(WANTED))
    }

    fn bounds(&self) -> Result<CoinRules, RulesError> {
        let mut bounds = CoinRules::default();
        self.members(|name, value| {
            let bound = match name {
                "perTransaction" => &mut bounds.per_transaction,
                "total" => &mut bounds.total,
                "fee" => &mut bounds.fee,
                _ => return Err(value.unknown()),
            };
            *bound = value.unless_null(Value::amount)?;
            Ok(())
        })?;
        Ok(bounds)
    }

    fn window(&self) -> Result<WindowRule, RulesError> {
        let (mut purpose, mut coin, mut period, mut sum, mut count) =
            (None, None, None, None, None);
        self.members(|name, value| {
            match name {
                "purpose" => purpose = Some(value.purpose()?),
                "coin" => coin = Some(value.coin()?),
                "period" => period = Some(value.seconds()?),
                "sum" => sum = value.unless_null(Value::amount)?,
                "count" => count = value.unless_null(Value::number)?,
                _ => return Err(value.unknown()),
            }
            Ok(())
        })?;
        Ok(WindowRule {
            purpose: self.needs("purpose", purpose, "withdrawal or trade")?,
            coin: self.needs("coin", coin, "the name of a coin")?,
            period: self.needs("period", period, "a number of seconds")?,
            sum,
            count,
        })
    }

    fn trading(&self) -> Result<TradingRules, RulesError> {
        let mut rules = TradingRules::default();
        self.members(|name, value| {
            match name {
                "products" => rules.products = value.unless_null(|it| it.list(Value::text))?,
                "perOrder" => rules.per_order = value.by_coin(Value::amount)?,
                "countsAsWithdrawal" => rules.counts_as_withdrawal = value.flag()?,
                _ => return Err(value.unknown()),
            }
            Ok(())
        })?;
        Ok(rules)
    }

    fn decay(&self) -> Result<Decay, RulesError> {
        let (mut after, mut over) = (None, None);
        self.members(|name, value| {
            match name {
                "after" => after = Some(value.seconds()?),
                "over" => over = Some(value.seconds()?),
                _ => return Err(value.unknown()),
            }
            Ok(())
        })?;
        let seconds = "a number of seconds";
        Ok(Decay::new(self.needs("after", after, seconds)?, self.needs("over", over, seconds)?))
    }

    fn unit(&self) -> Result<CoinUnit, RulesError> {
        let (mut decimals, mut is_erc20) = (None, false);
        self.members(|name, value| {
            match name {
                "decimals" => decimals = Some(value.number()?),
                "isErc20" => is_erc20 = value.flag()?,
                _ => return Err(value.unknown()),
            }
            Ok(())
        })?;
        Ok(CoinUnit {
            decimals: self.needs("decimals", decimals, "a number of decimals")?,
            is_erc20,
        })
    }

    fn by_coin<T>(
        &self,
        read: impl Fn(&Self) -> Result<T, RulesError>,
    ) -> Result<CoinMap<T>, RulesError> {
        let mut values = Vec::new();
        self.members(|name, value| {
            let coin = Coin::new(name).map_err(|_| value.wants("the name of a coin before it"))?;
            values.push((coin, read(&value)?));
            Ok(())
        })?;
        Ok(values.into_iter().collect())
    }

    fn list<T>(&self, read: impl Fn(&Self) -> Result<T, RulesError>) -> Result<Vec<T>, RulesError> {
        let no_list = || self.wants("a list");
        let (mut reader, mut entries) = (Reader::new(self.json), Vec::new());
        let mut is_over = reader.takes(b'[').then(|| reader.takes(b']')).ok_or_else(no_list)?;
        while !is_over {
            let (json, _) = reader.value().ok_or_else(no_list)?;
            let path = format!("{}[{}]", self.path, entries.len());
            entries.push(read(&Self { path, json, is_whole: false })?);
            is_over = reader.takes(b']');
            if !is_over && !reader.takes(b',') {
                return Err(no_list());
            }
        }
        if reader.is_done() { Ok(entries) } else { Err(no_list()) }
    }

    /// Reads an object, in which no name stands twice.
    fn members(
        &self,
        mut read: impl FnMut(&str, Self) -> Result<(), RulesError>,
    ) -> Result<(), RulesError> {
        let no_object = || self.wants("one json object");
        let (mut reader, mut seen) = (Reader::new(self.json), BTreeSet::new());
        let mut is_over = reader.takes(b'{').then(|| reader.takes(b'}')).ok_or_else(no_object)?;
        while !is_over {
            let name = reader.name().filter(|_| reader.takes(b':')).ok_or_else(no_object)?;
            let (json, _) = reader.value().ok_or_else(no_object)?;
            let value = self.within(&name, json);
            if !seen.insert(name.clone()) {
                return Err(RulesError::FieldTwice { field: value.path.into() });
            }
            read(&name, value)?;
            is_over = reader.takes(b'}');
            if !is_over && !reader.takes(b',') {
                return Err(no_object());
            }
        }
        if reader.is_done() { Ok(()) } else { Err(no_object()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> String {
        LocalRules::from_json(json).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn what_is_not_as_it_should_be_is_named() {
        for (json, line) in [
            ("", "the rules: want one json object"),
            ("[]", "the rules: want one json object"),
            ("{} {}", "the rules: want one json object"),
            (r#"{"rawExposure": true,}"#, "the rules: want one json object"),
            (r#"{"version": 1}"#, "version: no rule is called so, correct the name"),
            ("{\"a\\u001bb\": 1}", "a\\u{1b}b: no rule is called so, correct the name"),
            (r#"{"rawExposure": 1}"#, "rawExposure: want true or false"),
            (r#"{"rawExposure": null}"#, "rawExposure: want true or false"),
            (
                r#"{"decay": null, "\u0064ecay": null}"#,
                "decay: it stands there twice, and which of the two holds is not plain",
            ),
            (
                r#"{"coins": {"tbtc": {}, "tbtc": {}}}"#,
                "coins.tbtc: it stands there twice, and which of the two holds is not plain",
            ),
            (
                r#"{"coins": {"tbtc": {"fee": 5}}}"#,
                "coins.tbtc.fee: want an amount, a string of digits in base units",
            ),
            (
                r#"{"coins": {"tbtc": {"fee": "0.5"}}}"#,
                "coins.tbtc.fee: want an amount, a string of digits in base units",
            ),
            (
                r#"{"coins": {"tbtc": {"cap": "1"}}}"#,
                "coins.tbtc.cap: no rule is called so, correct the name",
            ),
            (r#"{"coins": {"t btc": {}}}"#, "coins.t btc: want the name of a coin before it"),
            (
                r#"{"actions": ["view", "Spend"]}"#,
                "actions[1]: want view, build, spend, order or cancel-order",
            ),
            (
                r#"{"wallets": ["5941B202"]}"#,
                "wallets[0]: want an id, a string of 32 lower-case hex digits",
            ),
            (r#"{"destinations": [7]}"#, "destinations[0]: want a string"),
            (r#"{"windows": [{}]}"#, "windows[0].purpose: want withdrawal or trade"),
            (
                r#"{"windows": [{"purpose": "trade", "coin": "tbtc", "period": 60.5, "count": 1}]}"#,
                "windows[0].period: want a whole number that is not too large",
            ),
            (
                r#"{"windows": [{"purpose": "trade", "coin": "tbtc", "period": 60, "count": 4294967296}]}"#,
                "windows[0].count: want a whole number that is not too large",
            ),
            (
                r#"{"windows": [{"purpose": "trade", "coin": "tbtc", "period": 1, "count": 1}]}"#,
                "a window lasts whole seconds, from a minute to 366 days",
            ),
            (r#"{"decay": {"after": 60}}"#, "decay.over: want a number of seconds"),
            (r#"{"units": {"x": {}}}"#, "units.x.decimals: want a number of decimals"),
            (r#"{"destinations": ["a" "b"]}"#, "the rules: want one json object"),
            ("{}", ""),
            (r#" {"destinations": [], "trading": {"perOrder": {"tbtc": "0"}}} "#, ""),
        ] {
            assert_eq!(said(json), line, "{json}");
        }
        assert_eq!(
            said(&" ".repeat(JSON_MAX + 1)),
            "the rules have more than 262144 bytes: name fewer"
        );
        let long = format!(r#"{{"{}": 1}}"#, "x".repeat(1000));
        assert!(said(&long).len() < 200);
    }
}
