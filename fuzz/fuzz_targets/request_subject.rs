//! Three lines: method, target, body. The HMAC fed in pieces is that of the subject written out
//! as PROTOCOL section 3 has it; it verifies, and does not for another body.

#![no_main]

use bitgo_vault::AccessToken;
use bitgo_vault::crypto::{AuthKey, AuthVersion, Subject, canonical_method, canonical_target};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";
const ID: &str = "f168582fd28e9a5a2c991b716ce1f85c";

static KEY: LazyLock<Box<AuthKey>> = LazyLock::new(|| AuthKey::new(&AccessToken::new(TOKEN)));

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, target, body) = (line(), line(), line());
    let signed_method = canonical_method(method);
    let signed_target = canonical_target(target);
    assert_eq!(canonical_method(&signed_method), signed_method);
    assert_eq!(canonical_target(&signed_target), signed_target);

    let timestamp_ms = i64::try_from(text.len()).unwrap() - 7;
    let status = 200;
    let v3 = format!("{signed_method}|{timestamp_ms}");
    let v4 = format!("{}\n{signed_method}\n{signed_target}", timestamp_ms.div_euclid(1000));
    let digest = base16ct::lower::encode_string(&Sha256::digest(body));
    for (version, request, answer) in [
        (
            AuthVersion::V2,
            format!("{timestamp_ms}|{signed_target}|{body}"),
            format!("{timestamp_ms}|{signed_target}|{status}|{body}"),
        ),
        (
            AuthVersion::V3,
            format!("{v3}|3.0|{signed_target}|{body}"),
            format!("{v3}|{signed_target}|{status}|{body}"),
        ),
        (
            AuthVersion::V4,
            format!("{v4}\n{digest}\n{ID}\n"),
            format!("{v4}\n{status}\n{digest}\n{ID}\n"),
        ),
    ] {
        let subject = Subject { version, timestamp_ms, method, target, auth_request_id: ID };
        let bytes = body.as_bytes();
        assert_eq!(*KEY.sign_request(&subject, bytes), *hmac(&request));
        assert_eq!(KEY.verify_request(&subject, bytes, &hmac(&request)), Ok(()));
        assert_eq!(*KEY.sign_response(&subject, status, bytes), *hmac(&answer));
        assert_eq!(KEY.verify_response(&subject, status, bytes, &hmac(&answer)), Ok(()));
        let other = [bytes, b"!"].concat();
        assert!(KEY.verify_response(&subject, status, &other, &hmac(&answer)).is_err());
    }
});

fn hmac(subject: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(subject.as_bytes());
    base16ct::lower::encode_string(&mac.finalize().into_bytes())
}
