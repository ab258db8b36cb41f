//! Starting, asking and stopping the daemon.

use super::{
    protocol::{self, DaemonStatus, Hello, Order, Reply, Report, Request, VERSION},
    socket,
};
use crate::lock;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result};
use agentkernel_trace as trace;
use serde::Serialize;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    process::{Child, Command},
};

/// The hidden verb of the command line that runs [`crate::Engine::serve_daemon`].
const VERB: [&str; 2] = ["daemon", "serve"];
/// How long an answer may take that needs no work.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a daemon may take from its lock to its socket.
const BEGINNING: Duration = Duration::from_millis(100);
/// How long a daemon that does not talk any more may take to let go of its lock: it has nothing else to do.
const FAREWELL: Duration = Duration::from_secs(5);

/// What came of starting a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    Now {
        pid: u32,
    },
    /// It ran before.
    Before,
}

/// Starts a daemon and waits until everything that is named is warm.
///
/// # Errors
/// The daemon's own error, with its kind and hint: then there is none.
pub(super) async fn start(host: &Host, order: &Order) -> Result<Started> {
    let shown = || format!("cannot start the daemon '{} {}'", host.exe.display(), VERB.join(" "));
    let mut command = Command::new(&host.exe);
    // Process 1 of a warm sandbox can be a clone of the daemon, which sends no traces.
    trace::SECRET_VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    let mut child = command
        .args(VERB)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Error::io(shown(), e))?;
    if let Some(mut pipe) = child.stdin.take() {
        let mut bytes = serde_json::to_vec(order)
            .map_err(|e| Error::invalid("what the daemon is to do has no form as text").with_source(e))?;
        bytes.push(b'\n');
        // One that ends early says why.
        let _told_below = pipe.write_all(&bytes).await;
    }
    let report = match child.stdout.take() {
        Some(pipe) => protocol::receive::<Report>(&mut BufReader::new(pipe)).await?,
        None => None,
    };
    match report {
        Some(Report::Ready { pid }) => Ok(Started::Now { pid }),
        Some(Report::Redundant) => {
            reap(&mut child).await?;
            Ok(Started::Before)
        }
        Some(Report::Failed(error)) => {
            reap(&mut child).await?;
            Err(error.into())
        }
        None => {
            let how = reap(&mut child).await?;
            Err(Error::internal(format!("the daemon ended before it was ready ({how})"))
                .with_hint("see what 'agentkernel daemon start --foreground' says"))
        }
    }
}

/// It is about to end; without this it would stay a zombie for as long as we live.
async fn reap(child: &mut Child) -> Result<std::process::ExitStatus> {
    child.wait().await.map_err(|e| Error::io("cannot wait for the daemon", e))
}

/// What the daemon does; `None` when there is none.
///
/// # Errors
/// [`Kind::Conflict`] when it does not listen or speaks another version, [`Kind::Timeout`] when it does not answer.
pub(super) async fn status(host: &Host) -> Result<Option<DaemonStatus>> {
    let Some(mut conversation) = Conversation::open(host).await? else { return Ok(None) };
    match conversation.ask(&Request::Status).await {
        Ok(Some(Reply::Status(status))) => Ok(Some(status)),
        Ok(Some(_)) => Err(misunderstood()),
        ended => gone_or(host, ended.err()).await.map(|()| None),
    }
}

/// Ends the daemon: what is warm at once, what is lent when its command has ended. Returns when nothing of it is left, and
/// whether there was one. `waiting` is told how many commands are waited for.
///
/// # Errors
/// As [`status`], and when something could not be removed.
pub(super) async fn stop(host: &Host, waiting: impl Fn(usize)) -> Result<bool> {
    let Some(mut conversation) = Conversation::open(host).await? else { return Ok(false) };
    protocol::send(&mut conversation.to, &Request::Stop).await?;
    loop {
        match protocol::receive(&mut conversation.from).await {
            Ok(Some(Reply::Waiting(commands))) => waiting(commands),
            Ok(Some(Reply::Ended(failures))) if failures.is_empty() => return Ok(true),
            Ok(Some(Reply::Ended(failures))) => {
                return Err(Error::internal(format!("the daemon has ended, but {}", failures.join("; ")))
                    .with_hint("agentkernel gc"));
            }
            Ok(Some(_)) => return Err(misunderstood()),
            ended => return gone_or(host, ended.err()).await.map(|()| true),
        }
    }
}

fn misunderstood() -> Error {
    Error::internal("the daemon answered something else")
}

/// Nothing, when the daemon has ended; why it does not answer otherwise.
async fn gone_or(host: &Host, error: Option<Error>) -> Result<()> {
    // A daemon closes its socket a moment before it lets go of the lock; the kernel does so in any order.
    if lock::is_released(&socket::lock(host), FAREWELL).await? {
        return Ok(());
    }
    Err(error.unwrap_or_else(|| deaf(host, None)))
}

/// The daemon's lock is held and its socket does not answer.
fn deaf(host: &Host, cause: Option<Error>) -> Error {
    let note = std::fs::read_to_string(socket::lock(host)).unwrap_or_default();
    let hint = match note.trim().parse::<u32>() {
        Ok(pid) => format!("end it with 'kill {pid}'"),
        Err(_) => "agentkernel doctor".to_owned(),
    };
    let error = Error::new(Kind::Conflict, "the daemon does not listen").with_hint(hint);
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

/// A conversation with a daemon of our version.
#[derive(Debug)]
struct Conversation {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Conversation {
    /// `None` when there is no daemon.
    async fn open(host: &Host) -> Result<Option<Self>> {
        if !lock::is_held(&socket::lock(host))? {
            return Ok(None);
        }
        let mut failure = None;
        // It may be about to end, have only just taken its lock, or have turned us away from a crowd.
        for patience in [BEGINNING, FAREWELL, Duration::ZERO] {
            match Self::attempt(host).await {
                Ok((conversation, theirs)) => return conversation.of_our_version(&theirs).map(Some),
                Err(error) if error.kind() == Kind::Timeout => return Err(error),
                Err(error) => failure = Some(error),
            }
            if lock::is_released(&socket::lock(host), patience).await? {
                return Ok(None);
            }
        }
        Err(deaf(host, failure))
    }

    async fn attempt(host: &Host) -> Result<(Self, Hello)> {
        let stream = socket::connect(host).await.map_err(|e| Error::io("cannot reach the daemon", e))?;
        let (from, to) = stream.into_split();
        let mut conversation = Self { from: BufReader::new(from), to };
        match conversation.ask(&Request::Hello(Hello::ours())).await? {
            Some(Reply::Hello(theirs)) => Ok((conversation, theirs)),
            _ => Err(misunderstood()),
        }
    }

    fn of_our_version(self, theirs: &Hello) -> Result<Self> {
        if theirs.version == VERSION {
            return Ok(self);
        }
        Err(Error::new(
            Kind::Conflict,
            format!("the daemon is another agentkernel's (protocol {}, here {VERSION})", theirs.version),
        )
        // Any daemon of any version ends in order on SIGTERM.
        .with_hint(format!("end it with 'kill {}'", theirs.pid)))
    }

    /// The answer; `None` when the daemon ended instead.
    async fn ask(&mut self, request: &Request) -> Result<Option<Reply>> {
        let conversation = async {
            protocol::send(&mut self.to, request).await?;
            protocol::receive(&mut self.from).await
        };
        tokio::time::timeout(ANSWER, conversation)
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Timeout, "the daemon does not answer")))
    }
}
