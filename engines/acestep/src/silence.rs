//! `silence_latent.pt`: what the autoencoder makes of silence, a PyTorch file with one tensor [1, 64, frames].
//!
//! A PyTorch file is a stored zip: a pickle that says how the tensor is shaped, and the values as they are. The pickle is not run: shape and
//! order of the public file are known, and the values alone are read.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    checkpoint::LATENT_CHANNELS,
    error::{AcestepError, io_error},
};

/// Longest file that is one: an hour of silence.
const FRAMES_MAX: usize = 90_000;
/// Folder of the entries, named like the file.
const NAME: &str = "silence_latent";

/// The latent of silence as the networks take it: frames one after another, 64 values each.
///
/// # Errors
/// `Io`; `Silence` if it is no such file.
pub(crate) fn read(path: &Path) -> Result<Vec<f32>, AcestepError> {
    let refuse = |reason: &str| AcestepError::Silence {
        path: path.into(),
        reason: reason.into(),
    };
    let file = File::open(path).map_err(|error| io_error(path, error))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| refuse(&error.to_string()))?;
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.into_owned()))
        .collect();
    let find = |end: &str| {
        names
            .iter()
            .find(|name| name.ends_with(end))
            .ok_or_else(|| refuse(&format!("it has no entry …{end}")))
    };
    let mut entry = |name: &str, limit: usize| {
        let entry = archive.by_name(name).map_err(|error| refuse(&error.to_string()))?;
        let mut bytes = Vec::new();
        let read = entry.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| refuse(&error.to_string()))?;
        if bytes.len() > limit {
            return Err(refuse("it is longer than an hour"));
        }
        Ok(bytes)
    };
    let pickle = entry(find("/data.pkl")?, 4096)?;
    if !pickle.windows(12).any(|words| words == b"FloatStorage") {
        return Err(refuse("its values are not of single precision"));
    }
    let bytes = entry(find("/data/0")?, FRAMES_MAX * LATENT_CHANNELS * size_of::<f32>())?;
    let (words, rest) = bytes.as_chunks::<4>();
    if words.is_empty() || !rest.is_empty() || !words.len().is_multiple_of(LATENT_CHANNELS) {
        return Err(refuse("its values do not fill 64 channels"));
    }
    let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(refuse("a value is no number"));
    }
    Ok(transposed(&values, LATENT_CHANNELS))
}

/// Writes such a file, as `torch.save` does.
///
/// # Errors
/// `Io`.
pub(crate) fn write(path: &Path, silence: &[f32]) -> Result<(), AcestepError> {
    let frames = silence.len() / LATENT_CHANNELS;
    let values = transposed(silence, frames);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let pickle = pickle(frames as u32);
    let entries: [(&str, &[u8]); 4] = [
        ("data.pkl", &pickle),
        ("byteorder", b"little"),
        ("data/0", &bytes),
        ("version", b"3\n"),
    ];
    let written = || -> io::Result<()> {
        let mut archive = ZipWriter::new(BufWriter::new(File::create(path)?));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in entries {
            archive.start_file(format!("{NAME}/{name}"), options)?;
            archive.write_all(bytes)?;
        }
        archive
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()
    };
    written().map_err(|error| io_error(path, error))
}

/// Rows of a matrix with so many rows, as columns.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// The pickle of a contiguous tensor [1, 64, frames] of single precision on the CPU, protocol 2.
fn pickle(frames: u32) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let integer = |value: u32| [b"J", &value.to_le_bytes()[..]].concat();
    let (one, channels, frames, count) = (
        integer(1),
        integer(LATENT_CHANNELS as u32),
        integer(frames),
        integer(LATENT_CHANNELS as u32 * frames),
    );
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        count.clone(),
        // The storage by its persistent id; then offset, shape, strides, requires_grad, hooks.
        b"tQ".to_vec(),
        integer(0),
        [one.clone(), channels, frames.clone(), b"\x87".to_vec()].concat(),
        [count, frames, one, b"\x87".to_vec()].concat(),
        b"\x89ccollections\nOrderedDict\n)RtR.".to_vec(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn silence(frames: usize) -> Vec<f32> {
        greenroom_weights::uniform("silence", 3, frames * LATENT_CHANNELS)
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("silence_latent.pt");
        write(&path, &silence(75)).unwrap();
        assert_eq!(read(&path).unwrap(), silence(75));
    }

    #[test]
    fn channels_lie_one_after_another_in_the_file() {
        assert_eq!(
            transposed(&[0.0, 1.0, 2.0, 10.0, 11.0, 12.0], 2),
            [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]
        );
    }

    #[test]
    fn what_is_no_such_file_is_refused_in_words() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("silence_latent.pt");
        write(&path, &silence(75)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 100, whole.len() - 30] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let refused = read(&path).unwrap_err().to_string();
            assert!(refused.contains("silence_latent.pt"), "{refused}");
        }
        let mut damaged = silence(75);
        damaged[9] = f32::NAN;
        write(&path, &damaged).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no number"));
    }
}
