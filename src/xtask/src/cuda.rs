//! Building for NVIDIA GPUs on a machine that has neither one nor NVIDIA's toolkit.
//!
//! The compiler and the headers come from Python's packages. The program opens NVIDIA's libraries when it runs: nothing of them is
//! needed to link it, and the same program starts where there are none. For type checks alone a stand-in for the compiler will do.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{shell, tensorrt::Packages};

/// NVIDIA's compiler with what it includes. Newer ones make code that drivers of the 580 series refuse.
const TOOLKIT: [&str; 9] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-curand==10.4.0.35",
    "nvidia-cuda-profiler-api==13.0.85",
    "nvidia-cuda-culibos==13.0.85",
];
/// Where the packages put it.
const INSIDE: &str = "nvidia/cu13";
/// Libraries that the program opens by itself: to the linker an empty archive stands for each.
const OPENED_AT_RUN_TIME: [&str; 5] = ["cuda", "cublas", "cublasLt", "curand", "nvrtc"];
/// Cargo gives flags to build scripts too unless a target is named.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What candle's own kernels are compiled for; other GPUs translate them at the first start.
const COMPUTE_CAPABILITY: &str = "90";
/// Largest program that is handed out, compressed.
const PACKED_BYTES_MAX: u64 = 45 << 20;

/// A compiler and what goes with it.
struct Toolkit {
    home: PathBuf,
    stubs: PathBuf,
}

impl Toolkit {
    /// The real one, fetched once.
    fn fetched() -> anyhow::Result<Self> {
        let folder = shell::root()?.join("target/cuda");
        let home = folder.join(INSIDE);
        let complete = folder.join("complete");
        let wanted = TOOLKIT.join("\n");
        if fs::read_to_string(&complete).unwrap_or_default() != wanted {
            shell::say("fetching NVIDIA's compiler (240 MB, once)");
            fetch(&folder)?;
            fs::write(&complete, wanted)?;
        }
        let stubs = stubs(&folder)?;
        let runtime = stubs.join("libcudart.a");
        if !runtime.exists() {
            std::os::unix::fs::symlink(home.join("lib/libcudart_static.a"), runtime)?;
        }
        Ok(Self { home, stubs })
    }

    /// One that gives empty files: enough to check types.
    fn stand_in() -> anyhow::Result<Self> {
        let folder = shell::root()?.join("target/cuda-stand-in");
        let programs = folder.join("bin");
        fs::create_dir_all(&programs)?;
        let compiler = programs.join("nvcc");
        if fs::read(&compiler).ok().as_deref() != Some(STAND_IN.as_bytes()) {
            fs::write(&compiler, STAND_IN)?;
            fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
        }
        let stubs = stubs(&folder)?;
        Ok(Self { home: folder, stubs })
    }

    /// Runs a command of cargo's with this compiler.
    fn cargo(&self, command: &str, arguments: &[&str], more: &[(&str, OsString)]) -> anyhow::Result<()> {
        let programs = std::env::var_os("PATH").unwrap_or_default();
        let programs = std::env::join_paths(
            [self.home.join("bin")]
                .into_iter()
                .chain(std::env::split_paths(&programs)),
        )?;
        let flags = format!(
            "--cfg feature=\"dynamic-loading\" -L native={} -C link-arg=-ldl",
            shell::text(&self.stubs)?
        );
        let status = Command::new("cargo")
            .args([command, "--target", TARGET])
            .args(arguments)
            .current_dir(shell::root()?)
            .env("CUDA_HOME", &self.home)
            .env("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY)
            .env("PATH", programs)
            .env("GREENROOM_COMMIT", commit())
            .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags)
            .envs(more.iter().cloned())
            .status()
            .context("cargo cannot be started")?;
        ensure!(
            status.success(),
            "`cargo {command} {}` failed ({status})",
            arguments.join(" ")
        );
        Ok(())
    }
}

/// The commit that is built, for figures to name; with a mark if files differ from it.
fn commit() -> String {
    shell::output("git", &["describe", "--always", "--dirty", "--exclude=*"])
        .map_or_else(|_| "unknown".into(), |name| name.trim().into())
}

/// Says a version that cudarc and candle know, and makes every file that it is asked for, empty.
const STAND_IN: &str = r#"#!/bin/sh
# Stands for NVIDIA's compiler where code is only type-checked.
case "$*" in
*--version*)
    printf 'nvcc: a stand-in\n\n\nCuda compilation tools, release 13.0, V13.0.88\n'
    exit 0
    ;;
esac
folder=.
while [ $# -gt 0 ]; do
    case "$1" in
    -o | --output-file) shift && : >"$1" && exit 0 ;;
    --output-directory) shift && folder=$1 ;;
    *.cu) source=$1 ;;
    esac
    shift
done
name=${source##*/}
: >"$folder/${name%.cu}.ptx"
"#;

fn fetch(folder: &Path) -> anyhow::Result<()> {
    let wheels = folder.join("wheels");
    fs::create_dir_all(&wheels)?;
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    let arguments = [&download[..], &[shell::text(&wheels)?], &TOOLKIT].concat();
    shell::run("python3", &arguments).context("NVIDIA's compiler could not be fetched through pip")?;
    for wheel in fs::read_dir(&wheels)? {
        let wheel = wheel?.path();
        shell::run(
            "python3",
            &["-m", "zipfile", "-e", shell::text(&wheel)?, shell::text(folder)?],
        )?;
    }
    // Unpacking forgets which files are programs.
    for programs in ["bin", "nvvm/bin"] {
        for program in fs::read_dir(folder.join(INSIDE).join(programs))? {
            let program = program?.path();
            if program.is_file() {
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
            }
        }
    }
    fs::remove_dir_all(&wheels).context("the packages that were unpacked cannot be removed")
}

fn stubs(folder: &Path) -> anyhow::Result<PathBuf> {
    let stubs = folder.join("stubs");
    fs::create_dir_all(&stubs)?;
    for library in OPENED_AT_RUN_TIME {
        // An archive without members.
        fs::write(stubs.join(format!("lib{library}.a")), "!<arch>\n")?;
    }
    Ok(stubs)
}

/// Lints on any machine, with the features `cuda` and `tensorrt` or without them. Both times with the same compiler, target and flags: what
/// does not depend on the features is then checked once.
pub(crate) fn lints(with_features: bool) -> anyhow::Result<()> {
    let features: &[&str] = if with_features {
        &["--features=greenroom/cuda,greenroom/tensorrt"]
    } else {
        &[]
    };
    let arguments = [
        &["--quiet", "--workspace", "--all-targets"],
        features,
        &["--", "--deny=warnings"],
    ]
    .concat();
    Toolkit::stand_in()?.cargo("clippy", &arguments, &Packages::fetched()?.environment()?)
}

/// Holds the GPU's stage and kernels against their lists, where there is a GPU.
pub(crate) fn conformance() -> anyhow::Result<()> {
    if !Path::new("/dev/nvidiactl").exists() {
        shell::say("skipped: no GPU");
        return Ok(());
    }
    shell::run(shell::text(&build()?)?, &["conformance"])
}

/// Builds the program with CUDA; gives where it is.
fn build() -> anyhow::Result<PathBuf> {
    let toolkit = Toolkit::fetched()?;
    shell::say("building the program with CUDA (the first time about a quarter of an hour on two cores)");
    let folder = shell::root()?.join("target/gpu");
    let target = format!("--target-dir={}", shell::text(&folder)?);
    toolkit.cargo(
        "build",
        &["--release", "--package=greenroom", "--features=greenroom/cuda", &target],
        &[],
    )?;
    Ok(folder.join(TARGET).join("release/greenroom"))
}

/// Builds the program for GPU machines and packs it.
pub(crate) fn dist() -> anyhow::Result<()> {
    let built = build()?;
    let packed = shell::root()?.join("target/dist");
    fs::create_dir_all(&packed)?;
    let program = packed.join("greenroom-cuda");
    shell::run("strip", &["-o", shell::text(&program)?, shell::text(&built)?])?;
    shell::run("gzip", &["--keep", "--force", "--best", shell::text(&program)?])?;
    let packed = packed.join("greenroom-cuda.gz");
    let bytes = fs::metadata(&packed)?.len();
    shell::say(&format!("{}: {:.1} MB", packed.display(), bytes as f64 / 1e6));
    ensure!(
        bytes <= PACKED_BYTES_MAX,
        "{} has {bytes} bytes, and {PACKED_BYTES_MAX} is the most that is handed out",
        packed.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_says_a_version_and_makes_what_it_is_asked_for() {
        let toolkit = Toolkit::stand_in().unwrap();
        let compiler = toolkit.home.join("bin/nvcc");
        let said = Command::new(&compiler).arg("--version").output().unwrap();
        assert!(
            String::from_utf8(said.stdout)
                .unwrap()
                .lines()
                .nth(3)
                .unwrap()
                .contains("release 13.0,")
        );
        let folder = tempfile::tempdir().unwrap();
        let object = folder.path().join("a.o");
        let status = Command::new(&compiler).args(["-c", "a.cu", "-o"]).arg(&object).status();
        assert!(status.unwrap().success() && object.is_file());
        let status = Command::new(&compiler)
            .args(["--ptx", "--output-directory"])
            .arg(folder.path())
            .arg("kernels/b.cu")
            .status();
        assert!(status.unwrap().success() && folder.path().join("b.ptx").is_file());
    }
}
