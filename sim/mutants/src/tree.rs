//! A copy of the director and of what proves it, to be changed and built beside the real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{
    list::Mutant,
    switch::{MODULE, Number, Switched, switched},
};

/// What is copied: the director, its swarm, and what they are made of.
const PACKAGES: [&str; 4] = ["src/director", "sim", "sim/check", "engines/stage"];
/// The compiler's code for a function that is called where only constant ones are.
const NOT_CONSTANT: &str = "E0015";
const DIRECTOR: &str = "src/director/src";

/// The programs that look for what is wrong, in the order in which they find it soonest.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The director's tests but its scripts.
    pub(crate) tests: Vec<PathBuf>,
    pub(crate) swarm: PathBuf,
    pub(crate) scripts: PathBuf,
    pub(crate) smallest_world: PathBuf,
}

/// The copy.
pub(crate) struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies what is there into the target folder.
    pub(crate) fn copied(root: &Path, target: &Path) -> anyhow::Result<Self> {
        let tree = Self {
            root: target.join("mutants-tree"),
            target: target.to_owned(),
        };
        for package in PACKAGES {
            let (from, to) = (root.join(package), tree.root.join(package));
            let manifest = read(&from.join("Cargo.toml"))?;
            // The swarm's own tests need what is not copied.
            if package == "sim" {
                write(&to.join("Cargo.toml"), &without_tests(&manifest))?;
            } else {
                write(&to.join("Cargo.toml"), &manifest)?;
                copy_folder(&from.join("tests"), &to.join("tests"))?;
            }
            copy_folder(&from.join("src"), &to.join("src"))?;
        }
        for file in ["Cargo.lock", "rust-toolchain.toml"] {
            copy(&root.join(file), &tree.root.join(file))?;
        }
        let manifest =
            fs::read_to_string(root.join("Cargo.toml")).context("the workspace's Cargo.toml cannot be read")?;
        write(&tree.root.join("Cargo.toml"), &workspace(&manifest)?)?;
        Ok(tree)
    }

    /// Puts all these mutants in, each behind its switch; what does not compile is left out.
    pub(crate) fn switch(&self, root: &Path, mutants: &[(Number, &Mutant)]) -> anyhow::Result<Inside> {
        let (mut left_out, mut hopeless) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let mut files: BTreeMap<&str, Switched> = BTreeMap::new();
            let mut by_file: BTreeMap<&str, Vec<(Number, &Mutant)>> = BTreeMap::new();
            for (number, mutant) in mutants {
                // A file stays in even where none of its mutants do: it is put back as it was.
                let in_file = by_file.entry(&mutant.file).or_default();
                in_file.extend((!left_out.contains(number)).then_some((*number, *mutant)));
            }
            for (file, mutants) in by_file {
                let text = read(&root.join(file))?;
                let switched = switched(&text, &mutants)?;
                write(&self.root.join(file), &switched.text)?;
                files.insert(file, switched);
            }
            write(&self.root.join(DIRECTOR).join("mutant.rs"), MODULE)?;
            let library = format!("{DIRECTOR}/lib.rs");
            let text = match files.get(library.as_str()) {
                Some(switched) => switched.text.clone(),
                None => read(&root.join(&library))?,
            };
            write(&self.root.join(&library), &format!("{text}\nmod mutant;\n"))?;
            let errors = self.errors()?;
            if errors.is_empty() {
                let numbers = files.values().flat_map(|file| file.numbers.iter().copied()).collect();
                return Ok(Inside { numbers, hopeless });
            }
            let before = left_out.len();
            for error in &errors {
                let Some(switched) = files.get(error.file.as_str()) else {
                    continue;
                };
                let touched = switched
                    .marks
                    .iter()
                    .filter(|(at, _)| at.start < error.end && error.start < at.end);
                let touched: Vec<Number> = touched.map(|(_, number)| *number).collect();
                if error.is_certain {
                    hopeless.extend(touched.iter().copied());
                }
                left_out.extend(touched);
            }
            if left_out.len() == before {
                bail!(
                    "a file with all its mutants does not compile, and it is no mutant's fault: {}",
                    errors[0].words
                );
            }
        }
    }

    /// Makes one change and nothing else.
    pub(crate) fn change(&self, root: &Path, mutant: &Mutant) -> anyhow::Result<()> {
        write(
            &self.root.join(&mutant.file),
            &mutant.applied(&read(&root.join(&mutant.file))?),
        )
    }

    /// Puts a file back as it is.
    pub(crate) fn restore(&self, root: &Path, file: &str) -> anyhow::Result<()> {
        copy(&root.join(file), &self.root.join(file))
    }

    /// What does not compile in the director.
    pub(crate) fn errors(&self) -> anyhow::Result<Vec<Wrong>> {
        let (output, fine) = self.cargo(&[
            "check",
            "--quiet",
            "--package",
            "greenroom-director",
            "--features",
            "checking",
        ])?;
        let mut wrongs = Vec::new();
        for line in output.lines() {
            let message: Value = serde_json::from_str(line).unwrap_or_default();
            let message = &message["message"];
            if message["level"] != "error" {
                continue;
            }
            let words = message["rendered"].as_str().unwrap_or_default();
            let is_of_the_switch = message["code"]["code"] == NOT_CONSTANT;
            for span in message["spans"].as_array().into_iter().flatten() {
                let at = |key: &str| span[key].as_u64().unwrap_or(0) as usize;
                wrongs.push(Wrong {
                    file: span["file_name"].as_str().unwrap_or_default().to_owned(),
                    start: at("byte_start"),
                    end: at("byte_end"),
                    words: words.to_owned(),
                    is_certain: span["is_primary"] == true && !is_of_the_switch,
                });
            }
        }
        ensure!(
            fine || !wrongs.is_empty(),
            "the copy of the director could not be built: see above"
        );
        Ok(wrongs)
    }

    /// Builds what looks for mistakes.
    pub(crate) fn programs(&self) -> anyhow::Result<Programs> {
        let (tests, tests_fine) = self.cargo(&["test", "--no-run", "--quiet", "--package", "greenroom-director"])?;
        let world = [
            "test",
            "--no-run",
            "--quiet",
            "--package",
            "greenroom-check",
            "--test",
            "smallest",
        ];
        let (world, world_fine) = self.cargo(&world)?;
        let (swarm, swarm_fine) = self.cargo(&["build", "--quiet", "--package", "greenroom-sim"])?;
        ensure!(
            tests_fine && world_fine && swarm_fine,
            "the copy's tests could not be built: see above"
        );
        let messages = tests.lines().chain(world.lines()).chain(swarm.lines());
        let (mut named, mut tests) = (BTreeMap::new(), Vec::new());
        for message in messages.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let (Some(name), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str()) else {
                continue;
            };
            // Set aside: whoever builds the real ones with this profile would replace them.
            let program = self.root.join(format!("built-{name}"));
            fs::copy(path, &program).with_context(|| format!("{path} cannot be copied"))?;
            match name {
                // Compiles for as long as all the others run.
                "compile_fail" => {}
                "greenroom-sim" | "scripts" | "smallest" => {
                    named.insert(name.to_owned(), program);
                }
                _ => tests.push(program),
            }
        }
        let mut program = |name: &str| named.remove(name).with_context(|| format!("{name} was not built"));
        Ok(Programs {
            tests,
            swarm: program("greenroom-sim")?,
            scripts: program("scripts")?,
            smallest_world: program("smallest")?,
        })
    }

    /// Where the director's tests run.
    pub(crate) fn tests(&self) -> PathBuf {
        self.root.join("src/director")
    }

    /// What cargo printed, and whether all went well.
    fn cargo(&self, arguments: &[&str]) -> anyhow::Result<(String, bool)> {
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--profile", "mutants", "--message-format", "json", "--target-dir"])
            .arg(&self.target)
            .current_dir(&self.root)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started")?;
        Ok((
            String::from_utf8_lossy(&output.stdout).into_owned(),
            output.status.success(),
        ))
    }
}

/// A place that does not compile.
#[derive(Debug)]
pub(crate) struct Wrong {
    file: String,
    start: usize,
    end: usize,
    words: String,
    /// Not for the switch's sake, which cannot be asked where all must be constant: alone it would not compile either.
    is_certain: bool,
}

/// What can be tried in one build.
pub(crate) struct Inside {
    pub(crate) numbers: BTreeSet<Number>,
    /// What would not compile alone either: types that have no default, or no such operator.
    pub(crate) hopeless: BTreeSet<Number>,
}

/// A package's manifest without what only its tests need, which is not copied.
fn without_tests(manifest: &str) -> String {
    let sections = manifest
        .split("\n[")
        .filter(|section| !section.starts_with("dev-dependencies]"));
    sections.collect::<Vec<_>>().join("\n[")
}

/// The workspace with the copied packages alone, without lints, and with a profile that compiles soon and still runs fast.
fn workspace(manifest: &str) -> anyhow::Result<String> {
    let (_, rest) = manifest
        .split_once("[workspace.package]")
        .context("the workspace's Cargo.toml has no [workspace.package]")?;
    let (rest, _) = rest
        .split_once("[workspace.lints.rust]")
        .context("the workspace's Cargo.toml has no lints")?;
    let members = PACKAGES.map(|package| format!("\"{package}\"")).join(", ");
    Ok(format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[workspace.package]{rest}\
         [workspace.lints.rust]\nwarnings = \"allow\"\n\n\
         [profile.mutants]\ninherits = \"dev\"\nopt-level = 1\ndebug = false\nincremental = true\n\n\
         [profile.mutants.package.\"*\"]\nopt-level = 3\n"
    ))
}

pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes only what is new: cargo goes by the time of a file.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    write(to, &read(from)?)
}

/// Copies Rust and snapshots; what is no longer there goes.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for old in fs::read_dir(to).into_iter().flatten().flatten() {
        if old.path().is_file() && !from.join(old.file_name()).exists() {
            fs::remove_file(old.path()).with_context(|| format!("{} cannot be removed", old.path().display()))?;
        }
    }
    for entry in entries {
        let entry = entry.with_context(|| format!("{} cannot be listed", from.display()))?;
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &there)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "snap")
        {
            copy(&path, &there)?;
        }
    }
    Ok(())
}
