//! The engines that are measured: started by the testkit for as long as they are needed, or one that is named.

use crate::{Outcome, bench::command::quiet, cargo::beside_tests, fixtures::PROGRAM, suite::on_path};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A sort of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Docker,
    Podman,
}

impl Sort {
    /// Its name as a backend, and that of its own command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// By which agentkernel is told where it is.
    pub(super) const fn variable(self) -> &'static str {
        match self {
            Self::Docker => "DOCKER_HOST",
            Self::Podman => "CONTAINER_HOST",
        }
    }

    const fn flag(self) -> &'static str {
        match self {
            Self::Docker => "--host",
            Self::Podman => "--url",
        }
    }
}

/// One that answers. Ended when dropped, unless it was named.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) sort: Sort,
    address: String,
    own: Option<Child>,
}

impl Engine {
    /// The one at `address`, or a new one.
    pub(super) fn get(sort: Sort, address: Option<&str>) -> Outcome<Self> {
        if !on_path(sort.name()) {
            return Err(format!("{} is not installed", sort.name()).into());
        }
        if let Some(address) = address {
            return Ok(Self { sort, address: address.to_owned(), own: None });
        }
        let program = beside_tests(PROGRAM, &[])?;
        let mut command = Command::new(program);
        command.args(["engine", sort.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut own = command.spawn()?;
        let mut address = String::new();
        // It says where it is once it answers, and ends with its input.
        if let Some(said) = own.stdout.take() {
            BufReader::new(said).read_line(&mut address)?;
        }
        let engine = Self { sort, address: address.trim().to_owned(), own: Some(own) };
        if engine.address.is_empty() {
            Err(format!("no {} was started", sort.name()).into())
        } else {
            Ok(engine)
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The engine's own command line.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.sort.name());
        command.args([self.sort.flag(), &self.address]).args(words);
        command
    }

    pub(super) fn version(&self) -> String {
        let said = self.command(&["version", "--format", "{{.Server.Version}}"]).output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.unwrap_or_else(|error| error.to_string())
    }

    /// Makes `image` of the root file system `rootfs`; an archive of it.
    pub(super) fn import(&self, image: &str, rootfs: &Path, dir: &Path) -> Result<PathBuf, String> {
        let log = dir.join("import.log");
        let (layer, archive) = (dir.join("layer.tar"), dir.join(format!("{}.tar", self.sort.name())));
        quiet(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(rootfs).arg("."), &log)?;
        quiet(self.command(&["import"]).arg(&layer).arg(image), &log)?;
        quiet(self.command(&["save", "--output"]).arg(&archive).arg(image), &log)?;
        Ok(archive)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut own) = self.own.take() {
            drop(own.stdin.take());
            if let Err(error) = own.wait() {
                eprintln!("bench: {} is left behind: {error}", self.sort.name());
            }
        }
    }
}
