//! A command as callers see it, and the task that waits for it.

use super::{
    answers,
    ephemeral::Ephemeral,
    inside::{Begun, Inside, Pipes},
    terminal,
};
use agentkernel_backend::{Control, Exit, Process};
use agentkernel_model::{
    Error, Result,
    command::{Signal, TerminalSize},
};
use rustix::process::{Pid, kill_process};
use std::process::ExitStatus;
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the one before them, at most.
const QUEUE: usize = 64;
/// The code with which `container` ends when it failed itself. Commands end with it as well.
const ITS_OWN_FAILURE: i32 = 1;

#[derive(Debug, Clone, Copy)]
enum Order {
    Signal(Signal),
    Resize(TerminalSize),
}

struct Orders(mpsc::Sender<Order>);

impl Orders {
    fn give(&self, order: Order) -> Result<()> {
        match self.0.try_send(order) {
            // It has ended.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Error::internal("the sandbox does not take any more signals"))
            }
        }
    }
}

impl Control for Orders {
    fn signal(&self, signal: Signal) -> Result<()> {
        self.give(Order::Signal(signal))
    }

    fn resize(&self, size: TerminalSize) -> Result<()> {
        self.give(Order::Resize(size))
    }
}

/// The command as a [`Process`]. With `ephemeral`, the whole sandbox goes with it.
pub(crate) fn process(
    inside: Inside,
    (begun, pipes): (Begun, Pipes),
    ephemeral: Option<Ephemeral>,
) -> Process {
    let Pipes { stdin, stdout, stderr } = pipes;
    let (orders, taken) = mpsc::channel(QUEUE);
    let (tell, told) = oneshot::channel();
    tokio::spawn(attend(Attended { inside, begun, orders: taken }, tell, ephemeral));
    let exit = async move {
        told.await.unwrap_or_else(|_| Err(Error::internal("nobody waits for the command any more")))
    };
    Process { stdin, stdout, stderr, control: Box::new(Orders(orders)), exit: Box::pin(exit) }
}

struct Attended {
    inside: Inside,
    begun: Begun,
    orders: mpsc::Receiver<Order>,
}

/// Lives as long as the command; with an ephemeral sandbox no longer than anybody wants to know of it.
async fn attend(mut it: Attended, mut tell: oneshot::Sender<Result<Exit>>, ephemeral: Option<Ephemeral>) {
    let Some(ephemeral) = ephemeral else {
        let status = it.ended().await;
        let exit = it.exit(status).await;
        let _ = tell.send(exit);
        return;
    };
    let status = tokio::select! {
        status = it.ended() => Some(status),
        () = tell.closed() => None,
    };
    let exit = match status {
        Some(status) => it.exit(status).await,
        None => Ok(Exit::Signal { number: Signal::Kill.number(), out_of_memory: false }),
    };
    drop(it);
    let cleared = ephemeral.clear().await;
    let _ = tell.send(cleared.and(exit));
}

impl Attended {
    /// Follows orders until the command has ended.
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        loop {
            let order = tokio::select! {
                status = self.begun.child.wait() => return status,
                Some(order) = self.orders.recv() => order,
            };
            self.follow(order).await;
        }
    }

    async fn follow(&self, order: Order) {
        match (order, &self.begun.terminal) {
            // One that cannot be delivered meets a command that ends, or a sandbox that cannot be reached: who waits for
            // the end is told which.
            (Order::Signal(signal), _) => drop(self.inside.signal(&self.begun, signal).await),
            (Order::Resize(size), Some(controller)) => {
                // It has not been waited for, so the number is still its own.
                let child =
                    self.begun.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let (Ok(()), Some(child)) = (terminal::resize(controller, size), child) {
                    let _ = kill_process(child, rustix::process::Signal::WINCH);
                }
            }
            (Order::Resize(_), None) => {}
        }
    }

    async fn exit(&self, status: std::io::Result<ExitStatus>) -> Result<Exit> {
        let status = status.map_err(|e| Error::io("cannot wait for 'container exec'", e))?;
        let code =
            status.code().ok_or_else(|| Error::internal(format!("'container exec' ended: {status}")))?;
        if code == ITS_OWN_FAILURE {
            let container = answers::one(&self.inside.program, &self.inside.name).await?;
            if !container.is_some_and(|container| container.is_running()) {
                return Ok(Exit::Signal { number: Signal::Kill.number(), out_of_memory: false });
            }
        }
        Ok(Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))
    }
}
