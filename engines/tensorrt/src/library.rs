//! Opening the library.

use std::{
    error::Error,
    ffi::{OsStr, c_int},
    path::{Path, PathBuf},
};

use libloading::Library;

use crate::TensorrtError;

/// The library, and the one that reads ONNX.
const LIBRARY: &str = "libtensorrt_rtx.so.1";
const PARSER: &str = "libtensorrt_onnxparser_rtx.so.1";
/// The version that its interface was compiled for: the first two numbers.
const WANTED: &str = "1.7";

/// The library, opened. It stays open as long as the process lives.
#[derive(Debug)]
pub struct Tensorrt {
    version: String,
}

impl Tensorrt {
    /// Opens the library in a folder, or where the system looks for libraries. The first that a process opens is the one it keeps.
    ///
    /// # Errors
    /// `Library`, `Version`.
    pub fn open(folder: Option<&Path>) -> Result<Self, TensorrtError> {
        let file = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        let failed = |error: &dyn Error| TensorrtError::Library { words: words(error) };
        // SAFETY: opening runs the library's initialisers; NVIDIA's have no preconditions.
        let library = unsafe { Library::new(file(LIBRARY)) }.map_err(|error| failed(&error))?;
        let version = version(&library).map_err(|error| failed(&error))?;
        if !version.starts_with(&format!("{WANTED}.")) {
            return Err(TensorrtError::Version {
                here: version,
                wanted: WANTED.into(),
            });
        }
        let name = |path: PathBuf| -> Box<OsStr> { path.into_os_string().into_boxed_os_str() };
        trtx::dynamically_load_tensorrt(Some(&*name(file(LIBRARY)))).map_err(|error| failed(&error))?;
        trtx::dynamically_load_tensorrt_onnxparser(Some(&*name(file(PARSER)))).map_err(|error| failed(&error))?;
        Ok(Self { version })
    }

    /// Its version, as it says itself: `1.7.1.116`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// All that an error says, with what is behind it: the outermost says only that something failed.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        inner = error.source();
    }
    words
}

fn version(library: &Library) -> Result<String, libloading::Error> {
    let number = |part: &str| -> Result<c_int, libloading::Error> {
        let name = format!("getInferLib{part}Version");
        // SAFETY: NvInferRuntimeBase.h declares it without arguments, giving an int32_t.
        let function = unsafe { library.get::<unsafe extern "C" fn() -> c_int>(name.as_bytes()) }?;
        // SAFETY: the library is open, and the function has no preconditions.
        Ok(unsafe { function() })
    };
    let numbers = ["Major", "Minor", "Patch", "Build"].map(number);
    let words = numbers.into_iter().map(|number| Ok(number?.to_string()));
    Ok(words.collect::<Result<Vec<_>, _>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = Tensorrt::open(Some(Path::new("/nowhere"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libtensorrt_rtx.so.1"), "{error}");
        assert!(error.contains("--tensorrt-dir"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_not_opened() {
        let folder = std::env::temp_dir().join(format!("greenroom-no-library-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(LIBRARY), "no library").unwrap();
        let opened = Tensorrt::open(Some(&folder));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(opened, Err(TensorrtError::Library { .. })));
    }
}
