//! Which coins BitGo lists, and how it counts them.
//!
//! ```text
//! row = name TAB network (m, t) decimals kind (c coin, t token, e ERC-20 token) TAB family LF
//!       hteth:wbtc   t8e   eth
//! ```
//!
//! The rows are sorted by name, byte by byte, and searched as they stand. Where they begin is found
//! once, when a coin is first looked up: to look for it at each step took most of a lease. They are the coins that BitGo's published packages list (PROTOCOL section 6), and a test
//! holds them against the digest of that list. What is not in it is not known, and never guessed.

use std::cmp::Ordering;
use std::sync::LazyLock;

/// The rows: about 140 KB.
const TABLE: &str = include_str!("coins.tsv");

/// The rows, one by one.
static ROWS: LazyLock<Box<[&str]>> = LazyLock::new(|| TABLE.lines().collect());

/// How BitGo counts a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CoinFacts {
    /// Whether its money is worth something.
    pub(crate) is_mainnet: bool,
    /// Whose chain it lives on; of a token, the coin that pays its fees is of the same one.
    pub(crate) family: &'static str,
    /// How many decimals of the coin one base unit is.
    pub(crate) decimals: u8,
    /// Whether it is a token on another coin's chain.
    pub(crate) is_token: bool,
    /// Whether the limit that ERC-20 coins share covers it.
    pub(crate) is_erc20: bool,
}

impl CoinFacts {
    /// What the table knows of the coin of that name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let by_name = |row: &&str| match row.strip_prefix(name) {
            Some(facts) if facts.starts_with('\t') => Ordering::Equal,
            // A tab comes before whatever a name goes on with.
            _ => row.as_bytes().cmp(name.as_bytes()),
        };
        let row = ROWS.get(ROWS.binary_search_by(by_name).ok()?)?;
        Self::read(row.get(name.len() + 1..)?)
    }

    fn read(facts: &'static str) -> Option<Self> {
        let (facts, family) = facts.split_once('\t')?;
        let (is_mainnet, facts) = match facts.strip_prefix('m') {
            Some(facts) => (true, facts),
            None => (false, facts.strip_prefix('t')?),
        };
        let kind = facts.chars().next_back()?;
        let decimals = facts.strip_suffix(kind)?.parse().ok()?;
        Some(Self { is_mainnet, family, decimals, is_token: kind != 'c', is_erc20: kind == 'e' })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Of the list that the table was made from: name, network, family, decimals, token, erc20.
    const SOURCE_SHA256: &str = "1f4e88e765e29edfd28c1657164b886346d55ab890ac8734ce7d1728c342455a";

    #[test]
    fn the_table_is_the_list_it_was_made_from() {
        let mut source = String::from("name\tnetwork\tfamily\tdecimals\ttoken\terc20\n");
        for row in TABLE.lines() {
            let (name, _) = row.split_once('\t').unwrap();
            let facts = CoinFacts::of(name).expect(name);
            let network = if facts.is_mainnet { "mainnet" } else { "testnet" };
            let CoinFacts { family, decimals, .. } = facts;
            let (token, erc20) = (u8::from(facts.is_token), u8::from(facts.is_erc20));
            source += &format!("{name}\t{network}\t{family}\t{decimals}\t{token}\t{erc20}\n");
        }
        let digest = Sha256::digest(source.as_bytes());
        assert_eq!(base16ct::lower::encode_string(&digest), SOURCE_SHA256);
        assert!(TABLE.len() < 250_000 && TABLE.lines().count() == 6717);
    }

    #[test]
    fn what_is_not_listed_is_not_known() {
        for name in ["", "\n", "\t", "tbtc\t", "tbtC", "TBTC", "tbt", "tbtcc", "~", "0", "hteth:"] {
            assert_eq!(CoinFacts::of(name), None, "{name:?}");
        }
    }
}
