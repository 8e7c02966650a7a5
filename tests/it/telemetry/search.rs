//! A search for secrets in what was put out: whole or a piece of them, in any dress that code gives
//! to bytes which it prints.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::memory::needles::Needles;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::{BTreeSet, HashMap};

/// As many bytes of a secret in a row are a find.
pub(super) const PIECE: usize = 12;

/// The dresses in which a piece may be printed, none of them shorter than it is.
fn dresses(piece: &[u8]) -> BTreeSet<Vec<u8>> {
    let hex = base16ct::lower::encode_string(piece);
    let percent = |space: &str, digits: fn(u8) -> String| {
        let one = |byte: &u8| match byte {
            b' ' => space.to_owned(),
            b'-' | b'.' | b'_' | b'~' => char::from(*byte).into(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).into(),
            byte => digits(*byte),
        };
        piece.iter().map(one).collect::<String>()
    };
    let numbers = |separator: &str| {
        piece.iter().map(u8::to_string).collect::<Vec<_>>().join(separator).into_bytes()
    };
    let mut dresses = BTreeSet::from([
        piece.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        numbers(", "),
        numbers(","),
        percent("%20", |byte| format!("%{byte:02X}")).into_bytes(),
        percent("+", |byte| format!("%{byte:02x}")).into_bytes(),
        piece.escape_ascii().to_string().into_bytes(),
    ]);
    if let Ok(text) = std::str::from_utf8(piece) {
        let [json, debug] = [serde_json::to_string(text).unwrap(), format!("{text:?}")];
        dresses.extend([json, debug].map(|quoted| quoted[1..quoted.len() - 1].into()));
        dresses.extend([text.to_uppercase(), text.to_lowercase()].map(String::into_bytes));
    }
    // Wherever in a longer text it begins: without the digits that its neighbours have a share in.
    for before in 0..3_usize {
        let padded = [&vec![0; before], piece].concat();
        let digits = (before * 8).div_ceil(6)..(padded.len() * 8) / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            dresses.insert(engine.encode(&padded).as_bytes()[digits.clone()].to_vec());
        }
    }
    dresses
}

/// The names of those of which a piece is in what was put out.
pub(super) fn found<'a>(needles: &'a Needles, output: &[u8]) -> BTreeSet<&'a str> {
    let mut begins = vec![false; 1 << 24];
    let mut places: HashMap<[u8; PIECE], Vec<(&[u8], &str)>> = HashMap::new();
    let mut known = BTreeSet::new();
    for (name, value) in needles {
        assert!(value.len() >= PIECE, "{name} is too short to be looked for");
        // Much is sent more than once.
        for piece in value.windows(PIECE).filter(|piece| known.insert(*piece)) {
            for dress in dresses(piece) {
                begins[first(&dress)] = true;
                places.entry(*dress.first_chunk().unwrap()).or_default().push((piece, name));
            }
        }
    }
    let mut found = BTreeSet::new();
    for (at, window) in output.windows(PIECE).enumerate() {
        if begins[first(window)] {
            for (piece, name) in places.get(window).into_iter().flatten() {
                if dresses(piece).iter().any(|dress| output[at..].starts_with(dress)) {
                    found.insert(*name);
                }
            }
        }
    }
    found
}

/// The first three bytes, as a number.
fn first(bytes: &[u8]) -> usize {
    bytes[..3].iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// It is a search that finds: whichever piece it is, in every dress, wherever it stands.
#[test]
fn a_piece_in_any_dress_is_found() {
    let secret = "Päss%word \"with\\ all / that?escapes+it";
    let needles = Needles::from([("it".to_owned(), secret.as_bytes().to_vec())]);
    let is_found = |output: &[u8]| !found(&needles, &[b"..", output, b".."].concat()).is_empty();
    let encode = |text: &[u8]| STANDARD_NO_PAD.encode(text).into_bytes();
    for (before, after) in [(0, 0), (1, 3), (2, 9), (3, 23)] {
        let piece = &secret.as_bytes()[before..secret.len() - after];
        for dress in dresses(piece) {
            assert!(is_found(&dress), "{}", dress.escape_ascii());
        }
        for neighbours in [&b""[..], b"a", b"ab"] {
            assert!(is_found(&encode(&[neighbours, piece, neighbours].concat())));
        }
        assert!(is_found(&serde_json::to_vec(&String::from_utf8_lossy(piece)).unwrap()));
        assert!(is_found(format!("{piece:?}").as_bytes()));
    }
    for short in secret.as_bytes().windows(PIECE - 1) {
        assert!(!is_found(short), "{}", short.escape_ascii());
    }
}
