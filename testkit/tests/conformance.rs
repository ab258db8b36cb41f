//! Runs the conformance suite on one backend: `AGENTKERNEL_CONFORMANCE=native|docker|podman|fake` (default `fake`).
//!
//! Each case is a process of its own: one thread (as in the product, whose driver clones itself), an environment
//! with a marker that must not leak inside, a fresh data directory, and a deadline after which it is killed. Where the
//! backend needs an engine, one is started for all cases, or `AGENTKERNEL_CONFORMANCE_ENGINE` names one.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program of its own, whose stderr is its report")]

#[path = "conformance/elsewhere.rs"]
mod elsewhere;
#[path = "conformance/engine.rs"]
mod engine;

use agentkernel_backend::{Driver, Lease, Registry, Surroundings};
use agentkernel_image::{HostFacts, host_rootfs};
use agentkernel_model::capabilities::Boundary;
use agentkernel_testkit::{
    conformance::{Bench, Case, Outcome, Road, Subject, cases, skips, subject},
    env::product_binary,
    proc,
};
use engine::Shared;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// A case that takes longer hangs: the slowest takes about two seconds on two busy processors. Another number of
/// seconds can be given in `AGENTKERNEL_CONFORMANCE_DEADLINE`.
const DEADLINE: Duration = Duration::from_secs(60);
/// An engine takes a second for what native does in milliseconds, and one case starts 42 sandboxes.
const DEADLINE_OF_ENGINES: Duration = Duration::from_secs(240);
const CASE: &str = "AGENTKERNEL_CONFORMANCE_CASE";
/// The runtime that sandboxes ask their engine for; with one, `expected-skips` has a file of its own, and what stands in it
/// is not run: such a runtime lacks what the engine's capabilities promise, and refuses it or does it otherwise.
const RUNTIME: &str = "AGENTKERNEL_CONFORMANCE_RUNTIME";
/// How many cases run at a time where an engine does the work: they mostly wait for it.
const AT_A_TIME: usize = 4;
/// The exit code of a case that was skipped; its reason stands on stdout.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let name = std::env::var("AGENTKERNEL_CONFORMANCE").unwrap_or_else(|_| "fake".to_owned());
    let registry = Registry::new(&[
        agentkernel_testkit::fake::DRIVER,
        agentkernel_native::DRIVER,
        agentkernel_container::DOCKER,
        agentkernel_container::PODMAN,
    ]);
    let driver = match registry.find(&name) {
        Ok(driver) => *driver,
        Err(e) => {
            eprintln!(
                "error: {e}\n  hint: set AGENTKERNEL_CONFORMANCE to one of those: {}",
                e.hint().unwrap_or_default()
            );
            return ExitCode::FAILURE;
        }
    };
    match std::env::var(CASE) {
        Ok(case) => run_case(driver, &case),
        Err(_) => match elsewhere::with_small_binary() {
            Ok(Some(code)) => code,
            Ok(None) => run_suite(driver),
            Err(e) => {
                eprintln!("error: {e}");
                ExitCode::FAILURE
            }
        },
    }
}

/// The setting that decides what a backend can do here beside the backend itself.
fn setting() -> &'static str {
    if rustix::process::geteuid().is_root() { "root" } else { "user" }
}

fn run_suite(driver: Driver) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let cases = cases();
    let names: Vec<String> = cases.iter().map(Case::name).collect();
    let runtime = std::env::var(RUNTIME).ok();
    let beside = runtime.or_else(|| engine::is_elsewhere().then(|| "tls".to_owned()));
    let subject = beside.map_or_else(|| driver.id.to_owned(), |beside| format!("{}-{beside}", driver.id));
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("expected-skips/{subject}-{}.txt", setting()));
    // No file: nothing may be skipped.
    let text = fs::read_to_string(&file).unwrap_or_default();
    let allowed = match skips::parse(&text, &names) {
        Ok(allowed) => Arc::new(allowed),
        Err(e) => {
            eprintln!("error: {}: {e}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let shared = match if arguments.list { Ok(None) } else { Shared::of(driver.id) } {
        Ok(shared) => shared.map(Arc::new),
        Err(e) => {
            eprintln!("error: {} has no engine: {e}", driver.id);
            return ExitCode::FAILURE;
        }
    };
    if shared.is_some() {
        arguments.test_threads.get_or_insert(AT_A_TIME);
    }
    let trial = |name: String| {
        let (allowed, shared) = (Arc::clone(&allowed), shared.clone());
        Trial::ignorable_test(name.clone(), move || judge(driver, &name, &allowed, shared.as_deref()))
    };
    let conclusion = libtest_mimic::run(&arguments, names.into_iter().map(trial).collect());
    match shared.map(|shared| shared.finish()) {
        Some(Err(e)) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
        _ => conclusion.exit_code(),
    }
}

fn deadline(driver: Driver) -> Result<Duration, Failed> {
    match std::env::var("AGENTKERNEL_CONFORMANCE_DEADLINE") {
        Ok(seconds) => Ok(Duration::from_secs(seconds.parse()?)),
        Err(_) if engine::variable(driver.id).is_some() => Ok(DEADLINE_OF_ENGINES),
        Err(_) => Ok(DEADLINE),
    }
}

/// Runs one case in a process of its own and says how it went.
fn judge(
    driver: Driver,
    case: &str,
    allowed: &BTreeSet<String>,
    shared: Option<&Shared>,
) -> Result<Completion, Failed> {
    if (std::env::var_os(RUNTIME).is_some() || engine::is_elsewhere()) && allowed.contains(case) {
        return Ok(Completion::ignored_with("this is not to be had with its engine or runtime"));
    }
    let place = tempfile::Builder::new().prefix("agentkernel-conformance-").tempdir()?;
    let verdict = run_apart(driver, case, allowed, shared, place.path());
    let left = shared.map_or_else(|| Ok(Vec::new()), |shared| shared.leftovers(place.path()))?;
    shared.map_or(Ok(()), |shared| shared.forget(&place.path().join("data")))?;
    if left.is_empty() {
        return verdict;
    }
    let why = verdict.err().and_then(|failed| failed.message().map(str::to_owned)).unwrap_or_default();
    Err(format!("{why}\nleft in the engine: {}", left.join("; ")).trim().into())
}

/// The process of one case, from the outside.
fn run_apart(
    driver: Driver,
    case: &str,
    allowed: &BTreeSet<String>,
    shared: Option<&Shared>,
    place: &Path,
) -> Result<Completion, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env_clear()
        .envs(std::env::vars().filter(|(key, _)| ["PATH", "HOME", "AGENTKERNEL_BIN"].contains(&key.as_str())))
        .env("AGENTKERNEL_CONFORMANCE", driver.id)
        .env("AGENTKERNEL_CONFORMANCE_LEAK", "a marker that must not be seen inside")
        .env(CASE, case)
        .envs(std::env::var_os(RUNTIME).map(|runtime| (RUNTIME, runtime)))
        .envs(shared.into_iter().flat_map(|shared| shared.for_case(driver.id)))
        .current_dir(place)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = i32::try_from(child.id())?;
    let handle = proc::handle(pid).ok_or("the case's process vanished")?;
    let deadline = deadline(driver)?;
    let in_time = proc::wait_until(&handle, Instant::now() + deadline)?;
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let mut said = String::new();
    // What the case left behind may hold its pipes: only what is there now is read.
    for mut pipe in
        [child.stdout.take().map(into_file), child.stderr.take().map(into_file)].into_iter().flatten()
    {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let mut bytes = Vec::new();
        let _what_there_is = pipe.read_to_end(&mut bytes);
        said.push_str(&String::from_utf8_lossy(&bytes));
    }
    let said = said.trim().to_owned();
    match status.code() {
        _ if !in_time => {
            Err(format!("it did not end within {} s and was killed\n{said}", deadline.as_secs()).into())
        }
        Some(0) => Ok(Completion::Completed),
        Some(code) if code == i32::from(SKIPPED) && allowed.contains(case) => {
            Ok(Completion::ignored_with(said))
        }
        Some(code) if code == i32::from(SKIPPED) => {
            let file = format!("testkit/expected-skips/{}-{}.txt", driver.id, setting());
            Err(format!("it was skipped ({said}), which {file} does not allow").into())
        }
        _ => Err(format!("{status}\n{said}").into()),
    }
}

fn into_file(pipe: impl Into<std::os::fd::OwnedFd>) -> fs::File {
    fs::File::from(pipe.into())
}

/// The process of one case.
fn run_case(driver: Driver, name: &str) -> ExitCode {
    let Some(case) = cases().into_iter().find(|c| c.name() == name) else {
        eprintln!("there is no case '{name}'");
        return ExitCode::FAILURE;
    };
    let outcome = subject_of(driver).and_then(|subject| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let bench = Bench::new(subject, case.road.unwrap_or(Road::Named)).map_err(|e| e.to_string())?;
            Ok(case.run(bench).await)
        })
    });
    let (code, text) = match outcome {
        Ok(Outcome::Passed) => (ExitCode::SUCCESS, String::new()),
        Ok(Outcome::Skipped(reason)) => (ExitCode::from(SKIPPED), reason),
        Ok(Outcome::Failed(why)) | Err(why) => (ExitCode::FAILURE, why),
    };
    // A closed pipe means that the suite is gone.
    let _told = writeln!(std::io::stdout(), "{text}");
    code
}

fn subject_of(driver: Driver) -> Result<Subject, String> {
    let here = std::env::current_dir().map_err(|e| e.to_string())?;
    let (data, scratch) = (here.join("data"), here.join("scratch"));
    for directory in [&data, &scratch] {
        fs::DirBuilder::new().mode(0o700).create(directory).map_err(|e| e.to_string())?;
    }
    let rootfs = match elsewhere::rootfs() {
        Some(rootfs) => rootfs,
        None if driver.isolation == Boundary::None => subject::bare_rootfs(),
        None => image()?,
    };
    let mut host = subject::host_of(&data, product_binary());
    host.surroundings = surroundings(driver);
    Ok(Subject {
        driver,
        host,
        rootfs,
        guest: PathBuf::from(env!("CARGO_BIN_EXE_agentkernel-testkit-guest")),
        scratch,
        runtime: match std::env::var(RUNTIME) {
            Ok(name) => Some(name.parse().map_err(|e| format!("{RUNTIME}: {e}"))?),
            Err(_) => None,
        },
    })
}

fn surroundings(driver: Driver) -> Surroundings {
    Surroundings {
        home: std::env::var_os("HOME").map(PathBuf::from),
        // A user's own engines are no part of this.
        runtime_dir: None,
        path: std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect()).unwrap_or_default(),
        variables: engine::variables(driver.id),
        open_files: None,
    }
}

fn image() -> Result<Lease, String> {
    let path = std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect()).unwrap_or_default();
    let facts = HostFacts { path, home: std::env::var_os("HOME").map(PathBuf::from) };
    host_rootfs(&facts).map_err(|e| e.to_string())
}
