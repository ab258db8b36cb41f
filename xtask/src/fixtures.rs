//! `cargo xtask images` and `cargo xtask registry`: builds the testkit's program for fixtures and becomes it.
//!
//! The work is in `testkit/src/oci` and `testkit/src/registry.rs`, where tests use it too.

use crate::{Outcome, cargo::beside_tests};
use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

pub(crate) const PROGRAM: &str = "agentkernel-testkit-fixtures";

pub(crate) fn run(chore: &str, words: &[&str]) -> Outcome<ExitCode> {
    let program = beside_tests(PROGRAM, &[])?;
    // Signals and the exit code are then its own.
    let error = Command::new(&program).arg(chore).args(words).exec();
    Err(format!("{} cannot be started: {error}", program.display()).into())
}
