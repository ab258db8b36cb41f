//! The protocol of credential helpers: `docker-credential-NAME get`, the server on stdin, JSON on stdout.

use crate::{credentials::Credentials, secret::Secret};
use agentkernel_model::{Error, Kind, Result, text::printable};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};
use zeroize::Zeroizing;

const MAX_ANSWER: u64 = 64 << 10;
/// The name that stands for a token in the place of a user's.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// What the helper `name` has for `server`; `None` when it has nothing. Helpers are looked for in `path`.
///
/// # Errors
/// When the name is none, there is no such helper, it fails, or does not answer in `timeout`. No error quotes it.
pub(crate) async fn get(
    name: &str,
    server: &str,
    path: &[PathBuf],
    timeout: Duration,
) -> Result<Option<Credentials>> {
    // Taken from a file: it must not lead to another directory.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        return Err(Error::new(
            Kind::Config,
            format!("'{}' is not the name of a credential helper", printable(name)),
        ));
    }
    let program = format!("docker-credential-{name}");
    let found =
        path.iter().filter(|dir| dir.is_absolute()).map(|dir| dir.join(&program)).find(|p| p.is_file());
    let Some(found) = found else {
        return Err(Error::new(Kind::Unavailable, format!("{program} is not in PATH")));
    };
    match tokio::time::timeout(timeout, ask(&found, server)).await {
        Ok(answered) => answered,
        Err(_) => {
            let message = format!("{program} did not answer in {} s", timeout.as_secs());
            Err(Error::new(Kind::Unavailable, message))
        }
    }
}

async fn ask(program: &Path, server: &str) -> Result<Option<Credentials>> {
    let shown = program.display();
    let fail = |e| Error::io(format!("cannot run '{shown}'"), e);
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it may still answer.
        drop(stdin.write_all(server.as_bytes()).await);
    }
    let mut answer = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_ANSWER + 1).read_to_end(&mut answer).await.map_err(fail)?;
    }
    if answer.len() as u64 > MAX_ANSWER {
        return Err(Error::new(Kind::Unavailable, format!("'{shown}' answers with more than 64 KiB")));
    }
    let status = child.wait().await.map_err(fail)?;
    if !status.success() {
        // The words that all helpers share.
        let nothing = answer.windows(21).any(|w| w == b"credentials not found");
        return if nothing {
            Ok(None)
        } else {
            Err(Error::new(Kind::Unavailable, format!("'{shown}' failed ({status})")))
        };
    }
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| Error::new(Kind::Unavailable, format!("'{shown}' answers what is no credential")))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN => Credentials::Refresh(answer.secret),
        _ => Credentials::Password { username: answer.username, password: answer.secret },
    }))
}
