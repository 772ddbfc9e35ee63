//! Mutation testing of the director: every small change that `cargo mutants` knows must be noticed by the director's own tests or by 300
//! seeds of the swarm, or stand in docs/mutants.md with the reason why it may live.
//!
//! `cargo mutants` builds everything anew for each of more than a thousand changes: a day on two cores. Here all changes of a file are
//! compiled at once, each behind a switch, and tried in a second or two; the few that cannot be written so are built alone.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

mod grouping;
mod list;
mod outcomes;
mod record;
mod switch;
mod tree;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;

use crate::{
    list::{Mutant, mutants_of},
    outcomes::Outcomes,
    record::{PAGE, Record, Survivor, Tried, blob, lines_changed, short},
    switch::Number,
    tree::{Inside, Tree, read},
    verdict::{Bench, Verdict},
};

const PACKAGE: &str = "greenroom-director";
const FOLDER: &str = "src/director/src";

/// Try every small change to the director and see that somebody notices.
#[derive(Debug, Parser)]
#[command(name = "greenroom-mutants", max_term_width = 110)]
struct Cli {
    /// Only lines of the director that are not as docs/mutants.md has tried them; writes nothing
    #[arg(long)]
    changed: bool,
    /// Only what survived the last time, or was never tried
    #[arg(long)]
    again: bool,
    /// Only what was never tried
    #[arg(long)]
    new: bool,
    /// Without what takes longest: more survive
    #[arg(long)]
    quick: bool,
    /// Only files whose path contains this; writes nothing
    #[arg(long, default_value = "")]
    file: String,
    /// Begin nothing more after so many seconds of trying, and say what is untried; files that were tried whole are written down, and
    /// `--again` goes on from there
    #[arg(long)]
    seconds: Option<u64>,
    /// Build so many mutants alone too, and see that they come to the same
    #[arg(long, default_value_t = 0)]
    verify: usize,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("not where it was built")?
        .to_owned();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let record = Record::read(&root)?;
    let files = files(&root, &target, &record, &cli)?;
    if files.is_empty() {
        println!("every line of the director is as {PAGE} has tried it");
        return Ok(());
    }
    let mutants: Vec<Mutant> = mutants_of(&root, PACKAGE)?
        .into_iter()
        .filter(|(file, _)| files.contains_key(file))
        .flat_map(|(_, mutants)| mutants)
        .filter(|mutant| {
            let lines = files.get(&mutant.file).and_then(Option::as_ref);
            lines.is_none_or(|lines| (mutant.span.start.line..=mutant.span.end.line).any(|line| lines.contains(&line)))
        })
        .collect();
    if mutants.is_empty() {
        println!("no mutant is on a line that counts");
        return Ok(());
    }
    let outcomes = tried(&cli, &root, &target, &mutants)?;
    let writes = !cli.changed && cli.file.is_empty();
    report(&root, &record, &mutants, &outcomes, writes)
}

/// The files whose mutants are to be tried, with the lines that count; nothing for all.
fn files(
    root: &Path,
    target: &Path,
    record: &Record,
    cli: &Cli,
) -> anyhow::Result<BTreeMap<String, Option<BTreeSet<usize>>>> {
    let record = record.tried();
    let mut files = BTreeMap::new();
    for file in rust_files(root, Path::new(FOLDER))?
        .into_iter()
        .filter(|file| file.contains(&cli.file))
    {
        let before = record.get(short(&file)).map(|tried| &tried.blob);
        match before {
            Some(before) if cli.changed && *before == blob(root, &file)? => {}
            Some(before) if cli.changed => {
                let lines = lines_changed(root, target, &file, before)?;
                files.insert(file, lines);
            }
            _ => {
                files.insert(file, None);
            }
        }
    }
    Ok(files)
}

fn rust_files(root: &Path, folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    let there = root.join(folder);
    for entry in std::fs::read_dir(&there).with_context(|| format!("{} cannot be listed", there.display()))? {
        let path = folder.join(entry?.file_name());
        if root.join(&path).is_dir() {
            files.extend(rust_files(root, &path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.extend(path.to_str().map(str::to_owned));
        }
    }
    files.sort();
    Ok(files)
}

/// Tries every one of them.
fn tried(cli: &Cli, root: &Path, target: &Path, mutants: &[Mutant]) -> anyhow::Result<Outcomes> {
    let started = Instant::now();
    let mut outcomes = Outcomes::of(root, target, cli.again || cli.new, cli.new)?;
    let numbered: Vec<(Number, &Mutant)> = (1..).zip(mutants).collect();
    let (known, todo): (Vec<_>, Vec<_>) = numbered.iter().partition(|(_, mutant)| outcomes.knows(mutant));
    println!("{} mutants; what became of {} is known", mutants.len(), known.len());
    let tree = Tree::copied(root, target)?;
    let Inside {
        numbers: switched,
        hopeless,
    } = tree.switch(root, &todo)?;
    for (_, mutant) in todo.iter().filter(|(number, _)| hopeless.contains(number)) {
        outcomes.add(mutant, Verdict::DoesNotCompile)?;
    }
    let todo: Vec<_> = todo
        .into_iter()
        .filter(|(number, _)| !hopeless.contains(number))
        .collect();
    let programs = tree.programs()?;
    let folder = tree.tests();
    let bench = Bench::new(&programs, &folder, cli.quick)?;
    println!(
        "{} behind switches after {:.0} s; all programs take {:.1} s without any",
        switched.len(),
        started.elapsed().as_secs_f64(),
        bench.patience().as_secs_f64()
    );
    let built = Instant::now();
    let is_late = || {
        cli.seconds
            .is_some_and(|seconds| built.elapsed() >= Duration::from_secs(seconds))
    };
    let (inside, alone): (Vec<_>, Vec<_>) = todo.into_iter().partition(|(number, _)| switched.contains(number));
    for (number, mutant) in inside.iter().take_while(|_| !is_late()) {
        outcomes.add(mutant, bench.try_mutant(*number)?)?;
    }
    println!(
        "{:.0} s; {} are built alone",
        started.elapsed().as_secs_f64(),
        alone.len()
    );
    for file in mutants.iter().map(|mutant| &mutant.file).collect::<BTreeSet<_>>() {
        tree.restore(root, file)?;
    }
    tree.restore(root, "src/director/src/lib.rs")?;
    for (_, mutant) in alone.iter().take_while(|_| !is_late()) {
        outcomes.add(mutant, alone_verdict(&tree, root, &bench, mutant)?)?;
    }
    for (_, mutant) in inside
        .iter()
        .step_by((inside.len() / cli.verify.max(1)).max(1))
        .take(cli.verify)
    {
        let (verdict, before) = (alone_verdict(&tree, root, &bench, mutant)?, outcomes.verdict(mutant));
        let same = (Some(verdict) == before)
            || !matches!((verdict, before), (Verdict::Survived, _) | (_, Some(Verdict::Survived)));
        println!("{} alone: {verdict:?}, behind its switch: {before:?}", mutant.name);
        ensure!(same, "a mutant came to something else behind its switch");
    }
    println!("{:.0} s in all", started.elapsed().as_secs_f64());
    Ok(outcomes)
}

/// One change, built as `cargo mutants` would.
fn alone_verdict(tree: &Tree, root: &Path, bench: &Bench<'_>, mutant: &Mutant) -> anyhow::Result<Verdict> {
    tree.change(root, mutant)?;
    // What is worked out when the tests are built may fail only then.
    let verdict = if tree.errors()?.is_empty() && tree.programs().is_ok() {
        bench.try_mutant(0)?
    } else {
        Verdict::DoesNotCompile
    };
    tree.restore(root, &mutant.file)?;
    Ok(verdict)
}

/// Writes these files down, and those without any of `mutants`; the others stay as they were, unless they are gone.
fn write_down(root: &Path, record: &Record, mutants: &[Mutant], tried: BTreeMap<String, Tried>) -> anyhow::Result<()> {
    let mut rows = record.tried();
    let files = rust_files(root, Path::new(FOLDER))?;
    rows.retain(|file, _| files.iter().any(|there| short(there) == file));
    for file in files
        .iter()
        .filter(|file| mutants.iter().all(|mutant| mutant.file != **file))
    {
        let none = Tried {
            blob: blob(root, file)?,
            ..Tried::default()
        };
        rows.insert(short(file).to_owned(), none);
    }
    rows.extend(tried.into_iter().map(|(file, tried)| (short(&file).to_owned(), tried)));
    let page = root.join(PAGE);
    std::fs::write(&page, record.with(&rows)).with_context(|| format!("{} cannot be written", page.display()))
}

/// Writes down what was tried, and fails if a survivor has no reason to live.
fn report(root: &Path, record: &Record, mutants: &[Mutant], outcomes: &Outcomes, writes: bool) -> anyhow::Result<()> {
    let mut tried: BTreeMap<String, Tried> = BTreeMap::new();
    let (mut survivors, mut named, mut untried) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    for mutant in mutants {
        let file = match tried.get_mut(&mutant.file) {
            Some(file) => file,
            None => tried.entry(mutant.file.clone()).or_insert(Tried {
                blob: blob(root, &mutant.file)?,
                ..Tried::default()
            }),
        };
        file.mutants += 1;
        let first = Survivor::of(mutant, &read(&root.join(&mutant.file))?, 0);
        let earlier = named.entry(first).or_insert(0);
        let survivor = Survivor::of(mutant, &read(&root.join(&mutant.file))?, *earlier);
        *earlier += 1;
        match outcomes.verdict(mutant) {
            Some(Verdict::Caught(_) | Verdict::TimedOut(_)) => file.caught += 1,
            Some(Verdict::DoesNotCompile) => file.not_compiled += 1,
            Some(Verdict::Survived) => {
                file.survived += 1;
                survivors.insert(survivor);
            }
            None => untried.push(mutant),
        }
    }
    untried.iter().for_each(|mutant| println!("untried: {}", mutant.name));
    if writes {
        tried.retain(|file, _| untried.iter().all(|mutant| mutant.file != *file));
        write_down(root, record, mutants, tried)?;
        if untried.is_empty() {
            record
                .idle(&survivors)
                .iter()
                .for_each(|row| println!("not needed any more: {row}"));
        }
    }
    let unjustified: Vec<&Survivor> = survivors
        .iter()
        .filter(|survivor| !record.justifies(survivor))
        .collect();
    unjustified.iter().for_each(|survivor| println!("{}", survivor.row()));
    println!(
        "{} mutants, {} untried, {} survived, {} of them without a reason",
        mutants.len(),
        untried.len(),
        survivors.len(),
        unjustified.len()
    );
    ensure!(
        unjustified.is_empty(),
        "{} mutants survive: write a test that notices each, or its row above into {PAGE} with the reason why it may live",
        unjustified.len()
    );
    Ok(())
}
