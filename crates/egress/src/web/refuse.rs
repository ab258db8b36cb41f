//! No, in the words of the protocol that the sandbox speaks.

use agentkernel_backend::ByteStream;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// A record of TLS (RFC 8446, section 5.1, in the version that all know) with the fatal alert access_denied, 49.
pub(super) const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// RFC 7301, section 3.2.
pub(super) const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];
/// What is still read of a client that was told: a stream that is closed with bytes unread takes back what was said.
const READ_AFTER: u64 = 256 * 1024;
const WAIT_AFTER: Duration = Duration::from_secs(2);

pub(super) async fn http(client: Box<dyn ByteStream>, why: &str) {
    let text = format!("agentkernel: {why}\n");
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n\
         x-agentkernel-blocked: true\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    say(client, answer.as_bytes()).await;
}

pub(super) async fn tls(client: Box<dyn ByteStream>) {
    say(client, &ACCESS_DENIED).await;
}

/// Within a bounded time: nobody has to listen.
pub(super) async fn say(
    mut client: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    answer: &[u8],
) {
    let told = async {
        client.write_all(answer).await?;
        client.shutdown().await?;
        tokio::io::copy(&mut client.take(READ_AFTER), &mut tokio::io::sink()).await
    };
    let _ = timeout(WAIT_AFTER, told).await;
}
