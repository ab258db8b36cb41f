//! The world of one test: an environment, and the backend that everything in it is asked of.

use agentkernel_testkit::{
    TestEnv,
    engines::{Api, Container},
    env::{Finished, Invocation},
    oci::{Image, Layout},
};
use std::{path::PathBuf, time::Duration};

/// Longer than anything takes on two busy processors.
const DEADLINE: Duration = Duration::from_secs(120);
/// On everything that agentkernel makes in an engine.
pub(crate) const LABEL: &str = "sh.agentkernel.sandbox";

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) env: TestEnv,
    backend: String,
    /// By which variable the backend is told where its engine is, and the address.
    engine: Option<(&'static str, String)>,
    /// What commands are told beside that.
    settings: Vec<(&'static str, String)>,
}

impl Bench {
    pub(crate) fn new(backend: &str, engine: Option<(&'static str, String)>) -> Result<Self, String> {
        Ok(Self { env: TestEnv::new(), backend: backend.to_owned(), engine, settings: Vec::new() })
    }

    /// The same, with variables that every command has.
    pub(crate) fn telling(mut self, settings: Vec<(&'static str, String)>) -> Self {
        self.settings = settings;
        self
    }

    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    pub(crate) fn agentkernel(&self, arguments: &[&str]) -> Invocation {
        let invocation = self.env.agentkernel(arguments).deadline(DEADLINE);
        let invocation = match &self.engine {
            Some((variable, address)) => invocation.env(variable, address),
            None => invocation,
        };
        self.settings.iter().fold(invocation, |invocation, (name, value)| invocation.env(name, value))
    }

    /// A command that must succeed.
    pub(crate) fn must(&self, arguments: &[&str]) -> Result<Finished, String> {
        let finished = self.agentkernel(arguments).run();
        if finished.code == Some(0) { Ok(finished) } else { Err(finished.to_string()) }
    }

    /// `run` of `image` on this backend, without project and network.
    pub(crate) fn run(&self, image: &str, flags: &[&str], command: &[&str]) -> Invocation {
        let start = ["run", "-B", &self.backend, "--image", image, "--no-network"];
        self.agentkernel(&start).args(flags).args(["--"]).args(command)
    }

    /// What `sh -c SCRIPT` in a `run` of `image` says.
    pub(crate) fn says(&self, image: &str, flags: &[&str], script: &str) -> Result<String, String> {
        let ran = self.run(image, flags, &["/bin/sh", "-c", script]).run();
        if ran.code == Some(0) { Ok(ran.out()) } else { Err(ran.to_string()) }
    }

    /// Does `act` while the sandbox `box` of `image` runs.
    pub(crate) fn with_named<T>(
        &self,
        image: &str,
        flags: &[&str],
        act: impl FnOnce(&Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let create = ["sandbox", "create", "box", "-B", &self.backend, "--image", image, "--no-network"];
        let made = self.agentkernel(&create).args(flags).run();
        if made.code != Some(0) {
            return Err(made.to_string());
        }
        let seen = self.must(&["sandbox", "start", "box"]).and_then(|_| act(self));
        let removed = self.must(&["sandbox", "remove", "box"]);
        let seen = seen?;
        removed.map(|_| seen)
    }

    /// Puts `image` into the store.
    pub(crate) fn import(&self, image: &Image) -> Result<(), String> {
        let directory = self.env.directory("layouts").join(uuid_of(image));
        Layout::write(directory.clone(), std::slice::from_ref(image)).map_err(|e| e.to_string())?;
        let reference = image.reference().to_string();
        self.must(&["images", "import", &directory.display().to_string(), "--name", &reference]).map(drop)
    }

    pub(crate) fn address(&self) -> Result<(&'static str, &str), String> {
        let engine = self.engine.as_ref().ok_or("this backend has no engine")?;
        Ok((engine.0, &engine.1))
    }

    pub(crate) fn api(&self) -> Result<Api, String> {
        Api::at(self.address()?.1).map_err(|e| e.to_string())
    }

    /// This test's containers.
    pub(crate) fn containers(&self) -> Result<Vec<Container>, String> {
        let all = self.api()?.containers().map_err(|e| e.to_string())?;
        let place = self.place();
        Ok(all.into_iter().filter(|c| c.sources.iter().any(|s| s.starts_with(&place))).collect())
    }

    fn place(&self) -> PathBuf {
        self.env.home().parent().map(PathBuf::from).unwrap_or_default()
    }

    /// What the test left: processes, mounts, and containers with something of it in them, which are removed.
    pub(crate) fn leftovers(&self) -> Result<Vec<String>, String> {
        let mut left = self.env.leftovers();
        if self.engine.is_some() {
            for container in self.containers()? {
                self.api()?.remove(&container.id).map_err(|e| e.to_string())?;
                left.push(format!("container {}", container.id));
            }
        }
        Ok(left)
    }
}

fn uuid_of(image: &Image) -> String {
    image.root().digest().hex().to_owned()
}

/// Says what was wanted and is not so.
pub(crate) fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
