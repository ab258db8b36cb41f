//! What a command gets where its own spec is silent.

use agentkernel_backend::Rootfs;
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Stdio, User},
    mount::Workspace,
    path::GuestPath,
    spec::SandboxSpec,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Defaults {
    env: Vec<(String, String)>,
    workdir: GuestPath,
    user: User,
    /// Whose HOME the one in `env` is; `None` when a caller chose it, for everybody.
    home_of: Option<User>,
}

/// A command with every default filled in.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: String,
    pub(crate) user: User,
    pub(crate) stdio: Stdio,
}

impl Defaults {
    /// What `spec` and `image` say together.
    ///
    /// # Errors
    /// Never in practice: the paths written here are paths.
    pub(crate) fn of(spec: &SandboxSpec, image: &Rootfs) -> Result<Self> {
        let mut env = image.env.clone();
        for var in &spec.env {
            set(&mut env, var.key(), var.value());
        }
        let workdir = match (&spec.workdir, &spec.workspace, &image.defaults.workdir) {
            (Some(workdir), _, _) | (None, Workspace::None, Some(workdir)) => workdir.clone(),
            (None, Workspace::None, None) => "/".parse()?,
            (None, _, _) => Workspace::TARGET.parse()?,
        };
        let images = image.defaults.user.unwrap_or_default();
        let home_of = spec.env.iter().all(|var| var.key() != "HOME").then_some(images);
        Ok(Self { env, workdir, user: spec.user.unwrap_or(images), home_of })
    }

    /// The sandbox's own.
    pub(crate) fn user(&self) -> User {
        self.user
    }

    pub(crate) fn command(&self, spec: &ExecSpec) -> Filled {
        let mut env = self.env.clone();
        let user = spec.user.unwrap_or(self.user);
        let is_anothers = self.home_of.is_some_and(|owner| owner.uid != user.uid);
        if is_anothers || !env.iter().any(|(key, _)| key == "HOME") {
            set(&mut env, "HOME", if user.uid == 0 { "/root" } else { "/home/user" });
        }
        for var in &spec.env {
            set(&mut env, var.key(), var.value());
        }
        if matches!(spec.stdio, Stdio::Terminal(_)) && !env.iter().any(|(key, _)| key == "TERM") {
            set(&mut env, "TERM", "xterm-256color");
        }
        Filled {
            words: spec.argv.words().to_vec(),
            env,
            workdir: spec.workdir.as_ref().unwrap_or(&self.workdir).to_string(),
            user,
            stdio: spec.stdio,
        }
    }
}

fn set(env: &mut Vec<(String, String)>, key: &str, value: &str) {
    env.retain(|(k, _)| k != key);
    env.push((key.to_owned(), value.to_owned()));
}

/// Why a file of variables, one a line, cannot hold this one; `None` when it can.
pub(crate) fn unwritable(key: &str, value: &str) -> Option<&'static str> {
    // What its reader takes for the end of a line.
    let ends = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if value.contains(ends) {
        return Some("whose value has a line break");
    }
    (key.starts_with('#') || key.contains(ends) || key.contains(char::is_whitespace))
        .then_some("whose name has a space or begins with '#'")
}

/// The content of the file of variables. Values go this way alone: they are on nobody's command line.
///
/// # Errors
/// [`Kind::Unsupported`] for a variable that cannot be written there.
pub(crate) fn env_file(env: &[(String, String)]) -> Result<String> {
    let mut text = String::new();
    for (key, value) in env {
        if let Some(why) = unwritable(key, value) {
            return Err(refused(key, why));
        }
        for part in [key, "=", value, "\n"] {
            text.push_str(part);
        }
    }
    Ok(text)
}

fn refused(key: &str, why: &str) -> Error {
    let key = agentkernel_model::text::printable(key);
    Error::new(Kind::Unsupported, format!("'container' cannot be given the variable '{key}', {why}"))
        .with_hint("pass it in a file, or encode it")
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
