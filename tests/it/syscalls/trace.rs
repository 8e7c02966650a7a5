//! What strace wrote, as calls: `strace -f -y -o FILE`.
//!
//! ```text
//! 4711 pwrite64(9</v/db.0/db>, "…", 300, 0) = 300
//! 4711 fsync(10</v/db.0/db> <unfinished ...>
//! 4712 write(1<pipe:[7]>, "…", 5)        = 5
//! 4711 <... fsync resumed>)              = 0
//! ```

use std::collections::HashMap;

/// One call that has come back. Times are numbers of lines.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    /// As strace writes them, descriptors with what they stand for.
    pub(super) arguments: String,
    pub(super) begun: usize,
    pub(super) ended: usize,
    pub(super) succeeded: bool,
}

impl Call {
    /// What the descriptor that comes first stands for.
    pub(super) fn file(&self) -> Option<&str> {
        let (number, rest) = self.arguments.split_once('<')?;
        let is_descriptor = number.bytes().all(|byte| byte.is_ascii_digit());
        is_descriptor.then(|| rest.split_once('>').map_or(rest, |(file, _)| file))
    }

    /// What stands between quotes: paths, or the bytes written.
    pub(super) fn quoted(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }

    /// The path that comes first, whole where it is told from a directory on.
    pub(super) fn path(&self) -> String {
        match (self.file(), self.quoted().first()) {
            (Some(directory), Some(name)) if !name.starts_with('/') => {
                format!("{directory}/{name}")
            }
            (_, path) => path.copied().unwrap_or_default().into(),
        }
    }

    pub(super) fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }
}

/// The calls in the order in which they began; those that the end of the process cut off are not
/// among them.
pub(super) fn parse(text: &str) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let unread = || format!("line {number} cannot be read: {line}");
        let (process, said) = line.split_once(' ').ok_or_else(unread)?;
        let said = said.trim();
        if said.starts_with("--- ") || said.starts_with("+++ ") {
            continue;
        }
        if let Some(begun) = said.strip_suffix("<unfinished ...>") {
            if unfinished.insert(process, (number, begun.trim_end().into())).is_some() {
                return Err(unread());
            }
            continue;
        }
        let (begun, whole) = match said.strip_prefix("<... ") {
            None => (number, said.to_owned()),
            Some(resumed) => {
                let (_, rest) = resumed.split_once(" resumed>").ok_or_else(unread)?;
                let (begun, first) = unfinished.remove(process).ok_or_else(unread)?;
                (begun, first + rest)
            }
        };
        let (name, rest) = whole.split_once('(').ok_or_else(unread)?;
        let (arguments, answer) = rest.rsplit_once(" = ").ok_or_else(unread)?;
        calls.push(Call {
            name: name.into(),
            arguments: arguments.trim_end().trim_end_matches(')').into(),
            begun,
            ended: number,
            succeeded: !answer.starts_with(['-', '?']),
        });
    }
    calls.sort_by_key(|call| call.begun);
    Ok(calls)
}

#[test]
fn calls_are_read_as_strace_writes_them() {
    let calls = parse(concat!(
        "4711 pwrite64(9</v/db>, \"a)\\\" = 1\", 300, 0) = 300\n",
        "4711 fsync(10</v/db> <unfinished ...>\n",
        "4712 --- SIGCHLD {si_signo=SIGCHLD} ---\n",
        "4712 rename(\"/v/a\", \"/v/b\")      = -1 ENOENT (No such file or directory)\n",
        "4711 <... fsync resumed>)        = 0\n",
        "4713 openat(AT_FDCWD</w>, \"/v/c\", O_RDWR|O_CREAT, 0600 <unfinished ...>\n",
        "4713 <... openat resumed>)       = 11</v/c>\n",
        "4711 fsync(10</v/db>) = ?\n",
        "4711 +++ exited with 0 +++\n",
    ));
    let told: Vec<_> = calls
        .as_ref()
        .map(|calls| calls.iter().map(|c| (&*c.name, c.file(), c.begun, c.ended, c.succeeded)))
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(
        told,
        [
            ("pwrite64", Some("/v/db"), 0, 0, true),
            ("fsync", Some("/v/db"), 1, 4, true),
            ("rename", None, 3, 3, false),
            ("openat", None, 5, 6, true),
            ("fsync", Some("/v/db"), 7, 7, false),
        ]
    );
    let quoted: Vec<_> = calls.iter().flatten().map(Call::quoted).collect();
    assert_eq!(quoted[2], ["/v/a", "/v/b"]);
    assert_eq!(quoted[3], ["/v/c"]);
    for unread in ["4711", "4711 <... fsync resumed>) = 0", "4711 gibberish", "4711 fsync(1)"] {
        assert!(parse(unread).is_err(), "{unread}");
    }
}
