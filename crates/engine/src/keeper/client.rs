//! Talking to the keeper of a running sandbox. Only for the holder of the lock on the sandbox's operations.

use super::{
    protocol::{self, Detach, Hello, Kill, Phase, Reply, Request, Stop},
    socket,
};
use crate::{directories::SandboxDir, lock};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec, id::DetachedId};
use std::{io, time::Duration};
use tokio::{
    io::BufReader,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

/// How long an answer may take, beside the work that was asked for.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a stop that somebody else asked for may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a sandbox may take to begin a command.
const BEGIN: Duration = Duration::from_secs(30);
/// How long a keeper that does not talk any more may take to let go of its lock: it has nothing else to do.
const FAREWELL: Duration = Duration::from_secs(5);

/// Ends the sandbox and waits until it is written down; [`Duration::ZERO`] ends it at once. That its keeper ended
/// meanwhile for another reason is no error.
///
/// # Errors
/// [`Kind::Conflict`] when the keeper speaks another version or does not listen, [`Kind::Timeout`] when it does not
/// answer, and why it could not stop the sandbox.
pub(crate) async fn stop(dir: &SandboxDir, grace: Duration) -> Result<()> {
    let request = if grace.is_zero() {
        Request::Shutdown
    } else {
        Request::Stop(Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) })
    };
    match talk(dir, &request, grace).await? {
        None | Some(Reply::Done) => Ok(()),
        Some(_) => Err(misunderstood()),
    }
}

/// Whether the sandbox runs and no stop is under way; when one is, it is waited for. After `false` nobody keeps it.
///
/// # Errors
/// As [`stop`]; [`Kind::Conflict`] when the stop that is under way takes more than two minutes.
pub(crate) async fn stays(dir: &SandboxDir) -> Result<bool> {
    match talk(dir, &Request::Stay, PATIENCE).await {
        Ok(Some(Reply::Status(status))) if status.phase == Phase::Running => Ok(true),
        Ok(None) => Ok(false),
        Ok(Some(Reply::Done)) if lock::is_released(&dir.keeping(), FAREWELL).await? => Ok(false),
        Ok(Some(_)) => Err(misunderstood()),
        Err(error) if error.kind() == Kind::Timeout => {
            Err(Error::new(Kind::Conflict, "the sandbox is being stopped, and that takes long")
                .with_hint("try again when it has ended")
                .retry_later())
        }
        Err(error) => Err(error),
    }
}

/// Has the gateway obey the rules that the record has now. That the sandbox ended meanwhile is no error.
///
/// # Errors
/// As [`stop`]; [`Kind::Conflict`] when the keeper is of an older version, or its gateway cannot enforce them.
pub(crate) async fn rules(dir: &SandboxDir) -> Result<()> {
    match talk(dir, &Request::Rules, Duration::ZERO).await? {
        None | Some(Reply::Done) => Ok(()),
        Some(_) => Err(misunderstood()),
    }
}

/// Has the sandbox end when the record says that it expires. That it ended meanwhile is no error.
///
/// # Errors
/// As [`stop`]; [`Kind::Conflict`] when the keeper is of an older version.
pub(crate) async fn expiry(dir: &SandboxDir) -> Result<()> {
    match talk(dir, &Request::Expiry, Duration::ZERO).await? {
        None | Some(Reply::Done) => Ok(()),
        Some(_) => Err(misunderstood()),
    }
}

/// Has the keeper begin `command` and look after it; `None` when the sandbox ended instead. Nobody has to hold the lock on
/// the sandbox's operations for this.
///
/// # Errors
/// As [`stop`]; [`Kind::Conflict`] when the keeper is of an older version; why the command could not be begun.
pub(crate) async fn detach(dir: &SandboxDir, command: &ExecSpec) -> Result<Option<DetachedId>> {
    let body =
        serde_json::to_vec(command).map_err(|e| Error::internal("cannot encode a command").with_source(e))?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= protocol::MAX_BODY);
    let length = length.ok_or_else(|| {
        Error::new(Kind::NotRunnable, "the arguments and the environment are too long together")
            .with_hint("pass them in a file: agentkernel sandbox cp")
    })?;
    match talk_at_length(dir, &Request::Detach(Detach { length }), &body, BEGIN).await? {
        Some(Reply::Detached(id)) => Ok(Some(id)),
        None | Some(Reply::Done) => Ok(None),
        Some(_) => Err(misunderstood()),
    }
}

/// Ends a command that was begun by [`detach`]. That it has ended, or the sandbox has, is no error. For anybody, as that.
///
/// # Errors
/// As [`stop`]; [`Kind::Timeout`] when the command does not end.
pub(crate) async fn kill(dir: &SandboxDir, id: DetachedId, grace: Duration) -> Result<()> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    match talk(dir, &Request::Kill(Kill { id, grace_ms }), grace).await? {
        None | Some(Reply::Done) => Ok(()),
        Some(_) => Err(misunderstood()),
    }
}

fn misunderstood() -> Error {
    Error::internal("the keeper of the sandbox answered something else")
}

/// The keeper's answer; `None` when it ended before it could give one, and has let go of its lock.
async fn talk(dir: &SandboxDir, request: &Request, work: Duration) -> Result<Option<Reply>> {
    talk_at_length(dir, request, &[], work).await
}

/// As [`talk`], of something that `body` is a part of.
async fn talk_at_length(
    dir: &SandboxDir,
    request: &Request,
    body: &[u8],
    work: Duration,
) -> Result<Option<Reply>> {
    let failed = match attempt(dir, request, body, work).await {
        Ok(Some(Reply::Error(error))) => return Err(error.into()),
        Ok(Some(reply)) => return Ok(Some(reply)),
        Ok(None) => deaf(dir, None),
        Err(Failure::Told(error)) => return Err(error),
        Err(Failure::Cut(error)) => error,
    };
    // A keeper closes its socket a moment before it lets go of the lock; the kernel does so in any order.
    if lock::is_released(&dir.keeping(), FAREWELL).await? { Ok(None) } else { Err(failed) }
}

/// Why there is no answer.
enum Failure {
    /// The keeper is there and will not, or takes too long.
    Told(Error),
    /// The connection could not be made, or broke.
    Cut(Error),
}

async fn attempt(
    dir: &SandboxDir,
    request: &Request,
    body: &[u8],
    work: Duration,
) -> Result<Option<Reply>, Failure> {
    let stream = socket::connect(&dir.path).await.map_err(|e| Failure::Cut(deaf(dir, Some(e))))?;
    if !socket::is_own_user(&stream) {
        return Err(Failure::Told(Error::new(
            Kind::Denied,
            "the keeper of the sandbox runs as another user",
        )));
    }
    let (from, to) = stream.into_split();
    let mut client = Client { from: BufReader::new(from), to, pid: 0 };
    match client.ask(&Request::Hello(Hello::ours()), &[], Duration::ZERO).await? {
        Some(Reply::Hello(theirs)) => {
            protocol::check_version(&theirs).map_err(Failure::Told)?;
            check_ability(&theirs, request).map_err(Failure::Told)?;
            client.pid = theirs.pid;
        }
        Some(_) => return Err(Failure::Told(misunderstood())),
        None => return Ok(None),
    }
    client.ask(request, body, work).await
}

/// Refuses what `theirs` does not understand.
fn check_ability(theirs: &Hello, request: &Request) -> Result<()> {
    let (able, what, hint) = match request {
        Request::Rules => (
            theirs.rules,
            "change its network rules",
            "stop it with 'agentkernel sandbox stop NAME', change them, and start it again",
        ),
        Request::Expiry => (
            theirs.expiry,
            "give it more time",
            "stop it with 'agentkernel sandbox stop NAME', do this again, and start it",
        ),
        Request::Detach(_) | Request::Kill(_) => (
            theirs.detached,
            "look after detached commands",
            "stop it with 'agentkernel sandbox stop NAME', and start it again",
        ),
        _ => return Ok(()),
    };
    if able {
        return Ok(());
    }
    let message = format!("the sandbox is kept by an older agentkernel, which cannot {what}");
    Err(Error::new(Kind::Conflict, message).with_hint(hint))
}

/// A conversation with a keeper.
#[derive(Debug)]
struct Client {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    pid: u32,
}

impl Client {
    /// The answer; `None` when the keeper ended instead.
    async fn ask(
        &mut self,
        request: &Request,
        body: &[u8],
        work: Duration,
    ) -> Result<Option<Reply>, Failure> {
        let conversation = async {
            protocol::send(&mut self.to, request).await?;
            protocol::send_body(&mut self.to, body).await?;
            protocol::receive(&mut self.from).await
        };
        match tokio::time::timeout(work.saturating_add(ANSWER), conversation).await {
            Ok(answer) => answer.map_err(Failure::Cut),
            Err(_) => Err(Failure::Told(
                Error::new(
                    Kind::Timeout,
                    format!("the keeper of the sandbox (process {}) does not answer", self.pid),
                )
                .with_hint(format!("end it with 'kill -9 {}'", self.pid)),
            )),
        }
    }
}

/// The keeper's lock is held and its socket does not answer.
fn deaf(dir: &SandboxDir, cause: Option<io::Error>) -> Error {
    let note = std::fs::read_to_string(dir.keeping()).unwrap_or_default();
    let hint = match note.trim().parse::<u32>() {
        Ok(pid) => format!("end it with 'kill {pid}'"),
        Err(_) => "agentkernel doctor".to_owned(),
    };
    let error = Error::new(Kind::Conflict, "the keeper of the sandbox does not listen").with_hint(hint);
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
