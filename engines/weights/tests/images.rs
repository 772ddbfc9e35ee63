//! Images are what was written into them, on disk and in memory, and nothing half-done or damaged is ever taken for one.
#![allow(clippy::unwrap_used, reason = "a test ends where it is wrong")]

use std::{
    cell::Cell,
    fs,
    path::Path,
    sync::{Arc, Barrier},
    thread,
};

use candle_core::DType;
use greenroom_weights::{
    ALIGNMENT, BuildError, HostWeights, ImageBuilder, ImageError, ImageKey, PackedImage, WeightSource, WeightsError,
};

fn key() -> ImageKey {
    ImageKey {
        group: "separator".into(),
        checkpoint: "ab".repeat(32),
        layout_version: 1,
        dtype: DType::F16,
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 0.37).sin()).collect()
}

fn build(builder: &mut ImageBuilder<'_>) -> Result<(), BuildError> {
    builder.tensor("bias", &[3], DType::F32, &[1.0, -2.0, 3.5])?;
    builder.tensor("weight", &[25, 1000], DType::F16, &values(25_000))?;
    builder.tensor("narrow", &[2, 2], DType::BF16, &[0.5, 1.5, -4.0, 0.0])?;
    builder.raw("order", &[2], DType::U32, &[7, 0, 0, 0, 9, 1, 0, 0])?;
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect::<Vec<_>>();
    names.sort();
    names
}

fn check(image: &PackedImage) {
    let weights = HostWeights::new(image);
    assert_eq!(
        weights.tensor("bias", &[3]).unwrap().to_vec1::<f32>().unwrap(),
        [1.0, -2.0, 3.5]
    );
    assert_eq!(
        weights.tensor("order", &[2]).unwrap().to_vec1::<u32>().unwrap(),
        [7, 265]
    );
    assert_eq!(
        weights.tensor("narrow", &[2, 2]).unwrap().to_vec2::<f32>().unwrap(),
        [[0.5, 1.5], [-4.0, 0.0]]
    );
    let weight = weights.tensor("weight", &[25, 1000]).unwrap();
    assert_eq!(weight.dtype(), DType::F32);
    let weight = weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (found, wanted) in weight.iter().zip(values(25_000)) {
        assert!((found - wanted).abs() <= 5e-4, "{found} for {wanted}");
    }
    assert!(
        image
            .layout()
            .iter()
            .all(|(_, entry)| entry.offset.is_multiple_of(ALIGNMENT))
    );
    assert!(image.bytes().len().is_multiple_of(4096));
    assert!((image.bytes().as_ptr() as usize).is_multiple_of(4096));
}

#[test]
fn an_image_in_memory_gives_back_what_was_packed() {
    check(&PackedImage::in_memory(build).unwrap());
}

#[test]
fn an_image_is_built_once_and_found_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("deep/cache");
    let builds = Cell::new(0);
    let open = |key: &ImageKey| {
        PackedImage::open_or_build(&cache, key, |builder| {
            builds.set(builds.get() + 1);
            build(builder)
        })
        .unwrap()
    };
    let first = open(&key());
    check(&first);
    let again = open(&key());
    check(&again);
    assert_eq!(builds.get(), 1);
    assert_eq!((first.layout(), first.bytes()), (again.layout(), again.bytes()));
    let newer = ImageKey {
        layout_version: 2,
        ..key()
    };
    check(&open(&newer));
    assert_eq!(builds.get(), 2, "another layout is another image");
    assert_eq!(names(&cache), [key().file_name(), newer.file_name()]);
}

#[test]
fn whatever_is_damaged_is_built_anew_and_whoever_has_the_old_one_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(key().file_name());
    let before = PackedImage::open_or_build(dir.path(), &key(), build).unwrap();
    let whole = fs::read(&path).unwrap();
    let damages = [
        0,
        3000,
        before.bytes().len() + 5,
        whole.len() - 45,
        whole.len() - 20,
        whole.len() - 1,
    ];
    let mut broken = damages.map(|place| {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        bytes
    });
    for bytes in broken
        .iter_mut()
        .map(|bytes| &bytes[..])
        .chain([&whole[..whole.len() / 2], &whole[4096..], &[]])
    {
        // As another program would: the name gets another file.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let rebuilt = Cell::new(false);
        let image = PackedImage::open_or_build(dir.path(), &key(), |builder| {
            rebuilt.set(true);
            build(builder)
        })
        .unwrap();
        assert!(rebuilt.get(), "{} damaged bytes were believed", bytes.len());
        check(&image);
        check(&before);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_file_of_another_key_under_this_name_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    // Shortened names are the same, keys are not.
    let other = ImageKey {
        checkpoint: format!("{}{}", "ab".repeat(8), "cd".repeat(24)),
        ..key()
    };
    assert_eq!(other.file_name(), key().file_name());
    PackedImage::open_or_build(dir.path(), &other, |builder| {
        Ok(builder.tensor("bias", &[1], DType::F32, &[9.0])?)
    })
    .unwrap();
    check(&PackedImage::open_or_build(dir.path(), &key(), build).unwrap());
}

#[test]
fn a_build_that_fails_leaves_nothing_and_the_next_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join(key().file_name()).with_extension("partial"),
        "from a crash",
    )
    .unwrap();
    let failed = PackedImage::open_or_build(dir.path(), &key(), |builder| {
        build(builder)?;
        Err("the checkpoint ends too early".into())
    });
    assert!(failed.unwrap_err().to_string().contains("ends too early"));
    assert!(names(dir.path()).is_empty());
    check(&PackedImage::open_or_build(dir.path(), &key(), build).unwrap());
    assert_eq!(names(dir.path()), [key().file_name()]);
}

#[test]
fn two_pods_that_open_the_same_image_build_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let together = Arc::new(Barrier::new(4));
    let builds = thread::scope(|scope| {
        let pods = [0; 4].map(|_| {
            scope.spawn(|| {
                together.wait();
                let mut builds = 0;
                let image = PackedImage::open_or_build(dir.path(), &key(), |builder| {
                    builds += 1;
                    build(builder)
                });
                check(&image.unwrap());
                builds
            })
        });
        pods.map(|pod| pod.join().unwrap()).iter().sum::<u32>()
    });
    assert_eq!(builds, 1);
}

#[test]
fn what_does_not_belong_into_an_image_is_named() {
    let refused = |add: &dyn Fn(&mut ImageBuilder<'_>) -> Result<(), ImageError>| {
        PackedImage::in_memory(|builder| {
            builder.tensor("there", &[1], DType::F32, &[0.0])?;
            Ok(add(builder)?)
        })
        .unwrap_err()
    };
    assert!(matches!(
        refused(&|builder| builder.tensor("there", &[1], DType::F16, &[0.0])),
        ImageError::Duplicate(name) if name == "there"
    ));
    assert!(matches!(
        refused(&|builder| builder.tensor("short", &[2, 2], DType::F16, &[0.0; 3])),
        ImageError::Length { name, given: 3, wanted: 4, .. } if name == "short"
    ));
    assert!(matches!(
        refused(&|builder| builder.raw("odd", &[1], DType::F16, &[0; 3])),
        ImageError::Length {
            given: 2,
            wanted: 1,
            ..
        }
    ));
    let mut large = values(20_000);
    large[17_000] = 70_000.0;
    assert!(matches!(
        refused(&|builder| builder.tensor("large", &[20_000], DType::F16, &large)),
        ImageError::Unfit { index: 17_000, .. }
    ));
    assert!(matches!(
        refused(&|builder| builder.tensor("nan", &[1], DType::F32, &[f32::NAN])),
        ImageError::Unfit { index: 0, .. }
    ));
    assert!(matches!(
        refused(&|builder| builder.tensor("whole", &[1], DType::U32, &[1.0])),
        ImageError::Type { .. }
    ));
    assert!(matches!(PackedImage::in_memory(|_| Ok(())), Err(ImageError::Empty)));
}

#[test]
fn a_tensor_that_is_asked_for_wrongly_is_named() {
    let image = PackedImage::in_memory(build).unwrap();
    let weights = HostWeights::new(&image);
    assert!(matches!(weights.tensor("absent", &[3]), Err(WeightsError::Unknown(name)) if name == "absent"));
    assert!(matches!(
        weights.tensor("bias", &[1, 3]),
        Err(WeightsError::Shape { name, wanted, found }) if name == "bias" && wanted == [1, 3] && found == [3]
    ));
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let partial = dir.path().join(key().file_name()).with_extension("partial");
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let failed = PackedImage::open_or_build(dir.path(), &key(), build);
    assert!(matches!(failed, Err(ImageError::DiskFull { path }) if path == partial));
    assert!(names(dir.path()).is_empty());
    check(&PackedImage::open_or_build(dir.path(), &key(), build).unwrap());
}
