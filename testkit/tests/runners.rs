//! Runs that a process with many threads hands to runners, on the embedded sandbox and the real binary: what a run is, and
//! what is left of it when either side is killed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentkernel_backend::{ByteSource, Exit, Process, Registry};
use agentkernel_engine::{
    Engine,
    audit::Audit,
    connections::ConnectionQuery,
    request::{Effect, Filter, Pool, RunRequest, Stopped},
    values::{Source, Values},
};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    Kind, Result,
    command::{ExecSpec, Stdio, TerminalSize},
    policy::{EffectivePolicy, Profile},
    secret::Secret,
    spec::{Lifetime, SandboxSpec},
};
use agentkernel_testkit::{
    conformance::subject::{host_of, plain_spec, sh},
    env::product_binary,
    leftovers::cgroups,
    proc,
};
use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink},
    },
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Longer than anything takes on two busy processors.
const DEADLINE: Duration = Duration::from_secs(60);

/// A machine of a test's own.
struct Bench {
    place: TempDir,
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        // A disk that overlays can be on.
        let place = tempfile::Builder::new().prefix("ak-runners-").tempdir_in("/var/tmp").unwrap();
        symlink(product_binary(), place.path().join("agentkernel")).unwrap();
        fs::DirBuilder::new().mode(0o700).create(place.path().join("data")).unwrap();
        let host = host_of(&place.path().join("data"), place.path().join("agentkernel"));
        let audit = Audit::of(&host);
        let engine = Engine::new(host, Registry::new(&[agentkernel_native::DRIVER]), HostFacts::default());
        let engine = engine.with_audit(audit).with_runners();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { place, engine, runtime }
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn count(&self, directory: &str) -> usize {
        fs::read_dir(self.data().join(directory)).map_or(0, Iterator::count)
    }

    /// All runners of this machine.
    fn runners(&self) -> Vec<i32> {
        let program = self.place.path().join("agentkernel");
        let words = [program.as_os_str().as_encoded_bytes(), b"runner", b""].join(&0);
        let is_one = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == words);
        proc::all().unwrap().into_iter().filter(is_one).collect()
    }

    /// The runner that has a sandbox, and process 1 of that.
    fn at_work(&self) -> (i32, OwnedFd) {
        let runners = self.runners();
        let children = proc::all().unwrap().into_iter().filter_map(proc::stat);
        let child = children.into_iter().find(|child| runners.contains(&child.parent)).expect("a sandbox");
        (child.parent, proc::handle(child.pid).expect("it lives"))
    }

    /// The control groups of runs that are under way.
    fn groups(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.data().join("runs")).into_iter().flatten().flatten();
        let ids: Vec<String> = runs.map(|run| run.file_name().to_string_lossy().into_owned()).collect();
        let is_of_run = |group: &PathBuf| {
            let name = group.file_name().unwrap_or_default().to_string_lossy();
            ids.iter().any(|id| name.contains(id))
        };
        cgroups().into_iter().filter(is_of_run).collect()
    }

    async fn until(&self, what: &str, mut over: impl FnMut() -> bool) {
        let waiting = async {
            while !over() {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "{what}");
    }

    /// Until nothing is left but the runners that wait for a run.
    async fn until_nothing_is_left(&self, groups: &[PathBuf]) {
        self.until("only spare runners are left", || self.runners().len() <= 2 && self.count("runs") == 0)
            .await;
        assert_eq!(self.count("sandboxes"), 0);
        let left: Vec<&PathBuf> = groups.iter().filter(|group| group.exists()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    async fn begin(&self, spec: SandboxSpec, command: ExecSpec) -> Result<Process> {
        let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec };
        let request = RunRequest { spec, command, backend: None, values: Source::default(), pool: Pool::Use };
        self.engine.run(request).await.map(|running| running.process)
    }

    /// A command that has said that it runs.
    async fn waiting(&self, spec: SandboxSpec) -> Process {
        let mut process = self.begin(spec, sh("echo up; sleep 1000 & sleep 1000")).await.unwrap();
        let stdout = std::mem::replace(&mut process.stdout, ByteSource::Empty);
        let mut lines = BufReader::new(stdout.into_reader().unwrap().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "up");
        process
    }
}

fn kill(pid: i32) {
    let handle = proc::handle(pid).expect("the runner is there");
    rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL).unwrap();
}

fn has_ended(handle: &OwnedFd) -> bool {
    proc::wait_until(handle, Instant::now()).unwrap()
}

#[test]
fn a_run_is_served_and_leaves_nothing() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let process = bench.begin(plain_spec(), sh("echo out; echo err >&2; exit 7")).await.unwrap();
        let output = process.output(1 << 10).await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.exit, Exit::Code(7));
        let missing = bench.begin(plain_spec(), sh("exec /no/such/program")).await.unwrap();
        assert_eq!(missing.output(1 << 10).await.unwrap().exit, Exit::Code(127));
        let nothing =
            ExecSpec { argv: ["/no/such/program".to_owned()].to_vec().try_into().unwrap(), ..sh("true") };
        let ended = match bench.begin(plain_spec(), nothing).await {
            Ok(process) => process.output(1 << 10).await,
            Err(error) => Err(error),
        };
        assert_eq!(ended.unwrap_err().kind(), Kind::CommandNotFound);
        bench.until_nothing_is_left(&[]).await;
    });
}

#[test]
fn a_terminal_is_the_commands_own() {
    let bench = Bench::new();
    let size = |rows, columns| TerminalSize { rows, columns };
    let script = "stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.01; done";
    let command = ExecSpec { stdio: Stdio::Terminal(size(30, 100)), ..sh(script) };
    bench.runtime.block_on(async {
        let Process { stdin: _stdin, stdout, control, exit, .. } =
            bench.begin(plain_spec(), command).await.unwrap();
        let mut lines = BufReader::new(stdout.into_reader().unwrap().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "30 100");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "ready");
        control.resize(size(40, 120)).unwrap();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "40 120");
        assert_eq!(exit.await.unwrap(), Exit::Code(3));
    });
}

#[test]
fn a_dropped_run_ends_with_all_that_it_started() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let process = bench.waiting(plain_spec()).await;
        let (groups, (_, init)) = (bench.groups(), bench.at_work());
        drop(process);
        bench.until("the sandbox ends", || has_ended(&init)).await;
        bench.until_nothing_is_left(&groups).await;
    });
}

#[test]
fn a_killed_runner_is_an_error_and_leaves_nothing() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let process = bench.waiting(plain_spec()).await;
        let (groups, (runner, init)) = (bench.groups(), bench.at_work());
        kill(runner);
        let error = process.exit.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.message().contains("signal: 9"), "{error}");
        bench.until("the sandbox ends", || has_ended(&init)).await;
        assert_eq!(bench.count("runs"), 0, "the end is told when everything is gone");
        bench.until_nothing_is_left(&groups).await;
    });
}

#[test]
fn a_killed_runner_of_a_sandbox_with_a_directory_leaves_what_gc_finds() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let spec = SandboxSpec { init_script: Some("true".to_owned()), ..plain_spec() };
        let process = bench.waiting(spec).await;
        assert_eq!(bench.count("sandboxes"), 1);
        let (runner, init) = bench.at_work();
        kill(runner);
        assert_eq!(process.exit.await.unwrap_err().kind(), Kind::Internal);
        bench.until("the sandbox ends", || has_ended(&init)).await;
        let report = bench.engine.gc(&Filter::default(), Stopped::Keep, Effect::Apply).await.unwrap();
        assert_eq!((report.orphans.len(), report.failures), (1, Vec::new()));
        bench.until_nothing_is_left(&[]).await;
    });
}

#[test]
fn fifty_at_once_are_fifty_sandboxes() {
    let bench = Bench::new();
    bench.runtime.block_on(async {
        let mut running = Vec::new();
        for number in 0..50 {
            running.push(
                bench.begin(
                    plain_spec(),
                    sh(&format!("echo {number}; hostname; ls /proc | grep -c '^[0-9]'")),
                ),
            );
        }
        let mut all = Vec::new();
        for process in futures(running).await {
            all.push(process.unwrap().output(1 << 10).await.unwrap());
        }
        for (number, output) in all.into_iter().enumerate() {
            assert_eq!(output.exit, Exit::Code(0));
            assert!(output.stdout.starts_with(format!("{number}\n").as_bytes()), "{output:?}");
        }
        bench.until_nothing_is_left(&[]).await;
    });
}

/// All at once, on this thread.
async fn futures<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(|one| (Some(Box::pin(one)), None)).collect();
    std::future::poll_fn(move |context| {
        for (work, done) in &mut all {
            if let Some(one) = work
                && let std::task::Poll::Ready(value) = one.as_mut().poll(context)
            {
                (*work, *done) = (None, Some(value));
            }
        }
        if all.iter().any(|(work, _)| work.is_some()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(all.iter_mut().filter_map(|(_, done)| done.take()).collect())
    })
    .await
}

#[test]
fn a_secret_is_inside_and_the_runner_cannot_be_looked_into() {
    let bench = Bench::new();
    let mut spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..plain_spec() };
    spec.policy.secret_files.push("TOKEN".parse().unwrap());
    let values = Source::new(|| {
        let secret = Secret::new(b"open-sesame".to_vec())?;
        Ok(Values { files: vec![("TOKEN".parse()?, secret)], ..Values::default() })
    });
    let command =
        ExecSpec { stdio: Stdio::Pipes, ..sh("cat $AGENTKERNEL_SECRETS_PATH/TOKEN; echo; read line") };
    bench.runtime.block_on(async {
        let request = RunRequest { spec, command, backend: None, values, pool: Pool::Use };
        let Process { stdin, stdout, exit, .. } = bench.engine.run(request).await.unwrap().process;
        let mut lines = BufReader::new(stdout.into_reader().unwrap().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "open-sesame");
        let (runner, _) = bench.at_work();
        for what in ["environ", "cmdline"] {
            let text = fs::read(format!("/proc/{runner}/{what}")).unwrap_or_default();
            assert!(!text.windows(6).any(|part| part == b"sesame"), "{what}");
        }
        // Root's, so that the user who runs it cannot read its memory: proc(5), "dumpable".
        assert_eq!(fs::metadata(format!("/proc/{runner}/mem")).unwrap().uid(), 0);
        drop(stdin);
        exit.await.unwrap();
        bench.until_nothing_is_left(&[]).await;
    });
}

/// The gateway is served by the runner, and what it refuses is written down.
#[test]
fn the_network_is_decided_and_written_down() {
    let bench = Bench::new();
    let spec = SandboxSpec { policy: EffectivePolicy::of_profile(Profile::Moderate), ..plain_spec() };
    bench.runtime.block_on(async {
        // An address of this machine, whatever listens there.
        let script = "exec 3<>/dev/tcp/10.255.255.1/81 && cat <&3";
        let command = ExecSpec {
            argv: ["/bin/bash", "-c", script].map(str::to_owned).to_vec().try_into().unwrap(),
            ..sh("true")
        };
        bench.begin(spec, command).await.unwrap().output(1 << 16).await.unwrap();
        bench.until_nothing_is_left(&[]).await;
    });
    let query = ConnectionQuery { sandbox: None, only_blocked: true, limit: 10 };
    let page = bench.engine.connections(&query).unwrap();
    assert_eq!(page.entries.len(), 1, "{page:?}");
    assert!(page.entries[0].as_json().contains("10.255.255.1"), "{page:?}");
}
