//! The house: dependencies point down only, and what stands in one room
//! stands nowhere else.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::Path;

/// The rooms, by floor. The words of floor 0 are one room: they may see each other.
const FLOORS: [&[&str]; 6] = [
    &[
        "clock",
        "coin_map",
        "coin_table",
        "decimal",
        "environment",
        "extended_key",
        "id",
        "locked",
        "money",
        "renewal_memory",
        "rotation",
        "scope",
        "secret",
        "server_clock",
        "sync",
        "telemetry",
        "token",
        "word_error",
    ],
    &["crypto", "policy"],
    &["api", "provider", "refresh", "store"],
    &["error"],
    &["vault"],
    &["emulator", "guide", "test_util"],
];

/// What may be named in one room only.
const AT_HOME: [(&str, &str); 4] = [
    ("sled::", "store"),
    ("reqwest::", "api"),
    ("spawn_blocking", "vault"),
    ("allow(unsafe_code)", "locked"),
];

pub(crate) struct Source {
    pub(crate) room: String,
    path: String,
    pub(crate) code: String,
}

/// Every source file of the library but `lib.rs`, without comments.
pub(crate) fn sources() -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<Source>, root: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, root);
                continue;
            }
            let within = path.strip_prefix(root).unwrap();
            let room = within.iter().next().unwrap().to_str().unwrap();
            let room = room.trim_end_matches(".rs").to_owned();
            if room == "lib" || room == "bin" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let path = within.display().to_string();
            found.push(Source { room, path, code: code.join("\n") });
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found, &root);
    assert!(found.len() > 40, "{} files were found", found.len());
    found
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("the room {room} stands on no floor"))
}

/// The modules of the crate that `code` names.
fn edges(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Code without its unit tests, which may look anywhere.
fn shipped(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests").next().unwrap_or(code)
}

#[test]
fn dependencies_point_down() {
    let mut seen = 0;
    for Source { room, path, code } in sources() {
        for other in edges(shipped(&code)) {
            seen += 1;
            let down = floor(other) < floor(&room);
            let own = other == room || floor(other) == 0 && floor(&room) == 0;
            assert!(down || own, "{path} sees {other}, which is not below it");
        }
    }
    assert!(seen > 100, "{seen} edges were found");
}

#[test]
fn the_emulator_sees_words_crypto_and_the_wire_only() {
    for Source { room, path, code } in sources() {
        if room == "emulator" {
            let code = shipped(&code).replace("crate::api::wire", "");
            for other in edges(&code) {
                let fits = floor(other) == 0 || ["crypto", "emulator"].contains(&other);
                assert!(fits, "{path} sees {other}");
            }
        }
    }
}

#[test]
fn what_has_a_home_stays_there() {
    for (what, home) in AT_HOME {
        let mut at_home = 0;
        for Source { room, path, code } in sources() {
            if code.contains(what) {
                assert_eq!(room, home, "{path} names {what}");
                at_home += 1;
            }
        }
        assert!(at_home > 0, "{what} is not even at home");
    }
}

#[test]
fn words_and_mechanisms_know_no_runtime() {
    for Source { room, path, code } in sources() {
        if floor(&room) < 2 {
            assert!(!shipped(&code).contains("tokio::"), "{path} names tokio");
        }
    }
}
