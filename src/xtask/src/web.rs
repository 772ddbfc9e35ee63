//! The page: installed and built only when something that it is made of changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::shell;

/// What the page is made of, below `web/`.
const SOURCES: [&str; 7] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
];

/// The oldest Node.js that the page's tools run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Where the page lives.
pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    Ok(shell::root()?.join("web"))
}

/// Installs the npm packages of a directory, where its lock file changed since the last time.
pub(crate) fn install(directory: &Path) -> anyhow::Result<()> {
    check_node()?;
    let lock = directory.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| format!("{} cannot be read", lock.display()))?;
    let stamp = directory.join("node_modules/.greenroom-lock");
    let fresh = hex(&Sha256::digest(&lock));
    if fs::read_to_string(&stamp).is_ok_and(|stale| stale == fresh) {
        return Ok(());
    }
    shell::say(&format!("installing the npm packages of {}", directory.display()));
    shell::run_in(directory, "npm", &["ci", "--no-audit", "--no-fund"])?;
    fs::write(&stamp, fresh).with_context(|| format!("{} cannot be written", stamp.display()))
}

fn check_node() -> anyhow::Result<()> {
    let wanted = format!("install Node.js {NODE_MAJOR_MIN} or later, with npm");
    ensure!(
        shell::has("node") && shell::has("npm"),
        "node or npm is missing: {wanted}"
    );
    let version = shell::output("node", &["--version"])?;
    let version = version.trim();
    ensure!(
        node_major(version).is_some_and(|major| major >= NODE_MAJOR_MIN),
        "Node.js {version} is too old for the page's tools: {wanted}"
    );
    Ok(())
}

fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Builds the page into `web/dist`, where its sources changed since the last time.
pub(crate) fn build() -> anyhow::Result<()> {
    let web = directory()?;
    install(&web)?;
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
        let content = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file.strip_prefix(web)?.to_string_lossy().into_owned();
        // Lengths too, so that no bytes can move from one file to the next unseen.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_stale_when_any_of_its_sources_changed() {
        let web = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = web.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let hash = || hash_of(web.path()).unwrap();
        write("src/deep/app.ts", "one");
        write("index.html", "page");
        let first = hash();
        assert_eq!(hash(), first);
        write("dist/app.js", "built");
        write("node_modules/x/index.js", "installed");
        assert_eq!(hash(), first, "what is built and installed is no source");
        for (name, text) in [("src/deep/app.ts", "two"), ("src/new.ts", ""), ("package.json", "{}")] {
            let before = hash();
            write(name, text);
            assert_ne!(hash(), before, "{name}");
        }
        let before = hash();
        fs::rename(web.path().join("src/new.ts"), web.path().join("src/newer.ts")).unwrap();
        assert_ne!(hash(), before);
    }

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(node_major("v20.20.2"), Some(20));
        assert_eq!(node_major("v8.0.0"), Some(8));
        assert_eq!(node_major("20"), None);
        assert_eq!(node_major(""), None);
    }
}
