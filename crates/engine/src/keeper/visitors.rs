//! Those who connect to a keeper's socket.

use super::{
    protocol::{self, Hello, Phase, Reply, Request, Status, WireError},
    socket,
};
use agentkernel_model::{Error, Result};
use std::time::Duration;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

/// How long a visitor may take to say who they are.
const HELLO: Duration = Duration::from_secs(10);

/// A visitor who wants the sandbox stopped, and waits for it.
#[derive(Debug)]
pub(super) struct StopRequest {
    pub(super) grace: Duration,
    pub(super) done: oneshot::Sender<Result<()>>,
}

/// What every visitor is given.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) stop: mpsc::Sender<StopRequest>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Serves one visitor until they leave or the keeper is done. Whatever they do harms nobody but them.
pub(super) async fn receive(stream: UnixStream, reception: Reception) {
    if !socket::is_own_user(&stream) {
        return;
    }
    let (from, to) = stream.into_split();
    let mut visitor = Visitor { from: BufReader::new(from), to, reception };
    if let Err(error) = visitor.serve().await {
        let _gone = protocol::send(&mut visitor.to, &Reply::Error(WireError::from(&error))).await;
    }
}

struct Visitor {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    reception: Reception,
}

impl Visitor {
    async fn serve(&mut self) -> Result<()> {
        let Ok(first) = tokio::time::timeout(HELLO, protocol::receive::<Request>(&mut self.from)).await
        else {
            return Ok(());
        };
        match first? {
            None => return Ok(()),
            // The answer comes before the check: the other side has to know whom it is talking to, too.
            Some(Request::Hello(theirs)) => {
                protocol::send(&mut self.to, &Reply::Hello(Hello::ours())).await?;
                protocol::check_version(&theirs)?;
            }
            Some(_) => return Err(Error::invalid("the first message of a conversation must be a hello")),
        }
        while let Some(request) = self.next().await? {
            let reply = match request {
                Request::Hello(_) => Reply::Hello(Hello::ours()),
                Request::Status => Reply::Status(Status { phase: *self.reception.phase.borrow() }),
                Request::Stop(stop) => self.stop(stop.grace()).await,
                Request::Shutdown => self.stop(Duration::ZERO).await,
            };
            protocol::send(&mut self.to, &reply).await?;
        }
        Ok(())
    }

    /// The next request; `None` when the visitor has left or the keeper is done.
    async fn next(&mut self) -> Result<Option<Request>> {
        let mut phase = self.reception.phase.clone();
        tokio::select! {
            request = protocol::receive(&mut self.from) => request,
            // The keeper drops its end of the channel when all is over.
            () = async { while phase.changed().await.is_ok() {} } => Ok(None),
        }
    }

    async fn stop(&self, grace: Duration) -> Reply {
        let (done, answer) = oneshot::channel();
        // Either failure means that the keeper is done already, which is what was asked for.
        if self.reception.stop.send(StopRequest { grace, done }).await.is_err() {
            return Reply::Done;
        }
        match answer.await {
            Ok(Ok(())) | Err(_) => Reply::Done,
            Ok(Err(error)) => Reply::Error(WireError::from(&error)),
        }
    }
}
