//! Runs vector files: JSON documents of cases that BitGo's own packages produced.
//!
//! A file is told by the fields of its cases. A valid case must come out as the file says in
//! every respect the file offers; an invalid one must be refused with exactly the error it names.
//! Fields and lists this runner does not know are passed over.

use crate::crypto::{
    AuthKey, AuthVersion, CryptoError, DerivationPath, EcdhPrivateKey, EcdhPublicKey, Envelope,
    EnvelopeVersion, ExtensionKey, Subject, V1Params, V2Params, open_token, open_xprv,
    password_hmac, seal_token, seal_v1, seal_v2, shared_secret, verify_extension,
};
use crate::secret::{AccessToken, EcdhXprv, LoginPassword};
use base16ct::lower;
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// How one vector file fared. Prints as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileReport {
    /// The file's name.
    pub file: String,
    /// Valid cases that came out as the file says.
    pub valid_passed: usize,
    /// Valid cases there are.
    pub valid_total: usize,
    /// Invalid cases that were refused with the error the file names.
    pub invalid_passed: usize,
    /// Invalid cases there are.
    pub invalid_total: usize,
    /// Each case that did not pass, and why; also what is wrong with the file itself.
    pub misses: Vec<String>,
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}/{} valid opened, {}/{} invalid refused as named",
            self.file, self.valid_passed, self.valid_total, self.invalid_passed, self.invalid_total,
        )
    }
}

/// Runs every vector file of a known kind that lies in `dir`, in the order of their names.
///
/// JSON files of other kinds are left out; one that is broken or has no cases is a miss.
///
/// # Errors
/// When `dir` or a file in it cannot be read.
pub fn check_dir(dir: &Path) -> io::Result<Vec<FileReport>> {
    let mut paths =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension() == Some(OsStr::new("json")) && path.is_file());
    paths.sort();
    let mut reports = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        reports.extend(check_file(&file, &fs::read(&path)?));
    }
    Ok(reports)
}

/// Runs one vector file; `None` if it is JSON of an unknown kind.
pub fn check_file(file: &str, content: &[u8]) -> Option<FileReport> {
    let mut report = FileReport { file: file.to_owned(), ..FileReport::default() };
    let document: Value = match serde_json::from_slice(content) {
        Ok(document) => document,
        Err(error) => {
            report.misses.push(format!("not JSON: {error}"));
            return Some(report);
        }
    };
    match KINDS.iter().find(|kind| kind.fits(&document)) {
        Some(kind) => kind.run(&document, &mut report),
        None if KINDS.iter().any(|kind| kind.files.contains(&file)) => {
            report.misses.push("no cases of the kind its name promises".to_owned());
        }
        None => return None,
    }
    Some(report)
}

/// Why a valid case did not come out as it should.
type Outcome = Result<(), String>;

struct Kind {
    files: &'static [&'static str],
    valid: &'static [List],
    /// Does what the case asks for, to see it refused.
    attempt: fn(&Value) -> Result<Result<(), CryptoError>, String>,
}

struct List {
    name: &'static str,
    /// A field that each case of the kind has, and none of another kind in a list of this name.
    marker: &'static str,
    check: fn(&Value) -> Outcome,
}

const KINDS: &[Kind] = &[
    Kind {
        files: &["envelope_v1.json", "envelope_v2.json"],
        valid: &[List { name: "valid", marker: "envelope", check: check_envelope }],
        attempt: attempt_envelope,
    },
    Kind {
        files: &["token_issuance.json"],
        valid: &[List { name: "valid", marker: "derivationPath", check: check_issuance }],
        attempt: attempt_issuance,
    },
    Kind {
        files: &["extend_token.json"],
        valid: &[List { name: "valid", marker: "wif", check: check_extension }],
        attempt: attempt_extension,
    },
    Kind {
        files: &["hmac.json"],
        valid: &[
            List { name: "v2v3", marker: "requestHmac", check: check_hmac },
            List { name: "v4", marker: "requestHmac", check: check_hmac_v4 },
            List { name: "password", marker: "hmac", check: check_password },
        ],
        attempt: attempt_hmac,
    },
];

const INVALID: &str = "invalid";

impl Kind {
    fn fits(&self, document: &Value) -> bool {
        let starts_with =
            |list: &str, field| document[list].get(0).is_some_and(|case| case.get(field).is_some());
        self.valid
            .iter()
            .any(|list| starts_with(list.name, list.marker) || starts_with(INVALID, list.marker))
    }

    fn run(&self, document: &Value, report: &mut FileReport) {
        for list in self.valid {
            for (index, case) in cases(document, list.name) {
                report.valid_total += 1;
                match (list.check)(case) {
                    Ok(()) => report.valid_passed += 1,
                    Err(why) => report.misses.push(miss(list.name, index, case, &why)),
                }
            }
        }
        for (index, case) in cases(document, INVALID) {
            report.invalid_total += 1;
            match self.refused_as_named(case) {
                Ok(()) => report.invalid_passed += 1,
                Err(why) => report.misses.push(miss(INVALID, index, case, &why)),
            }
        }
    }

    fn refused_as_named(&self, case: &Value) -> Outcome {
        let named = case["error"].as_str().ok_or("the case names no error")?;
        match (self.attempt)(case)? {
            Ok(()) => Err(format!("{named} expected, was not refused")),
            Err(error) if error.class().as_str() == named => Ok(()),
            Err(error) => Err(format!("{named} expected, refused as {}", error.class().as_str())),
        }
    }
}

fn cases<'a>(document: &'a Value, list: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    document[list].as_array().into_iter().flatten().enumerate()
}

fn miss(list: &str, index: usize, case: &Value, why: &str) -> String {
    let name = case["name"].as_str().unwrap_or("unnamed");
    format!("{list}[{index}] ({name}): {why}")
}

fn read<T: DeserializeOwned>(case: &Value) -> Result<T, String> {
    T::deserialize(case).map_err(|error| format!("case not understood: {error}"))
}

fn expect(fact: bool, what: &str) -> Outcome {
    if fact { Ok(()) } else { Err(what.to_owned()) }
}

/// `Ok` if what the case offers, if it does, equals what came out.
fn expect_equal(offered: Option<&str>, got: &str, what: &str) -> Outcome {
    expect(offered.is_none_or(|offered| offered == got), what)
}

fn expect_refused<T>(result: Result<T, CryptoError>, what: &str) -> Outcome {
    expect(matches!(result, Err(CryptoError::CouldNotOpen)), what)
}

fn text(error: CryptoError) -> String {
    error.to_string()
}

#[derive(Deserialize)]
struct EnvelopeCase {
    password: String,
    envelope: String,
    #[serde(default)]
    plaintext: String,
}

fn check_envelope(case: &Value) -> Outcome {
    let case: EnvelopeCase = read(case)?;
    let opens = |json: &str| -> Outcome {
        let plaintext =
            Envelope::parse(json).and_then(|it| it.open(case.password.as_bytes())).map_err(text)?;
        expect(plaintext.expose_secret() == case.plaintext, "plaintext differs")
    };
    opens(&case.envelope)?;
    let envelope = Envelope::parse(&case.envelope).map_err(text)?;
    let other = format!("{}!", case.password);
    expect_refused(envelope.open(other.as_bytes()), "opens with another password")?;
    let password = case.password.as_bytes();
    let sealed_again = match envelope.version() {
        EnvelopeVersion::V1 => {
            let params = V1Params { iterations: 1, ..V1Params::default() };
            seal_v1(params, password, "ädata %20 🔑", &case.plaintext, &mut SysRng)
        }
        EnvelopeVersion::V2 => {
            let params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };
            seal_v2(params, password, Some("ädata"), &case.plaintext, &mut SysRng)
        }
    };
    opens(&sealed_again.map_err(text)?).map_err(|why| format!("sealed again: {why}"))
}

fn attempt_envelope(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: EnvelopeCase = read(case)?;
    let opened = Envelope::parse(&case.envelope).and_then(|it| it.open(case.password.as_bytes()));
    Ok(opened.map(drop))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssuanceCase {
    server_xpub: String,
    ecdh_xprv: String,
    derivation_path: String,
    encrypted_token: String,
    token: Option<String>,
    server_xprv: Option<String>,
    ecdh_xpub: Option<String>,
    login_password: Option<String>,
    #[serde(rename = "encryptedECDHXprv")]
    encrypted_ecdh_xprv: Option<String>,
    canonical_path: Option<String>,
    shared_secret: Option<String>,
}

impl IssuanceCase {
    fn open(&self, encrypted_token: &str) -> Result<AccessToken, CryptoError> {
        let (client, server) = (private_key(&self.ecdh_xprv)?, self.server()?);
        open_token(&client, &server, &self.derivation_path, encrypted_token)
    }

    fn server(&self) -> Result<EcdhPublicKey, CryptoError> {
        EcdhPublicKey::parse(&self.server_xpub)
    }

    fn open_xprv(&self) -> Result<Option<EcdhXprv>, CryptoError> {
        let (Some(envelope), Some(password)) = (&self.encrypted_ecdh_xprv, &self.login_password)
        else {
            return Ok(None);
        };
        let opened = open_xprv(envelope, &LoginPassword::new(password.as_str()));
        opened.map(|(xprv, _)| Some(xprv))
    }
}

fn private_key(xprv: &str) -> Result<EcdhPrivateKey, CryptoError> {
    EcdhPrivateKey::parse(&EcdhXprv::new(xprv))
}

fn check_issuance(case: &Value) -> Outcome {
    let case: IssuanceCase = read(case)?;
    let path = DerivationPath::parse(&case.derivation_path).map_err(text)?;
    expect_equal(case.canonical_path.as_deref(), &path.to_string(), "canonical path differs")?;
    if let Some(ecdh_xprv) = case.open_xprv().map_err(text)? {
        expect(ecdh_xprv.expose() == case.ecdh_xprv, "ecdhXprv differs")?;
    }

    let secret = private_key(&case.ecdh_xprv)
        .and_then(|client| shared_secret(&client, &case.server()?, &path))
        .map_err(text)?;
    expect_equal(case.shared_secret.as_deref(), &secret, "shared secret differs")?;
    let token = case.open(&case.encrypted_token).map_err(text)?;
    expect_equal(case.token.as_deref(), token.expose(), "token differs")?;

    if let (Some(server_xprv), Some(ecdh_xpub)) = (&case.server_xprv, &case.ecdh_xpub) {
        let server = private_key(server_xprv).map_err(text)?;
        let client = EcdhPublicKey::parse(ecdh_xpub).map_err(text)?;
        let secret_there = shared_secret(&server, &client, &path).map_err(text)?;
        expect(*secret_there == *secret, "the server's shared secret differs")?;
        for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
            let sealed = seal_token(&server, &client, &path, &token, version, &mut SysRng)
                .and_then(|envelope| case.open(&envelope))
                .map_err(text)?;
            expect(sealed.expose() == token.expose(), "token sealed again differs")?;
        }
    }
    Ok(())
}

fn attempt_issuance(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: IssuanceCase = read(case)?;
    Ok(case.open(&case.encrypted_token).and_then(|_| case.open_xprv()).map(drop))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HmacCase {
    auth_version: u8,
    method: String,
    url: String,
    token: String,
    token_sha256: Option<String>,
    timestamp_ms: i64,
    #[serde(default)]
    body: String,
    request_subject: Option<String>,
    request_hmac: String,
    status_code: u16,
    #[serde(default)]
    response_body: String,
    response_subject: Option<String>,
    response_hmac: String,
}

impl HmacCase {
    fn key(&self) -> AuthKey {
        AuthKey::new(&AccessToken::new(self.token.as_str()))
    }

    fn subject(&self) -> Result<Subject<'_>, String> {
        let version = match self.auth_version {
            2 => AuthVersion::V2,
            3 => AuthVersion::V3,
            other => return Err(format!("authVersion {other} is not known")),
        };
        Ok(Subject {
            version,
            timestamp_ms: self.timestamp_ms,
            method: &self.method,
            target: &self.url,
            auth_request_id: "",
        })
    }
}

fn check_hmac(case: &Value) -> Outcome {
    let case: HmacCase = read(case)?;
    let (key, subject) = (case.key(), case.subject()?);
    expect_equal(case.token_sha256.as_deref(), key.bearer(), "bearer differs")?;
    check_preimage(&case.token, case.request_subject.as_deref(), &case.request_hmac)?;
    check_preimage(&case.token, case.response_subject.as_deref(), &case.response_hmac)?;

    let (body, answer, status) =
        (case.body.as_bytes(), case.response_body.as_bytes(), case.status_code);
    expect(key.sign_request(&subject, body) == case.request_hmac, "request hmac differs")?;
    expect(
        key.sign_response(&subject, status, answer) == case.response_hmac,
        "response hmac differs",
    )?;
    key.verify_request(&subject, body, &case.request_hmac).map_err(text)?;
    key.verify_response(&subject, status, answer, &case.response_hmac).map_err(text)?;

    let altered = flip_first(&case.request_hmac);
    expect_refused(key.verify_request(&subject, body, &altered), "altered request hmac passes")?;
    let altered = flip_first(&case.response_hmac);
    expect_refused(
        key.verify_response(&subject, status, answer, &altered),
        "altered response hmac passes",
    )?;
    let altered = [answer, b"!"].concat();
    expect_refused(
        key.verify_response(&subject, status, &altered, &case.response_hmac),
        "altered response body passes",
    )
}

fn attempt_hmac(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: HmacCase = read(case)?;
    let (key, subject) = (case.key(), case.subject()?);
    let (body, answer) = (case.body.as_bytes(), case.response_body.as_bytes());
    Ok(key.verify_request(&subject, body, &case.request_hmac).and_then(|()| {
        key.verify_response(&subject, case.status_code, answer, &case.response_hmac)
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HmacV4Case {
    timestamp_sec: i64,
    method: String,
    path_with_query: String,
    body_hash_hex: Option<String>,
    auth_request_id: String,
    #[serde(default)]
    body: String,
    token: String,
    request_preimage: Option<String>,
    request_hmac: String,
    status_code: u16,
    response_preimage: Option<String>,
    response_hmac: String,
}

fn check_hmac_v4(case: &Value) -> Outcome {
    let case: HmacV4Case = read(case)?;
    let key = AuthKey::new(&AccessToken::new(case.token.as_str()));
    let body = case.body.as_bytes();
    let body_hash = lower::encode_string(&Sha256::digest(body));
    expect_equal(case.body_hash_hex.as_deref(), &body_hash, "body hash differs")?;
    check_preimage(&case.token, case.request_preimage.as_deref(), &case.request_hmac)?;
    check_preimage(&case.token, case.response_preimage.as_deref(), &case.response_hmac)?;
    let subject = Subject {
        version: AuthVersion::V4,
        timestamp_ms: case.timestamp_sec.checked_mul(1000).ok_or("the time is too far")?,
        method: &case.method,
        target: &case.path_with_query,
        auth_request_id: &case.auth_request_id,
    };
    expect(key.sign_request(&subject, body) == case.request_hmac, "request hmac differs")?;
    let answer = key.sign_response(&subject, case.status_code, body);
    expect(answer == case.response_hmac, "response hmac differs")
}

/// The HMAC of the subject the file spells out; with it equal to ours, so is the subject.
fn check_preimage(token: &str, preimage: Option<&str>, hmac: &str) -> Outcome {
    let Some(preimage) = preimage else { return Ok(()) };
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes())
        .map_err(|_| "the token keys no hmac".to_owned())?;
    mac.update(preimage.as_bytes());
    let spelled_out = lower::encode_string(&mac.finalize().into_bytes());
    expect(spelled_out == hmac, "hmac of the subject given differs")
}

fn flip_first(hex: &str) -> String {
    let first = if hex.starts_with('0') { "1" } else { "0" };
    format!("{first}{}", hex.get(1..).unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PasswordCase {
    email: String,
    password: String,
    lowercased_email: Option<String>,
    hmac: String,
}

fn check_password(case: &Value) -> Outcome {
    let case: PasswordCase = read(case)?;
    let password = LoginPassword::new(case.password);
    for email in case.lowercased_email.iter().chain([&case.email]) {
        expect(*password_hmac(email, &password) == case.hmac, "password hmac differs")?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtensionCase {
    wif: String,
    extension_address: String,
    token: String,
    timestamp_ms: i64,
    /// A number or a string: it is signed as it stands in the body.
    duration: Value,
    message: Option<String>,
    signature: String,
}

impl ExtensionCase {
    fn duration(&self) -> String {
        self.duration.as_str().map_or_else(|| self.duration.to_string(), str::to_owned)
    }

    fn verify(&self, duration: &str) -> Result<(), CryptoError> {
        let token = AccessToken::new(self.token.as_str());
        let address = &self.extension_address;
        verify_extension(address, self.timestamp_ms, &token, duration, &self.signature)
    }
}

fn check_extension(case: &Value) -> Outcome {
    let case: ExtensionCase = read(case)?;
    let duration = case.duration();
    let message = format!("{}|{}|{duration}", case.timestamp_ms, case.token);
    expect_equal(case.message.as_deref(), &message, "message differs")?;
    let key = ExtensionKey::from_wif(&case.wif).map_err(text)?;
    expect(*key.to_wif() == case.wif, "wif differs")?;
    expect(key.address() == case.extension_address, "address differs")?;
    let signature = key.sign(case.timestamp_ms, &AccessToken::new(case.token.as_str()), &duration);
    expect(signature == case.signature, "signature differs")?;
    case.verify(&duration).map_err(text)?;
    expect_refused(case.verify(&format!("{duration}0")), "another duration passes")
}

fn attempt_extension(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: ExtensionCase = read(case)?;
    Ok(ExtensionKey::from_wif(&case.wif).and_then(|_| case.verify(&case.duration())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_prints_as_one_line() {
        let report = FileReport {
            file: "envelope_v1.json".to_owned(),
            valid_passed: 26,
            valid_total: 27,
            invalid_passed: 23,
            invalid_total: 23,
            misses: Vec::new(),
        };
        let line = "envelope_v1.json: 26/27 valid opened, 23/23 invalid refused as named";
        assert_eq!(report.to_string(), line);
    }

    #[test]
    fn files_are_told_by_their_cases() {
        for (file, content, expect) in [
            ("package.json", r#"{"name": "x"}"#, None),
            ("list.json", "[1]", None),
            ("broken.json", "{", Some((0, 1))),
            ("hmac.json", "{}", Some((0, 1))),
            ("hmac.json", r#"{"v4": []}"#, Some((0, 1))),
            ("other.json", r#"{"valid": [{"envelope": 7}]}"#, Some((1, 1))),
            ("other.json", r#"{"invalid": [{"envelope": ""}], "valid": 3}"#, Some((0, 1))),
            (
                "other.json",
                r#"{"new": 1, "invalid": [{"password": "", "envelope": "[]", "error": "malformed", "new": 1}]}"#,
                Some((0, 0)),
            ),
        ] {
            let got = check_file(file, content.as_bytes())
                .map(|report| (report.valid_total, report.misses.len()));
            assert_eq!(got, expect, "{file} {content}");
        }
    }

    #[test]
    fn wrong_class_is_a_miss() {
        let content = r#"{"invalid": [{"password": "", "envelope": "[]", "error": "version"}]}"#;
        let report = check_file("x.json", content.as_bytes()).unwrap();
        assert_eq!((report.invalid_passed, report.invalid_total), (0, 1));
        assert_eq!(report.misses, ["invalid[0] (unnamed): version expected, refused as malformed"]);
    }
}
