//! What is said on the daemon's socket, and to the process that starts it: lines of JSON, at most 64 KiB each.
//!
//! The first line of either side is a hello with the version. Who speaks another one is not served.

use super::{key::Key, recipe::Wish, size::PoolSize};
use agentkernel_backend::DriverState;
use agentkernel_model::{Error, Kind, Result, id::SandboxId, text::printable};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub(super) const VERSION: u32 = 1;
/// The longest line, its end included.
const MAX_LINE: usize = 64 * 1024;
/// The longest text of an error that is passed on, in bytes.
const MAX_TEXT: usize = 8 * 1024;
/// The longest text of which there may be many in one message.
const SHORT_TEXT: usize = 512;

/// Fields may be added: this is read by every version.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    pub(super) pid: u32,
}

impl Hello {
    pub(super) fn ours() -> Self {
        Self { version: VERSION, pid: std::process::id() }
    }
}

/// What a client says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    Hello(Hello),
    /// A warm sandbox of this key, or one that is coming up: then the answer takes as long. The connection is its lease:
    /// when it ends, for whatever reason, so does the sandbox.
    Take(Key),
    /// There was none; such ones may be of use once this connection has ended. The last word, and not answered.
    Want(Box<Wish>),
    Status,
    /// End: warm sandboxes at once, those that are lent when their commands have ended.
    Stop,
}

/// What the daemon answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Hello(Hello),
    Lent(Lent),
    /// There is none of that key.
    NoneWarm,
    Status(DaemonStatus),
    /// To a stop, before [`Reply::Ended`]: so many commands are waited for.
    Waiting(usize),
    /// To a stop: nothing is left, but for these failures.
    Ended(Vec<String>),
}

/// How a sandbox is found: see [`agentkernel_backend::Backend::attach`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lent {
    pub(super) id: SandboxId,
    pub(super) state: DriverState,
}

/// What the daemon does, as people and programs see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonStatus {
    pub pid: u32,
    pub phase: Phase,
    /// Sandboxes that wait for a command.
    pub warm: usize,
    /// Sandboxes whose command runs.
    pub in_use: usize,
    pub min_warm: usize,
    pub max_warm: usize,
    /// Runs that were given a warm sandbox.
    pub hits: u64,
    /// Runs that found none.
    pub misses: u64,
    /// What is kept warm; the kind that was asked for last comes first.
    pub kinds: Vec<KindStatus>,
}

/// One kind of sandbox that is kept warm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindStatus {
    pub backend: String,
    pub image: String,
    pub profile: String,
    pub warm: usize,
    /// Why the last one did not come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Running,
    /// It was told to stop, and waits for commands that run.
    Stopping,
}

/// What whoever starts a daemon tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub(super) size: PoolSize,
    /// What is kept warm in any case, beside what runs ask for.
    pub(super) named: Vec<Wish>,
}

impl Order {
    /// # Errors
    /// [`Kind::Invalid`] when more is named than may be warm.
    pub fn new(size: PoolSize, named: Vec<Wish>) -> Result<Self> {
        let order = Self { size, named };
        order.check()?;
        Ok(order)
    }

    pub(super) fn check(&self) -> Result<()> {
        let (named, max) = (self.named.len(), self.size.max());
        if named > max {
            return Err(Error::invalid(format!(
                "{named} images cannot be kept warm by at most {max} sandboxes"
            ))
            .with_hint(format!("name fewer, or write --max {named}")));
        }
        Ok(())
    }
}

/// The one line that a daemon writes to whoever started it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It listens, and what was named is warm.
    Ready {
        pid: u32,
    },
    /// There is one already.
    Redundant,
    Failed(WireError),
}

/// An error on its way to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireError {
    kind: String,
    message: String,
    hint: Option<String>,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        let clipped = |text: &str| clipped(text, MAX_TEXT);
        let (message, hint) = (clipped(&error.to_string()), error.hint().map(clipped));
        Self { kind: error.kind().as_str().to_owned(), message, hint }
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

/// The beginning of `text`, fit for a terminal and short enough for a list of such.
pub(super) fn short(text: &str) -> String {
    clipped(&printable(text), SHORT_TEXT)
}

fn clipped(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// `message` as one line.
///
/// # Errors
/// [`Kind::Invalid`] when it is longer than the other side would read.
pub(super) fn line(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)
        .map_err(|e| Error::invalid("a message of the daemon has no form as text").with_source(e))?;
    bytes.push(b'\n');
    if bytes.len() > MAX_LINE {
        return Err(Error::invalid("a message of the daemon is longer than 64 KiB"));
    }
    Ok(bytes)
}

/// Writes one message.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> Result<()> {
    let fail = |e| Error::io("cannot talk to the other side of the daemon's socket", e);
    to.write_all(&line(message)?).await.map_err(fail)?;
    to.flush().await.map_err(fail)
}

/// The next message; `None` at the end of the stream. Not cancel safe: a part of a line may be lost.
///
/// # Errors
/// [`Kind::Invalid`] for what is too long, is cut off, or is no message.
pub(super) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<T>> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_LINE as u64).read_until(b'\n', &mut bytes).await;
    read.map_err(|e| Error::io("cannot listen to the other side of the daemon's socket", e))?;
    if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
}

/// One line, its end included.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let Some((b'\n', text)) = bytes.split_last() else {
        return Err(Error::invalid("a message of the daemon is cut off or longer than 64 KiB"));
    };
    serde_json::from_slice(text)
        .map_err(|e| Error::invalid("a message of the daemon cannot be understood").with_source(e))
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
