//! The tables of `docs/TELEMETRY.md`, held against the sources: each span, event and metric with its
//! level and its fields, and none that is not there.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is told under a name: at which levels, with which fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) levels: BTreeSet<String>,
    pub(super) fields: BTreeSet<String>,
}

pub(super) type Names = BTreeMap<String, Told>;

fn sources() -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The arguments of a macro, from behind its opening bracket on.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut all) = (0, false, vec![String::new()]);
    for c in text.chars() {
        quoted ^= c == '"';
        match c {
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(c);
    }
    let all = all.iter().map(|argument| argument.trim().to_owned());
    all.filter(|argument| !argument.is_empty()).collect()
}

/// A field's name: `%label`, `path = %dir.display()`, `cause`.
fn field(argument: &str) -> String {
    let name = argument.split('=').next().unwrap_or_default();
    name.trim().trim_start_matches(['%', '?']).to_owned()
}

/// What the sources tell, by spans or by events.
fn told(is_span: bool) -> Names {
    let mut told = Names::new();
    for source in sources() {
        for call in source.split("tracing::").skip(1) {
            let Some((word, rest)) = call.split_once("!(") else { continue };
            let level = word.strip_suffix("_span");
            let known = ["error", "warn", "info", "debug", "trace"];
            if level.is_some() != is_span || !known.contains(&level.unwrap_or(word)) {
                continue;
            }
            let mut arguments = arguments(rest);
            let name = arguments.remove(0);
            let name = match is_span {
                true => name,
                false => {
                    arguments.pop();
                    let name = name.strip_prefix("name: ");
                    name.unwrap_or_else(|| panic!("an event has no name: {call:.80}")).to_owned()
                }
            };
            let one = told.entry(name.trim_matches('"').to_owned()).or_default();
            one.levels.insert(level.unwrap_or(word).to_owned());
            one.fields.extend(arguments.iter().map(|argument| field(argument)));
        }
    }
    told
}

/// The rows of the table whose head begins so, by their first cells.
pub(super) fn table(head: &str) -> BTreeMap<String, Vec<String>> {
    let text = include_str!("../../../docs/TELEMETRY.md");
    let start = text.find(&format!("| {head} |")).unwrap();
    let rows = text[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()));
    cells.map(|mut cells| (cells.next().unwrap().replace('`', ""), cells.collect())).collect()
}

/// What is documented under this head, by name.
pub(super) fn documented(head: &str) -> Names {
    let rows = table(head).into_iter();
    rows.map(|(name, cells)| (name, Told { levels: words(&cells[0]), fields: words(&cells[1]) }))
        .collect()
}

fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(',').map(|word| word.trim().trim_matches('`').to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn spans_and_events_are_told_as_they_are_documented() {
    for (head, is_span, at_least) in [("span", true, 8), ("event", false, 40)] {
        let told = told(is_span);
        assert!(told.len() >= at_least, "{} were found", told.len());
        assert_eq!(told, documented(head), "by {head}");
    }
}

#[test]
fn leasing_and_signing_have_no_span() {
    for hot in ["lease.rs", "signed.rs", "reservation.rs", "hands.rs", "credential.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vault").join(hot);
        assert!(!fs::read_to_string(path).unwrap().contains("tracing"), "{hot}");
    }
}

#[test]
fn metrics_are_documented() {
    let named = sources().concat();
    let named = named.split('"').filter(|text| text.starts_with("bitgo_vault_"));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    let documented: BTreeSet<String> = table("metric").into_keys().collect();
    assert!(named.len() > 10, "{named:?}");
    assert_eq!(named, documented);
}
