//! Programs that tests and benches use and a new machine lacks: Debian's, through apt-get.

use anyhow::{Context, ensure};

use crate::shell;

/// A program, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    /// What to look for.
    program: &'static str,
    /// What to install.
    name: &'static str,
    /// The environment variable that names another copy of the program, where there is one.
    variable: Option<&'static str>,
}

/// Encodes the compressed files that are uploaded.
pub(crate) const FFMPEG: Package = Package {
    program: "ffmpeg",
    name: "ffmpeg",
    variable: None,
};
/// Compiles what TensorRT's headers become.
pub(crate) const COMPILER: Package = Package {
    program: "g++",
    name: "g++",
    variable: None,
};
/// The browser that plays.
pub(crate) const CHROMIUM: Package = Package {
    program: "chromium",
    name: "chromium",
    variable: Some("CHROMIUM"),
};

impl Package {
    fn is_missing(self) -> bool {
        let named = self
            .variable
            .is_some_and(|variable| std::env::var_os(variable).is_some());
        !named && !shell::has(self.program)
    }
}

/// Installs those that are missing.
pub(crate) fn install(packages: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| package.is_missing())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    shell::say(&format!("installing {names}"));
    ensure!(
        shell::has("apt-get"),
        "{names} are missing and this machine has no apt-get: install them its own way and try again"
    );
    let help = format!("{names} could not be installed: as root, `apt-get install {names}`, and try again");
    shell::run("apt-get", &["update", "--quiet"]).with_context(|| help.clone())?;
    let arguments = ["install", "--quiet", "--yes", "--no-install-recommends"];
    shell::run("apt-get", &[&arguments[..], &missing].concat()).context(help)
}
