//! What is said on a keeper's socket and on its report pipe: lines of JSON, at most 64 KiB each.
//!
//! The first line of either side is a hello with the version of the protocol. Keepers live as long as their sandboxes,
//! so both sides may be of another release than the other: versions that differ are refused with words, not misread.

use agentkernel_model::{Error, Kind, Result, id::DetachedId};
use agentkernel_trace::Finished;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(crate) const VERSION: u32 = 1;
/// The longest line, its end included.
pub(crate) const MAX_LINE: usize = 64 * 1024;
/// The longest command, as JSON: arguments and environment of Linux's own maximum (2 MiB) and JSON's escapes.
pub(crate) const MAX_BODY: usize = 8 << 20;
/// The longest text of an error that is passed on.
const MAX_TEXT: usize = 8 * 1024;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Hello(Hello),
    /// Who are you, and what are you doing?
    Status,
    /// End the sandbox: SIGTERM, and SIGKILL after the grace. Answered when it is stopped and written down.
    Stop(Stop),
    /// As a stop without grace.
    Shutdown,
    /// Will the sandbox go on running? Answered with a status when it will, and then no stop counts that was asked for
    /// on an earlier connection: only one command at a time works on a sandbox, so whoever asked is dead. Answered
    /// with done when it has ended, which is waited for when it is under way.
    Stay,
    /// The rules of the network in the record are other ones: obey them. Answered when what begins from then on is decided
    /// by them. Only for a keeper whose hello says that it can.
    Rules,
    /// The moment in the record at which the sandbox expires is another one: obey it. Only for a keeper whose hello says that
    /// it can.
    Expiry,
    /// Begin a command and look after it: as many bytes of JSON follow the line. Answered with its id when it has begun.
    /// Only for a keeper whose hello says that it can, as the next one.
    Detach(Detach),
    /// End a command that was begun so: SIGTERM, and SIGKILL after the grace. Answered when it has ended.
    Kill(Kill),
}

/// What a keeper answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Hello(Hello),
    Status(Status),
    Done,
    Detached(DetachedId),
    Error(WireError),
}

/// Fields may be added: this is read by every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    /// Whether it understands [`Request::Rules`]. Older ones do not say.
    #[serde(default)]
    pub(crate) rules: bool,
    /// Whether it understands [`Request::Detach`] and [`Request::Kill`]. Older ones do not say.
    #[serde(default)]
    pub(crate) detached: bool,
    /// Whether it understands [`Request::Expiry`]. Older ones do not say.
    #[serde(default)]
    pub(crate) expiry: bool,
}

impl Hello {
    pub(crate) fn ours() -> Self {
        Self { version: VERSION, pid: std::process::id(), rules: true, detached: true, expiry: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    pub(crate) grace_ms: u64,
}

impl Stop {
    pub(crate) fn grace(self) -> Duration {
        bounded(self.grace_ms)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detach {
    /// How many bytes follow, at most [`MAX_BODY`].
    pub(crate) length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    pub(crate) id: DetachedId,
    pub(crate) grace_ms: u64,
}

impl Kill {
    pub(crate) fn grace(self) -> Duration {
        bounded(self.grace_ms)
    }
}

/// A grace of more than a day is a day.
fn bounded(grace_ms: u64) -> Duration {
    Duration::from_millis(grace_ms).min(Duration::from_secs(86_400))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Running,
    Stopping,
}

/// What a keeper writes to the one who started it: what was recorded of the start, where that is wanted, and the last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The sandbox is up and its record says so.
    Ready,
    Failed(WireError),
    Spans(Vec<Finished>),
}

/// An error on its way to another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireError {
    kind: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hint: Option<String>,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().as_str().to_owned(),
            message: clipped(&error.to_string()),
            hint: error.hint().map(clipped),
        }
    }
}

impl From<WireError> for Error {
    fn from(wire: WireError) -> Self {
        let error = Self::new(Kind::from_spelling(&wire.kind).unwrap_or(Kind::Internal), wire.message);
        match wire.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Refuses a side that speaks another version.
pub(crate) fn check_version(theirs: &Hello) -> Result<()> {
    if theirs.version == VERSION {
        return Ok(());
    }
    let (age, remedy) = if theirs.version > VERSION {
        ("a newer", "update agentkernel, or end")
    } else {
        ("an older", "end")
    };
    Err(Error::new(
        Kind::Conflict,
        format!("the sandbox is kept by {age} agentkernel (protocol {}, here {VERSION})", theirs.version),
    )
    // Any keeper of any version stops its sandbox in order on SIGTERM.
    .with_hint(format!("{remedy} its keeper with 'kill {}'", theirs.pid)))
}

/// `message` as one line.
pub(crate) fn line(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)
        .map_err(|e| Error::internal("cannot encode a message of the keeper protocol").with_source(e))?;
    bytes.push(b'\n');
    if bytes.len() > MAX_LINE {
        return Err(Error::internal("a message of the keeper protocol is longer than 64 KiB"));
    }
    Ok(bytes)
}

/// Writes one message.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> Result<()> {
    let bytes = line(message)?;
    let fail = |e| Error::io("cannot talk to the other side of a keeper's socket", e);
    to.write_all(&bytes).await.map_err(fail)?;
    to.flush().await.map_err(fail)
}

/// Writes what follows a message.
pub(crate) async fn send_body(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> Result<()> {
    to.write_all(body).await.map_err(|e| Error::io("cannot talk to the other side of a keeper's socket", e))
}

/// The next message; `None` at the end of the stream.
///
/// # Errors
/// [`Kind::Invalid`] for what is too long, is cut off, or is no message.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<T>> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_LINE as u64).read_until(b'\n', &mut bytes).await;
    read.map_err(|e| Error::io("cannot listen to the other side of a keeper's socket", e))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    parse(&bytes).map(Some)
}

/// What follows a line: `length` bytes of JSON.
///
/// # Errors
/// [`Kind::Invalid`] for what is too long, is cut off, or is something else.
pub(crate) async fn receive_body<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
    length: u32,
) -> Result<T> {
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BODY);
    let length = length.ok_or_else(|| Error::invalid("a command is longer than 8 MiB"))?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)
        .await
        .map_err(|e| Error::invalid("a message of the keeper protocol is cut off").with_source(e))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid("a command of the keeper protocol cannot be understood").with_source(e))
}

/// One line, its end included.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let Some((b'\n', text)) = bytes.split_last() else {
        return Err(Error::invalid("a message of the keeper protocol is cut off or longer than 64 KiB"));
    };
    serde_json::from_slice(text)
        .map_err(|e| Error::invalid("a message of the keeper protocol cannot be understood").with_source(e))
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
