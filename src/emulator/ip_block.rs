//! An entry of `ipRestrict`: an address or a CIDR block.

use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpBlock {
    address: IpAddr,
    prefix: u32,
}

/// The text is neither an address nor a block.
#[derive(Debug)]
pub(super) struct NoBlock;

impl FromStr for IpBlock {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<Self, NoBlock> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoBlock)?;
        let prefix = match prefix {
            Some(digits) => digits.parse().map_err(|_| NoBlock)?,
            None => width(address),
        };
        if prefix <= width(address) { Ok(Self { address, prefix }) } else { Err(NoBlock) }
    }
}

impl IpBlock {
    pub(super) fn contains(self, address: IpAddr) -> bool {
        let spare = width(self.address) - self.prefix;
        width(self.address) == width(address)
            // A block of everything leaves no bit to compare.
            && bits(self.address).checked_shr(spare) == bits(address).checked_shr(spare)
    }

    /// Whether BitGo's production service takes the block: `/24` to `/32`.
    pub(super) fn fits_prod(self) -> bool {
        self.address.is_ipv4() && self.prefix >= 24
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_addresses_that_share_its_prefix() {
        for (block, address, inside) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.6", false),
            ("203.0.113.0/28", "203.0.113.15", true),
            ("203.0.113.0/28", "203.0.113.16", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("::/0", "2001:db8::1", true),
            ("::/0", "198.51.100.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let parsed: IpBlock = block.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{block} {address}");
        }
        for bad in ["", "203.0.113", "203.0.113.0/33", "203.0.113.0/", "::/129", "a/8"] {
            assert!(bad.parse::<IpBlock>().is_err(), "{bad:?}");
        }
        for (block, fits) in [("1.2.3.4", true), ("1.2.3.0/24", true), ("1.2.2.0/23", false)] {
            assert_eq!(block.parse::<IpBlock>().unwrap().fits_prod(), fits, "{block}");
        }
    }
}
