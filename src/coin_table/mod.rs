//! Which coins BitGo lists, and how it counts them.
//!
//! ```text
//! row = name TAB network (m, t) decimals kind (c coin, t token, e ERC-20 token) TAB family LF
//!       hteth:wbtc   t8e   eth
//! ```
//!
//! The rows are sorted by name, byte by byte, and searched as they stand, which takes about a tenth
//! of a microsecond: nothing is built when the vault starts. They are the coins that BitGo's published packages list (PROTOCOL section 6), and a test
//! holds them against the digest of that list. What is not in it is not known, and never guessed.

use std::cmp::Ordering;

/// The rows: about 130 KB.
const TABLE: &str = include_str!("coins.tsv");

/// How many rows there are.
const ROWS: usize = 6717;

/// Where each row starts, and where the last one ends; found when this is compiled: about 54 KB.
static STARTS: [usize; ROWS + 1] = starts();

const fn starts() -> [usize; ROWS + 1] {
    let mut starts = [0; ROWS + 1];
    let (mut at, mut row) = (0, 0);
    while at < TABLE.len() {
        at += 1;
        if TABLE.as_bytes()[at - 1] == b'\n' {
            row += 1;
            starts[row] = at;
        }
    }
    starts
}

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
        let (mut from, mut to) = (0, ROWS);
        while from < to {
            let middle = from + (to - from) / 2;
            let row = TABLE.get(*STARTS.get(middle)?..*STARTS.get(middle + 1)?)?;
            // The tab after a name sorts before all that a longer name has in its place.
            let found = row.as_bytes().get(..name.len()).unwrap_or(row.as_bytes());
            match found.cmp(name.as_bytes()) {
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
                Ordering::Equal => match row.get(name.len()..)?.strip_prefix('\t') {
                    Some(facts) => return Self::read(facts.trim_end()),
                    None => to = middle,
                },
            }
        }
        None
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
        assert_eq!((TABLE.lines().count(), STARTS[ROWS]), (ROWS, TABLE.len()));
        assert!(TABLE.len() + size_of_val(&STARTS) < 250_000, "what it adds to a program");
    }

    #[test]
    fn what_is_not_listed_is_not_known() {
        for name in [
            "",
            "\n",
            "\t",
            "tbtc\t",
            "tbtC",
            "TBTC",
            "tbt",
            "tbtcc",
            "~",
            "0",
            "hteth:",
            "tbtc\tt8c\tbtc",
        ] {
            assert_eq!(CoinFacts::of(name), None, "{name:?}");
        }
    }
}
