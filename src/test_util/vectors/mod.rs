//! Runs vector files: JSON documents of cases that BitGo's own packages produced.
//!
//! A file is told by the fields of its cases. A valid case must come out as the file says in
//! every respect the file offers; an invalid one must be refused with exactly the error it names.
//! Fields and lists this runner does not know are passed over.

mod envelope;
mod extension;
mod issuance;
mod request_auth;

use crate::crypto::CryptoError;
use serde::de::DeserializeOwned;
use serde_json::Value;
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
        valid: &[List { name: "valid", marker: "envelope", check: envelope::check }],
        attempt: envelope::attempt,
    },
    Kind {
        files: &["token_issuance.json"],
        valid: &[List { name: "valid", marker: "derivationPath", check: issuance::check }],
        attempt: issuance::attempt,
    },
    Kind {
        files: &["extend_token.json"],
        valid: &[List { name: "valid", marker: "wif", check: extension::check }],
        attempt: extension::attempt,
    },
    Kind {
        files: &["hmac.json"],
        valid: &[
            List { name: "v2v3", marker: "requestHmac", check: request_auth::check },
            List { name: "v4", marker: "requestHmac", check: request_auth::check_v4 },
            List { name: "password", marker: "hmac", check: request_auth::check_password },
        ],
        attempt: request_auth::attempt,
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
