//! The gateway and its secrets through the front door: real clients and hostile ones inside a sandbox, servers of the
//! test's own outside. `AGENTKERNEL_BACKEND=native|docker|podman` says which backend (default `native`).
//!
//! Nothing leaves the machine: the suite runs in a network namespace with nothing but a loopback device, names lead there
//! through the DNS of the test, and a rule about addresses lets it be reached.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program of its own, whose stderr is its report")]

#[path = "conformance/engine.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod engine;

#[path = "conformance/elsewhere.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod elsewhere;

#[path = "backend/bench.rs"]
#[expect(dead_code, reason = "the suite of backends uses the rest")]
mod bench;

#[path = "backend/sample.rs"]
#[expect(dead_code, reason = "the suite of backends uses the rest")]
mod sample;

mod egress {
    pub(crate) mod bundle;
    pub(crate) mod clients;
    pub(crate) mod hostile;
    pub(crate) mod image;
    pub(crate) mod network;
    pub(crate) mod rules;
    pub(crate) mod search;
    pub(crate) mod seed;
    pub(crate) mod ssh;
    pub(crate) mod udp;
    pub(crate) mod world;
}

use egress::{bundle, clients, hostile, image::Image, network, rules, seed, ssh, udp, world::World};
use engine::Shared;
use libtest_mimic::{Arguments, Failed, Trial};
use std::{process::ExitCode, sync::Arc};

/// How many tests run at a time: they mostly wait, for answers that must not come and for each other's programs.
const AT_A_TIME: usize = 4;
/// The same where an engine does the work.
const AT_A_TIME_IN_ENGINE: usize = 2;

/// A test, by name.
pub(crate) type Test = (&'static str, fn(&World) -> Result<(), String>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    match if arguments.list { Ok(None) } else { elsewhere::with_small_binary() } {
        Ok(None) => {}
        Ok(Some(code)) => return code,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::FAILURE;
        }
    }
    let name = std::env::var("AGENTKERNEL_BACKEND").unwrap_or_else(|_| "native".to_owned());
    if !arguments.list
        && !network::is_own()
        && let Err(e) = network::enter()
    {
        eprintln!("error: no network of our own: {e}");
        return ExitCode::FAILURE;
    }
    let shared = match if arguments.list { Ok(None) } else { Shared::of(&name) } {
        Ok(shared) => shared.map(Arc::new),
        Err(e) => {
            eprintln!("error: {name} has no engine: {e}");
            return ExitCode::FAILURE;
        }
    };
    let is_in_engine = engine::variable(&name).is_some();
    arguments.test_threads.get_or_insert(if is_in_engine { AT_A_TIME_IN_ENGINE } else { AT_A_TIME });
    let tests = tests().into_iter();
    let trial = |(title, test): Test| {
        let (name, shared) = (name.clone(), shared.clone());
        Trial::test(title, move || run(&name, shared.as_deref(), (title, test)))
    };
    let conclusion = libtest_mimic::run(&arguments, tests.map(trial).collect());
    match shared.map(|shared| shared.finish()) {
        Some(Err(e)) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
        _ => conclusion.exit_code(),
    }
}

/// Those that say something here.
fn tests() -> Vec<Test> {
    let is_root = rustix::process::geteuid().is_root();
    let mut tests: Vec<Test> = seed::tests().to_vec();
    if !is_root {
        // Nobody but root can look into process 1, which is the point of them.
        tests.retain(|(title, _)| !title.starts_with("seed/value-not-in-process-1"));
    }
    tests.extend(bundle::tests());
    tests.extend(rules::tests());
    if engine::is_elsewhere() {
        // Mounts are refused there, and rules about UDP: `cli_docker` sees to that.
        tests.retain(|(title, _)| !title.starts_with("bundle/") || !title.contains("-a-mount"));
        tests.extend(hostile::of_the_stream());
        return tests;
    }
    tests.extend(udp::tests());
    tests.extend(hostile::tests());
    tests.extend(clients::tests());
    tests.extend(ssh::tests());
    tests
}

fn run(name: &str, shared: Option<&Shared>, (title, test): Test) -> Result<(), Failed> {
    let address = shared.and_then(|shared| Some((engine::variable(name)?, shared.address())));
    let image = if title.starts_with("client/") { Image::OfThisMachine } else { Image::Small };
    let settings = shared.map_or_else(Vec::new, |shared| shared.settings(name));
    let world = World::new(name, address, settings, image)?;
    let tested = test(&world);
    shared.map_or(Ok(()), |shared| shared.forget(&world.bench.env.data()))?;
    tested?;
    let left = world.bench.leftovers()?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join("; ")).into()) }
}
