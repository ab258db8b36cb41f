//! HTTP/1.1 in clear.

use super::{super::*, lab::*};
use std::pin::pin;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// What a client sends and gets, and what arrives at the other side.
async fn exchange(request: &str, until: &'static str, answer: &'static str) -> (String, String, Arc<Rules>) {
    let (address, read) = raw_server(until, answer).await;
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(request.as_bytes()).await.unwrap();
    let got = read_all(&mut flow.client).await;
    (got, soon(read).await.unwrap(), rules)
}

/// What a client gets for a request that must not arrive anywhere.
async fn refused(request: &str) -> (String, Arc<Rules>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    flow.client.write_all(request.as_bytes()).await.unwrap();
    let got = read_all(&mut flow.client).await;
    let accepted = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "something was sent for {request:?}");
    (got, rules)
}

#[tokio::test]
async fn a_request_arrives_as_one_of_the_gateways_own() {
    let request = "POST /v1?q=1 HTTP/1.1\r\nHost: API.x.com\r\nConnection: close, x-mine\r\nX-Mine: 1\r\n\
                   X-Original-URL: /forbidden\r\nX-Rewrite-URL: /forbidden\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nTE: gzip\r\nX-Kept: yes\r\nContent-Length: 4\r\n\r\nbody";
    let (got, arrived, rules) = exchange(request, "body", OK).await;
    let port = arrived.split("api.x.com:").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_eq!(
        arrived,
        format!(
            "POST /v1?q=1 HTTP/1.1\r\nx-kept: yes\r\nhost: api.x.com:{port}\r\ncontent-length: 4\r\n\r\nbody"
        )
    );
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nhi"), "{got}");
    assert_eq!(rules.only(), ("POST".into(), "/v1".into(), Some(200), None));
}

#[tokio::test]
async fn an_answer_comes_without_what_was_between_the_gateway_and_its_sender() {
    let answer = "HTTP/1.1 418 Whatever it says\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
                  Proxy-Authenticate: Basic\r\nAlt-Svc: h3=\":443\"\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3\r\nabc\r\n0\r\n\r\n";
    let (got, ..) =
        exchange("GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n", "\r\n\r\n", answer).await;
    assert_eq!(
        got,
        "HTTP/1.1 418 I'm a teapot\r\nx-kept: yes\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n";
    let request = "HEAD / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n";
    let (got, arrived, _) = exchange(request, "\r\n\r\n", answer).await;
    assert!(arrived.starts_with("HEAD / HTTP/1.1\r\n"), "{arrived}");
    assert_eq!(got, "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\nconnection: close\r\n\r\n");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let request = "POST / HTTP/1.1\r\nHost: api.x.com\r\nTE: trailers\r\nConnection: close, te\r\nTrailer: x-sum, authorization\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nTrailer: x-done\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Done: 2\r\n\r\n";
    let (got, arrived, _) = exchange(request, "x-sum", answer).await;
    assert!(arrived.contains("te: trailers\r\n") && arrived.contains("connection: te\r\n"), "{arrived}");
    assert!(arrived.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"), "{arrived}");
    assert!(got.ends_with("2\r\nhi\r\n0\r\nx-done: 2\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn who_waits_for_permission_to_send_gets_it_once_it_is_judged() {
    let (address, read) = raw_server("body", OK).await;
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    let head = "POST / HTTP/1.1\r\nHost: api.x.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    flow.client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut flow.client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    flow.client.write_all(b"body").await.unwrap();
    read_until(&mut flow.client, "hi").await;
    drop(flow.client);
    assert!(!soon(read).await.unwrap().contains("expect"));
    let (got, _) =
        refused(&head.replace("POST /", "POST /forbidden").replace("Expect", "Connection: close\r\nExpect"))
            .await;
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
}

#[tokio::test]
async fn what_no_rule_lets_out_and_what_is_for_somebody_else_is_answered_here() {
    let get = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    let mine = "Host: api.x.com\r\n";
    let rows = [
        (get(mine, "/forbidden/x"), 403, "deny api.x.com/forbidden"),
        (get(mine, "/").replace("GET", "DELETE"), 403, "deny DELETE"),
        (get("Host: api.x.com\r\nX-HTTP-Method-Override: delete\r\n", "/"), 403, "deny DELETE"),
        (
            get("Host: api.x.com\r\nX-Method-Override: GET\r\nx-method-override:  DELETE\r\n", "/"),
            403,
            "deny DELETE",
        ),
        (get("Host: evil.com\r\n", "/"), 421, "this connection is for api.x.com"),
        (get("", "/"), 421, "this connection is for api.x.com"),
        (get("Host: api.x.com\r\nHost: api.x.com\r\n", "/"), 421, "this connection is for api.x.com"),
        (get(mine, "http://api.x.com/"), 400, "names a path"),
        (get(mine, "api.x.com"), 400, "names a path"),
        (get(mine, "*"), 400, "begins with a slash"),
        (get(mine, "/").replace("GET", "TRACE"), 405, "TRACE"),
        (
            "CONNECT api.x.com:443 HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n".to_owned(),
            405,
            "CONNECT",
        ),
        (get("Host: api.x.com\r\nExpect: tea\r\n", "/"), 417, "expects"),
    ];
    for (request, status, why) in rows {
        let (got, rules) = refused(&request).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{got}");
        assert!(got.contains("\r\nx-agentkernel-blocked: true\r\n"), "{got}");
        assert!(got.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{got}");
        assert!(got.contains("\r\n\r\nagentkernel: ") && got.contains(why), "{request}{got}");
        let (_, _, answered, refused) = rules.only();
        assert!(answered.is_none() && refused.unwrap().contains(why), "{request}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_dead_one_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    let request = b"GET / HTTP/1.1\r\nHost: api.x.com\r\n\r\n";
    flow.client.write_all(request).await.unwrap();
    let (mut first, _) = soon(listener.accept()).await.unwrap();
    for _ in 0..3 {
        read_until(&mut first, "\r\n\r\n").await;
        first.write_all(OK.as_bytes()).await.unwrap();
        read_until(&mut flow.client, "hi").await;
        flow.client.write_all(request).await.unwrap();
    }
    read_until(&mut first, "\r\n\r\n").await;
    first.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut flow.client, "hi").await;
    drop(first);
    flow.client.write_all(request).await.unwrap();
    let (mut second, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut second, "\r\n\r\n").await;
    second.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut flow.client, "hi").await;
    drop(flow.client);
    let (outcome, sent, received) = soon(flow.outcome).await.unwrap();
    assert_eq!(outcome, Outcome::Closed);
    assert_eq!(sent, 5 * request.len() as u64);
    assert_eq!(received, 5 * OK.len() as u64);
    assert_eq!(rules.seen().len(), 5);
}

#[tokio::test]
async fn nobody_there_is_a_bad_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n").await.unwrap();
    let got = read_all(&mut flow.client).await;
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("api.x.com is not reached"), "{got}");
    assert!(!got.contains("x-agentkernel-blocked"));
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Unreachable(io::ErrorKind::ConnectionRefused));
    assert_eq!(rules.only(), ("GET".into(), "/".into(), None, None));
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    for answer in
        ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"]
    {
        let request = "GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n";
        let (got, ..) = exchange(request, "\r\n\r\n", answer).await;
        assert!(
            got.starts_with("HTTP/1.1 502 ") && got.contains("api.x.com did not answer"),
            "{answer}: {got}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    flow.client.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\n\r\n").await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
    assert!(read_until(&mut flow.client, "\r\n\r\n").await.contains("text/event-stream"));
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        server.write_all(event.as_bytes()).await.unwrap();
        read_until(&mut flow.client, &event).await;
    }
    assert_eq!(rules.seen().len(), 1, "told when the answer began");
    drop(flow.client);
    // The other side learns that nobody listens.
    read_all(&mut server).await;
}

#[tokio::test]
async fn who_does_not_read_stops_who_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    flow.client.write_all(b"GET / HTTP/1.1\r\nHost: api.x.com\r\n\r\n").await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
    let block = vec![7; 64 * 1024];
    let mut written = 0;
    // Stops at what the kernel's buffers hold, and those of the gateway.
    while let Ok(result) = timeout(Duration::from_millis(300), server.write(&block)).await {
        written += result.unwrap();
        assert!(written < 64 << 20, "{written} bytes and no end");
    }
    // The kernel tells of room when there is plenty: how much has to be read for that is its own affair.
    let goes_on = async {
        let mut piece = vec![0; 1 << 20];
        let mut write = pin!(server.write(&block));
        loop {
            tokio::select! {
                written = &mut write => return written,
                read = flow.client.read(&mut piece) => assert!(read.unwrap() > 0),
            }
        }
    };
    soon(goes_on).await.unwrap();
}

#[tokio::test]
async fn an_answer_before_the_request_is_whole_arrives() {
    let answer = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    let (mut reading, mut writing) = tokio::io::split(flow.client);
    let head = "POST / HTTP/1.1\r\nHost: api.x.com\r\nContent-Length: 100000000\r\n\r\n";
    writing.write_all(head.as_bytes()).await.unwrap();
    let upload = tokio::spawn(async move {
        let block = vec![7; 64 * 1024];
        while writing.write_all(&block).await.is_ok() {}
    });
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    server.write_all(answer.as_bytes()).await.unwrap();
    server.shutdown().await.unwrap();
    let got = read_until(&mut reading, "\r\n\r\nno").await;
    assert!(got.starts_with("HTTP/1.1 413 "), "{got}");
    drop(server);
    // Nobody takes the rest.
    soon(upload).await.unwrap();
    drop(reading);
    soon(flow.outcome).await.unwrap();
}
