//! Those who connect to a keeper's socket.

use super::{
    commands::Commands,
    protocol::{self, Detach, Hello, Phase, Reply, Request, Status, WireError},
    socket,
};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec};
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

/// What a visitor wants of the sandbox itself.
#[derive(Debug)]
pub(super) enum Wish {
    Stop(StopRequest),
    /// See [`Request::Stay`].
    Stay(oneshot::Sender<()>),
    Obey(Order, oneshot::Sender<Result<()>>),
}

/// Which part of the record is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// See [`Request::Rules`].
    Rules,
    /// See [`Request::Expiry`].
    Expiry,
}

/// A wish and the number of the connection that it came in on.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) visitor: u64,
    pub(super) wish: Wish,
}

/// What the keeper has to do.
#[derive(Debug)]
pub(super) enum Heard {
    Stop(StopRequest),
    Obey(Order, oneshot::Sender<Result<()>>),
}

/// Which demands still count.
#[derive(Debug, Default)]
pub(super) struct Demands {
    /// The connection on which the sandbox was last asked to stay.
    stays_for: u64,
}

impl Demands {
    /// What is left to do for `demand`; a stop counts unless the sandbox was asked to stay since its connection was opened.
    pub(super) fn hear(&mut self, demand: Demand) -> Option<Heard> {
        match demand.wish {
            Wish::Stay(told) => {
                self.stays_for = self.stays_for.max(demand.visitor);
                let _left = told.send(());
                None
            }
            Wish::Stop(request) if demand.visitor < self.stays_for => {
                let message = "the sandbox was started again since it was asked to stop";
                let _left = request.done.send(Err(Error::new(Kind::Conflict, message)));
                None
            }
            Wish::Stop(request) => Some(Heard::Stop(request)),
            Wish::Obey(order, done) => Some(Heard::Obey(order, done)),
        }
    }
}

/// What every visitor is given.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    /// The number of the connection: later ones have higher numbers.
    pub(super) visitor: u64,
    pub(super) demands: mpsc::Sender<Demand>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) commands: Commands,
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
                Request::Stay => self.stay().await,
                Request::Rules => self.obey(Order::Rules).await,
                Request::Expiry => self.obey(Order::Expiry).await,
                Request::Detach(Detach { length }) => self.detach(length).await?,
                Request::Kill(kill) => done(self.reception.commands.kill(kill.id, kill.grace()).await),
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
        let (told, answer) = oneshot::channel();
        // Either failure means that the keeper is done already, which is what was asked for.
        if !self.demand(Wish::Stop(StopRequest { grace, done: told })).await {
            return Reply::Done;
        }
        done(answer.await.unwrap_or(Ok(())))
    }

    async fn stay(&self) -> Reply {
        let (told, answer) = oneshot::channel();
        match self.demand(Wish::Stay(told)).await && answer.await.is_ok() {
            true => Reply::Status(Status { phase: Phase::Running }),
            false => Reply::Done,
        }
    }

    async fn obey(&self, order: Order) -> Reply {
        let (told, answer) = oneshot::channel();
        if !self.demand(Wish::Obey(order, told)).await {
            return Reply::Done;
        }
        done(answer.await.unwrap_or(Ok(())))
    }

    /// After an error nobody knows where in the conversation the other side is.
    async fn detach(&mut self, length: u32) -> Result<Reply> {
        let body = protocol::receive_body::<ExecSpec>(&mut self.from, length);
        let Ok(command) = tokio::time::timeout(HELLO, body).await else {
            return Err(Error::new(Kind::Timeout, "the command did not come"));
        };
        Ok(match self.reception.commands.begin(command?).await {
            Ok(id) => Reply::Detached(id),
            Err(error) => Reply::Error(WireError::from(&error)),
        })
    }

    /// Whether the keeper is there to hear it.
    async fn demand(&self, wish: Wish) -> bool {
        self.reception.demands.send(Demand { visitor: self.reception.visitor, wish }).await.is_ok()
    }
}

fn done(result: Result<()>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Error(WireError::from(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(visitor: u64) -> (Demand, oneshot::Receiver<Result<()>>) {
        let (done, answer) = oneshot::channel();
        (Demand { visitor, wish: Wish::Stop(StopRequest { grace: Duration::ZERO, done }) }, answer)
    }

    #[test]
    fn a_stop_counts_unless_somebody_came_later_who_wants_it_to_stay() {
        let mut demands = Demands::default();
        assert!(matches!(demands.hear(stop(1).0), Some(Heard::Stop(_))));
        let (told, mut answer) = oneshot::channel();
        assert!(demands.hear(Demand { visitor: 5, wish: Wish::Stay(told) }).is_none());
        assert!(answer.try_recv().is_ok());
        let (late, mut answer) = stop(4);
        assert!(demands.hear(late).is_none());
        assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), Kind::Conflict);
        for visitor in [5, 6] {
            assert!(demands.hear(stop(visitor).0).is_some());
        }
    }
}
