//! A machine of a test's own: a data directory, and a binary that plays the command line on it.

use crate::PLAYED;
use agentkernel_backend::{Driver, Host, Pooling, Process, Registry};
use agentkernel_engine::{
    Engine,
    audit::Audit,
    daemon::{Order, PoolSize},
    memory,
    request::{CreateRequest, Effect, Filter, GcReport, Pool, RunRequest, SandboxInfo, Stopped},
    values::{Source, Values},
};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    Result,
    capabilities::{Capabilities, Egress, Support},
    capset::CapSet,
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    image::ImageRef,
    limits::Limits,
    mount::Workspace,
    name::{Label, SandboxName},
    policy::{EffectivePolicy, EnvPassthrough, Network, PolicyRequest, RootAccess},
    spec::{Isolation, Lifetime, SandboxSpec},
};
use agentkernel_testkit::{
    fake::{Action, DRIVER, FakeBackend, FakeControl, Fault, Step, honest_capabilities},
    proc,
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// How long anything here may take; no test comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The fake backend as one that is chosen automatically.
/// It claims a network that nobody decides about, without which no spec may have ports, and that a daemon is of use.
pub(crate) const FAKE: Driver = Driver {
    auto_rank: Some(2),
    build: |host| {
        let claimed = Capabilities { egress: Egress::ProviderOnly, ..honest_capabilities() };
        Ok(Arc::new(FakeBackend::claiming(host.clone(), claimed).with_pooling(Pooling::Worthwhile)))
    },
    ..DRIVER
};

/// Three more, weaker than [`FAKE`], each with faults of its own. The last one has runtimes.
pub(crate) const ALPHA: Driver = Driver {
    id: "alpha",
    aliases: &[],
    auto_rank: Some(11),
    build: |host| Ok(named("alpha", host, Support::No)),
    ..FAKE
};
pub(crate) const BETA: Driver =
    Driver { id: "beta", auto_rank: Some(12), build: |host| Ok(named("beta", host, Support::No)), ..ALPHA };
pub(crate) const GAMMA: Driver = Driver {
    id: "gamma",
    auto_rank: Some(13),
    build: |host| Ok(named("gamma", host, Support::Yes)),
    ..ALPHA
};

fn named(id: &'static str, host: &Host, runtimes: Support) -> Arc<FakeBackend> {
    let claimed = Capabilities { egress: Egress::ProviderOnly, runtimes, ..honest_capabilities() };
    Arc::new(FakeBackend::named(id, host.clone(), claimed))
}

pub(crate) struct Bench {
    dir: TempDir,
    pub(crate) engine: Engine,
    pub(crate) runtime: Runtime,
    pub(crate) control: FakeControl,
}

fn host(dir: &Path) -> Host {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Host {
        data: dir.join("data"),
        exe: dir.join(PLAYED),
        uid,
        gid,
        login: "tester".to_owned(),
        surroundings: agentkernel_backend::Surroundings::default(),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// One whose time passes at once when everybody waits.
pub(crate) fn impatient_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

pub(crate) fn name(text: &str) -> SandboxName {
    text.parse().unwrap()
}

/// A spec that the fake backend can honestly take.
pub(crate) fn spec() -> SandboxSpec {
    let policy = EffectivePolicy {
        network: Network::Open,
        root: RootAccess::ReadWrite,
        mounts: Vec::new(),
        env: EnvPassthrough::None,
        caps: CapSet::NONE,
        limits: Limits { memory: None, cpus: None, pids: None },
        ..EffectivePolicy::resolve(PolicyRequest::default())
    };
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

pub(crate) fn shell(script: &str) -> ExecSpec {
    ExecSpec {
        argv: Argv::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec()).unwrap(),
        env: Vec::new(),
        workdir: None,
        user: None,
        stdio: Stdio::NoInput,
    }
}

pub(crate) fn request(sandbox: &str) -> CreateRequest {
    CreateRequest {
        name: name(sandbox),
        spec: spec(),
        backend: None,
        labels: vec![Label::new("team", "red").unwrap()],
        ttl: None,
        description: None,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(&[FAKE])
    }

    pub(crate) fn with(drivers: &[Driver]) -> Self {
        let dir = TempDir::new().unwrap();
        symlink(std::env::current_exe().unwrap(), dir.path().join(PLAYED)).unwrap();
        let host = host(dir.path());
        let control = FakeControl::new(&host.data);
        let engine = Engine::new(host, Registry::new(drivers), HostFacts::default());
        Self { dir, engine, runtime: runtime(), control }
    }

    /// Another process's view of the same machine.
    pub(crate) fn another(&self) -> Engine {
        self.build_of(&[FAKE])
    }

    /// One that hands runs to runners, of which `spare` wait for a run.
    pub(crate) fn with_runners(&self, spare: usize) -> Engine {
        self.another().with_spare_runners(spare)
    }

    /// The same machine, as a build with these drivers has it.
    pub(crate) fn build_of(&self, drivers: &[Driver]) -> Engine {
        Engine::new(host(self.dir.path()), Registry::new(drivers), HostFacts::default())
    }

    /// Faults and counts of the fake that is called `id`.
    pub(crate) fn control_of(&self, id: &str) -> FakeControl {
        FakeControl::of(&self.data(), id)
    }

    /// From now on `step` of the fake `id` does this.
    pub(crate) fn break_at(&self, id: &str, step: Step, action: Action) {
        self.control_of(id).inject(Fault { step, action, times: None }).unwrap();
    }

    pub(crate) fn create_on(&self, backend: &str, sandbox: &str, ttl: Option<Duration>) -> SandboxInfo {
        let request = CreateRequest { backend: Some(backend.to_owned()), ttl, ..request(sandbox) };
        self.runtime.block_on(self.engine.create(request)).unwrap()
    }

    /// Makes what a crash leaves: a sandbox that its backend has and no record knows.
    pub(crate) fn lose_record(&self, sandbox: &str) {
        let database = rusqlite::Connection::open(self.data().join("state.db")).unwrap();
        assert_eq!(database.execute("DELETE FROM sandboxes WHERE name = ?1", [sandbox]).unwrap(), 1);
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn create(&self, sandbox: &str) -> SandboxInfo {
        self.runtime.block_on(self.engine.create(request(sandbox))).unwrap()
    }

    pub(crate) fn start(&self, sandbox: &str) -> Result<SandboxInfo> {
        self.runtime.block_on(self.engine.start(&name(sandbox), &Values::default()))
    }

    pub(crate) fn stop(&self, sandbox: &str) -> Result<SandboxInfo> {
        self.runtime.block_on(self.engine.stop(&name(sandbox), Duration::from_secs(1)))
    }

    pub(crate) fn remove(&self, sandbox: &str) -> Result<()> {
        self.runtime.block_on(self.engine.remove(&name(sandbox)))
    }

    pub(crate) fn info(&self, sandbox: &str) -> SandboxInfo {
        self.runtime.block_on(self.engine.info(&name(sandbox))).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let list = self.runtime.block_on(self.engine.list(&Filter::default())).unwrap();
        list.into_iter().map(|info| info.name.to_string()).collect()
    }

    pub(crate) fn gc(&self, stopped: Stopped, effect: Effect) -> GcReport {
        let report = self.runtime.block_on(self.engine.gc(&Filter::default(), stopped, effect)).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        report
    }

    /// What a command in a running sandbox writes to stdout.
    pub(crate) fn exec(&self, sandbox: &str, script: &str) -> Result<String> {
        self.runtime.block_on(async {
            let process = self.engine.exec(&name(sandbox), &shell(script)).await?;
            output(process).await
        })
    }

    pub(crate) fn fail(&self, step: Step, action: Action) {
        self.control.inject(Fault { step, action, times: Some(1) }).unwrap();
    }

    pub(crate) fn sandbox_dir(&self, id: SandboxId) -> PathBuf {
        self.data().join("sandboxes").join(id.to_string())
    }

    /// Directories of sandboxes, with a record or without.
    pub(crate) fn dirs(&self) -> usize {
        fs::read_dir(self.data().join("sandboxes")).map_or(0, Iterator::count)
    }

    /// The keeper of a running sandbox.
    pub(crate) fn keeper(&self, id: SandboxId) -> i32 {
        fs::read_to_string(self.sandbox_dir(id).join("keeper.lock")).unwrap().trim().parse().unwrap()
    }

    /// Sends `signal` to a process and waits until it has ended.
    pub(crate) fn end(&self, pid: i32, signal: rustix::process::Signal) {
        let handle = proc::handle(pid).expect("the process is there");
        rustix::process::pidfd_send_signal(&handle, signal).unwrap();
        self.await_end(&handle);
    }

    pub(crate) fn await_end(&self, handle: &std::os::fd::OwnedFd) {
        assert!(proc::wait_until(handle, Instant::now() + DEADLINE).unwrap(), "the process does not end");
    }

    /// Runs a verb in a process of its own.
    pub(crate) fn play(&self, words: &[&str]) -> Played {
        self.play_with(words, &[])
    }

    /// The same, in an environment that has these besides.
    pub(crate) fn play_with(&self, words: &[&str], env: &[(&str, &str)]) -> Played {
        let mut command = Command::new(self.dir.path().join(PLAYED));
        Played(command.args(words).envs(env.iter().copied()).spawn().unwrap())
    }

    /// A path of this test's own, that commands of the fake can write to.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn audit(&self) -> Audit {
        Audit::of(&host(self.dir.path()))
    }

    /// The process ids of all runners of this machine.
    pub(crate) fn runners(&self) -> Vec<i32> {
        let program = self.dir.path().join(PLAYED);
        let words = [program.as_os_str().as_encoded_bytes(), b"runner", b""].join(&0);
        let plays = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == words);
        proc::all().unwrap().into_iter().filter(plays).collect()
    }
}

/// A process that plays the command line; killed when a test is done with it.
pub(crate) struct Played(pub(crate) Child);

impl Played {
    pub(crate) fn succeeds(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A failed test leaves no keepers, no daemon and no runners behind: they die with what they keep.
        for handle in self.runners().into_iter().filter_map(proc::handle) {
            let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
        }
        let dirs = fs::read_dir(self.data().join("sandboxes")).into_iter().flatten().filter_map(|e| e.ok());
        let keepers = dirs.map(|dir| dir.path().join("keeper.lock"));
        for lock in keepers.chain([self.data().join("daemon.lock")]) {
            let note = fs::read_to_string(lock).unwrap_or_default();
            let Ok(pid) = note.trim().parse::<i32>() else { continue };
            let ours = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let ours = ours.starts_with(self.dir.path().as_os_str().as_encoded_bytes());
            if let Some(handle) = proc::handle(pid).filter(|_| ours) {
                let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
            }
        }
    }
}

pub(crate) async fn output(process: Process) -> Result<String> {
    let output = process.output(1 << 20).await?;
    assert_eq!(output.exit.code(), 0, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// The verbs of this binary when it plays the command line.
pub(crate) fn play(program: &Path, words: &[&str]) -> ExitCode {
    let dir = program.parent().unwrap();
    let registry = Registry::new(&[FAKE, ALPHA, BETA, GAMMA]);
    let engine = Engine::new(host(dir), registry, HostFacts::default());
    let done = runtime().block_on(async {
        match words {
            ["daemon", "serve"] => engine.serve_daemon().await,
            ["start-daemon"] => {
                let order = Order::new(PoolSize::new(None, None)?, Vec::new())?;
                engine.start_daemon(&order).await.map(drop)
            }
            ["run", script] => {
                let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec() };
                let request = RunRequest {
                    spec,
                    command: shell(script),
                    backend: None,
                    values: Source::default(),
                    pool: Pool::Use,
                };
                output(engine.run(request).await?.process).await.map(drop)
            }
            ["runner"] => agentkernel_engine::runner::serve(Registry::new(&[FAKE, ALPHA, BETA, GAMMA])).await,
            ["serve-run", script] => {
                let server = engine.with_runners();
                server.prepare_runners()?;
                let _held = fs::File::open(dir.join("held"));
                let spec = SandboxSpec { lifetime: Lifetime::Ephemeral, ..spec() };
                let request = RunRequest {
                    spec,
                    command: shell(script),
                    backend: None,
                    values: Source::default(),
                    pool: Pool::Use,
                };
                output(server.run(request).await?.process).await.map(drop)
            }
            ["unseen-probe"] => {
                memory::keep_unseen()?;
                engine.backends().await.map(drop)
            }
            ["serve-probe"] => {
                memory::keep_unseen()?;
                engine.with_runners().backends().await.map(drop)
            }
            ["keeper", id] => engine.keep(SandboxId::parse(id)?, None).await,
            ["detach", sandbox, script] => {
                engine.exec_detached(&name(sandbox), &shell(script)).await.map(drop)
            }
            ["create", sandbox] => engine.create(request(sandbox)).await.map(drop),
            ["start", sandbox] => engine.start(&name(sandbox), &Values::default()).await.map(drop),
            ["stop", sandbox] => engine.stop(&name(sandbox), Duration::from_secs(2)).await.map(drop),
            ["remove", sandbox] => engine.remove(&name(sandbox)).await,
            other => panic!("no such verb: {other:?}"),
        }
    });
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
