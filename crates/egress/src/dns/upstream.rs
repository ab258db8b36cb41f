//! One question to one resolver.

use super::message::{MAX_MESSAGE, Query, is_truncated};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// The answer of `server`, over UDP and where that is truncated over TCP, each within `patience`. A truncated answer is
/// returned when the server does not speak TCP.
///
/// # Errors
/// When no answer came that belongs to the question.
pub(super) async fn ask(server: SocketAddr, query: &Query, patience: Duration) -> io::Result<Vec<u8>> {
    let answer = timeout(patience, over_udp(server, query)).await??;
    if !is_truncated(&answer) {
        return Ok(answer);
    }
    match timeout(patience, over_tcp(server, query)).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(_)) | Err(_) => Ok(answer),
    }
}

/// A socket, and so a port, of its own for each question, an unpredictable id, and only answers from the address that
/// was asked: what an off-path forger must guess (RFC 5452). Answers that do not fit are ignored, not believed.
async fn over_udp(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id = random_id()?;
    socket.send(&query.under(id)).await?;
    // One byte more than is believed tells a longer datagram from one that just fits.
    let mut answer = vec![0; MAX_MESSAGE + 1];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length > MAX_MESSAGE {
            continue;
        }
        if let Some(bytes) = answer.get(..length).filter(|bytes| query.is_answered_by(id, bytes)) {
            return Ok(bytes.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let id = random_id()?;
    stream.write_all(&framed(&query.under(id))?).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if !query.is_answered_by(id, &answer) || is_truncated(&answer) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not belong to the question"));
    }
    Ok(answer)
}

/// `message` behind its length, in one write (RFC 1035 section 4.2.2, RFC 7766 section 8).
///
/// # Errors
/// `InvalidData` when it is longer than a length can say.
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut frame = Vec::with_capacity(message.len() + 2);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Ok(frame)
}

fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(u16::from_ne_bytes(bytes))
}
