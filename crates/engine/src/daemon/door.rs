//! Those who connect to the daemon's socket.

use super::{
    demand::{Demand, Loan},
    key::Key,
    protocol::{self, Hello, Reply, Request, VERSION},
    socket,
};
use agentkernel_model::{Error, Result};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

/// Connections at once, those of borrowers among them; who comes beyond them is turned away, and takes the ordinary road.
const MAX_VISITORS: usize = 128;
/// How long a visitor may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long accepting rests when this process is out of descriptors: the kernel tells nobody when one is free again.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What visitors are told at the end: what could not be removed. `None` until then.
pub(super) type Outcome = Option<Vec<String>>;

/// What every visitor is given.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) demands: mpsc::Sender<Demand>,
    pub(super) outcome: watch::Receiver<Outcome>,
}

/// Lets visitors in until the outcome is known, then waits for those that are still being answered.
pub(super) async fn receive_all(listener: UnixListener, mut reception: Reception) {
    let mut inside = JoinSet::new();
    let visitors = reception.clone();
    loop {
        tokio::select! {
            () = settled(&mut reception.outcome) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if inside.len() < MAX_VISITORS => {
                    inside.spawn(receive(stream, visitors.clone()));
                }
                Ok((stream, _)) => drop(stream),
                Err(_) => tokio::time::sleep(OUT_OF_DESCRIPTORS).await,
            },
            Some(_) = inside.join_next(), if !inside.is_empty() => {}
        }
    }
    drop(listener);
    while inside.join_next().await.is_some() {}
}

/// Serves one visitor. Whatever it does harms nobody but itself.
async fn receive(stream: UnixStream, reception: Reception) {
    if !socket::is_own_user(&stream) {
        return;
    }
    let (from, to) = stream.into_split();
    let mut visitor = Visitor { from: BufReader::new(from), to, reception };
    // Nobody would read what is wrong: a client that is not served takes the ordinary road.
    let _over = visitor.serve().await;
}

struct Visitor {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    reception: Reception,
}

impl Visitor {
    async fn serve(&mut self) -> Result<()> {
        match self.next().await? {
            // The answer comes before the check: the other side has to know whom it is talking to, too.
            Some(Request::Hello(theirs)) => {
                protocol::send(&mut self.to, &Reply::Hello(Hello::ours())).await?;
                if theirs.version != VERSION {
                    return Ok(());
                }
            }
            None => return Ok(()),
            Some(_) => return Err(Error::invalid("the first message of a conversation must be a hello")),
        }
        while let Some(request) = self.next().await? {
            match request {
                Request::Hello(_) => protocol::send(&mut self.to, &Reply::Hello(Hello::ours())).await?,
                Request::Want(wish) => {
                    // It is making one of its own now, and comes first: it leaves when that is up.
                    let _left = self.next().await;
                    return self.demand(Demand::Want(wish)).await;
                }
                Request::Take(key) => match self.take(key).await? {
                    Some(Some(loan)) => return self.lend(loan).await,
                    Some(None) => protocol::send(&mut self.to, &Reply::NoneWarm).await?,
                    None => return Ok(()),
                },
                Request::Status => {
                    let status = self.ask(Demand::Status).await?;
                    protocol::send(&mut self.to, &Reply::Status(status)).await?;
                }
                Request::Stop => return self.stop().await,
            }
        }
        Ok(())
    }

    /// What the visitor wants; `None` when it has left, took too long, or the daemon is done.
    async fn next(&mut self) -> Result<Option<Request>> {
        tokio::select! {
            request = tokio::time::timeout(PATIENCE, protocol::receive(&mut self.from)) => {
                request.unwrap_or(Ok(None))
            }
            () = settled(&mut self.reception.outcome) => Ok(None),
        }
    }

    /// What the pool has, or has once it is up; `None` when the visitor does not wait for that: by going, by dying, or by
    /// saying anything more.
    async fn take(&mut self, key: Key) -> Result<Option<Option<Loan>>> {
        let (answer, answered) = oneshot::channel();
        self.demand(Demand::Take(key, answer)).await?;
        tokio::select! {
            biased;
            loan = answered => loan.map(Some).map_err(|_| gone()),
            _ = self.from.read_u8() => Ok(None),
        }
    }

    /// Lends until the visitor leaves: by going, by dying, or by saying anything more.
    async fn lend(&mut self, loan: Loan) -> Result<()> {
        protocol::send(&mut self.to, &Reply::Lent(loan.lent.clone())).await?;
        tokio::select! {
            _ = self.from.read_u8() => {}
            () = settled(&mut self.reception.outcome) => {}
        }
        drop(loan);
        Ok(())
    }

    async fn stop(&mut self) -> Result<()> {
        let waiting = self.ask(Demand::Stop).await?;
        if waiting > 0 {
            protocol::send(&mut self.to, &Reply::Waiting(waiting)).await?;
        }
        // One that leaves meanwhile changes nothing.
        settled(&mut self.reception.outcome).await;
        let failures = self.reception.outcome.borrow().clone().ok_or_else(gone)?;
        protocol::send(&mut self.to, &Reply::Ended(failures)).await
    }

    async fn ask<T>(&self, demand: impl FnOnce(oneshot::Sender<T>) -> Demand) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.demand(demand(answer)).await?;
        answered.await.map_err(|_| gone())
    }

    async fn demand(&self, demand: Demand) -> Result<()> {
        self.reception.demands.send(demand).await.map_err(|_| gone())
    }
}

/// Resolves when the outcome is known, or the daemon ends without one.
async fn settled(outcome: &mut watch::Receiver<Outcome>) {
    let _known = outcome.wait_for(Option::is_some).await;
}

fn gone() -> Error {
    Error::internal("the daemon has ended")
}
