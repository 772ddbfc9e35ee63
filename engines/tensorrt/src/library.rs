//! Opening the library.

use std::{
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
        let failed = |error: &dyn std::fmt::Display| TensorrtError::Library {
            words: error.to_string(),
        };
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
