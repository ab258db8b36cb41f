//! Talking to the keeper of a running sandbox.

use super::{
    protocol::{self, Hello, Reply, Request, Stop},
    socket,
};
use crate::directories::SandboxDir;
use agentkernel_model::{Error, Kind, Result};
use std::{io, time::Duration};
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// How long an answer may take, beside the work that was asked for.
const ANSWER: Duration = Duration::from_secs(30);

/// A conversation with a keeper of our version.
#[derive(Debug)]
pub(crate) struct Client {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    pid: u32,
}

impl Client {
    /// # Errors
    /// [`Kind::Conflict`] when the keeper speaks another version or does not listen.
    pub(crate) async fn connect(dir: &SandboxDir) -> Result<Self> {
        let stream = socket::connect(&dir.path).await.map_err(|e| deaf(dir, e))?;
        if !socket::is_own_user(&stream) {
            return Err(Error::new(Kind::Denied, "the keeper of the sandbox runs as another user"));
        }
        let (from, to) = UnixStream::into_split(stream);
        let mut client = Self { from: BufReader::new(from), to, pid: 0 };
        match client.ask(&Request::Hello(Hello::ours()), Duration::ZERO).await? {
            Reply::Hello(theirs) => {
                protocol::check_version(&theirs)?;
                client.pid = theirs.pid;
                Ok(client)
            }
            _ => Err(Error::internal("the keeper of the sandbox did not say hello")),
        }
    }

    /// Ends the sandbox and waits until it is written down. [`Duration::ZERO`] ends it at once.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Result<()> {
        let request = if grace.is_zero() {
            Request::Shutdown
        } else {
            Request::Stop(Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) })
        };
        match self.ask(&request, grace).await? {
            Reply::Done => Ok(()),
            _ => Err(Error::internal("the keeper of the sandbox answered something else")),
        }
    }

    async fn ask(&mut self, request: &Request, work: Duration) -> Result<Reply> {
        let conversation = async {
            protocol::send(&mut self.to, request).await?;
            protocol::receive(&mut self.from).await
        };
        let answer = tokio::time::timeout(work.saturating_add(ANSWER), conversation).await.map_err(|_| {
            Error::new(
                Kind::Timeout,
                format!("the keeper of the sandbox (process {}) does not answer", self.pid),
            )
            .with_hint(format!("end it with 'kill -9 {}'", self.pid))
        })?;
        match answer? {
            Some(Reply::Error(error)) => Err(error.into()),
            Some(reply) => Ok(reply),
            None => Err(Error::new(Kind::Conflict, "the keeper of the sandbox ended while it was asked")
                .with_hint("agentkernel sandbox list")
                .retry_later()),
        }
    }
}

/// The keeper's lock is held and its socket does not answer.
fn deaf(dir: &SandboxDir, cause: io::Error) -> Error {
    let note = std::fs::read_to_string(dir.keeping()).unwrap_or_default();
    let hint = match note.trim().parse::<u32>() {
        Ok(pid) => format!("end it with 'kill {pid}'"),
        Err(_) => "agentkernel doctor".to_owned(),
    };
    Error::new(Kind::Conflict, "the keeper of the sandbox does not listen").with_source(cause).with_hint(hint)
}
