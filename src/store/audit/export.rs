//! The log read from its beginning, as entries or as lines; lines verified without a vault; and what
//! is pruned.

use super::chain::{self, broken, follow, key, read_segment};
use super::{AuditAction, AuditEntry, pruned_key, pruned_row};
use crate::store::head::AuditEnd;
use crate::store::record::{AuditRow, EntryRow};
use crate::store::{Store, StoreError, Tree, Write, lock, sync};
use chrono::{DateTime, Utc};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write as _};
use std::path::Path;
use std::sync::PoisonError;

/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 4096;

/// A stretch of the audit log whose entries follow each other without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditChain {
    /// The number of its first entry.
    pub first: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The hash of the entry before the first; zeros where that is the first of all.
    pub before: [u8; 32],
    /// The hash of its last entry: `before` where it has none.
    pub last: [u8; 32],
}

/// Verifies lines that [`Vault::export_audit`](crate::Vault::export_audit) or
/// [`Vault::prune_audit`](crate::Vault::prune_audit) wrote, without the vault. Lines of one export that
/// follow on those of another do so if the one's [`AuditChain::last`] is the other's
/// [`AuditChain::before`]. `sha256sum` and a text editor do the same: each line names the hash of the one
/// before.
///
/// # Errors
/// `InvalidData` where a line is longer than 4 KiB, is no entry, or does not follow on the one before;
/// what the reader says.
///
/// # Security
/// Lines can be made up from the first on. That they are the vault's is known by their last hash alone,
/// as [`Vault::verify_audit`](crate::Vault::verify_audit) tells it, or by that of a later export.
pub fn verify_audit_lines(mut lines: impl BufRead) -> io::Result<AuditChain> {
    #[derive(Deserialize)]
    struct Line<'a> {
        number: u64,
        previous: &'a str,
    }
    let refused = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut chain = AuditChain { first: 0, entries: 0, before: [0; 32], last: [0; 32] };
    let mut text = Vec::new();
    loop {
        text.clear();
        (&mut lines).take(LINE_MAX).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(chain);
        }
        let at = chain.entries + 1;
        if text.pop() != Some(b'\n') {
            return Err(refused(format!("line {at} is cut off, or longer than an entry")));
        }
        let line: Line<'_> = serde_json::from_slice(&text)
            .map_err(|_| refused(format!("line {at} is no entry of an audit log")))?;
        let mut previous = [0; 32];
        if base16ct::lower::decode(line.previous, &mut previous).map(<[u8]>::len) != Ok(32) {
            return Err(refused(format!("line {at} names no hash of the entry before")));
        }
        if chain.entries == 0 {
            (chain.first, chain.before, chain.last) = (line.number, previous, previous);
        }
        if Some(line.number) != chain.first.checked_add(chain.entries) || previous != chain.last {
            return Err(refused(format!("line {at} does not follow on the one before")));
        }
        (chain.entries, chain.last) = (at, Sha256::digest(&text).into());
    }
}

/// The log as it stood at one moment.
struct Standing {
    start: AuditEnd,
    sealed: AuditEnd,
    /// What comes after the segments.
    open: Vec<EntryRow>,
    end: AuditEnd,
}

impl Store {
    /// The log as it stands. It is held up for the open segment alone, which is read here: the others
    /// do not change.
    fn standing(&self) -> Result<Standing, StoreError> {
        let state = lock(&self.audit.state);
        let epoch = self.disk.epoch();
        let (mut at, mut open) = (state.sealed, Vec::new());
        while at.entries < state.end.entries {
            let row = epoch.row(Tree::Audit, &key(at.entries))?.ok_or_else(missing)?;
            match chain::read(&row)? {
                AuditRow::Entry { number, previous, entry }
                    if number == at.entries && previous == at.last =>
                {
                    at = follow(at, std::slice::from_ref(&entry))?;
                    open.push(entry);
                }
                _ => return Err(broken()),
            }
        }
        match at == state.end {
            true => Ok(Standing { start: state.start, sealed: state.sealed, open, end: at }),
            false => Err(broken()),
        }
    }

    /// The segment that follows on `at`.
    fn segment(&self, at: AuditEnd) -> Result<Vec<EntryRow>, StoreError> {
        // A rekey may come between two of them.
        let row = self.disk.epoch().row(Tree::Segments, &key(at.entries))?.ok_or_else(missing)?;
        let segment = read_segment(&row)?;
        if segment.first != at.entries || segment.previous != at.last {
            return Err(broken());
        }
        match segment.entries.is_empty() {
            true => Err(missing()),
            false => Ok(segment.entries),
        }
    }

    /// Every entry in its order, with the hash before it, up to the last that there is when this begins;
    /// at the end an error where the chain is broken. Entries are written meanwhile, however long `take`
    /// takes. Answers where they begin and end.
    fn each_entry(
        &self,
        mut take: impl FnMut(AuditEnd, &EntryRow) -> Result<(), StoreError>,
    ) -> Result<(AuditEnd, AuditEnd), StoreError> {
        let _stays = self.audit.beginning.read().unwrap_or_else(PoisonError::into_inner);
        let Standing { start, sealed, open, end } = self.standing()?;
        let mut at = start;
        let mut follow_on = |at: &mut AuditEnd, entries: &[EntryRow]| {
            for entry in entries {
                take(*at, entry)?;
                *at = follow(*at, std::slice::from_ref(entry))?;
            }
            Ok::<_, StoreError>(())
        };
        while at.entries < sealed.entries {
            let segment = self.segment(at)?;
            follow_on(&mut at, &segment)?;
        }
        if at != sealed {
            return Err(broken());
        }
        follow_on(&mut at, &open)?;
        Ok((start, end))
    }

    /// All entries, oldest first; an error where the chain is broken.
    pub(crate) fn audit(&self) -> Result<Vec<AuditEntry>, StoreError> {
        let mut entries = Vec::new();
        self.each_entry(|at, row| {
            entries.push(row.entry(at.entries)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// The entries from that number on, oldest first: those of the open segment as this process has read
    /// or written them; with older ones the whole chain is read.
    pub(crate) fn audit_since(&self, number: u64) -> Result<Vec<AuditEntry>, StoreError> {
        let recent = {
            let state = lock(&self.audit.state);
            let numbered = (state.sealed.entries..).zip(&state.open);
            let numbered = numbered.filter(|(at, _)| *at >= number);
            let is_all = number >= state.sealed.entries;
            is_all.then(|| numbered.map(|(at, row)| row.entry(at)).collect())
        };
        if let Some(recent) = recent {
            return recent;
        }
        let mut entries = self.audit()?;
        entries.retain(|entry| entry.number >= number);
        Ok(entries)
    }

    /// The lines of the last entries, oldest first, from what this process has read or written: of the
    /// open segment alone.
    pub(crate) fn audit_tail(&self, count: usize) -> Result<Vec<String>, StoreError> {
        let state = lock(&self.audit.state);
        let (mut at, mut lines) = (state.sealed, Vec::new());
        let first = state.open.len().saturating_sub(count);
        for (place, row) in state.open.iter().enumerate() {
            let (line, last) = row.line(at.entries, &at.last)?;
            at = AuditEnd { entries: at.entries + 1, last };
            if place >= first {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Verifies the whole chain, segments and all.
    pub(crate) fn verify_audit(&self) -> Result<AuditChain, StoreError> {
        let (start, end) = self.each_entry(|_, _| Ok(()))?;
        let entries = end.entries - start.entries;
        Ok(AuditChain { first: start.entries, entries, before: start.last, last: end.last })
    }

    /// Writes the lines from the first entry not before `from` up to the first one not before `to`.
    pub(crate) fn export_audit(
        &self,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        into: &mut dyn io::Write,
    ) -> Result<AuditChain, StoreError> {
        let mut chain: Option<AuditChain> = None;
        let mut is_over = false;
        let mut into = BufWriter::new(into);
        let (_, end) = self.each_entry(|at, row| {
            let time = row.entry(at.entries)?.at;
            let begins = chain.is_some() || from.is_none_or(|from| time >= from);
            is_over |= begins && to.is_some_and(|to| time >= to);
            if begins && !is_over {
                let (line, last) = row.line(at.entries, &at.last)?;
                into.write_all(line.as_bytes())?;
                into.write_all(b"\n")?;
                let (first, before) = (at.entries, at.last);
                let chain =
                    chain.get_or_insert(AuditChain { first, entries: 0, before, last: before });
                (chain.entries, chain.last) = (chain.entries + 1, last);
            }
            Ok(())
        })?;
        into.flush()?;
        let nothing =
            AuditChain { first: end.entries, entries: 0, before: end.last, last: end.last };
        Ok(chain.unwrap_or(nothing))
    }

    /// Writes the segments whose entries are all from before `before` to the new file `path`, durably,
    /// then removes them. The chain is verified on the way.
    pub(crate) fn prune_audit(
        &self,
        before: DateTime<Utc>,
        path: &Path,
        now: DateTime<Utc>,
    ) -> Result<AuditChain, StoreError> {
        self.disk.check_writable()?;
        let _alone = self.audit.beginning.write().unwrap_or_else(PoisonError::into_inner);
        let Standing { start: first, sealed, .. } = self.standing()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
        let mut file = BufWriter::new(File::from(file));
        let is_old = |row: &EntryRow| row.at_ms < before.timestamp_millis();
        let (mut start, mut writes) = (first, Vec::new());
        while start.entries < sealed.entries {
            let entries = self.segment(start)?;
            if !entries.iter().all(is_old) {
                break;
            }
            writes.push(Write::remove(Tree::Segments, key(start.entries)));
            for row in &entries {
                let (line, last) = row.line(start.entries, &start.last)?;
                file.write_all(line.as_bytes())?;
                file.write_all(b"\n")?;
                start = AuditEnd { entries: start.entries + 1, last };
            }
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))?;
        if !writes.is_empty() {
            writes.push(Write::put(Tree::Audit, pruned_key(), &pruned_row(start))?);
            let entry = EntryRow::of(AuditAction::Pruned, None, now);
            let state = &mut *lock(&self.audit.state);
            self.audit.append_to(state, vec![entry], writes, |writes, end| {
                self.audit.commit(writes, end)
            })?;
            state.start = start;
        }
        let entries = start.entries - first.entries;
        Ok(AuditChain { first: first.entries, entries, before: first.last, last: start.last })
    }
}

fn missing() -> StoreError {
    StoreError::unreadable(Tree::Audit, "an entry is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_changed_left_out_or_moved_is_seen() {
        let mut at = AuditEnd::default();
        let mut lines = Vec::new();
        for number in 0..5 {
            let now = DateTime::from_timestamp_millis(number).unwrap();
            let (line, last) =
                EntryRow::of(AuditAction::Exposed, None, now).line(at.entries, &at.last).unwrap();
            lines.push(line + "\n");
            at = AuditEnd { entries: at.entries + 1, last };
        }
        let verify = |lines: &[String]| verify_audit_lines(lines.concat().as_bytes());
        let whole = verify(&lines).unwrap();
        assert_eq!((whole.first, whole.entries, whole.last), (0, 5, at.last));
        let rest = verify(&lines[2..]).unwrap();
        assert_eq!((rest.first, rest.entries, rest.last), (2, 3, at.last));
        assert_eq!(verify(&lines[..2]).unwrap().last, rest.before);
        assert_eq!(verify(&[]).unwrap().entries, 0);

        for at in 0..4 {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            assert!(verify(&swapped).is_err(), "moved at {at}");
            let mut altered = lines.clone();
            altered[at] = altered[at].replace("exposed", "viewed");
            assert!(verify(&altered).is_err(), "altered at {at}");
            let mut cut = lines.clone();
            cut.remove(at);
            assert!(at == 0 || verify(&cut).is_err(), "left out at {at}");
        }
        let text = lines.concat();
        assert!(verify_audit_lines(&text.as_bytes()[..text.len() - 1]).is_err(), "cut off");
        assert!(verify_audit_lines(&b"{}\n"[..]).is_err());
        assert!(verify_audit_lines(&vec![b'x'; 1 << 20][..]).is_err());
    }
}
