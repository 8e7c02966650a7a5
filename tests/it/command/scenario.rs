//! Scenarios: files in which commands stand with what they print, each played in one shell at an
//! emulator of its own.
//!
//! The format is trycmd's: in a block of `console`, `$ command`, `> its next line`, `? exit code`
//! unless it is 0, then what it prints; `[..]` is any text within a line, `...` any lines. trycmd
//! itself has one environment for all files, no shell for pipes and descriptors, and brings thirty
//! packages. With `BITGO_VAULT_WRITE_SCENARIOS` set, what differs is written into the files.

use super::program;
use crate::desk::coin;
use crate::tools::{skipped, works};
use bitgo_vault::emulator::Emulator;
use std::env;
use std::fs;
use std::path::Path;

/// Set to have the files rewritten.
const WRITE: &str = "BITGO_VAULT_WRITE_SCENARIOS";
/// What stands between the output of one command and that of the next.
const MARK: char = '\x1e';

enum Part {
    /// A line that is not played.
    Prose(String),
    Step(Step),
}

#[derive(Default)]
struct Step {
    command: String,
    code: String,
    output: Vec<String>,
}

fn parts(text: &str) -> Vec<Part> {
    let (mut parts, mut is_played) = (Vec::new(), false);
    for line in text.lines() {
        let step = match parts.last_mut() {
            Some(Part::Step(step)) if is_played && line != "```" => Some(step),
            _ => None,
        };
        match (line.strip_prefix("$ "), step) {
            (Some(command), _) if is_played => {
                parts.push(Part::Step(Step { command: command.into(), ..Step::default() }));
            }
            (_, Some(step)) => match (line.strip_prefix("> "), line.strip_prefix("? ")) {
                (Some(more), _) if step.output.is_empty() => step.command += &format!("\n{more}"),
                (_, Some(code)) if step.output.is_empty() => step.code = code.into(),
                _ => step.output.push(line.into()),
            },
            _ => {
                is_played = line == "```console";
                parts.push(Part::Prose(line.into()));
            }
        }
    }
    parts
}

/// Whether a line is as it was foretold.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((before, after)) = pattern.split_once("[..]") else { return pattern == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    let mut ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
    ends.any(|end| fits(after, &rest[end..]))
}

fn all_fit(patterns: &[String], lines: &[String]) -> bool {
    match (patterns, lines) {
        ([first, patterns @ ..], _) if first == "..." => {
            (0..=lines.len()).any(|from| all_fit(patterns, &lines[from..]))
        }
        ([first, patterns @ ..], [line, lines @ ..]) => {
            fits(first, line) && all_fit(patterns, lines)
        }
        _ => patterns.is_empty() && lines.is_empty(),
    }
}

/// A line without what is another each time: ids, times, and what this emulator has for its own.
fn lasting(line: &str, own: &[String]) -> String {
    let line = own.iter().fold(line.to_owned(), |line, own| line.replace(own, "[..]"));
    let (mut lasting, mut rest) = (String::new(), line.as_str());
    while let Some(next) = rest.chars().next() {
        let run = |of: &str| {
            let end = |c: char| !(c.is_ascii_digit() || of.contains(c));
            rest.find(end).map_or(rest, |end| &rest[..end]).trim_end()
        };
        let (id, time) = (run("abcdef-"), run("-:.TZ+ "));
        let is_time = next.is_ascii_digit() && time.len() >= 16 && time.contains(':');
        if is_time || id.len() >= 13 {
            rest = &rest[if is_time { time.len() } else { id.len() }..];
            lasting += "[..]";
            let ago = rest.find(" ago)").filter(|_| is_time && rest.starts_with(" ("));
            if let Some(end) = ago {
                rest = &rest[end..];
                lasting += " ([..]";
            }
        } else {
            lasting.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    lasting
}

/// Plays a file: the text that it should have been.
fn played(text: &str, bitgo: &Emulator) -> String {
    let mut parts = parts(text);
    let dir = tempfile::tempdir().unwrap();
    let mut script = String::from("exec 2>&1\n");
    for part in &parts {
        if let Part::Step(Step { command, .. }) = part {
            script += &format!("{command}\nprintf '\\036%d\\n' $?\n");
        }
    }
    let mut shell = program("/bin/sh", bitgo, dir.path());
    let wallet = bitgo.wallet(&coin()).to_string();
    shell.args(["-c", &script]).env("WALLET", &wallet).env("EMAIL", bitgo.email());
    let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let own = [bitgo.url().to_owned(), dir.path().display().to_string(), wallet];

    // Each chunk but the first begins with the exit code of the command before it.
    let mut chunks = said.split(MARK);
    let mut output = chunks.next().unwrap().to_owned();
    let mut played = String::new();
    for part in &mut parts {
        let step = match part {
            Part::Prose(line) => {
                played += &format!("{line}\n");
                continue;
            }
            Part::Step(step) => step,
        };
        let ended = chunks.next().unwrap_or_else(|| panic!("no end of {}: {said}", step.command));
        let (code, next) = ended.split_once('\n').unwrap();
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        if !all_fit(&step.output, &lines) {
            step.output = lines.iter().map(|line| lasting(line, &own)).collect();
        }
        step.code = if code == "0" { String::new() } else { format!("? {code}\n") };
        played += &format!("$ {}\n{}", step.command.replace('\n', "\n> "), step.code);
        step.output.iter().for_each(|line| played += &format!("{line}\n"));
        output = next.to_owned();
    }
    played
}

async fn play(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap();
    if text.contains("| jq ") && !works(&["jq", "--version"]) {
        return skipped(file, "jq is not installed");
    }
    let bitgo = Emulator::start().await.unwrap();
    let played = played(&text, &bitgo);
    if env::var_os(WRITE).is_some() {
        return fs::write(path, played).unwrap();
    }
    let differ = text.lines().zip(played.lines()).position(|(foretold, line)| foretold != line);
    let from = differ.unwrap_or_default();
    let about = |text: &str| text.lines().skip(from).take(12).collect::<Vec<_>>().join("\n");
    let (foretold, said) = (about(&text), about(&played));
    assert!(text == played, "{file}:{}\n{foretold}\n== but it is\n{said}", from + 1);
    assert!(text.contains("```console\n$ "), "{file} plays nothing");
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        const NAMED: &[&str] = &[$(stringify!($name)),*];
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            play(concat!("tests/cmd/", stringify!($name), ".md")).await;
        })*
    };
}

scenarios! {
    amounts backup damage day envelope exec freeze json manual passphrase plain policy revoke rotate sign
    unlock usage
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_the_readme() {
    play("README.md").await;
}

#[test]
fn every_file_is_played() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(NAMED.contains(&name), "{}", file.display());
    }
}

#[test]
fn a_difference_is_seen() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (patterns, said, expect) in [
        ("one [..] three", "one two three", true),
        ("one [..] three", "one two", false),
        ("[..]a[..]b", "xaab", true),
        ("[..]a[..]b", "xaabc", false),
        ("...\nlast", "first\nlast", true),
        ("...\nlast", "last\nfirst", false),
        ("one", "one\ntwo", false),
        ("one\ntwo", "one", false),
        ("", "", true),
    ] {
        assert_eq!(all_fit(&lines(patterns), &lines(said)), expect, "{patterns:?} {said:?}");
    }
    for (line, expect) in [
        ("id 0123456789abcdef, 100000 sat", "id [..], 100000 sat"),
        ("ends  2026-01-31 09:00 (in 3 days)", "ends  [..] (in 3 days)"),
        ("made  2026-01-31 09:00 (1 second ago)", "made  [..] ([..] ago)"),
        ("at /a/b", "at [..]/b"),
    ] {
        assert_eq!(lasting(line, &["/a".to_owned()]), expect);
    }
}
