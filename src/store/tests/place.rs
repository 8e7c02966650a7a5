//! Where a vault lies, and who may have it open.

use super::super::{CREATING, Report, header};
use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn one_process_holds_a_vault() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    match open(dir.path()) {
        Err(StoreError::InUse { path, holder: Some(holder) }) => {
            assert_eq!((path.as_path(), holder.pid), (dir.path(), std::process::id()));
            assert_eq!(holder.opened_at, NOW);
        }
        other => panic!("{:?}", other.err()),
    }
    // With the wrong passphrase it is the same: the key is not even derived.
    let wrong = open_with(dir.path(), &Passphrase::new("wrong"), &Environment::Test);
    assert!(matches!(wrong, Err(StoreError::InUse { .. })));
    drop(store);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_lock_file_removed_while_held_lets_no_second_one_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::InUse { holder: None, .. })));
    drop(store);
    assert!(open(dir.path()).is_ok());
}

/// What is refused, by the name of its last component, and why.
fn refusal(result: Result<Store, StoreError>) -> (String, &'static str) {
    match result.map(drop) {
        Err(StoreError::UnsafeDirectory { path, why }) => {
            (path.file_name().unwrap().to_string_lossy().into_owned(), why)
        }
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_that_others_can_write_to_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    drop(create(&dir));
    for (name, unsafe_mode, own) in [
        ("", 0o770, 0o700),
        ("", 0o702, 0o755),
        ("db.0", 0o720, 0o700),
        (header::FILE, 0o606, 0o600),
        ("LOCK", 0o660, 0o600),
    ] {
        set_mode(&dir.join(name), unsafe_mode);
        let (path, why) = refusal(open(&dir));
        assert_eq!(path, if name.is_empty() { "vault" } else { name });
        assert!(why.starts_with("others can write to it; chmod"), "{name}: {why}");
        set_mode(&dir.join(name), own);
    }
    open(&dir).unwrap();
    assert!(matches!(open(&dir.join("none")), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_parent_is_not_judged() {
    let parent = tempfile::tempdir().unwrap();
    set_mode(parent.path(), 0o2775);
    drop(create(&parent.path().join("vault")));
    open(&parent.path().join("vault")).unwrap();
}

#[test]
fn links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, link) = (dir.path().join("vault"), dir.path().join("link"));
    let is_link = "it is a symbolic link";
    std::os::unix::fs::symlink(&vault, &link).unwrap();
    assert_eq!(refusal(try_create(&place(&link))), ("link".into(), is_link), "it leads nowhere");
    assert!(!vault.exists());
    drop(create(&vault));
    for written in [link.clone(), dir.path().join("link/"), dir.path().join("link/.")] {
        assert_eq!(refusal(open(&written)), ("link".into(), is_link));
        assert_eq!(refusal(try_create(&place(&written))), ("link".into(), is_link));
    }
    for name in [header::FILE, "header.new", "LOCK", CREATING, "db.0", "db.0/db"] {
        let (there, kept) = (vault.join(name), dir.path().join("kept"));
        let was_there = fs::rename(&there, &kept).is_ok();
        std::os::unix::fs::symlink(&kept, &there).unwrap();
        let last = name.strip_prefix("db.0/").unwrap_or(name);
        assert_eq!(refusal(open(&vault)), (last.into(), is_link));
        fs::remove_file(&there).unwrap();
        if was_there {
            fs::rename(&kept, &there).unwrap();
        }
    }
    open(&vault).unwrap();
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting_for_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    for name in [header::FILE, "LOCK"] {
        let path = dir.path().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        set_mode(&path, 0o600);
        assert_eq!(refusal(open(dir.path())), (name.into(), "it is not a plain file"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        set_mode(&path, 0o600);
    }
    open(dir.path()).unwrap();
    let file = dir.path().join(header::FILE);
    assert_eq!(refusal(try_create(&place(&file))), ("header".into(), "it is not a directory"));
}

/// Only root gives things away, and not in every container; anyone else finds `/` to be another's.
#[test]
fn what_belongs_to_others_is_refused() {
    use std::os::unix::fs::{MetadataExt, chown};
    let foreign = "it belongs to another user";
    let own = rustix::process::geteuid().as_raw();
    if fs::metadata("/").unwrap().uid() != own {
        match try_create(&place(Path::new("/"))).map(drop) {
            Err(StoreError::UnsafeDirectory { why, .. }) => assert_eq!(why, foreign),
            other => panic!("{other:?}"),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    drop(create(&dir));
    if own != 0 || chown(dir.join("LOCK"), Some(1), None).is_err() {
        return;
    }
    for name in ["LOCK", header::FILE, "db.0", "db.0/db", ""] {
        let path = dir.join(name);
        chown(&path, Some(1), None).unwrap();
        let (refused, why) = refusal(open(&dir));
        assert_eq!((Some(&*refused), why), (path.file_name().unwrap().to_str(), foreign));
        chown(&path, Some(0), None).unwrap();
    }
    open(&dir).unwrap();
}

#[test]
fn file_systems_are_refused_unless_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new"), dir.path().join("old"));
    drop(create(&old));
    for (magic, name) in [
        (0x6969, FileSystem::Nfs),
        (0xfe53_4d42, FileSystem::Cifs),
        (0x794c_7630, FileSystem::Overlayfs),
    ] {
        let on = |path: &Path| Place::new(path).seeming(magic);
        let open = |place| Store::open(&place, &passphrase(), &Environment::Test, NOW);
        let others = [FileSystem::Nfs, FileSystem::Cifs, FileSystem::Overlayfs];
        let others = others.into_iter().filter(|other| *other != name);
        let wrong = others.fold(on(&old), Place::allow);
        for refused in [try_create(&on(&new)), open(on(&old)), open(wrong)] {
            match refused.map(drop) {
                Err(StoreError::UnsafeFileSystem { file_system, .. }) => {
                    assert_eq!(file_system, name);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fs::read_dir(&new).unwrap().count(), 0, "nothing is written there");
        open(on(&old).allow(name)).unwrap();
    }
    let local = Place::new(&new).seeming(0xef53);
    drop(try_create(&local).unwrap());
}

#[test]
fn a_creation_cut_short_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    fs::remove_file(dir.path().join(header::FILE)).unwrap();
    fs::write(dir.path().join(CREATING), b"").unwrap();
    fs::rename(dir.path().join("anchor"), dir.path().join("anchor.new")).unwrap();
    // Who looks is told the same as who opens.
    let faults = Report::of(&place(dir.path()), None, NOW).faults;
    assert!(matches!(faults[..], [StoreError::NotFound { .. }]), "{faults:?}");
    let refused = open(dir.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    drop(create(dir.path()));
    assert!(open(dir.path()).is_ok());
    let again = try_create(&place(dir.path()));
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
}

/// What is made is for its owner alone, whatever the directory was and whatever the umask says.
#[test]
fn all_that_is_made_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (there, new) = (dir.path().join("there"), dir.path().join("new/vault"));
    fs::create_dir(&there).unwrap();
    set_mode(&there, 0o755);
    for (dir, own) in [(&there, 0o755), (&new, 0o700)] {
        drop(create(dir));
        for (name, expect) in [("", own), ("db.0", 0o700), (header::FILE, 0o600), ("LOCK", 0o600)] {
            assert_eq!(mode(&dir.join(name)), expect, "{name} in {}", dir.display());
        }
        open(dir).unwrap();
    }
    // What was opened to the eyes of others since is closed again.
    for (name, seen, own) in [
        ("db.0", 0o755, 0o700),
        ("db.0/db", 0o666, 0o600),
        (header::FILE, 0o644, 0o600),
        ("LOCK", 0o644, 0o600),
    ] {
        set_mode(&new.join(name), seen);
        drop(open(&new).unwrap());
        assert_eq!(mode(&new.join(name)), own, "{name}");
    }
}

#[test]
fn a_mark_of_creation_does_not_outlive_the_vault_it_made() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    fs::write(dir.path().join(CREATING), b"").unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join(header::FILE)).unwrap();
    let again = try_create(&place(dir.path()));
    assert!(matches!(again, Err(StoreError::DamagedHeader { .. })), "the database is not wiped");
    // Nor is it of whatever epoch, and who looks is told so.
    fs::rename(dir.path().join("db.0"), dir.path().join("db.1")).unwrap();
    let faults = Report::of(&place(dir.path()), None, NOW).faults;
    assert!(matches!(faults[..], [StoreError::DamagedHeader { .. }]), "{faults:?}");
}
