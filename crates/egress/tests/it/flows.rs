//! Connections: decided, copied both ways, closed as the two sides close.

use crate::support::{Lab, loopback, soon};
use agentkernel_egress::{Outcome, Reason};
use agentkernel_model::egress::EgressRules;
use std::{io::ErrorKind, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn half_close_passes_both_ways() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        peer.read_to_string(&mut request).await.unwrap();
        // The request has ended; the answer has not begun: half closed.
        peer.write_all(format!("you said {request}").as_bytes()).await.unwrap();
    });
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(address).await;
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "you said hello");
    server.await.unwrap();
    let seen = lab.end().await;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].outcome, seen[0].sent, seen[0].received), (Outcome::Closed, 5, 14));
    assert_eq!(seen[0].destination, address);
}

#[tokio::test]
async fn a_server_that_speaks_first_and_closes_first_leaves_the_upload_open() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(b"banner").await.unwrap();
        peer.shutdown().await.unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(address).await;
    let mut banner = Vec::new();
    soon(client.read_to_end(&mut banner)).await.unwrap();
    assert_eq!(banner, b"banner");
    client.write_all(b"afterwards").await.unwrap();
    drop(client);
    assert_eq!(soon(server).await.unwrap(), b"afterwards");
    assert_eq!(lab.end().await[0].outcome, Outcome::Closed);
}

#[tokio::test]
async fn what_a_server_said_before_it_hung_up_arrives() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut first = [0; 1];
        peer.read_exact(&mut first).await.unwrap();
        peer.write_all(b"413 too large").await.unwrap();
        // Dropped with unread input: a reset, in the middle of the upload.
    });
    let lab = Lab::loopback();
    let client = lab.inside.connect(address).await;
    let (mut read, mut write) = tokio::io::split(client);
    let upload = tokio::spawn(async move {
        let chunk = vec![7; 64 * 1024];
        while write.write_all(&chunk).await.is_ok() {}
    });
    let mut answer = Vec::new();
    let _ = soon(read.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"413 too large");
    drop(read);
    soon(upload).await.unwrap();
    server.await.unwrap();
    let seen = lab.end().await;
    assert!(matches!(seen[0].outcome, Outcome::Broken(_)), "{seen:?}");
}

#[tokio::test]
async fn refused_connections_are_closed_and_reach_nobody() {
    let (listener, local) = listen().await;
    // The real policy, against a server that really listens.
    let lab = Lab::new(EgressRules::default(), Vec::new(), |_| {});
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), local.port());
    let nat64 = SocketAddr::new("64:ff9b::127.0.0.1".parse().unwrap(), local.port());
    let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
    for target in [local, mapped, nat64, metadata] {
        let mut client = lab.inside.connect(target).await;
        let mut nothing = Vec::new();
        soon(client.read_to_end(&mut nothing)).await.unwrap();
        assert!(nothing.is_empty());
        assert_eq!(client.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    let reached = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(reached.is_err(), "a refused connection arrived");
    let outcomes: Vec<Outcome> = lab.end().await.iter().map(|c| c.outcome).collect();
    let loopback = Outcome::Refused(Reason::Loopback);
    assert_eq!(outcomes, [loopback, loopback, loopback, Outcome::Refused(Reason::Metadata)]);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let (listener, address) = listen().await;
    drop(listener);
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(address).await;
    let mut nothing = Vec::new();
    soon(client.read_to_end(&mut nothing)).await.unwrap();
    assert_eq!(lab.end().await[0].outcome, Outcome::Unreachable(ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn a_mapped_address_is_reached_over_ipv4() {
    let (listener, address) = listen().await;
    let lab = Lab::loopback();
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), address.port());
    let _client = lab.inside.connect(mapped).await;
    soon(listener.accept()).await.unwrap();
}

/// Sends back what it gets.
async fn echo(listener: TcpListener) {
    loop {
        let (mut peer, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = peer.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
}

#[tokio::test]
async fn many_flows_at_once_keep_their_bytes_apart() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(echo(listener));
    let lab = Lab::loopback();
    let mut clients = Vec::new();
    for number in 0..100u32 {
        clients.push((number, lab.inside.connect(address).await));
    }
    for (number, client) in &mut clients {
        client.write_all(&number.to_be_bytes()).await.unwrap();
    }
    for (number, client) in &mut clients {
        assert_eq!(soon(client.read_u32()).await.unwrap(), *number);
    }
    drop(clients);
    assert_eq!(lab.end().await.iter().filter(|c| c.sent == 4 && c.received == 4).count(), 100);
    server.abort();
}

#[tokio::test]
async fn beyond_the_limit_connections_wait_for_a_place() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(echo(listener));
    let lab = Lab::new(loopback(), Vec::new(), |limits| limits.flows = 2);
    let mut first = lab.inside.connect(address).await;
    let mut second = lab.inside.connect(address).await;
    for client in [&mut first, &mut second] {
        client.write_u8(1).await.unwrap();
        assert_eq!(soon(client.read_u8()).await.unwrap(), 1);
    }
    // Fits in the backlog of one, and is not served.
    let mut third = lab.inside.connect(address).await;
    third.write_u8(3).await.unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), third.read_u8()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    assert_eq!(soon(third.read_u8()).await.unwrap(), 3);
    drop((second, third));
    assert_eq!(lab.end().await.len(), 3);
    server.abort();
}

#[tokio::test]
async fn a_peer_that_does_not_read_stops_its_sender_and_nobody_else() {
    let (listener, address) = listen().await;
    let (echo_listener, echo_address) = listen().await;
    let server = tokio::spawn(echo(echo_listener));
    let lab = Lab::loopback();
    let mut blocked = lab.inside.connect(address).await;
    let (peer, _) = soon(listener.accept()).await.unwrap();
    let chunk = vec![1; 64 * 1024];
    let mut accepted = 0usize;
    // Until the buffers of both sockets are full: a bounded amount, after which the sender waits.
    while let Ok(Ok(count)) =
        tokio::time::timeout(std::time::Duration::from_millis(300), blocked.write(&chunk)).await
    {
        accepted += count;
        assert!(accepted < 64 << 20, "the gateway takes bytes that nobody reads");
    }
    let mut other = lab.inside.connect(echo_address).await;
    other.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    soon(other.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"ping");
    drop(blocked);
    let mut peer: TcpStream = peer;
    let mut rest = Vec::new();
    soon(peer.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len(), accepted, "everything that was taken arrives");
    server.abort();
}
