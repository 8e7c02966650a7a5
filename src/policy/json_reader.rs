//! JSON as it stands: where values begin and end (RFC 8259), in one pass that allocates nothing.
//!
//! What is read here decides what a request is charged, so it takes no more than the grammar does, and
//! tests hold it against `serde_json`. What a string with escapes says is left to that.

use std::borrow::Cow;

/// How deep lists and objects may stand in each other.
const DEPTH_MAX: u32 = 64;

/// A text that is read from its beginning.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.skip_space().is_none()
    }

    /// Goes past white space and this byte, if it is next.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.skip_space() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Where it stands, past white space: what is read from here on is [`Reader::since`].
    pub(super) fn here(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    pub(super) fn since(&self, here: usize) -> Option<&'a str> {
        self.text.get(here..self.at)
    }

    /// The next value whole, as it stands, and whether it is a string all of which stands for itself;
    /// `None` where there is none.
    pub(super) fn value(&mut self) -> Option<(&'a str, bool)> {
        let (first, from) = (self.skip_space()?, self.at);
        if first == b'"' {
            return self.scan();
        }
        // What stands around the place, the innermost last: a bit for each, set for an object.
        let (mut around, mut depth) = (0_u64, 0);
        loop {
            match self.skip_space()? {
                b'"' => drop(self.scan()?),
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    (around, depth) = (around << 1 | u64::from(open == b'{'), depth + 1);
                    if depth > DEPTH_MAX {
                        return None;
                    }
                    if !self.takes(close(around)) {
                        self.member(around)?;
                        continue;
                    }
                    (around, depth) = (around >> 1, depth - 1);
                }
                _ => self.word()?,
            }
            while depth > 0 && self.takes(close(around)) {
                (around, depth) = (around >> 1, depth - 1);
            }
            if depth == 0 {
                return Some((self.since(from)?, false));
            }
            if !self.takes(b',') {
                return None;
            }
            self.member(around)?;
        }
    }

    /// What the next string says.
    pub(super) fn name(&mut self) -> Option<Cow<'a, str>> {
        self.skip_space();
        let (json, is_plain) = self.scan()?;
        match is_plain {
            true => Some(Cow::Borrowed(unquoted(json)?)),
            false => text(json),
        }
    }

    /// The string that begins here, with its quotes, and whether all of it stands for itself.
    fn scan(&mut self) -> Option<(&'a str, bool)> {
        if self.byte() != Some(b'"') {
            return None;
        }
        let (from, mut is_plain) = (self.at, true);
        self.at += 1;
        loop {
            self.at += plain(self.rest());
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some((self.since(from)?, is_plain));
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
            is_plain = false;
        }
    }

    /// What stands before a member's value: nothing in a list, a name in an object.
    fn member(&mut self, around: u64) -> Option<()> {
        if around & 1 == 1 {
            self.skip_space();
            self.scan()?;
            return self.takes(b':').then_some(());
        }
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        let (length, digits) = match self.rest().get(1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => (2, &[][..]),
            b'u' => (6, self.rest().get(2..6)?),
            _ => return None,
        };
        self.at += length;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<()> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| is_of_word(**byte)).count();
        let word = rest.get(..length)?;
        self.at += length;
        (matches!(word, b"true" | b"false" | b"null") || is_number(word)).then_some(())
    }

    fn skip_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// The string that a value is, if it is one.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inside = unquoted(json)?;
    match plain(inside.as_bytes()) == inside.len() {
        true => Some(Cow::Borrowed(inside)),
        false => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// Whether a value is a string, which is not decoded for that: it may be a passphrase. Its escapes are
/// those of the grammar; what they may spell wrongly is half a pair of surrogates.
pub(super) fn is_text(json: &str) -> bool {
    let Some(mut rest) = unquoted(json) else { return false };
    // What the last escape was the first half of.
    let mut is_half = false;
    while let Some((before, after)) = rest.split_once('\\') {
        if is_half && !before.is_empty() {
            return false;
        }
        let unit = after.strip_prefix('u').and_then(|digits| digits.get(..4));
        let unit = unit.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (is_half, unit) {
            (true, Some(0xdc00..=0xdfff)) => is_half = false,
            (true, _) | (false, Some(0xdc00..=0xdfff)) => return false,
            (false, unit) => is_half = matches!(unit, Some(0xd800..=0xdbff)),
        }
        let Some(behind) = after.get(if unit.is_some() { 5 } else { 1 }..) else { return false };
        rest = behind;
    }
    !is_half
}

/// What stands between the quotes of a string.
pub(super) fn unquoted(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

const fn close(around: u64) -> u8 {
    if around & 1 == 1 { b'}' } else { b']' }
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(word: &[u8]) -> bool {
    let digits = |word: &[u8]| word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let word = word.strip_prefix(b"-").unwrap_or(word);
    let (whole, mut rest) = word.split_at(digits(word));
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// How many bytes of a string stand for themselves, up to the first quote, backslash or control
/// character: eight at a time, and four times as many while all of them do.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let (mut words, tail) = bytes.as_chunks();
    while let Some((four, rest)) = words.split_first_chunk::<4>() {
        if four.iter().fold(0, |all, word| all | ends(u64::from_le_bytes(*word))) != 0 {
            break;
        }
        words = rest;
    }
    let before = bytes.len() - tail.len() - words.len() * 8;
    for (at, word) in words.iter().enumerate() {
        let ends = ends(u64::from_le_bytes(*word));
        if ends != 0 {
            return before + at * 8 + ends.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    bytes.len() - tail.len() + tail.iter().take_while(is_plain).count()
}

/// The highest bit of every byte that ends what is plain. Above the lowest that is found there may be
/// wrong ones.
const fn ends(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xff;
    let (quotes, escapes) = (word ^ (EACH * b'"' as u64), word ^ (EACH * b'\\' as u64));
    let controls = word.wrapping_sub(EACH * 0x20) & !word;
    let quotes = quotes.wrapping_sub(EACH) & !quotes;
    let escapes = escapes.wrapping_sub(EACH) & !escapes;
    (controls | quotes | escapes) & (EACH << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// The one value that a text is.
    fn whole(json: &str) -> Option<&str> {
        let mut reader = Reader::new(json);
        let (value, is_plain) = reader.value()?;
        assert!(!is_plain || text(value) == unquoted(value).map(Cow::Borrowed), "{value}");
        reader.is_done().then_some(value)
    }

    fn agrees(json: &str) {
        let theirs = serde_json::from_str::<&RawValue>(json).ok().map(RawValue::get);
        assert_eq!(whole(json), theirs, "{json:?}");
    }

    #[test]
    fn the_corners_of_the_grammar_are_as_others_see_them() {
        for json in [
            "",
            " ",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            ".1",
            "1.0e",
            "1e+",
            "1E-07",
            "1e5.0",
            "+1",
            "0x1",
            "1_0",
            "truex",
            "nul",
            "nullnull",
            "true",
            "NaN",
            "Infinity",
            "1 2",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"\\u12",
            "\"\\u12g4\"",
            "\"\\uD800\"",
            "\"\\x\"",
            "\"a\u{1f}\"",
            "\"a\u{7f}é\"",
            "\"\t\"",
            "'a'",
            "[",
            "]",
            "[]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,[2,[3]]]",
            "[1}",
            "{",
            "{}",
            "{]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\" : [ { } ] , \"b\" : null }",
            "{a:1}",
            "{1:1}",
            "\u{feff}1",
            "\u{a0}1",
            " \t\r\n[ ]\n",
            "{\"a\":1}{}",
            "[][]",
            "\"a\"b",
            "12345678\"",
            "\"1234567\"",
            "\"12345678\"",
        ] {
            agrees(json);
        }
    }

    #[test]
    fn what_is_plain_ends_with_the_first_byte_that_is_not() {
        for stands in [b'x', 0x20, 0x7f, 0xff] {
            for length in 0..80 {
                assert_eq!(plain(&vec![stands; length]), length);
                for end in [b'"', b'\\', 0, 0x1f] {
                    let mut bytes = vec![stands; 80];
                    bytes[length] = end;
                    bytes[79] = b'"';
                    assert_eq!(plain(&bytes), length, "{stands} {end}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_read_that_stands_too_deep() {
        let deep = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(whole(&deep(64)).is_some());
        assert!(whole(&deep(65)).is_none());
        let objects = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
        assert!(whole(&objects).is_some());
        assert!(whole(&objects.replace("1}", "1]")).is_none());
    }

    #[test]
    fn a_string_says_what_its_escapes_mean() {
        for (json, expect) in [
            (r#""""#, Some("")),
            (r#""plain, and long enough""#, Some("plain, and long enough")),
            (r#""a\u00e9\n\/""#, Some("aé\n/")),
            (r#""\ud83d\ude00""#, Some("😀")),
            (r#""\ud800""#, None),
            ("1", None),
            ("\"", None),
        ] {
            assert_eq!(text(json).as_deref(), expect, "{json}");
            if whole(json).is_some() {
                assert_eq!(is_text(json), expect.is_some(), "{json}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_a_string_is_known_without_decoding_it(
            parts in prop::collection::vec(
                prop::sample::select(vec![r"\\", r"\n", r"\u0041", r"\ud83d", r"\ude00", r"\uDBFF", "é", "u"]),
                0..6,
            ),
        ) {
            let json = format!("\"{}\"", parts.concat());
            prop_assert_eq!(is_text(&json), text(&json).is_some(), "{}", json);
        }

        #[test]
        fn values_end_where_others_see_them_end(json in "[\\[\\]{}:,\"\\\\0-9eE+. a-fu\\-\u{1}é]{0,24}") {
            agrees(&json);
        }

        #[test]
        fn what_is_json_is_read_and_what_one_byte_breaks_is_not(
            json in any_json(),
            at in any::<prop::sample::Index>(),
            byte in prop::sample::select(&b"\"\\{}[]:,0e.- \x01"[..]),
        ) {
            let json = json.to_string();
            agrees(&json);
            let mut broken = json.into_bytes();
            let at = at.index(broken.len());
            broken[at] = byte;
            if let Ok(broken) = std::str::from_utf8(&broken) {
                agrees(broken);
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((".{0,8}", inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
