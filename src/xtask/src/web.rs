//! The page: installed and built only when something that it is made of changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::shell;

/// What the page is made of, below `web/`.
const SOURCES: [&str; 6] = [
    "src",
    "public",
    "index.html",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
];

/// Installs the page's packages, where the lock file changed since the last time.
pub(crate) fn install() -> anyhow::Result<PathBuf> {
    ensure!(shell::has("npm"), "npm is missing: install Node.js 20 or later");
    let web = shell::root()?.join("web");
    let lock = fs::read(web.join("package-lock.json")).context("web/package-lock.json cannot be read")?;
    let stamp = web.join("node_modules/.greenroom-lock");
    let fresh = hex(&Sha256::digest(&lock));
    if fs::read_to_string(&stamp).is_ok_and(|stale| stale == fresh) {
        return Ok(web);
    }
    shell::say("installing the page's packages");
    shell::run_in(&web, "npm", &["ci", "--no-audit", "--no-fund"])?;
    fs::write(&stamp, fresh).with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(web)
}

/// Builds the page into `web/dist`, where its sources changed since the last time.
pub(crate) fn build() -> anyhow::Result<()> {
    let web = install()?;
    let fresh = hash_of(&web)?;
    let stamp = web.join("dist/.greenroom-sources");
    if fs::read_to_string(&stamp).is_ok_and(|stale| stale == fresh) {
        return Ok(());
    }
    shell::say("building the page");
    shell::run_in(&web, "npm", &["run", "--silent", "build"])?;
    fs::write(&stamp, fresh).with_context(|| format!("{} cannot be written", stamp.display()))
}

fn hash_of(web: &Path) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&web.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.to_string_lossy().as_bytes());
        hash.update(fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?);
    }
    Ok(hex(&hash.finalize()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_path_buf());
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
