//! The protocol over a pair of pipes: a message a line, in both directions.

use super::{
    handler::Handler,
    line::{self, Line},
};
use crate::App;
use agentkernel_model::{Error, Result};
use rmcp::{
    RoleServer, ServiceExt as _,
    service::{RxJsonRpcMessage, ServerInitializeError, TxJsonRpcMessage},
    transport::Transport,
};
use std::{io, pin::pin, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

/// Serves one client until `input` ends or `end` resolves. Calls that are under way then have a few seconds; what they run
/// has ended when this returns.
///
/// # Errors
/// When nothing can be written to `output`.
pub async fn serve<R, W>(app: &Arc<App>, input: R, output: W, end: impl Future<Output = ()>) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let token = CancellationToken::new();
    let lines = Lines::new(input, output, app.options.limits.body);
    let mut talk = pin!(talk(app, lines, token.clone()));
    let mut end = pin!(end);
    let ended = tokio::select! {
        ended = &mut talk => ended,
        () = &mut end => {
            token.cancel();
            talk.await
        }
    };
    app.calls.close().await;
    ended
}

/// Goes on after a client that begins with anything but the protocol's beginning.
async fn talk<R, W>(app: &Arc<App>, lines: Lines<R, W>, token: CancellationToken) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    loop {
        match Handler::new(Arc::clone(app)).serve_with_ct(lines.clone(), token.clone()).await {
            Ok(client) => {
                let quit = client.waiting().await;
                return quit
                    .map(drop)
                    .map_err(|e| Error::internal("the MCP server broke off").with_source(e));
            }
            Err(ServerInitializeError::Cancelled | ServerInitializeError::ConnectionClosed(_)) => {
                return Ok(());
            }
            Err(ServerInitializeError::TransportError { error, .. }) => {
                return Err(Error::internal("cannot answer the MCP client").with_source(error));
            }
            Err(_) => {}
        }
    }
}

/// Both directions, for one session after another.
struct Lines<R, W> {
    input: Arc<Mutex<Input<R>>>,
    output: Arc<Mutex<W>>,
}

impl<R, W> Clone for Lines<R, W> {
    fn clone(&self) -> Self {
        Self { input: Arc::clone(&self.input), output: Arc::clone(&self.output) }
    }
}

impl<R: AsyncRead, W> Lines<R, W> {
    fn new(input: R, output: W, limit: usize) -> Self {
        let input = Input { reader: BufReader::new(input), line: Vec::new(), limit, overlong: false };
        Self { input: Arc::new(Mutex::new(input)), output: Arc::new(Mutex::new(output)) }
    }
}

/// Lines of at most `limit` bytes. What was read of one stays here when its reader is dropped.
struct Input<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    overlong: bool,
}

enum Read {
    Line(Vec<u8>),
    TooLong,
    End,
}

impl<R: AsyncRead + Unpin> Input<R> {
    async fn next(&mut self) -> io::Result<Read> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(Read::End);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..end.unwrap_or(available.len())];
            if self.line.len() + piece.len() > self.limit {
                (self.line, self.overlong) = (Vec::new(), true);
            } else if !self.overlong {
                self.line.extend_from_slice(piece);
            }
            let consumed = piece.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(match std::mem::take(&mut self.overlong) {
                    true => Read::TooLong,
                    false => Read::Line(std::mem::take(&mut self.line)),
                });
            }
        }
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = Arc::clone(&self.output);
        async move { write(&output, &message).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // What cannot be read any more has ended.
            let read = self.input.lock().await.next().await.ok()?;
            let answer = match read {
                Read::End => return None,
                Read::TooLong => line::too_long(self.input.lock().await.limit),
                Read::Line(line) => match line::parse(&line) {
                    Line::Message(message) => return Some(*message),
                    Line::Nothing => continue,
                    Line::Wrong(answer) => *answer,
                },
            };
            let output = Arc::clone(&self.output);
            // The reader may be dropped while an answer is half written, so that somebody else writes it.
            tokio::spawn(async move { write(&output, &answer).await });
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.flush().await
    }
}

async fn write<W: AsyncWrite + Unpin>(
    output: &Mutex<W>,
    message: &TxJsonRpcMessage<RoleServer>,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut output = output.lock().await;
    output.write_all(&line).await?;
    output.flush().await
}

#[cfg(test)]
#[path = "stdio_tests.rs"]
mod tests;
