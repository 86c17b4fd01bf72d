//! Faults at system calls, by `strace`.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `strace` is there and may do its work.
///
/// # Errors
/// With what to do about it, in one line.
pub fn strace_works() -> Result<(), String> {
    let tried = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "inject=getpid:retval=1", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("strace is there and may not trace (ptrace is not permitted here)".to_owned()),
        Err(error) => Err(format!("strace is not there ({error}): install it, version 5 or later")),
    }
}

/// The words that start a program under `strace`: it stays a child of who starts it, and `injection`
/// strikes in any of its threads. What happened is written to `log`.
pub(super) fn injecting(injection: &str, log: &Path) -> Vec<String> {
    let log = log.display().to_string();
    let calls = injection.split(':').next().unwrap_or_default();
    let words = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        &log,
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={injection}"),
        "--",
    ];
    words.map(str::to_owned).to_vec()
}
