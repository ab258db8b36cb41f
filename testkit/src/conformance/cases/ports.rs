//! Connections into a sandbox.

use super::streams::{read_until, stdout_of};
use crate::conformance::{
    bench::{Bench, Running, shown},
    case::{Failure, Verdict, check, same},
    subject::{at, command, plain_spec},
};
use agentkernel_backend::Process;
use agentkernel_model::Kind;
use std::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Starts the echo server inside; its process and its port.
async fn server(b: &Bench, running: &Running) -> Result<(Process, u16), Failure> {
    let program = fs::read(&b.subject().guest)?;
    running.sandbox.files().write(&"/echo-server".parse()?, 0o755, &program).await?;
    let mut process = running.sandbox.exec(&at("/", command(&["./echo-server", "serve"]))).await?;
    let mut output = stdout_of(&mut process)?;
    let line = match read_until(&mut output, "\n").await {
        Ok(line) => line,
        Err(Failure(why)) => {
            let output = process.output(1 << 20).await?;
            return Err(Failure(format!("{why}; the server: {}", shown(&output))));
        }
    };
    let port = String::from_utf8_lossy(&line).trim().parse();
    Ok((process, port.map_err(|_| Failure(format!("the server printed {line:?}")))?))
}

pub(super) async fn forward_reaches_a_server_inside(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let (_server, port) = server(&b, &running).await?;
    for round in 0..3 {
        let mut stream = running.sandbox.forward(port).await?;
        let sent: Vec<u8> = (0..4000_u32).map(|n| u8::try_from((n + round) % 256).unwrap_or(0)).collect();
        stream.write_all(&sent).await?;
        stream.flush().await?;
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).await?;
        check!(got == sent, "round {round}: other bytes came back");
        stream.shutdown().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        same!(rest, Vec::<u8>::new(), "after the end");
    }
    let other = b.subject().build()?;
    let attached =
        other.attach(running.id, &running.state).await?.ok_or_else(|| Failure("it is gone".to_owned()))?;
    let mut stream = attached.forward(port).await?;
    stream.write_all(b"x").await?;
    stream.flush().await?;
    same!(stream.read_u8().await?, b'x', "through another instance");
    Ok(())
}

pub(super) async fn forward_to_nothing_is_an_error(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    match running.sandbox.forward(1).await {
        Err(error) => {
            same!(error.kind(), Kind::Unavailable, "the kind");
            check!(error.message().contains('1'), "the message does not name the port: {error}");
        }
        Ok(_) => return Err(Failure("something listens on port 1".to_owned())),
    }
    Ok(())
}
