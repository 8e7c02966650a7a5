//! Documents name the tests that show what they say: each of those is there.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::Path;

/// The documents, and how many tests each names at least: a search that finds none shows nothing.
const DOCUMENTS: [(&str, usize); 2] = [("docs/DURABILITY.md", 25), ("SECURITY.md", 80)];

/// All code below a directory.
fn code(dir: &Path, into: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// What stands between backquotes and reads as a test's name: a sentence of four words and more.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let spans = text.split('`').skip(1).step_by(2);
    let names = spans.filter_map(|span| span.rsplit("::").next());
    names.filter(|name| {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(is_name) && name.matches('_').count() >= 3
    })
}

/// Where a span is not a test: functions and options of the library.
const OTHERS: [&str; 2] = ["dangerous_accept_tokens_in_clear", "dangerous_allow_file_system"];

#[test]
fn tests_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    code(&root.join("src"), &mut all);
    code(&root.join("tests"), &mut all);
    for (document, least) in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let mut seen = 0;
        for name in named(&text).filter(|name| !OTHERS.contains(name)) {
            assert!(all.contains(&format!("fn {name}(")), "{document} names {name}");
            seen += 1;
        }
        assert!(seen >= least, "{document}: {seen} are named");
    }
}
