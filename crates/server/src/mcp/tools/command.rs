//! What the tools about commands share.

use crate::{
    App,
    fields::{each, parsed},
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, EnvVar, ExecSpec, Stdio, User},
    path::GuestPath,
};

/// A command that has `stdin` to read, or nothing.
pub(super) fn spec(command: Vec<String>, stdin: &[u8]) -> Result<ExecSpec> {
    Ok(ExecSpec {
        argv: Argv::new(command)?,
        env: Vec::new(),
        workdir: None,
        user: None,
        stdio: if stdin.is_empty() { Stdio::NoInput } else { Stdio::Pipes },
    })
}

/// How a command of a named sandbox differs from what its image says.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) env: Option<Vec<String>>,
    pub(super) workdir: Option<String>,
    pub(super) sudo: Option<bool>,
}

/// A command of a named sandbox.
///
/// # Errors
/// [`Kind::Invalid`]; [`Kind::Denied`] for one as root, where the server does not allow it.
pub(super) fn named(app: &App, command: Vec<String>, stdin: &[u8], manner: Manner) -> Result<ExecSpec> {
    let sudo = manner.sudo.unwrap_or_default();
    if sudo && !app.options.allow_sudo {
        return Err(Error::new(Kind::Denied, "this server runs no command as root inside on request")
            .with_hint("leave sudo out, or start the server with --allow-sudo"));
    }
    let workdir = manner.workdir.map(|text| parsed::<GuestPath>("workdir", &text)).transpose()?;
    let env = each::<EnvVar>("env", manner.env)?;
    Ok(ExecSpec { env, workdir, user: sudo.then_some(User::ROOT), ..spec(command, stdin)? })
}
