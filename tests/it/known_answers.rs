//! What standards and others' test suites say comes out (tests/vectors/known, ORIGIN.md). What
//! cannot be reached from outside is tested beside the code: AES-GCM, AES-CCM, PBKDF2, HMAC,
//! Argon2id without a secret, signatures.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use base16ct::lower;
use bitgo_vault::EcdhXprv;
use bitgo_vault::crypto::{
    CryptoError, DerivationPath, EcdhPrivateKey, EcdhPublicKey, shared_secret,
};
use hkdf::Hkdf;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{ProjectivePoint, PublicKey, SecretKey};
use rfc6979::KGenerator;
use rfc6979::bigint::U256;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn cases(file: &str, list: &str) -> Vec<Value> {
    let file = fs::read_to_string(dir().join("known").join(file)).unwrap();
    let mut file: Value = serde_json::from_str(&file).unwrap();
    match file[list].take() {
        Value::Array(cases) => cases,
        other => panic!("{list}: {other}"),
    }
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field}: {case}"))
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    lower::decode_vec(text(case, field)).unwrap()
}

/// Nobody edits a vector by hand, and none comes without its origin.
#[test]
fn every_file_is_the_one_its_origin_is_told_of() {
    let origin = fs::read_to_string(dir().join("ORIGIN.md")).unwrap();
    let mut files = 0;
    for within in ["", "known/"] {
        for entry in fs::read_dir(dir().join(within)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            let digest = lower::encode_string(&Sha256::digest(fs::read(&path).unwrap()));
            assert!(origin.contains(&format!("    {digest}  {within}{name}\n")), "{within}{name}");
            assert!(origin.contains(&format!("| `{within}{name}` |")), "{within}{name}");
            files += 1;
        }
    }
    assert_eq!(files, 5 + 9);
}

/// One chain of BIP 32: its place, and both halves of its key.
struct Chain {
    vector: u64,
    place: String,
    xprv: String,
    xpub: String,
}

impl Chain {
    fn all() -> Vec<Self> {
        let chains = cases("bip32.json", "chains").into_iter().map(|case| Self {
            vector: case["vector"].as_u64().unwrap(),
            place: text(&case, "chain").to_owned(),
            xprv: text(&case, "xprv").to_owned(),
            xpub: text(&case, "xpub").to_owned(),
        });
        chains.collect()
    }

    /// The path from this chain down to the other, if there is one that the vault can walk.
    fn path_to(&self, other: &Self) -> Option<String> {
        let below = other.place.strip_prefix(&format!("{}/", self.place))?;
        (self.vector == other.vector && !below.contains('\'')).then(|| below.to_owned())
    }

    /// What follows version, depth, fingerprint, index and chain code: a point, or 0 and a scalar.
    fn key(base58: &str) -> Vec<u8> {
        bs58::decode(base58).with_check(None).into_vec().unwrap()[45..].to_vec()
    }
}

/// `hex(compressed(public × secret))` of keys as the vectors write them down, without BIP 32.
fn ecdh(ours: &Chain, theirs: &Chain) -> String {
    let secret = SecretKey::from_slice(&Chain::key(&ours.xprv)[1..]).unwrap();
    let public = PublicKey::from_sec1_bytes(&Chain::key(&theirs.xpub)).unwrap();
    let point = ProjectivePoint::from(*public.as_affine()) * *secret.to_nonzero_scalar();
    lower::encode_string(point.to_affine().to_sec1_point(true).as_bytes())
}

fn walk(xprv: &str, xpub: &str, path: &str) -> Result<String, CryptoError> {
    let path = DerivationPath::parse(path).unwrap();
    let ours = EcdhPrivateKey::parse(&EcdhXprv::new(xprv))?;
    shared_secret(&ours, &EcdhPublicKey::parse(xpub)?, &path).map(|secret| secret.to_string())
}

/// Each way down that has no hardened step, on our side and on theirs: the secret of the parents
/// is the product of the children that the vectors tell.
#[test]
fn bip32_children_are_those_of_the_vectors() {
    let chains = Chain::all();
    assert_eq!(chains.len(), 17);
    let ways: Vec<_> = chains
        .iter()
        .flat_map(|parent| chains.iter().map(move |child| (parent, child)))
        .filter_map(|(parent, child)| Some((parent, child, parent.path_to(child)?)))
        .collect();
    let paths: Vec<_> = ways.iter().map(|(.., path)| path.as_str()).collect();
    assert_eq!(paths, ["1", "2", "2/1000000000", "1000000000", "0", "1", "2"]);

    let mut met = 0;
    for (our_parent, our_child, path) in &ways {
        for (their_parent, their_child, _) in ways.iter().filter(|(.., theirs)| theirs == path) {
            assert_eq!(
                walk(&our_parent.xprv, &their_parent.xpub, path).as_deref(),
                Ok(ecdh(our_child, their_child).as_str()),
                "{} {}, {} {}",
                our_parent.vector,
                our_child.place,
                their_parent.vector,
                their_child.place,
            );
            met += 1;
        }
    }
    assert_eq!(met, 7 + 2 * 2);
}

/// Also those of vectors 3 and 4, which have leading zeros and no unhardened step: public and
/// private derivation lead to one place.
#[test]
fn bip32_keys_of_the_vectors_are_read_and_their_halves_belong_together() {
    let chains = Chain::all();
    for ours in &chains {
        for theirs in &chains {
            let secret = walk(&ours.xprv, &theirs.xpub, "0/2147483647").unwrap();
            assert_eq!(walk(&theirs.xprv, &ours.xpub, "0/2147483647"), Ok(secret));
        }
    }
}

/// Looks at the invalid keys of vector 5 that `belongs` tells by their reason, on either side.
fn check_refused(count: usize, belongs: fn(&str) -> bool) {
    let good = &Chain::all()[0];
    assert!(walk(&good.xprv, &good.xpub, "0").is_ok());
    let mut invalid = cases("bip32.json", "invalid");
    invalid.retain(|case| belongs(text(case, "reason")));
    assert_eq!(invalid.len(), count);
    for case in invalid {
        let key = text(&case, "key");
        for result in [walk(key, &good.xpub, "0"), walk(&good.xprv, key, "0")] {
            assert!(matches!(result, Err(CryptoError::Key(_))), "{case}: {result:?}");
        }
    }
}

#[test]
fn bip32_keys_that_are_invalid_are_refused() {
    check_refused(12, |reason| !reason.starts_with("zero depth"));
}

#[test]
fn bip32_roots_that_claim_a_parent_are_refused() {
    check_refused(4, |reason| reason.starts_with("zero depth"));
}

/// The vault uses no secret and no associated data; the same function has them.
#[test]
fn argon2id_tag_of_rfc_9106_comes_out() {
    let cases = cases("argon2id.json", "with_secret");
    assert_eq!(cases.len(), 1);
    for case in cases {
        let cost = |field: &str| u32::try_from(case[field].as_u64().unwrap()).unwrap();
        let params = ParamsBuilder::new()
            .m_cost(cost("m"))
            .t_cost(cost("t"))
            .p_cost(cost("p"))
            .data(AssociatedData::new(&bytes(&case, "associated_data")).unwrap())
            .build()
            .unwrap();
        let secret = bytes(&case, "secret");
        let argon2 =
            Argon2::new_with_secret(&secret, Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0; 32];
        let (password, salt) = (bytes(&case, "password"), bytes(&case, "salt"));
        argon2.hash_password_into(&password, &salt, &mut tag).unwrap();
        assert_eq!(tag, *bytes(&case, "tag"));
    }
}

/// Both ways the vault calls it: with the info in one piece, as envelopes do, and in several, as
/// the keys of the store do; no salt is an empty one.
#[test]
fn hkdf_keys_of_rfc_5869_come_out() {
    let cases = cases("hkdf_sha256.json", "cases");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let part = |field| bytes(&case, field);
        let (salt, info, expect) = (part("salt"), part("info"), part("okm"));
        let salt = (!salt.is_empty()).then_some(&*salt);
        let (extracted, hkdf) = Hkdf::<Sha256>::extract(salt, &part("ikm"));
        assert_eq!(*extracted, *part("prk"));
        let (head, tail) = info.split_at(info.len() / 2);
        for pieces in [&[&*info][..], &[head, b"", tail]] {
            let mut key = vec![0; expect.len()];
            hkdf.expand_multi_info(pieces, &mut key).unwrap();
            assert_eq!(key, expect, "{case}");
        }
        let mut key = vec![0; expect.len()];
        hkdf.expand(&info, &mut key).unwrap();
        assert_eq!(key, expect, "{case}");
    }
}

/// The generator of k256's nonces, in the group that the RFC has vectors of.
#[test]
fn nonces_of_rfc_6979_come_out() {
    let cases = cases("rfc6979.json", "nonces");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let order = U256::from_be_hex(text(&case, "order"));
        let digest = Sha256::digest(text(&case, "message"));
        let secret = bytes(&case, "secret");
        let mut nonce = [0; 32];
        KGenerator::<Sha256, _>::new(&secret, &digest, b"", &order).fill_next_k(&mut nonce);
        assert_eq!(nonce, *bytes(&case, "k"), "{case}");
    }
}
