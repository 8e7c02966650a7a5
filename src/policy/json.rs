//! JSON as policy reads it: objects of a closed list of fields, each once; numbers as their digits.
//!
//! ```text
//! object  every key is on the list, and none comes twice
//! value   of the kind that the list says, without null
//! amount  a string of digits, or digits up to 2^53 - 1 that no server of JavaScript rounds
//! ```
//!
//! Values stay where they are in the body, unread until they are asked for: reading a usual request
//! allocates nothing here.

use super::Denied;
use super::json_reader::is_text;
use super::json_reader::unquoted;
pub(super) use super::json_reader::{Reader, text};
use crate::money::Amount;
use std::borrow::Cow;

/// A field that an object may have.
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
    /// The routes whose bodies may have it, one bit each.
    routes: u8,
}

/// What stands in a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string that says nothing of what is moved.
    Text,
    /// A list of such strings.
    Texts,
    /// Such a number, whole and not negative.
    Number,
    /// `true` or `false`.
    Flag,
    /// What the route reads itself.
    Own,
}

/// The routes of a list that serves one route.
pub(super) const ONLY: u8 = 1;

impl Field {
    pub(super) const fn new(name: &'static str, kind: Kind, routes: u8) -> Self {
        Self { name, kind, routes }
    }
}

/// Where a field stands on a list; settled when this is compiled.
pub(super) const fn at<const N: usize>(known: &[Field; N], name: &str) -> usize {
    let mut at = 0;
    while !is_same(known[at].name.as_bytes(), name.as_bytes()) {
        at += 1;
    }
    at
}

/// Places of a list, a bit for each.
pub(super) const fn bits<const N: usize>(places: [usize; N]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < N {
        bits |= 1 << places[at];
        at += 1;
    }
    bits
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The fields of one object, each as it stands in the body.
pub(super) struct Fields<'a, const N: usize> {
    known: &'static [Field; N],
    values: [Option<&'a str>; N],
    /// A bit for each that has a value.
    present: u64,
    /// A bit for each whose value is a string all of which stands for itself.
    plain: u64,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// None of them, until an object is read.
    pub(super) const fn of(known: &'static [Field; N]) -> Self {
        const { assert!(N <= 64, "a bit for each") };
        Self { known, values: [None; N], present: 0, plain: 0 }
    }

    /// Reads an object whose fields are all known for `route`.
    pub(super) fn read(
        json: &'a str,
        what: &'static str,
        known: &'static [Field; N],
        route: u8,
    ) -> Result<Self, Denied> {
        let mut fields = Self::of(known);
        fields.fill(json, what, route, |_, _| Ok(None))?;
        Ok(fields)
    }

    /// The same in its place, for lists so long that moving them costs as much as reading. `own` may
    /// read a field's value as it comes by, and answers how it stands then.
    pub(super) fn fill(
        &mut self,
        json: &'a str,
        what: &'static str,
        route: u8,
        own: impl FnMut(usize, &mut Reader<'a>) -> Result<Option<&'a str>, Denied>,
    ) -> Result<(), Denied> {
        let mut reader = Reader::new(json);
        self.fill_from(&mut reader, what, route, own)?;
        match reader.is_done() {
            true => Ok(()),
            false => Err(no_object(what)),
        }
    }

    /// Reads the object that comes next.
    pub(super) fn next(
        reader: &mut Reader<'a>,
        what: &'static str,
        known: &'static [Field; N],
        route: u8,
    ) -> Result<Self, Denied> {
        let mut fields = Self::of(known);
        fields.fill_from(reader, what, route, |_, _| Ok(None))?;
        Ok(fields)
    }

    fn fill_from(
        &mut self,
        reader: &mut Reader<'a>,
        what: &'static str,
        route: u8,
        mut own: impl FnMut(usize, &mut Reader<'a>) -> Result<Option<&'a str>, Denied>,
    ) -> Result<(), Denied> {
        if !reader.takes(b'{') {
            return Err(no_object(what));
        }
        let mut is_over = reader.takes(b'}');
        while !is_over {
            let name = reader.name().filter(|_| reader.takes(b':'));
            let at = self.vacant(&name.ok_or_else(|| no_object(what))?, what, route)?;
            let (value, is_plain) = match own(at, reader)? {
                Some(value) => (value, false),
                None => reader.value().ok_or_else(|| no_object(what))?,
            };
            if !fits(self.known.get(at), value, is_plain) {
                return Err(self.refused(at));
            }
            if let Some(place) = self.values.get_mut(at) {
                *place = Some(value);
                self.present |= 1 << at;
                self.plain |= u64::from(is_plain) << at;
            }
            is_over = reader.takes(b'}');
            if !is_over && !reader.takes(b',') {
                return Err(no_object(what));
            }
        }
        Ok(())
    }

    /// Where a field of that name belongs, which has not come yet.
    fn vacant(&self, name: &str, what: &str, route: u8) -> Result<usize, Denied> {
        // Most names differ in their first byte, which costs less to look at than all of them.
        let first = name.as_bytes().first();
        let is_it = |field: &Field| {
            field.name.as_bytes().first() == first
                && field.name == name
                && field.routes & route != 0
        };
        let Some(at) = self.known.iter().position(is_it) else {
            // As much of it as fits a message.
            let name: String = name.chars().take(40).collect();
            let why = format!("{what} holds the field {name:?}, which no rule allows");
            return Err(Denied::body(why));
        };
        match self.has(1 << at) {
            false => Ok(at),
            true => Err(Denied::body(format!("{what} holds a field twice"))),
        }
    }

    /// Whether there is any of these fields, a bit for each.
    pub(super) fn has(&self, fields: u64) -> bool {
        self.present & fields != 0
    }

    /// The value of the field at that place of the list.
    pub(super) fn get(&self, at: usize) -> Option<&'a str> {
        self.values.get(at).copied().flatten()
    }

    /// A field that must be text where it stands.
    pub(super) fn text(&self, at: usize) -> Result<Option<Cow<'a, str>>, Denied> {
        let Some(json) = self.get(at) else { return Ok(None) };
        let text = match self.plain >> at & 1 {
            1 => unquoted(json).map(Cow::Borrowed),
            _ => text(json),
        };
        text.map(Some).ok_or_else(|| self.refused(at))
    }

    /// A field that must be an amount where it stands.
    pub(super) fn amount(&self, at: usize) -> Result<Option<Amount>, Denied> {
        self.get(at).map(amount).transpose()
    }

    fn refused(&self, at: usize) -> Denied {
        let name = self.known.get(at).map_or("a field", |field| field.name);
        Denied::body(format!("{name} is not of the kind that it should be"))
    }
}

/// Whether a value is of its field's kind.
fn fits(field: Option<&Field>, json: &str, is_plain: bool) -> bool {
    match field.map(|field| field.kind) {
        Some(Kind::Own) => true,
        Some(Kind::Text) => is_plain || is_text(json),
        Some(Kind::Texts) => {
            let each = |reader: &mut Reader<'_>| {
                let is_text =
                    reader.value().is_some_and(|(entry, is_plain)| is_plain || is_text(entry));
                if is_text { Ok(()) } else { Err(Denied::body("")) }
            };
            each_of(&mut Reader::new(json), usize::MAX, "", each).is_ok()
        }
        Some(Kind::Number) => !json.starts_with('"') && amount(json).is_ok(),
        Some(Kind::Flag) => matches!(json, "true" | "false"),
        None => false,
    }
}

fn no_object(what: &str) -> Denied {
    Denied::body(format!("{what} is not one json object"))
}

/// Reads the list that comes next, of at most so many entries, each by `read`.
pub(super) fn each_of<'a>(
    reader: &mut Reader<'a>,
    most: usize,
    what: &'static str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<(), Denied>,
) -> Result<(), Denied> {
    let refused = || Denied::body(format!("{what} is not a list of at most {most}"));
    if !reader.takes(b'[') {
        return Err(refused());
    }
    let (mut entries, mut is_over) = (0, reader.takes(b']'));
    while !is_over {
        entries += 1;
        if entries > most {
            return Err(refused());
        }
        read(reader)?;
        is_over = reader.takes(b']');
        if !is_over && !reader.takes(b',') {
            return Err(refused());
        }
    }
    Ok(())
}

/// The largest number that a server of JavaScript reads as it was written: 2^53 - 1.
const NUMBER_MAX: Amount = Amount::new((1 << 53) - 1);

/// An amount as BitGo takes it: a string of digits, or a JSON integer that no reader rounds.
pub(super) fn amount(json: &str) -> Result<Amount, Denied> {
    let refused = |_| {
        Denied::body(
            "an amount is not a whole number of base units (digits, as a number or a string)",
        )
    };
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(digits) => digits.parse().map_err(refused),
        None => match json.parse().map_err(refused)? {
            amount if amount <= NUMBER_MAX => Ok(amount),
            _ => {
                Err(Denied::body("an amount beyond 2^53 must be a string, or the server rounds it"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: [Field; 5] = [
        Field::new("text", Kind::Text, 1),
        Field::new("texts", Kind::Texts, 1),
        Field::new("number", Kind::Number, 1),
        Field::new("flag", Kind::Flag, 2),
        Field::new("own", Kind::Own, 3),
    ];
    const OWN: usize = at(&KNOWN, "own");

    #[test]
    fn an_object_has_known_fields_of_their_kinds_each_once() {
        for (json, fits) in [
            ("{}", true),
            (r#" { "text" : "a\u00e9\n" , "number" : 7 } "#, true),
            (r#"{"texts":[],"own":{"any":[null]}}"#, true),
            (r#"{"texts":["a","b"]}"#, true),
            (r#"{"\u006fwn":1}"#, true),
            (r#"{"text":"\ud800"}"#, false),
            (r#"{"text":null}"#, false),
            (r#"{"text":1}"#, false),
            (r#"{"texts":"a"}"#, false),
            (r#"{"texts":["a",1]}"#, false),
            (r#"{"number":"7"}"#, false),
            (r#"{"number":-7}"#, false),
            (r#"{"number":7.0}"#, false),
            (r#"{"number":9007199254740992}"#, false),
            (r#"{"flag":true}"#, false),
            (r#"{"own":1,"own":1}"#, false),
            (r#"{"own":1,"\u006fwn":1}"#, false),
            (r#"{"more":1}"#, false),
            (r#"{"own":1,}"#, false),
            (r#"{"own":1} {}"#, false),
            (r#"{"own":01}"#, false),
            ("[]", false),
            ("null", false),
            (r#""text""#, false),
            ("", false),
        ] {
            assert_eq!(Fields::read(json, "it", &KNOWN, 1).is_ok(), fits, "{json}");
        }
        let flag = Fields::read(r#"{"flag":true,"own":[1]}"#, "it", &KNOWN, 2).unwrap();
        assert_eq!(flag.get(OWN), Some("[1]"));
    }

    #[test]
    fn a_refusal_tells_the_field_and_never_its_value() {
        for (json, reason) in [
            (r#"{"x\n":"hunter2"}"#, r#"it holds the field "x\n", which no rule allows"#),
            (r#"{"text":"a","text":"hunter2"}"#, "it holds a field twice"),
            (r#"{"text":["hunter2"]}"#, "text is not of the kind that it should be"),
            (r#""hunter2""#, "it is not one json object"),
        ] {
            let denied = Fields::read(json, "it", &KNOWN, 1).err().unwrap();
            assert_eq!(denied.reason(), reason, "{json}");
        }
    }

    #[test]
    fn lists_are_short_and_nothing_but_lists() {
        let all = |json, most| {
            let mut reader = Reader::new(json);
            let entry = |reader: &mut Reader<'_>| match reader.value() {
                Some(_) => Ok(()),
                None => Err(Denied::body("no value")),
            };
            each_of(&mut reader, most, "it", entry).is_ok() && reader.is_done()
        };
        assert!(all("[]", 0) && all(" [1, {}] ", 2));
        for (json, most) in [("[1,2]", 1), ("{}", 9), ("[1,]", 9), ("[] []", 9), ("", 9)] {
            assert!(!all(json, most), "{json}");
        }
    }
}
