//! `cargo xtask test`: everything that CI checks, in the order in which it fails soonest.

use std::time::Instant;

use anyhow::Context;

use crate::{shell, web};

/// Debian packages that the tests use and a new machine lacks: (program to look for, package).
const PACKAGES: [(&str, &str); 2] = [("chromium", "chromium"), ("ffmpeg", "ffmpeg")];

type Step = (&'static str, fn() -> anyhow::Result<()>);

/// Runs every step; stops at the first that fails.
pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let mut steps: Vec<Step> = vec![
        ("format", || shell::run("cargo", &["fmt", "--all", "--check"])),
        ("page: packages, types, unit tests, build", page),
        ("lints", || {
            shell::run(
                "cargo",
                &[
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
            )
        }),
        ("the program", || {
            shell::run("cargo", &["build", "--quiet", "--package", "greenroom"])
        }),
    ];
    if quick {
        steps.push(("tests", || tests(&["--exclude", "greenroom-tests"])));
    } else {
        steps.push(("programs that the tests use", install_packages));
        steps.push(("the separator's weights", fetch_weights));
        steps.push(("browser", browser));
        steps.push(("tests", || tests(&[])));
    }
    let mut took = Vec::new();
    for (name, step) in steps {
        shell::say(name);
        let started = Instant::now();
        step().with_context(|| format!("step \"{name}\" failed"))?;
        took.push((name, started.elapsed()));
    }
    for (name, took) in took {
        println!("{:>6.0} s  {name}", took.as_secs_f64());
    }
    Ok(())
}

fn page() -> anyhow::Result<()> {
    let web = web::install()?;
    shell::run_in(&web, "npm", &["run", "--silent", "check"])?;
    shell::run_in(&web, "npm", &["test", "--silent"])?;
    web::build()
}

fn tests(extra: &[&str]) -> anyhow::Result<()> {
    let arguments: Vec<&str> = ["test", "--quiet", "--workspace"]
        .into_iter()
        .chain(extra.iter().copied())
        .collect();
    shell::run("cargo", &arguments)
}

fn fetch_weights() -> anyhow::Result<()> {
    shell::run(
        "cargo",
        &["run", "--quiet", "--package", "greenroom", "--", "models", "fetch"],
    )
}

/// A real browser plays on the real program.
fn browser() -> anyhow::Result<()> {
    let directory = shell::root()?.join("tests/browser");
    shell::run_in(&directory, "npm", &["ci", "--silent", "--no-audit", "--no-fund"])?;
    shell::run_in(&directory, "npm", &["test", "--silent"])
}

fn install_packages() -> anyhow::Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, _)| !shell::has(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    let help = format!("install these by hand and try again: {names}");
    shell::run("apt-get", &["update", "--quiet"]).with_context(|| help.clone())?;
    let arguments: Vec<&str> = ["install", "--quiet", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(missing)
        .collect();
    shell::run("apt-get", &arguments).context(help)
}
