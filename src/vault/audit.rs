//! What the audit log tells, and what of leases and requests is noted for it.

use super::Vault;
use super::core::Core;
use super::events::Event;
use crate::error::Error;
use crate::store::{AuditChain, AuditEntry};
use crate::telemetry;
use crate::token::Label;
use chrono::{DateTime, Utc};
use std::io::Write;
use std::path::Path;

impl Vault {
    /// The audit log, oldest first: what was done to the vault and its tokens, event by event; what was
    /// signed and refused, counted by the minute. What is not yet a minute old is not told here. It reads
    /// the whole log and verifies its chain; for much of it take [`Vault::export_audit`].
    ///
    /// # Errors
    /// [`StoreError::Unreadable`](crate::StoreError::Unreadable) where the chain is broken.
    pub async fn audit(&self) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.core.blocking(|core| core.store.audit()).await??)
    }

    /// The entries of the audit log from that number on, oldest first, for who follows it: ask again
    /// with the number after the last one told. It costs next to nothing while those are among the last
    /// 48; with older ones it is as [`Vault::audit`]. Entries that were pruned are not told.
    ///
    /// # Errors
    /// As [`Vault::audit`].
    pub async fn audit_since(&self, number: u64) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.core.blocking(move |core| core.store.audit_since(number)).await??)
    }

    /// Verifies the audit log from its beginning, or from what was pruned, to its end. Opening the vault
    /// reads no more of it than its last 48 entries.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`](crate::StoreError::Unreadable) where the chain is broken.
    pub async fn verify_audit(&self) -> Result<AuditChain, Error> {
        Ok(self.core.blocking(|core| core.store.verify_audit()).await??)
    }

    /// Writes the entries as lines of JSON, in clear: from the first that is not before `from`, up to
    /// the first after it that is not before `to`. Each line holds the hash of the one before, so that
    /// [`verify_audit_lines`](crate::verify_audit_lines) verifies them where there is no vault. The
    /// whole log is verified on the way, up to the entry that was the last when it began; a slow writer
    /// holds up nobody but who would prune the log, and while somebody waits to, who would read it:
    /// `writer` itself must not.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`](crate::StoreError::Unreadable) where the chain is broken,
    /// [`StoreError::Io`](crate::StoreError::Io) for what the writer says: then some lines are written.
    ///
    /// # Security
    /// Lines hold ids of tokens and requests, coins and amounts; never a token, a label or a body.
    pub async fn export_audit(
        &self,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        mut writer: impl Write + Send + 'static,
    ) -> Result<AuditChain, Error> {
        let export = self.core.blocking(move |core| core.store.export_audit(from, to, &mut writer));
        Ok(export.await??)
    }

    /// Exports the oldest entries to the new file `path` and removes them: whole segments of 48 whose
    /// entries are all from before `before`. The hash of the last one removed stays, so that what is
    /// left is verified from there on; the log tells of it. `Ok` means that the file is on disk, and
    /// the entries are gone.
    ///
    /// # Errors
    /// As [`Vault::export_audit`]; nothing is removed then, and the file may be there, or be unfinished.
    /// One that is there already is not replaced.
    pub async fn prune_audit(
        &self,
        before: DateTime<Utc>,
        path: impl AsRef<Path>,
    ) -> Result<AuditChain, Error> {
        let path = path.as_ref().to_owned();
        let pruned =
            self.core.blocking(move |core| core.store.prune_audit(before, &path, core.clock.now()));
        Ok(pruned.await??)
    }
}

impl Core {
    /// Tells of a refusal, and hands it on.
    pub(super) fn watched<T>(&self, label: &str, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Denied(denied)) = &result
            && let Ok(label) = Label::new(label)
        {
            let rule = denied.rule().as_str();
            telemetry::denied(rule);
            tracing::debug!(name: "request.denied", %label, rule, "a rule refused a request");
            self.events.emit(|| Event::denied(&label, denied));
            if let Some(held) = self.entry(&label).ok().and_then(|entry| entry.held()) {
                self.store.note_denied(held.record.info.id, denied.rule(), self.clock.now());
            }
        }
        result
    }
}
