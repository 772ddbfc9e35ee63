//! The mutants that `cargo mutants` knows.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The version whose list is used: another one may know others.
const VERSION: &str = "27.1.0";

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Genre {
    /// A function gives this at once.
    FnValue,
    /// One operator for another.
    BinaryOperator,
    /// A `!` or `-` less.
    UnaryOperator,
    /// An arm of a match less.
    MatchArm,
    /// A guard that always or never holds.
    MatchArmGuard,
    /// A field less beside a `..base`.
    StructField,
}

/// A place in a file: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// From one place up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// One change to one file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mutant {
    /// From the root of the workspace.
    pub(crate) file: String,
    pub(crate) genre: Genre,
    /// `file:line:column: what is changed in which function`.
    pub(crate) name: String,
    /// What stands in place of the span.
    pub(crate) replacement: String,
    pub(crate) span: Span,
}

impl Mutant {
    /// What is changed in which function: the name without the place.
    pub(crate) fn words(&self) -> &str {
        self.name.splitn(4, ':').nth(3).map_or(&self.name, str::trim)
    }

    /// The file with this change made.
    pub(crate) fn applied(&self, text: &str) -> String {
        let (from, to) = (offset(text, self.span.start), offset(text, self.span.end));
        format!("{}{}{}", &text[..from], self.replacement, &text[to..])
    }
}

/// The byte at which a place lies.
pub(crate) fn offset(text: &str, place: Place) -> usize {
    let mut before = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number + 1 == place.line {
            let inside = line
                .char_indices()
                .nth(place.column - 1)
                .map_or(line.len(), |(at, _)| at);
            return before + inside;
        }
        before += line.len();
    }
    text.len()
}

/// Every mutant of a package, by file; installs `cargo mutants` where it is missing.
pub(crate) fn mutants_of(root: &Path, package: &str) -> anyhow::Result<BTreeMap<String, Vec<Mutant>>> {
    install()?;
    let output = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--package", package])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    ensure!(
        output.status.success(),
        "`cargo mutants --list` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mutants: Vec<Mutant> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the list of `cargo mutants` is not what version {VERSION} prints"))?;
    let mut by_file: BTreeMap<String, Vec<Mutant>> = BTreeMap::new();
    for mutant in mutants {
        by_file.entry(mutant.file.clone()).or_default().push(mutant);
    }
    Ok(by_file)
}

fn install() -> anyhow::Result<()> {
    let has = Command::new("cargo").args(["mutants", "--version"]).output();
    let words = has.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if words.is_ok_and(|words| words.contains(VERSION)) {
        return Ok(());
    }
    let status = Command::new("cargo")
        .args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "cargo-mutants",
            "--version",
            VERSION,
        ])
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("cargo cannot be started")?;
    ensure!(
        status.success(),
        "cargo-mutants {VERSION} could not be installed: try `cargo install --locked cargo-mutants --version {VERSION}`"
    );
    Ok(())
}
