//! One backend through the front door, where the embedded sandbox and engines could differ: images that attack, images that
//! are built, and what may not be left behind. `AGENTKERNEL_BACKEND=native|docker|podman` says which (default `native`).
//!
//! An engine is started for all tests, or `AGENTKERNEL_CONFORMANCE_ENGINE` names one.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program of its own, whose stderr is its report")]

#[path = "conformance/elsewhere.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod elsewhere;

#[path = "conformance/engine.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod engine;

mod backend {
    pub(crate) mod bench;
    pub(crate) mod build;
    pub(crate) mod hostile;
    pub(crate) mod layers;
    pub(crate) mod leftover;
    pub(crate) mod replaced;
    pub(crate) mod sample;
    pub(crate) mod service;
}

use backend::{bench::Bench, build, hostile, layers, leftover, replaced, service};
use engine::Shared;
use libtest_mimic::{Arguments, Failed, Trial};
use std::{process::ExitCode, sync::Arc};

/// How many tests run at a time where an engine does the work: they mostly wait for it.
const AT_A_TIME: usize = 2;

/// A test, by name.
pub(crate) type Test = (&'static str, fn(&Bench) -> Result<(), String>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let name = std::env::var("AGENTKERNEL_BACKEND").unwrap_or_else(|_| "native".to_owned());
    let shared = match if arguments.list { Ok(None) } else { Shared::of(&name) } {
        Ok(shared) => shared.map(Arc::new),
        Err(e) => {
            eprintln!("error: {name} has no engine: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut tests: Vec<Test> = [&hostile::everywhere()[..], &layers::tests()].concat();
    if engine::variable(&name).is_some() {
        arguments.test_threads.get_or_insert(AT_A_TIME);
        tests.extend(hostile::on_engines().iter().chain(&build::tests()).chain(&leftover::tests()));
        tests.extend(replaced::tests());
    }
    if name == "docker" {
        tests.push(replaced::GVISOR);
    }
    if name == "podman" {
        tests.extend(service::TESTS);
    }
    let trial = |(title, test): Test| {
        let (name, shared) = (name.clone(), shared.clone());
        Trial::test(title, move || run(&name, shared.as_deref(), test))
    };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect());
    match shared.map(|shared| shared.finish()) {
        Some(Err(e)) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
        _ => conclusion.exit_code(),
    }
}

fn run(name: &str, shared: Option<&Shared>, test: fn(&Bench) -> Result<(), String>) -> Result<(), Failed> {
    let address = shared.and_then(|shared| Some((engine::variable(name)?, shared.address())));
    let settings = shared.map_or_else(Vec::new, |shared| shared.settings(name));
    let bench = Bench::new(name, address)?.telling(settings);
    test(&bench)?;
    let left = bench.leftovers()?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join("; ")).into()) }
}
