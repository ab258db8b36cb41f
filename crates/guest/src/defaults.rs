//! What a command gets where its own spec is silent.

use crate::wire::Exec;
use agentkernel_backend::Rootfs;
use agentkernel_model::{
    Result,
    command::{ExecSpec, Stdio, User},
    mount::Workspace,
    path::GuestPath,
    policy::EnvPassthrough,
    spec::SandboxSpec,
};
use serde::{Deserialize, Serialize};

/// What a command gets where its own spec is silent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Defaults {
    pub env: Vec<(String, String)>,
    pub workdir: GuestPath,
    pub user: User,
    /// Whose HOME the one in `env` is; `None` when a caller chose it, for everybody.
    pub home_of: Option<User>,
}

impl Defaults {
    /// What `spec` and `image` say together.
    ///
    /// # Errors
    /// Never in practice: the paths written here are paths.
    pub fn of(spec: &SandboxSpec, image: &Rootfs) -> Result<Self> {
        let mut env = image.env.clone();
        debug_assert!(
            matches!(spec.policy.env, EnvPassthrough::None | EnvPassthrough::Locale),
            "the caller passes values"
        );
        for var in &spec.env {
            set(&mut env, var.key(), var.value());
        }
        let workdir = match (&spec.workdir, &spec.workspace, &image.defaults.workdir) {
            (Some(workdir), _, _) | (None, Workspace::None, Some(workdir)) => workdir.clone(),
            (None, Workspace::None, None) => "/".parse()?,
            (None, _, _) => "/workspace".parse()?,
        };
        let images = image.defaults.user.unwrap_or_default();
        let home_of = spec.env.iter().all(|var| var.key() != "HOME").then_some(images);
        Ok(Self { env, workdir, user: spec.user.unwrap_or(images), home_of })
    }

    /// The command `spec`, with every default filled in.
    #[must_use]
    pub fn command(&self, spec: &ExecSpec) -> Exec {
        let mut env = self.env.clone();
        let user = spec.user.unwrap_or(self.user);
        let is_anothers = self.home_of.is_some_and(|owner| owner.uid != user.uid);
        if is_anothers || !env.iter().any(|(key, _)| key == "HOME") {
            set(&mut env, "HOME", if user.uid == 0 { "/root" } else { "/home/user" });
        }
        for var in &spec.env {
            set(&mut env, var.key(), var.value());
        }
        if matches!(spec.stdio, Stdio::Terminal(_)) && !env.iter().any(|(k, _)| k == "TERM") {
            set(&mut env, "TERM", "xterm-256color");
        }
        Exec {
            argv: spec.argv.words().to_vec(),
            env: env.into_iter().map(|(key, value)| format!("{key}={value}")).collect(),
            workdir: spec.workdir.as_ref().unwrap_or(&self.workdir).to_string(),
            uid: user.uid,
            gid: user.gid,
            terminal: match spec.stdio {
                Stdio::Terminal(size) => Some((size.rows, size.columns)),
                Stdio::Pipes | Stdio::NoInput => None,
            },
        }
    }
}

fn set(env: &mut Vec<(String, String)>, key: &str, value: &str) {
    env.retain(|(k, _)| k != key);
    env.push((key.to_owned(), value.to_owned()));
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
