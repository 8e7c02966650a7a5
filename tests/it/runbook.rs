//! The runbook has a section for each code that is printed, under the name that is printed with it, and
//! none that nothing prints.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where codes are assigned, and how many of them at least: a search that finds none shows nothing.
const ASSIGNED: [(&str, usize); 3] =
    [("src/policy/denied.rs", 25), ("src/vault/events.rs", 11), ("src/error/kind.rs", 8)];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The arms of matches that answer a text: variant and text.
fn arms(code: &str) -> impl Iterator<Item = (&str, &str)> {
    code.lines().filter_map(|line| {
        let (variant, text) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
        Some((variant.split(' ').next()?, text.strip_suffix("\",")?))
    })
}

/// Each code with the name of what prints it.
fn assigned() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for (path, least) in ASSIGNED {
        let (code, before) = (read(path), codes.len());
        for (variant, text) in arms(&code).filter(|(_, text)| text.starts_with("BV-")) {
            let mut names = arms(&code).filter(|(_, text)| !text.starts_with("BV-"));
            let (_, name) = names.find(|(other, _)| *other == variant).unwrap();
            let twice = codes.insert(text.to_owned(), name.to_owned());
            assert!(twice.is_none(), "{text} stands for {name} and {twice:?}");
        }
        assert!(codes.len() - before >= least, "{path}: {} codes", codes.len() - before);
    }
    codes
}

#[test]
fn every_code_has_its_section_and_every_section_its_code() {
    let (guide, codes) = (read("src/guide/operations.rs"), assigned());
    let sections: BTreeMap<_, _> =
        guide.split("//! ### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    assert_eq!(guide.matches("//! ### BV-").count(), sections.len(), "no heading stands twice");
    assert!(sections.keys().copied().eq(codes.keys()), "{:?} {codes:?}", sections.keys());
    for (code, name) in &codes {
        let section = sections[code.as_str()];
        let first = section.lines().next().unwrap();
        assert!(first.contains(&format!("`{name}`")), "{code} is {name}, and begins with {first}");
    }
    // What the text refers to is there as well.
    for named in guide.split("BV-").skip(1).filter_map(|rest| rest.get(..4)) {
        let is_code = named.bytes().all(|byte| byte.is_ascii_digit());
        assert!(!is_code || codes.contains_key(&format!("BV-{named}")), "BV-{named}");
    }
}
