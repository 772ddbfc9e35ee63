//! Checkpoints that are whole, and those that are not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use greenroom_audio::Pcm;
use greenroom_stage::{Home, Tenant};
use greenroom_weights::ImageError;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tempfile::TempDir;

use super::{
    super::{Melband, MelbandConfig, MelbandError, MelbandOptions, write_random_checkpoint},
    NARROW, noise, options, resident,
    tracks::run_out,
};
use crate::{Separator, Stems};

const NAME: &str = "layers.1.0.layers.0.0.to_gates.weight";

/// A folder with a checkpoint of random weights.
fn checkpoint() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.safetensors");
    write_random_checkpoint(&path, &NARROW, 7).unwrap();
    (dir, path)
}

/// How many images the cache has.
fn kept(path: &Path) -> usize {
    let files = fs::read_dir(path.with_extension("cache")).unwrap();
    let is_image = |file: &fs::DirEntry| file.path().extension().is_some_and(|extension| extension == "weights");
    files.map(Result::unwrap).filter(is_image).count()
}

fn open(path: &Path) -> Result<Arc<Melband>, MelbandError> {
    Melband::open_shaped(path, &path.with_extension("cache"), NARROW, options())
}

/// Writes the checkpoint anew with its tensors changed.
fn change(path: &Path, change: impl for<'a> FnOnce(&mut Vec<(String, TensorView<'a>)>)) {
    let bytes = fs::read(path).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    change(&mut tensors);
    fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

fn separated(melband: &Melband) -> Stems {
    melband.attach(&Home::Ram).unwrap();
    let track = Pcm::new(48_000, 2, noise(41, 2 * 9_000));
    let mut rip = melband.begin(Arc::new(track)).unwrap();
    run_out(rip.as_mut());
    rip.finish().unwrap()
}

#[test]
fn a_checkpoint_is_the_weights_that_were_written() {
    let (_dir, path) = checkpoint();
    let expected = separated(&resident(NARROW, 7));
    assert!(separated(&open(&path).unwrap()) == expected);
    // The second time from the cache.
    assert_eq!(kept(&path), 1);
    assert!(separated(&open(&path).unwrap()) == expected);
}

#[test]
fn half_precision_weights_are_the_same_weights() {
    let (_dir, path) = checkpoint();
    let half = MelbandOptions {
        dtype: candle_core::DType::F16,
        ..options()
    };
    let melband = Melband::open_shaped(&path, &path.with_extension("cache"), NARROW, half).unwrap();
    assert!(melband.weights_bytes() < resident(NARROW, 7).weights_bytes());
    // The checkpoint is in half precision, so nothing is lost.
    assert!(separated(&melband) == separated(&resident(NARROW, 7)));
}

#[test]
fn a_tensor_that_is_missing_is_named() {
    let (_dir, path) = checkpoint();
    change(&path, |tensors| tensors.retain(|(name, _)| name != NAME));
    let error = open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(&error, MelbandError::Missing(name) if name == NAME), "{error}");
    assert!(error.to_string().contains(NAME));
}

#[test]
fn a_tensor_that_is_too_much_is_named() {
    let (_dir, path) = checkpoint();
    change(&path, |tensors| {
        let tensor = tensors[0].1.clone();
        tensors.push(("layers.2.0.norm.gamma".into(), tensor));
    });
    let error = open(&path).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, MelbandError::Extra(name) if name == "layers.2.0.norm.gamma"),
        "{error}"
    );
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let (_dir, path) = checkpoint();
    change(&path, |tensors| {
        let (_, tensor) = tensors.iter_mut().find(|(name, _)| name == NAME).unwrap();
        *tensor = TensorView::new(Dtype::F16, vec![16, 2], tensor.data()).unwrap();
    });
    let error = open(&path).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the checkpoint's tensor {NAME} has the shape [16, 2], and the network needs [2, 16]")
    );
}

#[test]
fn a_tensor_of_whole_numbers_is_named() {
    let (_dir, path) = checkpoint();
    change(&path, |tensors| {
        let (_, tensor) = tensors.iter_mut().find(|(name, _)| name == NAME).unwrap();
        *tensor = TensorView::new(Dtype::I16, vec![2, 16], tensor.data()).unwrap();
    });
    let error = open(&path).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, MelbandError::Type { name, .. } if name == NAME),
        "{error}"
    );
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let (_dir, path) = checkpoint();
    let infinite: Vec<u8> = [0x00, 0x7c].repeat(32);
    let bytes = fs::read(&path).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let (_, tensor) = tensors.iter_mut().find(|(name, _)| name == NAME).unwrap();
    *tensor = TensorView::new(Dtype::F16, vec![2, 16], &infinite).unwrap();
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let error = open(&path).map(|_| ()).unwrap_err();
    assert!(
        matches!(error, MelbandError::Image(ImageError::Unfit { .. })),
        "{error}"
    );
    assert_eq!(kept(&path), 0);
}

#[test]
fn a_checkpoint_that_ends_early_is_refused() {
    let (_dir, path) = checkpoint();
    let bytes = fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = open(&path).map(|_| ()).unwrap_err();
        assert!(matches!(error, MelbandError::Container(_)), "{length}: {error}");
    }
}

#[test]
fn a_checkpoint_that_is_not_there_is_named() {
    let (dir, _) = checkpoint();
    let error = open(&dir.path().join("elsewhere.safetensors")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("elsewhere.safetensors"), "{error}");
}

#[test]
fn sizes_that_do_not_fit_together_are_refused() {
    for config in [
        MelbandConfig { depth: 0, ..NARROW },
        MelbandConfig { chunk: 8_821, ..NARROW },
        MelbandConfig {
            window: 256,
            hop: 100,
            ..NARROW
        },
    ] {
        let refused = Melband::random(config.clone(), 1, options()).map(|_| ());
        assert!(matches!(refused, Err(MelbandError::Config(_))), "{config:?}");
    }
    let mut none = options();
    none.pieces_a_batch = 0;
    let refused = Melband::random(NARROW, 1, none).map(|_| ());
    assert!(matches!(refused, Err(MelbandError::Options(_))));
}
