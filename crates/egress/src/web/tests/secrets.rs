//! What goes out with a secret, and what comes back without it.

use super::{super::*, lab::*};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;
use tokio::io::AsyncWriteExt as _;

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
type Record = Arc<std::sync::Mutex<Vec<String>>>;

/// Sends `request` over TLS that is opened, to a server that answers `answer`; gives what came back and what arrived.
async fn exchange(request: &str, answer: Vec<u8>) -> (String, String, Arc<Rules>) {
    let trust = Trust::new();
    let record = Record::default();
    let kept = Arc::clone(&record);
    let serve = move |mut stream: Stream| {
        let (record, answer) = (Arc::clone(&kept), answer.clone());
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            record.lock().unwrap().push(head);
            stream.write_all(&answer).await.unwrap();
            let _ = stream.shutdown().await;
        }
    };
    let address = tls_server(trust.acceptor(NAME, &["http/1.1"]), serve).await;
    let (web, rules) = (trust.web(), Rules::with_secret());
    let flow = opened(&web, place(address), &rules);
    let mut tls = tls_to(&web, flow.client, NAME, &["http/1.1"]).await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let got = read_all(&mut tls).await;
    drop(tls);
    soon(flow.outcome).await.unwrap();
    let arrived = record.lock().unwrap().join("\n");
    (got, arrived, rules)
}

const GET: &str = "GET /v1 HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n";

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_secret_goes_in_place_of_what_the_client_wrote() {
    let request = GET.replace(
        "Connection",
        "AUTHORIZATION: Bearer ak-proxy-managed\r\nauthorization: Basic bWU6bWU=\r\nx-api-key: ak-proxy-managed\r\n\
         Accept-Encoding: br\r\nRange: bytes=0-3\r\nConnection",
    );
    let request = request.replace("/v1", "/v1?key=ak-proxy-managed&x=1");
    let (got, arrived, rules) = exchange(&request, answer("", b"hi")).await;
    assert!(arrived.starts_with("GET /v1?x=1 HTTP/1.1\r\n"), "{arrived}");
    assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("2\r\nhi\r\n0\r\n\r\n"), "{got}");
    assert_eq!(arrived.matches("authorization:").count(), 1, "{arrived}");
    assert!(arrived.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{arrived}");
    assert!(arrived.contains("accept-encoding: gzip, identity\r\n"), "{arrived}");
    assert!(!arrived.contains("ak-proxy-managed") && !arrived.contains("range"), "{arrived}");
    let seen = rules.seen();
    assert_eq!(seen[0].secrets, ["KEY".parse().unwrap()]);
    assert!(!format!("{seen:?}").contains(SECRET));
}

#[tokio::test]
async fn no_secret_goes_out_in_clear() {
    let (address, read) = raw_server("\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let rules = Rules::with_secret();
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(GET.as_bytes()).await.unwrap();
    read_all(&mut flow.client).await;
    let arrived = soon(read).await.unwrap();
    assert!(!arrived.contains("authorization") && !arrived.contains(SECRET), "{arrived}");
    assert!(rules.seen()[0].secrets.is_empty());
}

#[tokio::test]
async fn an_answer_in_clear_does_not_repeat_it_either() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nx-echo: sk-hidden/value+0123456789\r\ncontent-length: 33\r\n\r\n\
                          plain: sk-hidden/value+0123456789";
    assert!(ANSWER.ends_with(SECRET));
    let (address, read) = raw_server("\r\n\r\n", ANSWER).await;
    let rules = Rules::with_secret();
    let mut flow = plain(&web(), place(address), &rules);
    let request = GET.replace("Connection", "Accept-Encoding: br\r\nRange: bytes=0-3\r\nConnection");
    flow.client.write_all(request.as_bytes()).await.unwrap();
    let got = read_all(&mut flow.client).await;
    let arrived = soon(read).await.unwrap();
    assert!(got.contains("x-echo: [redacted]\r\n") && got.contains("plain: [redacted]"), "{got}");
    assert!(!got.contains("hidden"), "{got}");
    assert!(
        arrived.contains("accept-encoding: gzip, identity\r\n") && !arrived.contains("range"),
        "{arrived}"
    );
    assert!(!arrived.contains(SECRET) && rules.seen()[0].secrets.is_empty(), "{arrived}");
}

#[tokio::test]
async fn no_secret_goes_where_the_request_is_not_meant_for() {
    for host in ["evil.com", "api.x.com\r\nHost: evil.com"] {
        let request = GET.replace("api.x.com", host);
        let (got, arrived, rules) = exchange(&request, answer("", b"hi")).await;
        assert!(got.starts_with("HTTP/1.1 421 "), "{got}");
        assert_eq!(arrived, "");
        assert!(rules.seen()[0].secrets.is_empty());
    }
}

#[tokio::test]
async fn an_answer_does_not_repeat_it() {
    let forms = format!(
        "plain {SECRET} header Bearer {SECRET} base64 {} url {} end",
        STANDARD.encode(format!("Bearer {SECRET}")),
        SECRET.replace('/', "%2F").replace('+', "%2B"),
    );
    let headers = format!("x-echo: {SECRET}\r\nlocation: /?k={SECRET}&x=1\r\nset-cookie: a={SECRET}\r\n");
    let bodies = [
        answer(&headers, forms.as_bytes()),
        answer(&format!("{headers}content-encoding: gzip\r\n"), &gzipped(forms.as_bytes())),
        answer(&format!("{headers}content-encoding: X-GZIP\r\n"), &gzipped(forms.as_bytes())),
    ];
    for body in bodies {
        let (got, ..) = exchange(GET, body).await;
        assert!(!got.contains("hidden"), "{got}");
        for shown in
            ["x-echo: [redacted]\r\n", "location: /?k=[redacted]&x=1\r\n", "set-cookie: a=[redacted]\r\n"]
        {
            assert!(got.contains(shown), "{got}");
        }
        assert!(got.contains("plain [redacted] header [redacted] base64 [redacted]"), "{got}");
        assert!(got.contains(" url [redacted] end"), "{got}");
        assert!(!got.contains("content-encoding") && !got.contains("content-length"), "{got}");
    }
}

#[tokio::test]
async fn neither_the_reason_nor_a_trailer_repeats_it() {
    let answer = format!(
        "HTTP/1.1 401 {SECRET}\r\ntrailer: x-echo\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nx-echo: {SECRET}\r\n\r\n"
    );
    let request = GET.replace("Connection: close", "TE: trailers\r\nConnection: te, close");
    let (got, ..) = exchange(&request, answer.into_bytes()).await;
    assert!(
        got.starts_with("HTTP/1.1 401 Unauthorized\r\n") && got.contains("x-echo: [redacted]\r\n"),
        "{got}"
    );
    assert!(!got.contains("hidden"), "{got}");
}

#[tokio::test]
async fn what_cannot_be_searched_is_not_passed_on() {
    for coding in ["br", "gzip, gzip", "deflate", "zstd"] {
        let (got, _, rules) = exchange(GET, answer(&format!("content-encoding: {coding}\r\n"), b"xx")).await;
        assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("was not asked for"), "{coding}: {got}");
        assert!(rules.seen()[0].refused.is_some());
    }
    for coding in ["gzip, chunked", "gzip", "br, identity, chunked"] {
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n");
        let (got, _, rules) = exchange(GET, [head.as_bytes(), b"2\r\nxx\r\n0\r\n\r\n"].concat()).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{coding}: {got}");
        assert!(!got.contains("xx"), "{coding}: {got}");
        assert!(rules.seen()[0].refused.is_some());
    }
    // Broken gzip breaks off: the last chunk is missing.
    let mut cut = gzipped(&b"hello ".repeat(1000));
    cut.truncate(cut.len() - 9);
    let (got, ..) = exchange(GET, answer("content-encoding: gzip\r\n", &cut)).await;
    assert!(!got.ends_with("0\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn a_small_answer_that_becomes_large_passes_in_pieces() {
    let (got, ..) = exchange(GET, answer("content-encoding: gzip\r\n", &gzipped(&vec![b'a'; 8 << 20]))).await;
    assert_eq!(got.matches('a').count() / 1000, (8 << 20) / 1000);
    let largest = got.split("\r\n").map(str::len).max().unwrap();
    assert!(largest <= 128 * 1024, "{largest}");
}

#[tokio::test]
async fn events_are_not_held_back() {
    for gzip in [false, true] {
        let trust = Trust::new();
        let (events, queue) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
        let queue = Arc::new(Mutex::new(queue));
        let serve = move |mut stream: Stream| {
            let queue = Arc::clone(&queue);
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let coding = if gzip { "content-encoding: gzip\r\n" } else { "" };
                let head = format!("HTTP/1.1 200 OK\r\n{coding}content-type: text/event-stream\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                while let Some(event) = queue.lock().await.recv().await {
                    stream.write_all(&event).await.unwrap();
                }
                let _ = stream.shutdown().await;
            }
        };
        let address = tls_server(trust.acceptor(NAME, &[]), serve).await;
        let (web, rules) = (trust.web(), Rules::with_secret());
        let flow = opened(&web, place(address), &rules);
        let mut tls = tls_to(&web, flow.client, NAME, &[]).await.unwrap();
        tls.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut tls, "\r\n\r\n").await;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for event in ["data: one\n\n", "data: sk-hidde\n\n", &format!("data: {SECRET}\n\n"), "data: four\n\n"]
        {
            let mut bytes = event.as_bytes().to_vec();
            if gzip {
                encoder.write_all(&bytes).unwrap();
                encoder.flush().unwrap();
                bytes = std::mem::take(encoder.get_mut());
            }
            events.send(bytes).await.unwrap();
            read_until(&mut tls, &event.replace(SECRET, "[redacted]")).await;
        }
        drop(tls);
        drop(events);
    }
}

#[tokio::test]
async fn a_web_socket_carries_it_too() {
    let request =
        "GET /chat HTTP/1.1\r\nHost: api.x.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx-echo: {SECRET}\r\n\r\nframe"
    );
    let (got, arrived, rules) = exchange(request, answer.into_bytes()).await;
    assert!(arrived.contains(SECRET) && arrived.contains("upgrade: websocket\r\n"), "{arrived}");
    assert!(
        got.starts_with("HTTP/1.1 101 ") && got.contains("x-echo: [redacted]") && got.ends_with("frame"),
        "{got}"
    );
    assert_eq!(rules.seen()[0].secrets.len(), 1);
}

#[tokio::test]
async fn no_trailer_carries_or_replaces_it() {
    let trust = Trust::new();
    let record = Record::default();
    let kept = Arc::clone(&record);
    let serve = move |mut stream: Stream| {
        let record = Arc::clone(&kept);
        async move {
            let read = read_until(&mut stream, "x-sum: 1\r\n\r\n").await;
            record.lock().unwrap().push(read);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    let address = tls_server(trust.acceptor(NAME, &[]), serve).await;
    let (web, rules) = (trust.web(), Rules::with_secret());
    let flow = opened(&web, place(address), &rules);
    let mut tls = tls_to(&web, flow.client, NAME, &[]).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\nTrailer: authorization, x-key, x-sum\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nAuthorization: Bearer mine\r\n\
                   X-Key: ak-proxy-managed\r\nX-Sum: 1\r\n\r\n";
    tls.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut tls).await;
    let arrived = record.lock().unwrap().join("");
    assert_eq!(arrived.matches("authorization: ").count(), 1, "{arrived}");
    assert!(arrived.ends_with("2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"), "{arrived}");
}

#[tokio::test]
async fn who_does_not_wait_for_an_answer_is_told_about() {
    let trust = Trust::new();
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let serve = move |mut stream: Stream| {
        let arrived = arrived.clone();
        async move {
            arrived.send(read_until(&mut stream, "\r\n\r\n").await).unwrap();
            read_all(&mut stream).await;
        }
    };
    let address = tls_server(trust.acceptor(NAME, &[]), serve).await;
    let (web, rules) = (trust.web(), Rules::with_secret());
    let flow = opened(&web, place(address), &rules);
    let mut tls = tls_to(&web, flow.client, NAME, &[]).await.unwrap();
    tls.write_all(GET.as_bytes()).await.unwrap();
    assert!(soon(arrivals.recv()).await.unwrap().contains(SECRET));
    drop(tls);
    soon(flow.outcome).await.unwrap();
    let seen = rules.seen();
    assert!(seen.len() == 1 && seen[0].status.is_none() && seen[0].secrets.len() == 1, "{seen:?}");
}
