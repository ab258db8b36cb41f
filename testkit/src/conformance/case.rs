//! A case: a name, what it needs, and what it does.

use super::bench::Bench;
use agentkernel_model::{
    Error,
    capabilities::{Boundary, Capabilities, Support},
};
use std::{fmt, future::Future, pin::Pin};

/// The two ways to run a command in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// `run_once`.
    Once,
    /// `create`, `start` and `exec`.
    Named,
}

/// A capability without which a case has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Any boundary between the sandbox and the machine.
    Isolation,
    Users,
    Mounts,
    WorkspaceView,
    ReadOnlyRoot,
    ImageChanges,
    Terminal,
    PublishPorts,
    Named,
    LimitMemory,
    LimitPids,
}

impl Need {
    /// Why `capabilities` do not meet this need; `None` when they do.
    #[must_use]
    pub fn unmet(self, capabilities: &Capabilities) -> Option<String> {
        let (support, name) = match self {
            Self::Isolation => (Support::from_test(capabilities.boundary != Boundary::None), "boundary"),
            Self::Users => (capabilities.users, "users"),
            Self::Mounts => (capabilities.mounts, "mounts"),
            Self::WorkspaceView => (capabilities.workspace_view, "workspace_view"),
            Self::ReadOnlyRoot => (capabilities.read_only_root, "read_only_root"),
            Self::ImageChanges => (capabilities.image_changes, "image_changes"),
            Self::Terminal => (capabilities.terminal, "terminal"),
            Self::PublishPorts => (capabilities.publish_ports, "publish_ports"),
            Self::Named => (capabilities.named, "named"),
            Self::LimitMemory => (capabilities.limit_memory, "limit_memory"),
            Self::LimitPids => (capabilities.limit_pids, "limit_pids"),
        };
        (!support.is_yes()).then(|| format!("capability '{name}' says no"))
    }
}

/// Why a case is red.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(format!("{:?}: {error}", error.kind()))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What a case says of itself. It cannot skip itself: only its needs can.
pub type Verdict = Result<(), Failure>;

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// With the capability that says no.
    Skipped(String),
    Failed(String),
}

type Body = fn(Bench) -> Pin<Box<dyn Future<Output = Verdict>>>;

/// One case on one road.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    subject: &'static str,
    pub road: Option<Road>,
    needs: &'static [Need],
    body: Body,
}

impl Case {
    pub(super) const fn new(
        subject: &'static str,
        road: Option<Road>,
        needs: &'static [Need],
        body: Body,
    ) -> Self {
        Self { subject, road, needs, body }
    }

    /// `once::exit_codes`, `named::exit_codes`, `admit_is_pure`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.road {
            Some(Road::Once) => format!("once::{}", self.subject),
            Some(Road::Named) => format!("named::{}", self.subject),
            None => self.subject.to_owned(),
        }
    }

    /// The first need that `capabilities` do not meet.
    #[must_use]
    pub fn unmet(&self, capabilities: &Capabilities) -> Option<String> {
        let road = (self.road == Some(Road::Named)).then_some(Need::Named);
        road.iter().chain(self.needs).find_map(|need| need.unmet(capabilities))
    }

    /// Runs the case on `bench`, cleans up, and looks for what was left.
    pub async fn run(&self, bench: Bench) -> Outcome {
        if let Some(reason) = self.unmet(&bench.backend().capabilities()) {
            return Outcome::Skipped(reason);
        }
        let verdict = (self.body)(bench.clone()).await;
        let clean = bench.finish().await;
        match (verdict, clean) {
            (Ok(()), Ok(())) => Outcome::Passed,
            (Err(Failure(why)), Ok(())) => Outcome::Failed(why),
            (Ok(()), Err(Failure(left))) => Outcome::Failed(format!("it left something behind: {left}")),
            (Err(Failure(why)), Err(Failure(left))) => Outcome::Failed(format!("{why}; and it left: {left}")),
        }
    }
}

/// Fails the case when the condition does not hold, with the values that say why.
macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure(format!($($why)+)));
        }
    };
}

/// Fails the case when the two differ.
macro_rules! same {
    ($got:expr, $want:expr, $what:expr) => {{
        let (got, want) = (&$got, &$want);
        if got != want {
            return Err($crate::conformance::Failure(format!("{}: got {got:?}, want {want:?}", $what)));
        }
    }};
}

pub(super) use {check, same};
