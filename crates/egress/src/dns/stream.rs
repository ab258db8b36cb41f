//! DNS over a TCP connection of the sandbox: questions one after the other, each behind its length.

use super::{Transport, message::MAX_MESSAGE, respond, upstream::framed};
use crate::{gateway::Shared, observer::Ledger};
use agentkernel_backend::ByteStream;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Answers until the sandbox closes, is silent for [`crate::Limits::dns_idle`], or sends what is no DNS.
pub(crate) async fn serve(shared: &Shared, mut io: Box<dyn ByteStream>, ledger: &Ledger) {
    let idle = shared.limits.dns_idle;
    while let Ok(Some(question)) = within(idle, read(&mut io)).await {
        ledger.sent.add(question.len());
        let answer = respond(shared, &question, Transport::Tcp).await;
        let Some(answer) = answer else { return };
        let Ok(frame) = framed(&answer) else { return };
        if within(idle, write(&mut io, &frame)).await.is_err() {
            return;
        }
        ledger.received.add(answer.len());
    }
}

/// The next message; `None` at the end of the stream.
async fn read(io: &mut Box<dyn ByteStream>) -> io::Result<Option<Vec<u8>>> {
    let length = match io.read_u16().await {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        length => usize::from(length?),
    };
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    io.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn write(io: &mut Box<dyn ByteStream>, frame: &[u8]) -> io::Result<()> {
    io.write_all(frame).await?;
    io.flush().await
}

async fn within<T>(idle: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(idle, step).await?
}
