//! Running other programs, in the root of the checkout.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

/// The root of the checkout.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("xtask is not where it was built")
}

/// One line of progress; to standard error, so that what is printed to standard output is the result alone.
pub(crate) fn say(what: &str) {
    eprintln!("── {what}");
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path of this checkout is not valid text")
}

/// Becomes another program, run in the root: its signals and its exit code are then its own. Comes back only with an error.
pub(crate) fn become_program(program: &Path, arguments: &[&str]) -> anyhow::Error {
    let root = match root() {
        Ok(root) => root,
        Err(error) => return error,
    };
    let error = Command::new(program).args(arguments).current_dir(root).exec();
    anyhow::Error::new(error).context(format!("{} cannot be started", program.display()))
}

/// Runs a program in the root; its output is seen.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run_in(&root()?, program, arguments)
}

/// Runs a program in a directory; its output is seen.
pub(crate) fn run_in(directory: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .status()
        .with_context(|| format!("{program} cannot be started: is it installed?"))?;
    ensure!(
        status.success(),
        "`{program} {}` failed ({status})",
        arguments.join(" ")
    );
    Ok(())
}

/// Runs a program in the root and gives what it printed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root()?)
        .output()
        .with_context(|| format!("{program} cannot be started: is it installed?"))?;
    if !output.status.success() {
        bail!(
            "`{program} {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed something that is not text"))
}

/// Whether a program can be found.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(program).is_file()))
}
