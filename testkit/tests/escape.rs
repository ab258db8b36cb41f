//! The escape suite: attempts to get out of the embedded sandbox, through the front door, each stopped by one named
//! defence; and the proof that each attempt gets through when that defence is taken away (`escape-mutations.txt`).
//!
//! `AGENTKERNEL_BIN` is the product, `AGENTKERNEL_MUTATIONS_BIN` the same with the feature `mutations`; without it
//! `target/mutations/debug/agentkernel` is used. As root with `AGENTKERNEL_TEST_UID` set, everything runs as that user.
//!
//! This program is also what attempts run inside: see `probe`.
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, whose output is its report"
)]

mod escape {
    pub(crate) mod arena;
    pub(crate) mod attempt;
    pub(crate) mod attempts;
    pub(crate) mod list;
    pub(crate) mod names;
    pub(crate) mod probe;
    pub(crate) mod suite;
}

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, rest)) if first == "probe" => escape::probe::main(rest),
        _ => escape::suite::main(),
    }
}
