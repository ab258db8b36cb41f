//! 100 MB through the gateway, each way, in constant memory. A binary of its own: it measures its whole process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "the other test binary uses the rest")]
mod support;

use std::time::Instant;
use support::{Lab, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TOTAL: usize = 100 << 20;

/// The most memory that this process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// The byte at `position`: not periodic in any buffer's size.
fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

async fn send(mut to: impl AsyncWriteExt + Unpin) {
    let block: Vec<u8> = (0..251 * 256).map(pattern).collect();
    let mut left = TOTAL;
    while left > 0 {
        let chunk = &block[..left.min(block.len())];
        to.write_all(chunk).await.unwrap();
        left -= chunk.len();
    }
    to.shutdown().await.unwrap();
}

async fn check(mut from: impl AsyncReadExt + Unpin) {
    let mut buffer = vec![0; 64 * 1024];
    let mut position = 0;
    loop {
        let count = from.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        for byte in &buffer[..count] {
            assert_eq!(*byte, pattern(position), "at {position}");
            position += 1;
        }
    }
    assert_eq!(position, TOTAL);
}

#[tokio::test]
async fn a_hundred_megabytes_each_way_in_constant_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    let client = lab.inside.connect(listener.local_addr().unwrap()).await;
    let (peer, _) = soon(listener.accept()).await.unwrap();
    let (client_read, client_write) = tokio::io::split(client);
    let (peer_read, peer_write) = peer.into_split();
    let before = peak();
    let start = Instant::now();
    tokio::join!(send(client_write), check(peer_read), send(peer_write), check(client_read));
    let grown = peak() - before;
    println!("200 MB in {:?}, memory grew by {grown} KiB", start.elapsed());
    assert!(grown < 8 * 1024, "memory grew by {grown} KiB");
    let seen = lab.end().await;
    assert_eq!((seen[0].sent, seen[0].received), (TOTAL as u64, TOTAL as u64));
}
