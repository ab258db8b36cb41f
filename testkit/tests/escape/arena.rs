//! Where one attempt takes place: a hermetic environment, one of the two binaries, and the probe.

use super::attempt::Observation;
use agentkernel_testkit::{
    TestEnv,
    env::{Finished, Invocation},
    proc,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// No network, for attempts that are not about one.
pub(crate) const ALONE: &[&str] = &["--no-network"];
pub(crate) const RESTRICTIVE: &[&str] = &["--profile", "restrictive"];

/// The one named sandbox of an arena.
pub(crate) const NAME: &str = "escape";

/// Longer than any attempt takes on two busy processors.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) env: TestEnv,
    /// The defence that is taken away.
    mutation: Option<String>,
    /// This very program, which attempts run.
    pub(crate) probe: PathBuf,
}

impl Arena {
    pub(crate) fn new(mutation: Option<&str>) -> Result<Self, String> {
        let probe = std::env::current_exe().map_err(|e| format!("cannot find the probe: {e}"))?;
        Ok(Self { env: TestEnv::new(), mutation: mutation.map(str::to_owned), probe })
    }

    /// The binary under attack, and what it is told in its environment.
    pub(crate) fn binary(&self) -> PathBuf {
        match self.mutation {
            Some(_) => mutations_binary(),
            None => agentkernel_testkit::env::product_binary(),
        }
    }

    pub(crate) fn agentkernel(&self, arguments: &[&str]) -> Invocation {
        self.program(&self.binary(), arguments)
    }

    /// Any program on this machine, outside of the sandbox, that may start agentkernel.
    pub(crate) fn program(&self, program: &Path, arguments: &[&str]) -> Invocation {
        let invocation = self.env.program(program, arguments).deadline(DEADLINE);
        match &self.mutation {
            Some(name) => invocation.env("AGENTKERNEL_MUTATION", name),
            None => invocation,
        }
    }

    /// `run` with `flags`, and the probe at /probe.
    pub(crate) fn run(&self, flags: &[&str], command: &[&str]) -> Invocation {
        let volume = format!("{}:/probe:ro", self.probe.display());
        let start = ["run", "--image", "host", "--no-workspace", "--volume", &volume];
        self.agentkernel(&start).args(flags).args(["--"]).args(command)
    }

    /// What the probe observes inside.
    pub(crate) fn inside(&self, flags: &[&str], words: &[&str]) -> Observation {
        let command: Vec<&str> = ["/probe", "probe"].iter().chain(words).copied().collect();
        word(&self.run(flags, &command).run())
    }

    /// What the probe observes when it is executed in a named sandbox that runs: by way of a keeper and of init's socket.
    pub(crate) fn inside_named(&self, words: &[&str]) -> Observation {
        self.with_named(|arena| {
            let command = ["exec", NAME, "--", "/probe", "probe"];
            word(&arena.agentkernel(&command).args(words).run())
        })
    }

    /// Does `act` while a sandbox called [`NAME`] runs, which has the probe at /probe and no network.
    pub(crate) fn with_named<T>(&self, act: impl FnOnce(&Self) -> Result<T, String>) -> Result<T, String> {
        let volume = format!("{}:/probe:ro", self.probe.display());
        self.must(&["sandbox", "create", NAME, "--image", "host", "--no-network", "-v", &volume])?;
        self.must(&["sandbox", "start", NAME])?;
        let seen = act(self);
        self.must(&["sandbox", "stop", NAME])?;
        self.must(&["sandbox", "remove", NAME])?;
        seen
    }

    /// What the probe observes outside: for set-ups.
    pub(crate) fn outside(&self, words: &[&str]) -> Observation {
        let arguments: Vec<&str> = ["probe"].iter().chain(words).copied().collect();
        word(&self.program(&self.probe, &arguments).run())
    }

    /// A command that must succeed: part of a set-up.
    pub(crate) fn must(&self, arguments: &[&str]) -> Result<Finished, String> {
        let finished = self.agentkernel(arguments).run();
        if finished.code == Some(0) { Ok(finished) } else { Err(format!("set-up: {finished}")) }
    }

    /// Init of the sandbox of the running agentkernel `pid`, by its id on the host. It is there from the moment on
    /// that a command inside has said something.
    pub(crate) fn init_of(&self, pid: i32) -> Result<i32, String> {
        let all = proc::all().map_err(|e| format!("set-up: cannot list processes: {e}"))?;
        let mut children = all.into_iter().filter(|p| proc::stat(*p).is_some_and(|s| s.parent == pid));
        match (children.next(), children.next()) {
            (Some(init), None) => Ok(init),
            other => Err(format!("set-up: {pid} has not one child but {other:?}")),
        }
    }

    /// Waits until `pid` has ended; whether it has.
    pub(crate) fn has_ended(pid: i32, within: Duration) -> Result<bool, String> {
        let Some(handle) = proc::handle(pid) else { return Ok(true) };
        proc::wait_until(&handle, Instant::now() + within).map_err(|e| format!("cannot wait for {pid}: {e}"))
    }
}

/// One line on stdout is the observation; a signal that ended the probe is one as well.
pub(crate) fn word(finished: &Finished) -> Observation {
    let text = finished.out();
    match finished.code {
        Some(0) if text.trim().lines().count() == 1 => Ok(text.trim().to_owned()),
        Some(137) => Ok("SIGKILL".to_owned()),
        Some(139) => Ok("SIGSEGV".to_owned()),
        Some(159) => Ok("SIGSYS".to_owned()),
        _ => Err(format!("the probe did not get to say what it saw: {finished}")),
    }
}

/// The binary with the switches that take one defence away.
pub(crate) fn mutations_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("AGENTKERNEL_MUTATIONS_BIN") {
        return named.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mutations/debug/agentkernel")
}
