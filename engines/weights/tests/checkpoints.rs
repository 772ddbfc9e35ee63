//! Checkpoints as files: what was written is read again, and what does not fit is refused by name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::PathBuf};

use greenroom_weights::{
    CheckpointError, CheckpointFile, Key, RandomTensors, Spread, Tensors, write_random_checkpoint,
};
use tempfile::TempDir;

fn keys() -> Vec<Key> {
    vec![
        Key::new("proj.weight", &[6, 5], Spread::weight(5)),
        Key::new("proj.bias", &[6], Spread::BIAS),
        Key::new("norm.weight", &[5], Spread::GAMMA),
    ]
}

/// A folder with a whole checkpoint in it.
fn written() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_random_checkpoint(&path, &keys(), RandomTensors { seed: 7 }).unwrap();
    (folder, path)
}

#[test]
fn a_random_checkpoint_holds_what_the_formula_says() {
    let (folder, path) = written();
    let file = CheckpointFile::open(&path, &keys()).unwrap();
    for key in keys() {
        assert_eq!(
            file.values(&key).unwrap(),
            RandomTensors { seed: 7 }.of(&key),
            "{}",
            key.name
        );
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing half-written is left"
    );
}

#[test]
fn every_difference_is_named() {
    let (_folder, path) = written();
    let refusal = |keys: &[Key]| match CheckpointFile::open(&path, keys) {
        Ok(_) => panic!("it fits"),
        Err(error) => error,
    };
    let mut more = keys();
    more.push(Key::new("head.weight", &[1], Spread::BIAS));
    assert!(matches!(refusal(&more), CheckpointError::Missing { name, .. } if name == "head.weight"));
    let fewer = &keys()[1..];
    assert!(matches!(refusal(fewer), CheckpointError::Extra { name, .. } if name == "proj.weight"));
    let mut other = keys();
    other[0].shape = vec![5, 6];
    assert!(matches!(refusal(&other), CheckpointError::Shape { found, .. } if found == [6, 5]));
}

#[test]
fn what_is_no_whole_file_is_refused() {
    let (_folder, path) = written();
    let whole = fs::read(&path).unwrap();
    for length in [0, 4, 40, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let refused = CheckpointFile::open(&path, &keys());
        assert!(
            matches!(
                refused,
                Err(CheckpointError::Container { .. } | CheckpointError::Io { .. })
            ),
            "{length} bytes"
        );
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        CheckpointFile::open(&path, &keys()),
        Err(CheckpointError::Io { .. })
    ));
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nowhere/model.safetensors");
    let refused = write_random_checkpoint(&path, &keys(), RandomTensors { seed: 7 });
    assert!(matches!(refused, Err(CheckpointError::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_stamp_tells_files_apart() {
    let (folder, path) = written();
    let stamp = |path: &std::path::Path| CheckpointFile::open(path, &keys()).unwrap().stamp().unwrap();
    let first = stamp(&path);
    assert_eq!(stamp(&path), first);
    let other = folder.path().join("other.safetensors");
    write_random_checkpoint(&other, &keys(), RandomTensors { seed: 8 }).unwrap();
    assert_ne!(stamp(&other), first);
}
