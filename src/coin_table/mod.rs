//! Which coins BitGo lists, and how it counts them.
//!
//! ```text
//! row = name TAB network (m, t) decimals kind (c coin, t token, e ERC-20 token) TAB family LF
//!       hteth:wbtc   t8e   eth
//! ```
//!
//! The rows stand as they are in the program, and are found by a hash of their names: nothing is built
//! when the vault starts. They are the coins that BitGo's published packages list (PROTOCOL section 6),
//! and a test holds them against the digest of that list. What is not in it is not known, and never
//! guessed.

/// The rows: about 130 KB.
const TABLE: &str = include_str!("coins.tsv");

/// How many rows there are.
const ROWS: usize = 6717;

/// Where each row starts, and where the last one ends; found when this is compiled: about 27 KB.
static STARTS: [u32; ROWS + 1] = starts();

#[expect(clippy::cast_possible_truncation, reason = "the table is far smaller")]
const fn starts() -> [u32; ROWS + 1] {
    let mut starts = [0; ROWS + 1];
    let (mut at, mut row) = (0, 0);
    while at < TABLE.len() {
        at += 1;
        if TABLE.as_bytes()[at - 1] == b'\n' {
            row += 1;
            starts[row] = at as u32;
        }
    }
    starts
}

/// More than twice as many places as rows.
const PLACES: usize = 1 << 14;

/// The rows' numbers, from 1, each at the place that its name hashes to or the next free one behind it;
/// 0 where there is none. Filled when this is compiled: 32 KB.
static INDEX: [u16; PLACES] = index();

#[expect(clippy::cast_possible_truncation, reason = "there are far fewer rows")]
const fn index() -> [u16; PLACES] {
    let (table, mut index) = (TABLE.as_bytes(), [0; PLACES]);
    let (mut at, mut row) = (0, 0);
    while row < ROWS {
        let mut hash = FNV_BASIS;
        while table[at] != b'\t' {
            hash = hashed(hash, table[at]);
            at += 1;
        }
        let mut place = hash as usize % PLACES;
        while index[place] != 0 {
            place = (place + 1) % PLACES;
        }
        row += 1;
        index[place] = row as u16;
        while table[at] != b'\n' {
            at += 1;
        }
        at += 1;
    }
    index
}

/// FNV-1a, of 32 bits.
const FNV_BASIS: u32 = 0x811c_9dc5;

const fn hashed(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// How BitGo counts a coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CoinFacts {
    /// Its name.
    pub(crate) name: &'static str,
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
        if name.contains('\t') {
            return None;
        }
        let mut place = name.bytes().fold(FNV_BASIS, hashed) as usize;
        loop {
            let row = match *INDEX.get(place % PLACES)? {
                0 => return None,
                row => usize::from(row),
            };
            let (from, to) = (*STARTS.get(row - 1)? as usize, *STARTS.get(row)? as usize);
            let row = TABLE.get(from..to)?;
            if let Some(facts) = row.strip_prefix(name).and_then(|rest| rest.strip_prefix('\t')) {
                return Self::read(row.get(..name.len())?, facts);
            }
            place += 1;
        }
    }

    fn read(name: &'static str, facts: &'static str) -> Option<Self> {
        let tab = facts.bytes().position(|byte| byte == b'\t')?;
        let (facts, family) = (facts.get(..tab)?, facts.get(tab + 1..)?.strip_suffix('\n')?);
        let (network, facts) = facts.split_at_checked(1)?;
        let (decimals, kind) = facts.split_at_checked(facts.len().checked_sub(1)?)?;
        Some(Self {
            name,
            is_mainnet: network == "m",
            family,
            decimals: decimals.parse().ok()?,
            is_token: kind != "c",
            is_erc20: kind == "e",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Coin;
    use sha2::{Digest, Sha256};

    /// Of the list that the table was made from: name, network, family, decimals, token, erc20.
    const SOURCE_SHA256: &str = "1f4e88e765e29edfd28c1657164b886346d55ab890ac8734ce7d1728c342455a";

    #[test]
    fn the_table_is_the_list_it_was_made_from() {
        let mut source = String::from("name\tnetwork\tfamily\tdecimals\ttoken\terc20\n");
        for row in TABLE.lines() {
            let (name, _) = row.split_once('\t').unwrap();
            let facts = CoinFacts::of(name).expect(name);
            assert_eq!(Ok(Coin::listed(facts.name)), Coin::new(name));
            let network = if facts.is_mainnet { "mainnet" } else { "testnet" };
            let CoinFacts { family, decimals, .. } = facts;
            let (token, erc20) = (u8::from(facts.is_token), u8::from(facts.is_erc20));
            source += &format!("{name}\t{network}\t{family}\t{decimals}\t{token}\t{erc20}\n");
        }
        let digest = Sha256::digest(source.as_bytes());
        assert_eq!(base16ct::lower::encode_string(&digest), SOURCE_SHA256);
        assert_eq!((TABLE.lines().count(), STARTS[ROWS] as usize), (ROWS, TABLE.len()));
        assert!(TABLE.lines().all(|row| row.split('\t').nth(1).unwrap().starts_with(['m', 't'])));
        assert!(
            TABLE.len() + size_of_val(&STARTS) + size_of_val(&INDEX) < 250_000,
            "what it adds to a program"
        );
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
