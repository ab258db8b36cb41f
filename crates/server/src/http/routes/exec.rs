//! Commands in named sandboxes.

use super::run::failed;
use crate::{
    App,
    execution::{self, CommandReport},
    fields::{self, each, parsed},
    http::{
        body::{Body, Segment},
        envelope::{Reply, ok},
        trace::Trace,
    },
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, EnvVar, ExecSpec, Stdio, User},
    name::SandboxName,
    path::GuestPath,
};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A command in a named sandbox.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecBody {
    command: Vec<String>,
    /// `KEY=VALUE`.
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    workdir: Option<String>,
    /// Whether it runs as root inside. Only where the server allows it.
    #[serde(default)]
    sudo: Option<bool>,
    /// What the command reads; nothing without it.
    #[serde(default)]
    stdin: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

impl ExecBody {
    /// What only makes sense for a command that is waited for.
    ///
    /// # Errors
    /// [`Kind::Invalid`].
    pub(super) fn refuse_waiting(&self) -> Result<()> {
        if self.stdin.is_some() || self.timeout_ms.is_some() {
            return Err(Error::invalid("a detached command has no stdin and no timeout_ms")
                .with_hint("leave them out; DELETE .../exec/detached/ID ends it"));
        }
        Ok(())
    }

    /// The command, and what it reads.
    ///
    /// # Errors
    /// [`Kind::Invalid`], [`Kind::Denied`].
    pub(super) fn command(&self, app: &App, trace: Trace) -> Result<ExecSpec> {
        let mut env = each::<EnvVar>("env", self.env.clone())?;
        env.extend(trace.beside(&env).collect::<Vec<_>>());
        let sudo = self.sudo.unwrap_or_default();
        if sudo && !app.options.allow_sudo {
            return Err(Error::new(Kind::Denied, "this server runs no command as root inside on request")
                .with_hint("start it with --allow-sudo, or let the sandbox's own user be root"));
        }
        let has_input = self.stdin.as_ref().is_some_and(|text| !text.is_empty());
        Ok(ExecSpec {
            argv: Argv::new(self.command.clone())?,
            env,
            workdir: self.workdir.as_ref().map(|text| parsed::<GuestPath>("workdir", text)).transpose()?,
            user: sudo.then_some(User::ROOT),
            stdio: if has_input { Stdio::Pipes } else { Stdio::NoInput },
        })
    }
}

pub(super) async fn exec(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    trace: Trace,
    Body(body): Body<ExecBody>,
) -> Reply<CommandReport> {
    let command = body.command(&app, trace)?;
    let seat = app.commands.take()?;
    let process = app.engine.exec(&name, &command).await?;
    let timeout = fields::timeout(body.timeout_ms);
    let stdin = body.stdin.unwrap_or_default().into_bytes();
    let finished = execution::collect(process, stdin, app.options.limits.output, timeout).await?;
    drop(seat);
    let report = CommandReport::from(finished);
    match report.exit_code {
        0 => ok(report),
        code => Err(failed(code, &report)),
    }
}
