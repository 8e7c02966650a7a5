//! The file that a backup is written to and read from.

use super::*;

#[test]
fn what_is_there_is_never_replaced() {
    let (dir, path) = place();
    let exists = |result: Result<(), StoreError>| match result {
        Err(StoreError::BackupExists { path: told }) => assert_eq!(told, path),
        other => panic!("{other:?}"),
    };
    let create = || Writer::create(&path, origin(), key());
    fs::write(&path, "mine").unwrap();
    exists(create().map(drop));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    exists(create().map(drop));
    fs::remove_file(&path).unwrap();

    // It may also come while the backup is being written.
    let writer = create().unwrap();
    fs::write(&path, "mine").unwrap();
    exists(writer.finish());
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(names(&dir), ["backup"], "what was written is removed again");
}

#[test]
fn an_unfinished_backup_is_removed_unless_a_kill_comes_first() {
    let (dir, path) = place();
    let create = || Writer::create(&path, origin(), key());
    drop(create().unwrap());
    assert!(names(&dir).is_empty());

    // A kill runs no destructor; nor has another process that is still writing run its own.
    std::mem::forget(create().unwrap());
    let left = dir.path().join("backup.new");
    let before = fs::read(&left).unwrap();
    match create() {
        Err(error @ StoreError::BackupUnfinished { .. }) => {
            let told = error.to_string();
            assert!(told.starts_with(&left.display().to_string()), "{told}");
        }
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(fs::read(&left).unwrap(), before);
    assert!(matches!(open(&before), Err(StoreError::DamagedBackup { .. })));
    fs::remove_file(&left).unwrap();
    std::os::unix::fs::symlink("elsewhere", &left).unwrap();
    assert!(matches!(create(), Err(StoreError::BackupUnfinished { .. })), "a link is not followed");
    fs::remove_file(&left).unwrap();
    create().unwrap().finish().unwrap();
    assert_eq!(names(&dir), ["backup"]);
}

#[test]
fn a_directory_that_takes_nothing_is_refused() {
    let (dir, path) = place();
    let mut refused = vec![dir.path().join("missing").join("backup")];
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    match File::create(dir.path().join("probe")) {
        Err(_) => refused.push(path),
        // The superuser may write anywhere but here.
        Ok(_) => refused.push("/proc/backup".into()),
    }
    for path in refused {
        let error = Writer::create(&path, origin(), key()).err();
        let is_named = matches!(error, Some(StoreError::BackupOutOfReach { .. }));
        assert!(is_named, "{}: {error:?}", path.display());
    }
}

/// `/dev/full` has no room, but cannot be renamed: it shows what a write that fails does to what
/// follows. That nothing is left is shown by a file that may not grow, in a child.
#[test]
fn a_full_disk_is_an_error_and_stays_one() {
    const CHILD: &str = "BITGO_VAULT_FULL_DISK";
    if let Ok(path) = std::env::var(CHILD) {
        let mut writer = Writer::create(Path::new(&path), origin(), key()).unwrap();
        let mut kinds = Vec::new();
        for _ in 0..10 {
            if let Err(StoreError::Io(error)) = writer.record(0, b"", &vec![1; ROW_MAX]) {
                kinds.push(error.kind());
            }
        }
        assert_eq!(kinds[0], ErrorKind::FileTooLarge);
        assert!(kinds.len() > 5 && kinds[1..].iter().all(|kind| *kind == ErrorKind::Other));
        assert!(matches!(writer.finish(), Err(StoreError::Io(_))));
        return;
    }
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        match Sealer::start(full, origin(), key()) {
            Err(StoreError::StorageFull(_)) => {}
            other => panic!("{:?}", other.err()),
        }
    }
    let (dir, path) = place();
    // 200 blocks of 512 bytes, or of 1024: a chunk or two. The signal is ignored by the child too.
    let limited = r#"trap "" XFSZ; ulimit -f 200; exec "$0" --exact "$1""#;
    let this = std::env::current_exe().unwrap();
    let name = "store::backup::tests::file::a_full_disk_is_an_error_and_stays_one";
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(this)
        .arg(name)
        .env(CHILD, &path)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert!(names(&dir).is_empty());
}

#[test]
fn what_is_no_plain_file_is_refused_at_once() {
    let (dir, path) = place();
    let refused = |path: &Path| match open_file(path, PASSPHRASE) {
        Err(StoreError::DamagedBackup { what }) => assert_eq!(what, "it is no plain file"),
        other => panic!("{}: {other:?}", path.display()),
    };
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    refused(&path);
    refused(dir.path());
    refused(Path::new("/dev/zero"));
    let missing = open_file(&dir.path().join("missing"), "p");
    assert!(matches!(missing, Err(StoreError::BackupOutOfReach { .. })));
    // A link to a backup is where its user says it is.
    fs::write(dir.path().join("true"), seal(&few())).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("true", &link).unwrap();
    assert_eq!(open_file(&link, PASSPHRASE).unwrap(), few());
    for (bytes, told) in [
        (&b""[..], "it ends within its header"),
        (b"BGVAULT\0", "it ends within its header"),
        (&[b'x'; 200], "it is no backup"),
    ] {
        match open(bytes) {
            Err(StoreError::DamagedBackup { what }) => assert_eq!(what, told),
            other => panic!("{other:?}"),
        }
    }
}
