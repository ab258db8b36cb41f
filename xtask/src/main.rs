//! The project's chores, by `cargo xtask CHORE`. Development only; nothing ships from here.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose only output is the terminal")]

mod bench;
mod cargo;
mod check;
mod deadline;
mod fixtures;
mod fuzz;
mod person;
mod suite;
mod workspace;

use std::process::ExitCode;

/// What a chore returns when it could not be done at all; findings and missed numbers are not errors.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

const USAGE: &str = "\
cargo xtask check                    layers, forbidden calls, file budgets, manifests, attributes
cargo xtask test [STAGE...]          everything that must pass, as root and as an ordinary user
cargo xtask test --list              the stages
cargo xtask bench [--quick] [--json] [--build] [--no-write]
                                     agentkernel beside bwrap, runc and Docker, in one interleaved run
cargo xtask bench images | engines | egress
                                     the same of images, on Docker and Podman, and of the gateway; each has options of its own
cargo xtask fuzz [TARGET...] [--seconds N] [--jobs N] [--keep] [--input FILE]
                                     every parser against the committed corpus and what follows from it
cargo xtask images [NAME...] --into DIR|URL
cargo xtask registry [NAME...] [-- COMMAND...]
                                     images for tests and examples, made from Debian packages
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&"check", [])) => check::run(),
        Some((&"test", rest)) => suite::run(rest),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&chore @ ("images" | "registry"), rest)) => fixtures::run(chore, rest),
        Some((&"fuzz", rest)) => fuzz::run(rest),
        // The half of a benchmark that `bench` starts as another user.
        Some((&"bench-worker", rest)) => bench::worker(rest),
        Some((&("help" | "--help" | "-h"), _)) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
