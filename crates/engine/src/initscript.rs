//! The script that a configuration has run inside before anything else.

use crate::directories::SandboxDir;
use agentkernel_backend::{Process, Sandbox};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, ExecSpec, Stdio, User},
    text::printable,
};

/// What the message of a failure shows of its output: the last bytes.
const SHOWN: usize = 600;

/// Runs `script`, where there is one, at the first start of a named sandbox. One that failed is tried again at the next.
///
/// # Errors
/// As [`run`].
pub(crate) async fn once(dir: &SandboxDir, sandbox: &dyn Sandbox, script: Option<&str>) -> Result<()> {
    let Some(script) = script else { return Ok(()) };
    let done = dir.path.join("initialised");
    if done.exists() {
        return Ok(());
    }
    run(sandbox, script).await?;
    std::fs::write(&done, "").map_err(|e| Error::io(format!("cannot write '{}'", done.display()), e))
}

/// Runs `script` as root inside, and waits for it.
///
/// # Errors
/// [`Kind::Conflict`] when it fails, with the end of what it wrote.
pub(crate) async fn run(sandbox: &dyn Sandbox, script: &str) -> Result<()> {
    let argv = Argv::new(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()])?;
    let command =
        ExecSpec { argv, env: Vec::new(), workdir: None, user: Some(User::ROOT), stdio: Stdio::NoInput };
    let process: Process = sandbox.exec(&command).await?;
    let output = process.last_output(SHOWN).await?;
    match output.exit.code() {
        0 => Ok(()),
        code => {
            let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
            Err(Error::new(
                Kind::Conflict,
                format!("the init script failed with exit code {code}{}", end(&said)),
            )
            .with_hint("mend sandbox.init_script of the configuration"))
        }
    }
}

/// The last part of `said`, as the end of a message.
fn end(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", printable(text)) }
}
