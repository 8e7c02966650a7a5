//! Does the time of what handles secrets tell about them? Prints a table; fails where it does.
//!
//! ```text
//! cargo run --release --manifest-path tests/constant_time/Cargo.toml [seconds a row, 20]
//! ```
//!
//! Each row compares two classes of inputs that differ in what must not show. The first row is a
//! control that leaks: where that is not seen, nothing below it means anything. SECURITY.md holds
//! the last result.

mod welch;

use base16ct::lower;
use bitgo_vault::crypto::generate_keypair;
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, DataKey, DerivationPath, EcdhPrivateKey, EcdhPublicKey, Envelope,
    ExtensionKey, Subject, V1Params, V2Params, VaultId, password_hmac, seal_v1, seal_v2,
    shared_secret,
};
use bitgo_vault::{AccessToken, EcdhXprv, LoginPassword};
use getrandom::SysRng;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;
use welch::{LEAKS, SUSPICIOUS, Verdict, compare, random};

const SECONDS: u64 = 20;
/// Rows of slow work get this many times as long.
const SLOW: u32 = 3;
const PASSWORD: &str = "correct horse battery staple";

type Compared = fn(Duration) -> Verdict;

fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).and_then(|given| given.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    println!("{:<62} {:>9} {:>11} {:>8}", "compared", "samples", "median", "max |t|");
    let control = row("control: a compare that stops early (it must be seen)", early_exit(time));
    if control < LEAKS {
        println!("the control was not seen: on this machine the test sees nothing");
        return ExitCode::FAILURE;
    }
    let rows: [(&str, Compared); 14] = [
        ("answer's HMAC: wrong in its first or last digit", |time| hmac(time, 0, 63)),
        ("answer's HMAC: wrong in one digit or in all", |time| hmac(time, 0, ALL)),
        ("record's tag: wrong in its first or last byte", record_tag),
        ("envelope v1: one wrong password or random ones", |time| envelope(time, v1(), &fixed)),
        ("envelope v1: wrong in the last letter or at random", |time| envelope(time, v1(), &close)),
        ("envelope v2: one wrong password or random ones", |time| envelope(time, v2(), &fixed)),
        ("envelope v2: wrong in the last letter or at random", |time| envelope(time, v2(), &close)),
        ("shared secret: one xprv or random ones", |time| ecdh(SLOW * time, None)),
        ("shared secret: scalar 3 or random ones", |time| ecdh(SLOW * time, Some(3))),
        ("extension key: signing with one key or random ones", extension),
        ("token: readied to sign, one token or random ones", token),
        ("password HMAC: one password or random ones", login_hmac),
        ("hex: encoding zeros or random bytes", hex_out),
        ("hex: decoding zeros or random digits", hex_in),
    ];
    // Right and wrong answers part ways anyhow: this row is for comparison and does not count.
    row("outcome: answer's HMAC right or wrong in its first digit", hmac(time, NONE, 0));
    let worst =
        rows.map(|(name, compared)| row(name, compared(time))).into_iter().fold(0.0, f64::max);
    if worst > LEAKS { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(name: &str, Verdict { samples, t, median }: Verdict) -> f64 {
    let mark = match t {
        t if t > LEAKS => " differs",
        t if t > SUSPICIOUS => " suspicious",
        _ => "",
    };
    println!("{name:<62} {samples:>9} {median:>8.0} ns {t:>8.2}{mark}");
    t
}

/// What would leak: how far two texts agree.
fn early_exit(time: Duration) -> Verdict {
    let right = lower::encode_string(&random::<32>());
    compare(
        time,
        |class| changed(&right, if class { 63 } else { 0 }),
        |claimed| {
            let differs = right.bytes().zip(claimed.bytes()).position(|(a, b)| black_box(a) != b);
            black_box(differs);
        },
    )
}

/// Places of no digit and of each.
const NONE: usize = 64;
const ALL: usize = 65;

/// The text with another hex digit at one place.
fn changed(hex: &str, at: usize) -> String {
    let other = |digit| if digit == '0' { '1' } else { '0' };
    hex.chars()
        .enumerate()
        .map(|(i, digit)| if i == at || at == ALL { other(digit) } else { digit })
        .collect()
}

fn hmac(time: Duration, left: usize, right: usize) -> Verdict {
    let key = AuthKey::new(&AccessToken::new(random_token()));
    let subject = Subject {
        version: AuthVersion::V3,
        timestamp_ms: 1_767_323_045_000,
        method: "GET",
        target: "/api/v2/user/session",
        auth_request_id: "",
    };
    let hmac = key.sign_response(&subject, 200, b"{}");
    compare(
        time,
        |class| changed(&hmac, if class { right } else { left }),
        |claimed| {
            let _ = black_box(key.verify_response(&subject, 200, b"{}", claimed));
        },
    )
}

/// The random text or the fixed one, in a buffer that came about in the same way: where it lies
/// must not tell the classes apart.
fn either(class: bool, mut random: String, fixed: &str) -> String {
    let fixed = if class { random.clone() } else { fixed.to_owned() };
    random.clear();
    random.push_str(&fixed);
    random
}

fn random_token() -> String {
    format!("v2x{}", lower::encode_string(&random::<32>()))
}

fn record_tag(time: Duration) -> Verdict {
    let vault = VaultId::random(&mut SysRng).expect("randomness");
    let key = DataKey::generate(&mut SysRng).expect("randomness");
    let cipher = key.record_cipher(&vault, 0, "tokens");
    let record = cipher.seal(&[7; 16], &[1; 100], &mut SysRng).expect("it is short");
    compare(
        time,
        |class| {
            let mut altered = record.clone();
            let at = altered.len() - if class { 1 } else { 16 };
            altered[at] ^= 1;
            altered
        },
        |record| drop(black_box(cipher.open(&[7; 16], record))),
    )
}

fn v1() -> Envelope {
    let params = V1Params { iterations: 1, ..V1Params::default() };
    let sealed = seal_v1(params, PASSWORD.as_bytes(), "", "text", &mut SysRng);
    Envelope::parse(&sealed.expect("its parameters are allowed")).expect("it was just sealed")
}

fn v2() -> Envelope {
    let params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };
    let sealed = seal_v2(params, PASSWORD.as_bytes(), None, "text", &mut SysRng);
    Envelope::parse(&sealed.expect("its parameters are allowed")).expect("it was just sealed")
}

/// The same wrong password each time.
fn fixed(password: &mut [u8]) {
    password.fill(b'x');
}

/// All of the right password but its last letter.
fn close(password: &mut [u8]) {
    let last = password.len() - 1;
    password[last] = b'x';
}

fn envelope(time: Duration, envelope: Envelope, special: &dyn Fn(&mut [u8])) -> Verdict {
    compare(
        time,
        |class| {
            let mut password = PASSWORD.as_bytes().to_vec();
            match class {
                false => special(&mut password),
                true => {
                    let random = random::<{ PASSWORD.len() }>();
                    password.iter_mut().zip(random).for_each(|(at, r)| *at = b'a' + r % 26);
                }
            }
            password
        },
        |password| drop(black_box(envelope.open(password))),
    )
}

/// An extended private key: version, depth, parent, child number, chain code, 0, scalar.
fn extended(scalar: [u8; 32], chain_code: [u8; 32]) -> EcdhXprv {
    let head = [0x04, 0x88, 0xad, 0xe4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bytes = [&head[..], &chain_code, &[0], &scalar].concat();
    EcdhXprv::new(bs58::encode(bytes).with_check().into_string())
}

fn ecdh(time: Duration, scalar: Option<u8>) -> Verdict {
    let (_, xpub) = generate_keypair(&mut SysRng).expect("randomness");
    let server = EcdhPublicKey::parse(&xpub).expect("it was just made");
    let path = DerivationPath::parse("m/999999/1/2").expect("it is a path");
    let chain_code = random();
    let fixed = match scalar {
        Some(scalar) => std::array::from_fn(|at| if at == 31 { scalar } else { 0 }),
        None => random(),
    };
    compare(
        time,
        |class| {
            let random = random();
            extended(if class { random } else { fixed }, chain_code)
        },
        |xprv| {
            let client = EcdhPrivateKey::parse(xprv).expect("it is an xprv");
            drop(black_box(shared_secret(&client, &server, &path)));
        },
    )
}

fn extension(time: Duration) -> Verdict {
    let token = AccessToken::new(random_token());
    let wif = || ExtensionKey::generate(&mut SysRng).expect("randomness").to_wif();
    let fixed = wif();
    compare(
        time,
        |class| ExtensionKey::from_wif(&either(class, wif().to_string(), &fixed)).expect("a wif"),
        |key| drop(black_box(key.sign(1_767_323_045_000, &token, "3600"))),
    )
}

fn token(time: Duration) -> Verdict {
    let fixed = random_token();
    compare(
        time,
        |class| AccessToken::new(either(class, random_token(), &fixed)),
        |token| drop(black_box(AuthKey::new(token))),
    )
}

fn login_hmac(time: Duration) -> Verdict {
    let password = || lower::encode_string(&random::<14>());
    let fixed = password();
    compare(
        time,
        |class| LoginPassword::new(either(class, password(), &fixed)),
        |password| drop(black_box(password_hmac("desk@example.com", password))),
    )
}

fn hex_out(time: Duration) -> Verdict {
    compare(
        time,
        |class| if class { random::<32>() } else { [0; 32] },
        |bytes| {
            let mut hex = [0; 64];
            black_box(lower::encode(bytes, &mut hex).is_ok());
            black_box(hex);
        },
    )
}

fn hex_in(time: Duration) -> Verdict {
    compare(
        time,
        |class| lower::encode_string(&if class { random::<32>() } else { [0; 32] }),
        |hex| {
            let mut bytes = [0; 32];
            black_box(lower::decode(hex, &mut bytes).is_ok());
            black_box(bytes);
        },
    )
}
