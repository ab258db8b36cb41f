//! How the benchmark starts programs.

use crate::deadline::{self, Ended};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Nothing here takes longer, not even compressing an image on a busy machine; what does hangs.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runs `command` with its errors in the file `log`: what it leaves running may keep that open, and nobody waits.
///
/// # Errors
/// The last line it wrote, or its status.
pub(super) fn quiet(command: &mut Command, log: &Path) -> Result<(), String> {
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let status = match deadline::run(command, LIMIT).map_err(|error| error.to_string())? {
        Ended::Exited(status) => status,
        Ended::TimedOut => return Err(format!("it hangs: not done after {} s", LIMIT.as_secs())),
    };
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    Err(format!("{status}: {last}"))
}

/// The whole life of one process, with nothing attached.
///
/// # Errors
/// Why it cannot be started, or its status when that is not success.
pub(super) fn time(command: &mut Command) -> Result<Duration, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status();
    let took = started.elapsed();
    let status =
        status.map_err(|error| format!("{} cannot be started: {error}", command.get_program().display()))?;
    if status.success() { Ok(took) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_the_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let why = quiet(command.args(["-c", "echo one >&2; echo two >&2; exit 3"]), &dir.path().join("log"));
        assert_eq!(why.unwrap_err(), "exit status: 3: two");
    }

    #[test]
    fn a_failed_command_is_no_sample() {
        assert!(time(&mut Command::new("false")).is_err());
        assert!(time(&mut Command::new("true")).is_ok());
    }
}
