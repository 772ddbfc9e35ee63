//! Compiles the kernels with NVIDIA's compiler, if the feature `cuda` asks for them.

use std::{env, error::Error, path::PathBuf, process::Command};

/// Machine code for these architectures; newer GPUs translate the newest one's intermediate code when the program starts. 90a is 9.0 with
/// what later architectures do not keep: products by warpgroups.
const ARCHITECTURES: [&str; 4] = ["80", "86", "89", "90a"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    // The toolkit that CUDA_HOME names goes before whatever else is installed.
    let compiler = env::var_os("CUDA_HOME")
        .map(|home| PathBuf::from(home).join("bin/nvcc"))
        .filter(|compiler| compiler.is_file())
        .unwrap_or_else(|| "nvcc".into());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?).join("kernels.fatbin");
    let mut command = Command::new(&compiler);
    command.args(["-fatbin", "-O3", "-std=c++17", "--threads", "2"]);
    for architecture in ARCHITECTURES {
        command.args([
            "-gencode",
            &format!("arch=compute_{architecture},code=sm_{architecture}"),
        ]);
    }
    command.args(["-gencode", "arch=compute_90,code=compute_90"]);
    let status = command
        .arg("-o")
        .arg(&out)
        .arg("cuda/kernels.cu")
        .status()
        .map_err(|error| {
            format!(
                "{} cannot be started ({error}); set CUDA_HOME to a CUDA toolkit",
                compiler.display()
            )
        })?;
    if !status.success() {
        return Err(format!("{} could not compile cuda/kernels.cu ({status})", compiler.display()).into());
    }
    Ok(())
}
