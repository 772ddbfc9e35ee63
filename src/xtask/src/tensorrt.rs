//! TensorRT for RTX: what it takes to compile against it and to build engines, all of it through pip. No GPU, and no SDK.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{packages, shell};

/// The library, what reads its headers, and what writes networks down and runs them to be compared.
const PACKAGES: [&str; 4] = [
    "tensorrt-rtx-cu13-libs==1.7.1.116",
    "libclang==18.1.1",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
];
/// Where the packages put the library.
const LIBRARY: &str = "tensorrt_rtx_libs";
/// Where they put libclang.
const CLANG: &str = "clang/native";
/// The export script's own test.
const EXPORT_TEST: &str = "engines/compiled/export/export_test.py";

/// A folder with the packages in it.
pub(crate) struct Packages(PathBuf);

impl Packages {
    /// Fetched once.
    pub(crate) fn fetched() -> anyhow::Result<Self> {
        packages::install(&[packages::COMPILER])?;
        let folder = shell::root()?.join("target/tensorrt/packages");
        let complete = folder.join("complete");
        let wanted = PACKAGES.join("\n");
        if fs::read_to_string(&complete).unwrap_or_default() != wanted {
            shell::say("fetching TensorRT for RTX and what goes with it (170 MB, once)");
            // Pip does not replace what is in such a folder.
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
            }
            let install = ["-m", "pip", "install", "--quiet", "--target", shell::text(&folder)?];
            shell::run("python3", &[&install[..], &PACKAGES].concat())
                .context("TensorRT for RTX could not be fetched through pip")?;
            fs::write(&complete, wanted)?;
        }
        Ok(Self(folder))
    }

    /// Holds exported networks against the golden tensors.
    pub(crate) fn export_test(&self) -> anyhow::Result<()> {
        self.run("python3", &[EXPORT_TEST])
    }

    /// Runs a program with them.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let status = Command::new(program)
            .args(arguments)
            .current_dir(shell::root()?)
            .envs(self.environment()?)
            .status()
            .with_context(|| format!("{program} cannot be started: is it installed?"))?;
        ensure!(
            status.success(),
            "`{program} {}` failed ({status})",
            arguments.join(" ")
        );
        Ok(())
    }

    /// Where programs find them.
    pub(crate) fn environment(&self) -> anyhow::Result<[(&'static str, OsString); 4]> {
        // The headers of the C++ library look for the compiler's own, which the packaged libclang comes without.
        let own = shell::output("g++", &["-print-file-name=include"])?;
        Ok([
            ("LIBCLANG_PATH", self.0.join(CLANG).into()),
            ("BINDGEN_EXTRA_CLANG_ARGS", format!("-isystem {}", own.trim()).into()),
            ("GREENROOM_TENSORRT_DIR", self.0.join(LIBRARY).into()),
            ("PYTHONPATH", python_path(&self.0)?),
        ])
    }
}

/// These packages before others.
fn python_path(packages: &Path) -> anyhow::Result<OsString> {
    let others = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    Ok(std::env::join_paths(
        std::iter::once(packages.to_path_buf()).chain(others),
    )?)
}
