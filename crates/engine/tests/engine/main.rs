//! The engine on the fake backend, with real keeper processes.
//!
//! This binary has a main of its own, because it is also what its tests start: a link to it at `<dir>/agentkernel`
//! plays the command line for the data directory `<dir>/data`, so that keepers, and commands that are killed in the
//! middle, are processes of their own here too.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod bench;
mod changes;
mod crashes;
mod daemon;
mod detached;
mod files;
mod lifecycle;
mod runners;
mod runs;
mod selection;

use libtest_mimic::{Arguments, Trial};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
};

/// The name of the link.
const PLAYED: &str = "agentkernel";

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program);
    if program.file_name().is_some_and(|name| name == PLAYED) {
        let words: Vec<String> = args.collect();
        return bench::play(program, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let tests = [
        lifecycle::TESTS,
        crashes::TESTS,
        daemon::TESTS,
        changes::TESTS,
        detached::TESTS,
        files::TESTS,
        runs::TESTS,
        runners::TESTS,
        selection::TESTS,
        backends::TESTS,
    ]
    .concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            catch_unwind(AssertUnwindSafe(test)).map_err(|cause| {
                let text = cause.downcast_ref::<String>().map(String::as_str);
                text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("panicked").into()
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A name and what it runs.
type Test = (&'static str, fn());
