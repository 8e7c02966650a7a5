//! Another passphrase, or other costs of deriving from it: the header alone is rewritten.
//!
//! ```text
//! current ──Argon2id(salt, costs)────────> KEK  ──unwraps──> DataKey       (else WrongPassphrase)
//! new ──────Argon2id(new salt, costs')──> KEK' ──wraps────> DataKey, in generation + 1
//! audit entry ──> header.new, synced ──> rename ──> directory synced ──> KEK' and header in use
//! ```
//!
//! Whatever is killed wherever, the header on disk is one of the two, whole. An error before the
//! rename changes nothing but the audit log. After one from the rename on either passphrase may be
//! the one that opens, so nothing is written any more, least of all a grant that would put the
//! old wrap back; reopening finds out.

use super::disk::Keyring;
use super::{AuditAction, Header, Store, StoreError, derive_key, lock};
use crate::crypto::{KdfParams, KeyEncryptionKey, Salt};
use crate::secret::Passphrase;
use chrono::{DateTime, Utc};
use getrandom::SysRng;

impl Store {
    /// The costs of deriving the key.
    pub(crate) fn kdf(&self) -> KdfParams {
        lock(&self.disk.keyring).header.kdf
    }

    /// Whether `passphrase` is this vault's, by deriving and unwrapping as `open` does.
    pub(crate) fn check_passphrase(&self, passphrase: &Passphrase) -> Result<(), StoreError> {
        let header = lock(&self.disk.keyring).header.clone();
        let key = derive_key(passphrase, &header.salt, header.kdf)?;
        header.unseal(&key).map(drop)
    }

    /// Replaces the passphrase; the costs stay.
    pub(crate) fn change_passphrase(
        &self,
        current: &Passphrase,
        new: &Passphrase,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = lock(&self.changing);
        self.check_passphrase(current)?;
        self.rewrap(new, self.kdf(), AuditAction::PassphraseChanged, now)
    }

    /// Raises the costs; the passphrase stays. The same costs make a new salt.
    pub(crate) fn upgrade_kdf(
        &self,
        passphrase: &Passphrase,
        kdf: KdfParams,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = lock(&self.changing);
        if !kdf.is_at_least(self.kdf()) {
            return Err(StoreError::WeakerKdf);
        }
        self.check_passphrase(passphrase)?;
        self.rewrap(passphrase, kdf, AuditAction::KdfUpgraded, now)
    }

    /// Wraps the data key under a key derived anew. The header is locked for the write alone, not
    /// for the derivation: seals are granted meanwhile.
    fn rewrap(
        &self,
        passphrase: &Passphrase,
        kdf: KdfParams,
        action: AuditAction,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let salt = Salt::random(&mut SysRng)?;
        let key = derive_key(passphrase, &salt, kdf)?;
        self.append_audit(action, None, None, now)?;
        self.use_key(key, salt, kdf)
    }

    fn use_key(&self, key: KeyEncryptionKey, salt: Salt, kdf: KdfParams) -> Result<(), StoreError> {
        let keyring = &mut *lock(&self.disk.keyring);
        let header = keyring.rewrapped(&key, salt, kdf)?;
        self.disk.replace_header(keyring, header)?;
        keyring.key_encryption_key = key;
        Ok(())
    }
}

impl Keyring {
    /// The next header, under another key; the seals granted stay.
    fn rewrapped(
        &self,
        key: &KeyEncryptionKey,
        salt: Salt,
        kdf: KdfParams,
    ) -> Result<Header, StoreError> {
        let mut header = self.header.next();
        (header.salt, header.kdf) = (salt, kdf);
        self.seal(&mut header, key)?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::super::committer::Writer;
    use super::super::header;
    use super::super::tests::{add, charge, create, kdf, killed_copy, open_with, used};
    use super::*;
    use crate::crypto::key_encryption_key;
    use crate::environment::Environment;
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::path::Path;

    fn old() -> Passphrase {
        Passphrase::new("correct horse")
    }

    fn new() -> Passphrase {
        Passphrase::new("battery staple")
    }

    fn change(store: &Store, from: &Passphrase, to: &Passphrase) -> Result<(), StoreError> {
        store.change_passphrase(from, to, DateTime::UNIX_EPOCH)
    }

    fn told(store: &Store) -> Vec<AuditAction> {
        store.audit().unwrap().into_iter().map(|entry| entry.action).collect()
    }

    /// The vault in `dir`, which `this` opens and the other of the two does not.
    fn open_only(dir: &Path, this: &Passphrase) -> Store {
        let other = [old(), new()].into_iter().find(|other| other.expose() != this.expose());
        let refused = open_with(dir, &other.unwrap(), &Environment::Test).err();
        assert!(matches!(refused, Some(StoreError::WrongPassphrase)), "{refused:?}");
        open_with(dir, this, &Environment::Test).unwrap()
    }

    #[test]
    fn only_the_new_passphrase_opens_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        store.reserve_alone(&lineage, &charge(30)).unwrap();
        let before = Header::read(dir.path()).unwrap();
        change(&store, &old(), &new()).unwrap();
        let after = Header::read(dir.path()).unwrap();
        assert_eq!(after.generation, before.generation + 1);
        assert_eq!((after.kdf, after.seals, after.epoch), (before.kdf, before.seals, before.epoch));
        assert_ne!(after.salt, before.salt);
        assert!(matches!(store.check_passphrase(&old()), Err(StoreError::WrongPassphrase)));
        store.reserve_alone(&lineage, &charge(20)).unwrap();
        let killed = killed_copy(dir.path());
        drop(store);
        // Of a kill the log tells whoever opens the vault, not who mistypes the passphrase before.
        let changed = AuditAction::PassphraseChanged;
        for (dir, log) in
            [(killed.path(), vec![changed, AuditAction::Gap]), (dir.path(), vec![changed])]
        {
            let store = open_only(dir, &new());
            assert_eq!(store.tokens().unwrap().len(), 1);
            assert_eq!(used(&store, lineage), 50);
            assert_eq!(told(&store), log);
        }
    }

    #[test]
    fn a_wrong_passphrase_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let bytes = || fs::read(dir.path().join(header::FILE)).unwrap();
        let before = bytes();
        assert!(matches!(change(&store, &new(), &old()), Err(StoreError::WrongPassphrase)));
        let upgrade = store.upgrade_kdf(&new(), KdfParams::DEFAULT, DateTime::UNIX_EPOCH);
        assert!(matches!(upgrade, Err(StoreError::WrongPassphrase)));
        assert_eq!(bytes(), before);
        assert!(told(&store).is_empty());
        drop(store);
        open_only(dir.path(), &old());
    }

    #[test]
    fn costs_rise_and_do_not_fall() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let costs = |m, t, p| KdfParams::new(m, t, p).unwrap();
        let upgrade = |kdf| store.upgrade_kdf(&old(), kdf, DateTime::UNIX_EPOCH);
        upgrade(costs(64, 2, 2)).unwrap();
        let salt = Header::read(dir.path()).unwrap().salt;
        upgrade(costs(64, 2, 2)).unwrap();
        assert_ne!(Header::read(dir.path()).unwrap().salt, salt, "equal costs make a new salt");
        for weaker in [kdf(), costs(64, 1, 2), costs(32, 4, 1), costs(63, 64, 1)] {
            assert!(matches!(upgrade(weaker), Err(StoreError::WeakerKdf)), "{weaker:?}");
        }
        assert_eq!(store.kdf(), costs(64, 2, 2));
        assert_eq!(told(&store), [AuditAction::KdfUpgraded; 2]);
        drop(store);
        assert_eq!(open_only(dir.path(), &old()).kdf(), costs(64, 2, 2));
    }

    /// Every seal needs a grant here, so grants rewrite the header all the time.
    #[test]
    fn grants_and_changes_do_not_undo_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        let generation = || Header::read(dir.path()).unwrap().generation;
        let before = generation();
        let (changes, grants) = (40, 60);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..grants {
                        exhaust_grant(&store);
                        store.renew_budget(lineage).unwrap();
                    }
                });
            }
            for _ in 0..changes / 2 {
                for (from, to) in [(old(), new()), (new(), old())] {
                    change(&store, &from, &to).unwrap();
                    let keyring = lock(&store.disk.keyring);
                    let header = Header::read(dir.path()).unwrap();
                    assert_eq!(header, keyring.header);
                    let key = key_encryption_key(&to, &header.salt, header.kdf).unwrap();
                    header.unseal(&key).unwrap();
                    drop(keyring);
                    let writer =
                        |writer: &mut Writer| Ok((writer.seals.used, writer.seals.granted));
                    let (used, granted) = store.committer.alone(writer).unwrap();
                    let header = Header::read(dir.path()).unwrap();
                    assert!(used <= granted && granted <= header.seals, "a grant was undone");
                }
            }
        });
        assert!(generation() - before > changes + grants, "grants came between");
        change(&store, &old(), &new()).unwrap();
        exhaust_grant(&store);
        store.reserve_alone(&lineage, &charge(1)).unwrap();
        drop(store);
        let store = open_only(dir.path(), &new());
        assert_eq!(used(&store, lineage), 1);
        assert_eq!(told(&store).len() as u64, changes + 1);
    }

    fn exhaust_grant(store: &Store) {
        let use_up = |writer: &mut Writer| {
            writer.seals.used = writer.seals.granted;
            Ok(())
        };
        store.committer.alone(use_up).unwrap();
    }

    #[test]
    fn what_a_kill_leaves_beside_the_header_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        drop(create(dir.path()));
        let temporary = dir.path().join(header::TEMPORARY);
        for left in [Vec::new(), vec![0xa5; 4096], fs::read(dir.path().join(header::FILE)).unwrap()]
        {
            for (from, to) in [(old(), new()), (new(), old())] {
                fs::write(&temporary, &left).unwrap();
                change(&open_only(dir.path(), &from), &from, &to).unwrap();
                assert!(!temporary.exists());
                open_only(dir.path(), &to);
            }
        }
    }

    #[test]
    fn a_header_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        let temporary = dir.path().join(header::TEMPORARY);
        let bytes = || fs::read(dir.path().join(header::FILE)).unwrap();
        let mut before = bytes();
        let mut refused = vec![ErrorKind::IsADirectory];
        if Path::new("/dev/full").exists() {
            refused.push(ErrorKind::StorageFull);
        }
        for kind in refused {
            match kind {
                ErrorKind::StorageFull => std::os::unix::fs::symlink("/dev/full", &temporary),
                _ => fs::create_dir(&temporary),
            }
            .unwrap();
            match change(&store, &old(), &new()) {
                Err(StoreError::Io(error) | StoreError::StorageFull(error)) => {
                    assert_eq!(error.kind(), kind);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(bytes(), before);
            store.check_passphrase(&old()).unwrap();
            let _ = fs::remove_dir(&temporary);
            assert!(!temporary.exists());
            exhaust_grant(&store);
            store.reserve_alone(&lineage, &charge(1)).unwrap();
            open_only(killed_copy(dir.path()).path(), &old());
            before = bytes();
        }
        change(&store, &old(), &new()).unwrap();
        drop(store);
        open_only(dir.path(), &new());
    }

    /// The rename is refused: whether it happened counts as unknown, and nothing more is written.
    #[test]
    fn a_rename_that_fails_ends_all_writing() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        let (file, aside) = (dir.path().join(header::FILE), dir.path().join("aside"));
        fs::rename(&file, &aside).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(matches!(change(&store, &old(), &new()), Err(StoreError::ReadOnly { .. })));
        fs::remove_dir(&file).unwrap();
        fs::rename(&aside, &file).unwrap();
        expect_read_only(&store, lineage);
        drop(store);
        let store = open_only(dir.path(), &old());
        change(&store, &old(), &new()).unwrap();
    }

    /// The new header is there, and the next cut of power may bring the old one back.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_cannot_be_synced_ends_all_writing() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        let salt = Salt::random(&mut SysRng).unwrap();
        let key = key_encryption_key(&new(), &salt, kdf()).unwrap();
        {
            let mut keyring = lock(&store.disk.keyring);
            let header = keyring.rewrapped(&key, salt, kdf()).unwrap();
            let mut prepared = header.prepare(dir.path()).unwrap();
            // Syncing a device that keeps nothing fails.
            prepared.directory = File::open("/dev/null").unwrap();
            let installed = store.disk.install_header(&mut keyring, header, prepared);
            assert!(matches!(installed, Err(StoreError::ReadOnly { .. })));
        }
        expect_read_only(&store, lineage);
        drop(store);
        open_only(dir.path(), &new());
    }

    /// Neither records nor headers are written: a grant would put the old wrap back.
    fn expect_read_only(store: &Store, lineage: crate::id::LineageId) {
        let before = fs::read(store.disk.directory.path().join(header::FILE)).unwrap();
        assert!(store.reserve_alone(&lineage, &charge(1)).is_err());
        let granted = store.disk.grant_seals(u64::MAX);
        assert!(matches!(granted, Err(StoreError::ReadOnly { .. })));
        for passphrase in [old(), new()] {
            let refused = change(store, &old(), &passphrase);
            assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
        }
        assert_eq!(fs::read(store.disk.directory.path().join(header::FILE)).unwrap(), before);
    }
}
