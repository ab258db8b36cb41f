//! Clients that are slow, silent or too much.

use super::{super::*, lab::*};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, timeout},
};

const SHORT: Timeouts = Timeouts {
    handshake: Duration::from_millis(200),
    head: Duration::from_millis(200),
    idle: Duration::from_millis(400),
    connect: Duration::from_secs(5),
};

fn hasty() -> Arc<Web> {
    Arc::new(Web::with_timeouts(Vec::new(), SHORT))
}

/// A place that is never asked.
fn nowhere() -> Place {
    place(([127, 0, 0, 1], 1).into())
}

#[tokio::test]
async fn a_head_that_does_not_become_whole_ends_the_connection() {
    let rules = Arc::new(Rules::default());
    for (web, start) in [(hasty(), ""), (hasty(), "GET / HTTP/1.1\r\nHost: api.x.com\r\n")] {
        let mut flow = plain(&web, nowhere(), &rules);
        flow.client.write_all(start.as_bytes()).await.unwrap();
        let began = Instant::now();
        // A byte now and then does not help.
        while timeout(Duration::from_millis(40), flow.client.read_u8()).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
            if !start.is_empty() && flow.client.write_all(b"x").await.is_err() {
                break;
            }
        }
        let (outcome, ..) = soon(flow.outcome).await.unwrap();
        // Silence before any request is the end of a client that has no more to ask.
        let expected =
            if start.is_empty() { Outcome::Closed } else { Outcome::Broken(io::ErrorKind::TimedOut) };
        assert_eq!(outcome, expected, "{start}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn silence_between_requests_ends_the_connection_and_a_slow_answer_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&hasty(), place(listener.local_addr().unwrap()), &rules);
    flow.client.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\n\r\n").await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    // Longer than any patience with the client: it is not its turn.
    assert!(timeout(Duration::from_secs(1), flow.client.read_u8()).await.is_err());
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    read_until(&mut flow.client, "hi").await;
    let began = Instant::now();
    assert_eq!(read_all(&mut flow.client).await, "");
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(300) && waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Closed);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let rules = Arc::new(Rules::default());
    for start in [&b""[..], &[22, 3, 1, 1, 0, 1]] {
        let mut flow = opened(&hasty(), nowhere(), &rules);
        flow.client.write_all(start).await.unwrap();
        let (outcome, ..) = soon(flow.outcome).await.unwrap();
        assert_eq!(outcome, Outcome::Broken(io::ErrorKind::TimedOut));
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let many: String = (0..101).map(|number| format!("X-{number}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(65 * 1024));
    let path = "a".repeat(66 * 1024);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: api.x.com\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: api.x.com\r\n{long}\r\n"), "431"),
        (format!("GET /{path} HTTP/1.1\r\nHost: api.x.com\r\n\r\n"), "4"),
    ] {
        let rules = Arc::new(Rules::default());
        let mut flow = plain(&web(), nowhere(), &rules);
        let (mut reading, mut writing) = tokio::io::split(&mut flow.client);
        // What is too long is not read to its end.
        let (_, got) =
            tokio::join!(writing.write_all(request.as_bytes()), read_until(&mut reading, "\r\n\r\n"));
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{got}");
        assert!(rules.seen().is_empty());
    }
}

#[tokio::test]
async fn answers_are_bounded() {
    let (address, read) = raw_server("\r\n\r\n", {
        let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "a".repeat(70 * 1024));
        Box::leak(long.into_boxed_str())
    })
    .await;
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n").await.unwrap();
    let got = read_all(&mut flow.client).await;
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    drop(read);
}

#[tokio::test]
async fn a_refusal_is_said_in_the_words_of_the_protocol() {
    let refused = |how: u8| {
        let (mut client, gateway) = tokio::io::duplex(64 * 1024);
        async move {
            client.write_all(b"GET / HTTP/1.1\r\nHost: evil.com\r\n\r\n").await.unwrap();
            let told = tokio::spawn(async move {
                match how {
                    0 => Web::refuse_http(Box::new(gateway), "no rule lets it out").await,
                    _ => Web::refuse_tls(Box::new(gateway)).await,
                }
            });
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            drop(client);
            soon(told).await.unwrap();
            got
        }
    };
    let got = String::from_utf8(refused(0).await).unwrap();
    assert!(got.starts_with("HTTP/1.1 403 Forbidden\r\n") && got.contains("x-agentkernel-blocked: true\r\n"));
    assert!(
        got.ends_with("\r\n\r\nagentkernel: no rule lets it out\n") && got.contains("content-length: 33\r\n")
    );
    assert_eq!(refused(1).await, [21, 3, 3, 0, 2, 2, 49]);
}

#[tokio::test]
async fn the_other_side_has_its_time_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (web, rules) = (hasty(), Rules::with_secret());
    let flow = opened(&web, place(listener.local_addr().unwrap()), &rules);
    // Taken, and never answered.
    let silent = tokio::spawn(async move { listener.accept().await.unwrap() });
    let mut tls = tls_to(&web, flow.client, NAME, &[]).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n").await.unwrap();
    let got = read_all(&mut tls).await;
    assert!(got.starts_with("HTTP/1.1 504 ") && got.contains("api.x.com is not reached"), "{got}");
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Unreachable(io::ErrorKind::TimedOut));
    drop(silent);
}
