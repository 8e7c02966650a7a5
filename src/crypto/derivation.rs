//! BIP32 derivation without hardening, on both sides of a key pair.
//!
//! ```text
//! I_L ‖ I_R = HMAC-SHA512[chain code](compressed public key ‖ index)
//! private   (k, c) → (I_L + k, I_R)
//! public    (K, c) → (I_L × G + K, I_R)
//! ```
//!
//! `bip32` reads the keys; the walk is done here, for that crate also computes what nobody asks
//! for along a path (fingerprints, the last public key) and does not wipe what it leaves behind.

use super::CryptoError;
use super::stack::wiped;
use crate::extended_key::extended_key;
use crate::secret::EcdhXprv;
use bip32::{ChildNumber, Prefix, XPrv, XPub};
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::group::Group;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{ProjectivePoint, Scalar};
use sha2::Sha512;
use std::fmt;
use zeroize::Zeroizing;

/// A way from an extended key down to a descendant: one to 255 unhardened steps.
///
/// Prints in canonical form, such as `999999/104490948/173846667`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DerivationPath(Vec<u32>);

impl DerivationPath {
    /// The most steps of a path: BIP32 counts them in one byte.
    pub const MAX_STEPS: usize = 255;

    /// Parses a path as leniently as BitGo's SDK does: a leading `m` and empty parts are dropped,
    /// a part counts up to the first character that is no digit, a part without digits is 0.
    ///
    /// ```
    /// use bitgo_vault::crypto::DerivationPath;
    /// assert_eq!(DerivationPath::parse("m//7/1x/y")?.to_string(), "7/1/0");
    /// # Ok::<(), bitgo_vault::crypto::CryptoError>(())
    /// ```
    ///
    /// # Errors
    /// [`CryptoError::Path`] if no part is left or more than [`Self::MAX_STEPS`] are, if a part is
    /// hardened (`1'`, `1h`), negative or above 2^31-1.
    pub fn parse(path: &str) -> Result<Self, CryptoError> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        parts.next_if_eq(&"m");
        let steps = parts.take(Self::MAX_STEPS + 1).map(step).collect::<Result<Vec<_>, _>>()?;
        match steps.len() {
            0 => Err(CryptoError::Path("it is empty")),
            1..=Self::MAX_STEPS => Ok(Self(steps)),
            _ => Err(CryptoError::Path("it has more than 255 steps")),
        }
    }

    /// The first step and the others, if they lead no deeper than BIP32 counts.
    fn steps_below(&self, depth: u8) -> Result<(u32, &[u32]), CryptoError> {
        let (first, rest) = self.0.split_first().ok_or(CryptoError::Path("it is empty"))?;
        match self.0.len() <= usize::from(u8::MAX - depth) {
            true => Ok((*first, rest)),
            false => Err(CryptoError::Path("it leads deeper than 255 steps")),
        }
    }
}

/// JavaScript's `parseInt`, and 0 where that is not a number.
fn step(part: &str) -> Result<u32, CryptoError> {
    let part = part.trim_start();
    let (negative, part) = match part.strip_prefix('-') {
        Some(part) => (true, part),
        None => (false, part.strip_prefix('+').unwrap_or(part)),
    };
    let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
    let (digits, rest) = part.split_at(end);
    if digits.is_empty() {
        return Ok(0);
    }
    if rest.ends_with(['\'', 'h', 'H']) {
        return Err(CryptoError::Path("a step is hardened"));
    }
    match digits.parse::<u32>() {
        Ok(0) => Ok(0),
        Ok(index) if index < ChildNumber::HARDENED_FLAG && !negative => Ok(index),
        _ => Err(CryptoError::Path("a step is not within 0 to 2^31-1")),
    }
}

impl fmt::Display for DerivationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for step in &self.0 {
            write!(f, "{separator}{step}")?;
            separator = "/";
        }
        Ok(())
    }
}

/// An extended private key, read and ready to be derived from. Wiped when dropped.
pub struct EcdhPrivateKey(Box<Root>);

/// In one place for good: a key that is moved would leave copies behind.
struct Root {
    scalar: Zeroizing<Scalar>,
    public: PublicBytes,
    chain_code: ChainCode,
    depth: u8,
}

impl EcdhPrivateKey {
    /// Reads an xprv: BIP32, base58, main network.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if it is none.
    pub fn parse(xprv: &EcdhXprv) -> Result<Self, CryptoError> {
        wiped(|| {
            let key: XPrv = extended_key(xprv.expose(), Prefix::XPRV)
                .and_then(|key| key.try_into().ok())
                .ok_or(CryptoError::Key("an xprv is wanted"))?;
            let private = key.private_key();
            Ok(Self(Box::new(Root {
                scalar: Zeroizing::new(**private.as_nonzero_scalar()),
                public: compressed((*private.verifying_key().as_affine()).into())?,
                chain_code: Zeroizing::new(key.attrs().chain_code),
                depth: key.attrs().depth,
            })))
        })
    }

    /// The private key at the end of a path. It is on the caller to wipe the stack.
    pub(super) fn derive(&self, path: &DerivationPath) -> Result<Zeroizing<Scalar>, CryptoError> {
        let root = &*self.0;
        let (first, rest) = path.steps_below(root.depth)?;
        let (mut tweak, mut chain_code) = child(&root.chain_code, &root.public, first)?;
        let mut scalar = Zeroizing::new(*root.scalar + *tweak);
        for &step in rest {
            let public = compressed(ProjectivePoint::mul_by_generator(&scalar))?;
            (tweak, chain_code) = child(&chain_code, &public, step)?;
            *scalar += *tweak;
        }
        if scalar.is_zero().into() { Err(NOWHERE) } else { Ok(scalar) }
    }
}

impl fmt::Debug for EcdhPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcdhPrivateKey([REDACTED])")
    }
}

/// An extended public key, read and ready to be derived from.
pub struct EcdhPublicKey {
    point: ProjectivePoint,
    public: PublicBytes,
    chain_code: ChainCode,
    depth: u8,
}

impl EcdhPublicKey {
    /// Reads an xpub: BIP32, base58, main network, a point of the curve.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if it is none.
    pub fn parse(xpub: &str) -> Result<Self, CryptoError> {
        let key: XPub = extended_key(xpub, Prefix::XPUB)
            .and_then(|key| key.try_into().ok())
            .ok_or(CryptoError::Key("an xpub is wanted"))?;
        let point = (*key.public_key().as_affine()).into();
        Ok(Self {
            point,
            public: key.to_bytes(),
            chain_code: Zeroizing::new(key.attrs().chain_code),
            depth: key.attrs().depth,
        })
    }

    /// The public key at the end of a path.
    pub(super) fn derive(&self, path: &DerivationPath) -> Result<ProjectivePoint, CryptoError> {
        let (first, rest) = path.steps_below(self.depth)?;
        let (mut tweak, mut chain_code) = child(&self.chain_code, &self.public, first)?;
        let mut point = self.point + ProjectivePoint::mul_by_generator(&tweak);
        for &step in rest {
            (tweak, chain_code) = child(&chain_code, &compressed(point)?, step)?;
            point += ProjectivePoint::mul_by_generator(&tweak);
        }
        if point.is_identity().into() { Err(NOWHERE) } else { Ok(point) }
    }
}

impl fmt::Debug for EcdhPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcdhPublicKey")
    }
}

type PublicBytes = [u8; 33];
type ChainCode = Zeroizing<[u8; 32]>;

const NOWHERE: CryptoError = CryptoError::Path("it leads nowhere");

/// One step: what is added to the key, and the child's chain code.
fn child(
    chain_code: &ChainCode,
    public: &PublicBytes,
    step: u32,
) -> Result<(Zeroizing<Scalar>, ChainCode), CryptoError> {
    let mut mac = Hmac::<Sha512>::new_from_slice(&**chain_code).expect("HMAC takes any key");
    mac.update(public);
    mac.update(&step.to_be_bytes());
    let hash = Zeroizing::new(mac.finalize().into_bytes().0);
    let mut tweak = Zeroizing::new([0; 32]);
    let mut child_code = Zeroizing::new([0; 32]);
    tweak.copy_from_slice(&hash[..32]);
    child_code.copy_from_slice(&hash[32..]);
    let tweak = Option::from(Scalar::from_repr((*tweak).into())).ok_or(NOWHERE)?;
    Ok((Zeroizing::new(tweak), child_code))
}

/// Fails for the point at infinity, which has no such form: BIP32 skips an index that leads there,
/// and nobody meets one of those.
fn compressed(point: ProjectivePoint) -> Result<PublicBytes, CryptoError> {
    point.to_affine().to_sec1_point(true).as_bytes().try_into().map_err(|_| NOWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_parse_as_bitgos_sdk_reads_them() {
        for (path, canonical) in [
            ("m/999999/104490948/173846667", "999999/104490948/173846667"),
            ("m/0", "0"),
            ("/0/1", "0/1"),
            ("//m/0/1/", "0/1"),
            ("0/1", "0/1"),
            ("m/2147483647", "2147483647"),
            ("m/0/1x", "0/1"),
            ("m/x/5", "0/5"),
            ("m/m/5", "0/5"),
            ("m/x'/5", "0/5"),
            ("m/ 7/+8/-0/007/1e9/0x1f/1.5", "7/8/0/7/1/0/1"),
        ] {
            assert_eq!(
                DerivationPath::parse(path).map(|it| it.to_string()).as_deref(),
                Ok(canonical)
            );
            assert_eq!(DerivationPath::parse(canonical).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn paths_that_cannot_be_walked_are_refused() {
        let long = "1/".repeat(256);
        for path in [
            "",
            "m",
            "/",
            "m//",
            "m/0'",
            "m/1h",
            "m/1H",
            "m/2147483648",
            "m/-1",
            "m/99999999999999999999",
            &long,
        ] {
            assert!(matches!(DerivationPath::parse(path), Err(CryptoError::Path(_))), "{path}");
        }
        assert!(DerivationPath::parse(&long[2..]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Both walks are compared with that of `bip32`, step by step.
        #[test]
        fn every_walk_ends_where_that_of_bip32_does(
            seed: [u8; 32],
            steps in prop::collection::vec(prop_oneof![Just(0), Just((1 << 31) - 1), 0..1_u32 << 31], 1..6),
        ) {
            let mut private = XPrv::new(&seed).unwrap();
            let mut public = private.public_key();
            let xprv = EcdhXprv::new(private.to_string(Prefix::XPRV).as_str());
            let ours = EcdhPrivateKey::parse(&xprv).unwrap();
            let theirs = EcdhPublicKey::parse(&public.to_string(Prefix::XPUB)).unwrap();
            for (at, &step) in steps.iter().enumerate() {
                private = private.derive_child(ChildNumber(step)).unwrap();
                public = public.derive_child(ChildNumber(step)).unwrap();
                let path = DerivationPath(steps[..=at].to_vec());
                prop_assert_eq!(&ours.derive(&path).unwrap().to_bytes()[..], private.to_bytes());
                prop_assert_eq!(compressed(theirs.derive(&path).unwrap()), Ok(public.to_bytes()));
            }
        }
    }

    #[test]
    fn a_path_below_the_deepest_key_is_refused() {
        let mut key = XPrv::new(&[7; 32]).unwrap();
        for _ in 0..254 {
            key = key.derive_child(ChildNumber(0)).unwrap();
        }
        let xprv = EcdhXprv::new(key.to_string(Prefix::XPRV).as_str());
        let ours = EcdhPrivateKey::parse(&xprv).unwrap();
        let theirs = EcdhPublicKey::parse(&key.public_key().to_string(Prefix::XPUB)).unwrap();
        for (path, fits) in [("0", true), ("0/0", false)] {
            let path = DerivationPath::parse(path).unwrap();
            assert_eq!(ours.derive(&path).is_ok(), fits);
            assert_eq!(theirs.derive(&path).is_ok(), fits);
        }
    }

    #[test]
    fn the_point_at_infinity_is_refused() {
        assert_eq!(compressed(ProjectivePoint::IDENTITY), Err(NOWHERE));
    }

    #[test]
    fn debug_form_lacks_the_key() {
        let xprv = XPrv::new(&[7; 32]).unwrap();
        let ours = EcdhPrivateKey::parse(&EcdhXprv::new(xprv.to_string(Prefix::XPRV).as_str()));
        assert_eq!(format!("{:?}", ours.unwrap()), "EcdhPrivateKey([REDACTED])");
    }
}
