//! Token issuance: a token under a secret that client and server share (PROTOCOL section 4).
//!
//! ```text
//! ecdh_xprv = open[login password](encryptedECDHXprv)                once, at login
//! point     = derive(server xpub, path) × derive(ecdh_xprv, path)    BIP32, secp256k1
//! token     = open[hex(compressed point)](encryptedToken)
//! ```

use super::CryptoError;
use super::envelope::{self, Envelope, EnvelopeVersion, V1Params, V2Params};
use super::stack::wiped;
use crate::secret::{AccessToken, EcdhXprv, LoginPassword};
use base16ct::lower;
use bip32::{ChildNumber, ExtendedKey, Prefix, XPrv, XPub};
use k256::ProjectivePoint;
use k256::elliptic_curve::sec1::ToSec1Point;
use rand_core::TryCryptoRng;
use secrecy::ExposeSecret;
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

/// Opens an issued token:
/// `open[hex(server xpub[path] × ecdh_xprv[path])](encrypted_token)`.
///
/// # Errors
/// [`CryptoError::Path`] and [`CryptoError::Key`] for a path or key that is none, the errors of
/// [`Envelope::parse`] and [`Envelope::open`], and [`CryptoError::Malformed`] if what was sealed
/// is no token.
pub fn open_token(
    ecdh_xprv: &EcdhXprv,
    server_xpub: &str,
    derivation_path: &str,
    encrypted_token: &str,
) -> Result<AccessToken, CryptoError> {
    let path = DerivationPath::parse(derivation_path)?;
    let password = shared_secret(ecdh_xprv, server_xpub, &path)?;
    let token = Envelope::parse(encrypted_token)?.open(password.as_bytes())?;
    let token = AccessToken::new(token.expose_secret());
    if token.is_plausible() { Ok(token) } else { Err(CryptoError::Malformed("no token")) }
}

/// Seals a token for a client, as the server does, in an envelope of the version asked for.
///
/// # Errors
/// [`CryptoError::Key`] for a key that is none, [`CryptoError::Path`] if the path leads nowhere,
/// [`CryptoError::Entropy`] if `rng` fails.
pub fn seal_token(
    server_xprv: &EcdhXprv,
    client_xpub: &str,
    path: &DerivationPath,
    token: &AccessToken,
    version: EnvelopeVersion,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    // The password has the strength of the curve: stretching it adds nothing.
    const V1: V1Params = V1Params { iterations: 1000, key_bits: 128, tag_bits: 64 };
    const V2: V2Params = V2Params { m_cost: 1024, t_cost: 1, p_cost: 1 };
    let password = shared_secret(server_xprv, client_xpub, path)?;
    match version {
        EnvelopeVersion::V1 => envelope::seal_v1(V1, password.as_bytes(), "", token.expose(), rng),
        EnvelopeVersion::V2 => {
            envelope::seal_v2(V2, password.as_bytes(), None, token.expose(), rng)
        }
    }
}

/// Opens the account's ECDH key: `open[login password](encrypted_ecdh_xprv)`.
///
/// # Errors
/// Those of [`Envelope::parse`] and [`Envelope::open`], and [`CryptoError::Key`] if what was
/// sealed is no extended private key.
pub fn open_xprv(
    encrypted_ecdh_xprv: &str,
    login_password: &LoginPassword,
) -> Result<EcdhXprv, CryptoError> {
    let xprv = Envelope::parse(encrypted_ecdh_xprv)?.open(login_password.expose().as_bytes())?;
    let xprv = EcdhXprv::new(xprv.expose_secret());
    wiped(|| parse_xprv(&xprv).map(drop))?;
    Ok(xprv)
}

/// Makes a fresh ECDH key pair: the extended private key and its xpub.
///
/// # Errors
/// [`CryptoError::Entropy`] if `rng` fails.
pub fn generate_keypair(rng: &mut impl TryCryptoRng) -> Result<(EcdhXprv, String), CryptoError> {
    wiped(|| {
        let mut seed = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *seed).map_err(|_| CryptoError::Entropy)?;
        // One seed in 2^127 makes no key: who meets it has no randomness.
        let xprv = XPrv::new(&*seed).map_err(|_| CryptoError::Entropy)?;
        let xpub = xprv.public_key().to_string(Prefix::XPUB);
        Ok((EcdhXprv::new(xprv.to_string(Prefix::XPRV).as_str()), xpub))
    })
}

/// The secret both sides arrive at, each with its own private and the other's public key:
/// `hex(compressed(their xpub[path] × our xprv[path]))`, 66 lower-case digits.
///
/// # Errors
/// [`CryptoError::Key`] if a key is none, [`CryptoError::Path`] if the path leads deeper than
/// BIP32 allows.
///
/// # Security
/// Whoever holds it opens the token. Nothing here depends on the private key in its timing.
pub fn shared_secret(
    xprv: &EcdhXprv,
    xpub: &str,
    path: &DerivationPath,
) -> Result<Zeroizing<String>, CryptoError> {
    let step = |_| CryptoError::Path("it leads nowhere");
    // `bip32` leaves the chain codes and tweaks of its steps on the stack, `k256` multiples.
    wiped(|| {
        let (mut private, mut public) = (parse_xprv(xprv)?, parse_xpub(xpub)?);
        for &index in &path.0 {
            private = private.derive_child(ChildNumber(index)).map_err(step)?;
            public = public.derive_child(ChildNumber(index)).map_err(step)?;
        }
        let public = ProjectivePoint::from(*public.public_key().as_affine());
        let point = Zeroizing::new(public * **private.private_key().as_nonzero_scalar());
        let affine = Zeroizing::new(point.to_affine());
        let compressed = Zeroizing::new(affine.to_sec1_point(true));
        Ok(Zeroizing::new(lower::encode_string(compressed.as_bytes())))
    })
}

/// The secret half stays within this module: [`XPrv`] compares wrongly and prints its chain code.
fn parse_xprv(xprv: &EcdhXprv) -> Result<XPrv, CryptoError> {
    extended_key(xprv.expose(), Prefix::XPRV)
        .and_then(|key| key.try_into().ok())
        .ok_or(CryptoError::Key("an xprv is wanted"))
}

/// The prefix is looked at first, for [`XPub`] would take a private key as well.
fn parse_xpub(xpub: &str) -> Result<XPub, CryptoError> {
    extended_key(xpub, Prefix::XPUB)
        .and_then(|key| key.try_into().ok())
        .ok_or(CryptoError::Key("an xpub is wanted"))
}

fn extended_key(base58: &str, prefix: Prefix) -> Option<ExtendedKey> {
    base58.parse().ok().filter(|key: &ExtendedKey| key.prefix == prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use getrandom::SysRng;

    const TOKEN: &str = "v2x501bf2198223b29d2dd2ce2649b5723de02fd0af279cae5fdd8fb6f5a178942d";

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

    #[test]
    fn both_sides_arrive_at_one_secret_and_only_they_open() {
        let (server, server_xpub) = generate_keypair(&mut SysRng).unwrap();
        let (client, client_xpub) = generate_keypair(&mut SysRng).unwrap();
        let (stranger, stranger_xpub) = generate_keypair(&mut SysRng).unwrap();
        let path = DerivationPath::parse("m/999999/1/2").unwrap();
        let secret = shared_secret(&client, &server_xpub, &path).unwrap();
        assert_eq!(secret.len(), 66);
        assert_eq!(*secret, *shared_secret(&server, &client_xpub, &path).unwrap());

        for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
            let token = AccessToken::new(TOKEN);
            let sealed =
                seal_token(&server, &client_xpub, &path, &token, version, &mut SysRng).unwrap();
            let open = |xprv, xpub, path| open_token(xprv, xpub, path, &sealed);
            assert_eq!(open(&client, &server_xpub, "m/999999/1/2").unwrap().expose(), TOKEN);
            for (xprv, xpub, path) in [
                (&stranger, &server_xpub, "m/999999/1/2"),
                (&client, &stranger_xpub, "m/999999/1/2"),
                (&client, &server_xpub, "m/999999/1/3"),
            ] {
                assert!(matches!(open(xprv, xpub, path), Err(CryptoError::CouldNotOpen)));
            }
        }
    }

    #[test]
    fn keys_of_the_wrong_kind_are_refused() {
        let (client, client_xpub) = generate_keypair(&mut SysRng).unwrap();
        let path = DerivationPath::parse("0").unwrap();
        let refused = |xprv: &str, xpub: &str| {
            let result = shared_secret(&EcdhXprv::new(xprv), xpub, &path);
            assert!(matches!(result, Err(CryptoError::Key(_))), "{xpub}");
        };
        let altered = format!("{}1", &client.expose()[..110]);
        // BIP32's third test vector, as a key of the test network.
        let tpub = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
        refused(&client_xpub, &client_xpub);
        refused(&altered, &client_xpub);
        refused("", &client_xpub);
        refused(client.expose(), client.expose());
        refused(client.expose(), &client_xpub[..50]);
        refused(client.expose(), tpub);
    }

    #[test]
    fn what_opens_must_be_what_it_should() {
        let cheap = V1Params { iterations: 1, ..V1Params::default() };
        let seal = |password: &[u8], text| {
            envelope::seal_v1(cheap, password, "", text, &mut SysRng).unwrap()
        };
        let password = LoginPassword::new("login");
        let (client, xpub) = generate_keypair(&mut SysRng).unwrap();
        let opened = open_xprv(&seal(b"login", client.expose()), &password).unwrap();
        assert_eq!(opened.expose(), client.expose());
        let refused = open_xprv(&seal(b"login", &xpub), &password);
        assert!(matches!(refused, Err(CryptoError::Key(_))));
        let refused = open_xprv(&seal(b"other", client.expose()), &password);
        assert!(matches!(refused, Err(CryptoError::CouldNotOpen)));

        let secret = shared_secret(&client, &xpub, &DerivationPath::parse("1").unwrap()).unwrap();
        let refused = open_token(&client, &xpub, "1", &seal(secret.as_bytes(), "<html>"));
        assert!(matches!(refused, Err(CryptoError::Malformed(_))));
    }
}
