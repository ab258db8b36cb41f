//! `cargo xtask images` and `cargo xtask registry`: builds the testkit's program for fixtures and becomes it.
//!
//! The work is in `testkit/src/oci` and `testkit/src/registry.rs`, where tests use it too.

use crate::{Outcome, cargo::build};
use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

pub(crate) const PROGRAM: &str = "agentkernel-testkit-fixtures";

/// Hashing and compressing unoptimised takes ten times as long as building these with optimisation.
const OPTIMISED: [&str; 5] = ["crc32fast", "flate2", "sha2", "tar", "zlib-rs"];

pub(crate) fn run(chore: &str, words: &[&str]) -> Outcome<ExitCode> {
    let levels = OPTIMISED.map(|package| format!("profile.dev.package.{package}.opt-level=3"));
    let mut building = vec!["build", "--package", "agentkernel-testkit", "--bin", PROGRAM];
    building.extend(levels.iter().flat_map(|level| ["--config", level.as_str()]));
    let program = build(&building, PROGRAM)?;
    // Signals and the exit code are then its own.
    let error = Command::new(&program).arg(chore).args(words).exec();
    Err(format!("{} cannot be started: {error}", program.display()).into())
}
