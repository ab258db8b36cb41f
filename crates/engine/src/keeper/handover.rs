//! The values of secrets on their way to a keeper: over the socket that is its stdout, before it says anything. A runner
//! gets its values in the same words, over a socket that it makes for them.
//! They are read when process 1 of the sandbox is there: it may be a clone of the keeper, or of the runner.
//!
//! ```text
//! u32 length, that many bytes of JSON: what the values are, and how long each is
//! the values, one after another
//! ```
//!
//! So no value passes through a text format, whose buffers nobody wipes.

use crate::values::Values;
use agentkernel_model::{
    Error, Result,
    secret::{HeaderName, HostPattern, Secret, SecretName, Shape},
};
use agentkernel_trust::Bound;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::Read,
    os::{
        fd::OwnedFd,
        unix::{fs::FileTypeExt as _, net::UnixStream},
    },
    time::Duration,
};
use zeroize::Zeroizing;

/// The longest list, in bytes.
const MAX_LIST: usize = 1 << 20;
/// How long the values of secrets may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most values.
const MAX_VALUES: usize = 4096;

/// Everything but the values.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    bound: Vec<BoundItem>,
    files: Vec<FileItem>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundItem {
    name: SecretName,
    host: HostPattern,
    /// Where it alone carries the value; else what the service of the host wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<HeaderName>,
    length: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileItem {
    name: SecretName,
    length: usize,
}

/// Values that whoever started this process writes to it, not yet read.
#[derive(Debug)]
pub(super) struct Incoming(Option<UnixStream>);

impl Incoming {
    /// Those that come over `channel`, where that is the socket of [`super::launch`]: a shell in which the verb was typed
    /// says nothing.
    ///
    /// # Errors
    /// When the system does not say what it is.
    pub(super) fn of(channel: &File) -> Result<Self> {
        let fail = |e| Error::io("cannot look at the standard output", e);
        if !channel.metadata().map_err(fail)?.file_type().is_socket() {
            return Ok(Self(None));
        }
        let socket = UnixStream::from(OwnedFd::from(channel.try_clone().map_err(fail)?));
        Ok(Self(Some(socket)))
    }

    /// `before` is called when there are values, before the first of them is read.
    ///
    /// # Errors
    /// As [`decode`], and as `before`.
    pub(super) async fn receive(self, before: fn() -> Result<()>) -> Result<Values> {
        let Some(socket) = self.0 else { return Ok(Values::default()) };
        // The sandbox and its gateway are served by this thread meanwhile.
        let reading = tokio::task::spawn_blocking(move || take(&socket, before));
        reading.await.map_err(|e| Error::internal("a look for secrets was cut off").with_source(e))?
    }
}

/// What whoever holds the other end of `socket` writes there, by [`encode`] and at once. Blocks.
///
/// # Errors
/// As [`decode`].
pub(crate) fn take(socket: &UnixStream, before: impl FnOnce() -> Result<()>) -> Result<Values> {
    let patient = socket.set_read_timeout(Some(PATIENCE));
    patient.map_err(|e| Error::io("cannot wait for the secrets of the sandbox", e))?;
    decode(socket, before)
}

/// `values` as bytes.
///
/// # Errors
/// When they are too many.
pub(crate) fn encode(values: &Values) -> Result<Zeroizing<Vec<u8>>> {
    let bound = values.bound.iter().map(|bound| BoundItem {
        name: bound.name().clone(),
        host: bound.host().clone(),
        header: (bound.header().shape() == Shape::Raw).then(|| bound.header().name().clone()),
        length: bound.secret().reveal().len(),
    });
    let files = values
        .files
        .iter()
        .map(|(name, secret)| FileItem { name: name.clone(), length: secret.reveal().len() });
    let list = List { bound: bound.collect(), files: files.collect() };
    let text = serde_json::to_vec(&list)
        .map_err(|e| Error::internal("cannot list the secrets of a sandbox").with_source(e))?;
    let length =
        u32::try_from(text.len()).ok().filter(|_| text.len() <= MAX_LIST && list.count() <= MAX_VALUES);
    let length = length.ok_or_else(|| {
        Error::invalid("the sandbox has too many secrets").with_hint("bind fewer, or to fewer hosts")
    })?;
    let secrets =
        || values.bound.iter().map(Bound::secret).chain(values.files.iter().map(|(_, secret)| secret));
    let whole: usize = secrets().map(|secret| secret.reveal().len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + text.len() + whole));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&text);
    secrets().for_each(|secret| bytes.extend_from_slice(secret.reveal()));
    Ok(bytes)
}

/// What [`encode`] wrote. `before` is called when there are values, before the first of them is read.
///
/// # Errors
/// [`agentkernel_model::Kind::Invalid`] for anything else; when the other side is gone.
fn decode(mut from: impl Read, before: impl FnOnce() -> Result<()>) -> Result<Values> {
    let mut length = [0; 4];
    read(&mut from, &mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_LIST {
        return Err(misunderstood());
    }
    let mut text = vec![0; length];
    read(&mut from, &mut text)?;
    let list: List = serde_json::from_slice(&text).map_err(|e| misunderstood().with_source(e))?;
    if list.count() > MAX_VALUES {
        return Err(misunderstood());
    }
    if list.count() > 0 {
        before()?;
    }
    let mut values = Values::default();
    for BoundItem { name, host, header, length } in list.bound {
        let secret = value(&mut from, length)?;
        values.bound.push(Bound::new(name, host, header, secret)?);
    }
    for FileItem { name, length } in list.files {
        values.files.push((name, value(&mut from, length)?));
    }
    Ok(values)
}

impl List {
    const fn count(&self) -> usize {
        self.bound.len() + self.files.len()
    }
}

fn value(from: &mut impl Read, length: usize) -> Result<Secret> {
    if length > Secret::MAX {
        return Err(misunderstood());
    }
    let mut value = Zeroizing::new(vec![0; length]);
    read(from, &mut value)?;
    Secret::wiped(value)
}

fn read(from: &mut impl Read, into: &mut [u8]) -> Result<()> {
    from.read_exact(into).map_err(|e| Error::io("cannot hear the secrets of the sandbox", e))
}

fn misunderstood() -> Error {
    Error::invalid("the secrets of the sandbox cannot be understood")
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
