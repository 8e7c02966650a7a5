//! A certificate authority of one's own, for a server on `localhost`: X.509 (RFC 5280) written down
//! in DER, with ECDSA by P-256.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A root, and a certificate for `localhost` that it has signed.
pub(crate) struct Authority {
    pub(crate) root_pem: String,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

// Object identifiers, as DER has them after tag and length.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

impl Authority {
    pub(crate) fn new() -> Self {
        let ((root, _), (leaf, leaf_pkcs8)) = (key(), key());
        let is_authority = [&tlv(OID, BASIC_CONSTRAINTS), &CRITICAL[..]].concat();
        let is_authority = extension(&is_authority, &tlv(SEQUENCE, &TRUE));
        // A DNS name is tag 2 of GeneralName.
        let localhost = tlv(SEQUENCE, &tlv(0x82, b"localhost"));
        let is_localhost = extension(&tlv(OID, SUBJECT_ALT_NAME), &localhost);
        let root_certificate = certificate(1, "root", &root, &root, &is_authority);
        let certificate = certificate(2, "leaf", &leaf, &root, &is_localhost);
        Self {
            root_pem: format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(root_certificate)
            ),
            certificate: CertificateDer::from(certificate),
            key: PrivatePkcs8KeyDer::from(leaf_pkcs8).into(),
        }
    }
}

const TRUE: [u8; 3] = [0x01, 1, 0xff];
const CRITICAL: [u8; 3] = TRUE;

fn key() -> (EcdsaKeyPair, Vec<u8>) {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    (pair, pkcs8.as_ref().to_vec())
}

/// A certificate for `subject` and its key, from the authority called `root`.
fn certificate(
    serial: u8,
    subject: &str,
    key: &EcdsaKeyPair,
    authority: &EcdsaKeyPair,
    extension: &[u8],
) -> Vec<u8> {
    let algorithm = tlv(SEQUENCE, &tlv(OID, ECDSA_WITH_SHA256));
    let name = |common: &str| {
        let value = [tlv(OID, COMMON_NAME), tlv(0x0c, common.as_bytes())].concat();
        tlv(SEQUENCE, &tlv(0x31, &tlv(SEQUENCE, &value)))
    };
    // The time is far from any that a test asks at: GeneralizedTime only, from 2000 to 2099.
    let validity = [tlv(0x17, b"000101000000Z"), tlv(0x18, b"20990101000000Z")].concat();
    let key_kind = [tlv(OID, EC_PUBLIC_KEY), tlv(OID, PRIME256V1)].concat();
    let key_info = [tlv(SEQUENCE, &key_kind), bits(key.public_key().as_ref())].concat();
    let to_be_signed = tlv(
        SEQUENCE,
        &[
            tlv(0xa0, &tlv(0x02, &[2])), // version 3
            tlv(0x02, &[serial]),
            algorithm.clone(),
            name("root"),
            tlv(SEQUENCE, &validity),
            name(subject),
            tlv(SEQUENCE, &key_info),
            tlv(0xa3, &tlv(SEQUENCE, extension)),
        ]
        .concat(),
    );
    let signature = authority.sign(&SystemRandom::new(), &to_be_signed).unwrap();
    tlv(SEQUENCE, &[to_be_signed, algorithm, bits(signature.as_ref())].concat())
}

fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[id, &tlv(OCTET_STRING, value)].concat())
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// Tag, length, value.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, value].concat()
}
