//! Which secrets whoever calls has, by name.

use crate::{
    context::Context,
    env,
    vaults::{VaultArgs, VaultSight},
};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{HostPattern, SecretName},
};
use serde::Deserialize;
use std::process::{Command, Stdio};

/// A secret that a vault has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Kept {
    pub(crate) name: SecretName,
    /// None: wherever a binding says.
    pub(crate) hosts: Vec<HostPattern>,
}

/// What there is, as far as nobody has to be asked for a passphrase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) kept: Vec<Kept>,
    /// The file vault has a passphrase, so that nobody looked into it.
    pub(crate) closed: bool,
}

impl Holdings {
    /// Looks into the vaults. A process of its own does, which prints names: a sandbox may be cloned from this one, and
    /// nothing of a vault may be in its memory then.
    ///
    /// # Errors
    /// What a vault that cannot be read fails with.
    pub(crate) fn look(context: &Context, vault: &VaultArgs) -> Result<Self> {
        let words = match vault.sight(context)? {
            VaultSight::Nothing => return Ok(Self::default()),
            VaultSight::Closed => return Ok(Self { kept: Vec::new(), closed: true }),
            VaultSight::Open(words) => words,
        };
        let exe = &context.settings.host.exe;
        let child =
            Command::new(exe).args(["secret", "list", "--json"]).args(words).stdin(Stdio::null()).output();
        let done = child.map_err(|e| Error::io("cannot look which secrets there are", e))?;
        if !done.status.success() {
            return Err(told(&done.stderr));
        }
        let kept = serde_json::from_slice(&done.stdout)
            .map_err(|e| Error::internal("the list of secrets cannot be read").with_source(e))?;
        Ok(Self { kept, closed: false })
    }

    pub(crate) fn find(&self, name: &SecretName) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.name == *name)
    }
}

/// Whether the environment has a secret of that name; nobody looks at its value.
pub(crate) fn in_environment(name: &SecretName) -> bool {
    env::secret(name).is_some_and(|value| !value.is_empty())
}

/// The error that `secret list` told as JSON, on the last line of its stderr.
fn told(stderr: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Told {
        error: String,
        kind: String,
        hint: Option<String>,
    }
    let last = stderr.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let Ok(told) = serde_json::from_slice::<Told>(last) else {
        return Error::internal("cannot look which secrets there are").with_hint("agentkernel secret list");
    };
    let error = Error::new(Kind::from_spelling(&told.kind).unwrap_or(Kind::Internal), told.error);
    error.with_hint(told.hint.unwrap_or_else(|| "agentkernel secret list".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::told;
    use agentkernel_model::Kind;

    #[test]
    fn the_error_of_the_list_is_passed_on() {
        let error = told(
            b"note: x\n{\"error\":\"broken\",\"kind\":\"denied\",\"hint\":\"chmod\",\"exit_code\":125}\n",
        );
        assert_eq!((error.kind(), error.message(), error.hint()), (Kind::Denied, "broken", Some("chmod")));
        assert_eq!(told(b"killed\n").kind(), Kind::Internal);
    }
}
