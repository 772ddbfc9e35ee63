//! `cargo xtask test`: everything that CI checks, in the order in which it fails soonest.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::{cuda, packages, shell, tensorrt::Packages, web};

/// What tests need of the program: a stage that fails on purpose, and engines that are really built. All of the workspace is compiled with
/// these features, once: with others, or for a package alone, nearly everything would be compiled once more.
pub(crate) const COMPILED: [&str; 3] = [
    "--quiet",
    "--workspace",
    "--features=greenroom/simulated-stage,greenroom/tensorrt",
];

type Step = (&'static str, fn() -> anyhow::Result<()>);

/// What came of one step.
struct Outcome {
    name: &'static str,
    took: Duration,
    failure: Option<anyhow::Error>,
}

/// Runs every step; stops at the first that fails, unless it is to keep going.
pub(crate) fn run(quick: bool, keep_going: bool) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for (name, step) in steps(quick, keep_going) {
        shell::say(name);
        let started = Instant::now();
        let failure = step().err();
        let (took, failed) = (started.elapsed(), failure.is_some());
        shell::say(&format!("{name}: {:.0} s", took.as_secs_f64()));
        outcomes.push(Outcome { name, took, failure });
        if failed && !keep_going {
            break;
        }
    }
    summary(&outcomes)
}

/// In the order in which they fail soonest.
fn steps(quick: bool, keep_going: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![
        ("format", || shell::run("cargo", &["fmt", "--all", "--check"])),
        ("generated types", || crate::types(true)),
        ("page: packages, types, unit tests, build", page),
        ("lints", || cuda::lints(false)),
        ("lints with CUDA and TensorRT", || cuda::lints(true)),
        ("what a GPU's stage and kernels must do", cuda::conformance),
        ("networks as ONNX, against the golden tensors", || {
            Packages::fetched()?.export_test()
        }),
        ("programs and tests, compiled", || cargo("test", &["--no-run"])),
    ];
    if quick {
        let tests: fn() -> _ = if keep_going {
            || cargo("test", &["--exclude=greenroom-tests", "--no-fail-fast"])
        } else {
            || cargo("test", &["--exclude=greenroom-tests"])
        };
        steps.push(("tests", tests));
        return steps;
    }
    steps.push(("programs that the tests use", || {
        packages::install(&[packages::CHROMIUM, packages::FFMPEG])
    }));
    steps.push(("the separator's weights", fetch_weights));
    steps.push(("browser", browser));
    steps.push(("every schedule of the primitives and two small pods (loom)", || {
        schedules("loom", &["greenroom-sync", "greenroom-schedules"])
    }));
    steps.push(("many schedules of a whole pod (shuttle)", || {
        schedules("shuttle", &["greenroom-schedules"])
    }));
    steps.push(("seeded bugs against every layer of the proof", canary));
    steps.push(("small changes to new lines of the director", mutants));
    // Last, so that its own summaries end the output.
    let tests: fn() -> _ = if keep_going {
        || cargo("test", &["--no-fail-fast"])
    } else {
        || cargo("test", &[])
    };
    steps.push(("tests", tests));
    steps
}

fn summary(outcomes: &[Outcome]) -> anyhow::Result<()> {
    for outcome in outcomes {
        let word = if outcome.failure.is_some() { "FAILED" } else { "ok" };
        println!("{:>6.0} s  {word:<6}  {}", outcome.took.as_secs_f64(), outcome.name);
    }
    let failures: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            Some(format!(
                "step \"{}\" failed: {:#}",
                outcome.name,
                outcome.failure.as_ref()?
            ))
        })
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

/// Compiles and runs with what TensorRT takes.
fn cargo(command: &str, arguments: &[&str]) -> anyhow::Result<()> {
    Packages::fetched()?.run("cargo", &[&[command], &COMPILED[..], arguments].concat())
}

fn page() -> anyhow::Result<()> {
    let web = web::directory()?;
    web::install(&web)?;
    shell::run_in(&web, "npm", &["run", "--silent", "check"])?;
    shell::run_in(&web, "npm", &["test", "--silent"])?;
    web::build()
}

/// The tests of that checker, in a target folder of its own: its cfg would have everything else built anew.
fn schedules(checker: &str, packages: &[&str]) -> anyhow::Result<()> {
    let (flags, target) = (
        format!("RUSTFLAGS=--cfg greenroom_{checker}"),
        format!("target/{checker}"),
    );
    let cargo = [&flags, "cargo", "test", "--quiet", "--release", "--target-dir", &target];
    let test = ["--test", checker];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let arguments: Vec<&str> = cargo.into_iter().chain(test).chain(packages).collect();
    shell::run("env", &arguments)
}

/// The simulation with the seeded bugs in it, beside the other one.
fn canary() -> anyhow::Result<()> {
    let arguments = "run --quiet --package greenroom-sim --features canary -- canary";
    shell::run("cargo", &arguments.split(' ').collect::<Vec<_>>())
}

/// Mutants on the lines that are not as docs/mutants.md has tried them, a minute of them: what that leaves untried is printed.
fn mutants() -> anyhow::Result<()> {
    crate::mutants(&["--changed", "--seconds", "60"])
}

fn fetch_weights() -> anyhow::Result<()> {
    shell::run("target/debug/greenroom", &["models", "fetch"])
}

/// A real browser plays on the real program.
fn browser() -> anyhow::Result<()> {
    let directory = shell::root()?.join("tests/browser");
    web::install(&directory)?;
    shell::run_in(&directory, "npm", &["test", "--silent"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &'static str, failure: Option<anyhow::Error>) -> Outcome {
        Outcome {
            name,
            took: Duration::from_secs(1),
            failure,
        }
    }

    #[test]
    fn a_failed_step_fails_the_run_and_is_named_with_its_cause() {
        assert!(summary(&[outcome("format", None)]).is_ok());
        let cause = anyhow::anyhow!("exit status: 1").context("`cargo clippy` failed");
        let error = summary(&[
            outcome("format", None),
            outcome("lints", Some(cause)),
            outcome("tests", Some(anyhow::anyhow!("two failed"))),
        ])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "step \"lints\" failed: `cargo clippy` failed: exit status: 1\nstep \"tests\" failed: two failed"
        );
    }

    #[test]
    fn a_quick_run_leaves_out_the_browser_and_what_only_the_long_tests_need() {
        let names = |quick| {
            steps(quick, false)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        let needing = ["programs that the tests use", "the separator's weights", "browser"];
        assert!(names(true).iter().all(|name| !needing.contains(name)));
        assert!(needing.iter().all(|name| names(false).contains(name)));
        assert!(
            [true, false]
                .map(names)
                .iter()
                .all(|names| names.last() == Some(&"tests"))
        );
    }
}
