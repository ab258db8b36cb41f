//! Requests that two readers could read as different ones. What arrives at the other side must be whole messages of the
//! gateway's own, and as many as were judged.

use super::{super::*, lab::*};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

/// Takes any number of connections, reads everything and answers each head that it sees with an empty 200.
async fn recorder() -> (SocketAddr, Arc<std::sync::Mutex<Vec<u8>>>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&record);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let record = Arc::clone(&record);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    record.lock().unwrap().extend_from_slice(&buffer[..count]);
                    if buffer[..count].windows(4).any(|four| four == b"\r\n\r\n") {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    }
                }
            });
        }
    });
    (address, kept, task)
}

/// Sends `bytes` and gives what came back, what arrived, and how many requests were let pass.
async fn sent(bytes: &[u8]) -> (String, String, usize) {
    let (address, record, task) = recorder().await;
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(bytes).await.unwrap();
    // A client that says no more, and listens.
    let mut got = Vec::new();
    let _ = timeout(Duration::from_millis(200), flow.client.read_to_end(&mut got)).await;
    drop(flow.client);
    soon(flow.outcome).await.unwrap();
    task.abort();
    let arrived = String::from_utf8_lossy(&record.lock().unwrap()).into_owned();
    let passed = rules.seen().iter().filter(|request| request.refused.is_none()).count();
    (String::from_utf8_lossy(&got).into_owned(), arrived, passed)
}

/// Heads in `arrived`, with no body that looks like one.
fn heads(arrived: &str) -> usize {
    arrived.matches(" HTTP/1.1\r\n").count()
}

const HOST: &str = "Host: api.x.com\r\n";

#[tokio::test]
async fn what_has_two_meanings_does_not_arrive() {
    let smuggled = "GET /forbidden HTTP/1.1\r\nHost: api.x.com\r\n\r\n";
    let length = smuggled.len();
    let rows = [
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 5, 6\r\n\r\nabcdef"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: +5\r\n\r\nabcde"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 0x5\r\n\r\nabcde"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 99999999999999999999999\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length : {length}\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: identity\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("GET / HTTP/1.1\r\n{HOST}X-Fold: a\r\n Transfer-Encoding: chunked\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X-Nul: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X-Cr: a\rTransfer-Encoding: chunked\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}X\0: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}no colon\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n {HOST}\r\n\r\n"),
        format!("GET /\0 HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: evil.com\r\n{HOST}\r\n"),
        format!("GET / HTTP/1.1\r\n{HOST}Host: evil.com\r\n\r\n"),
        format!("GET http://evil.com/ HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET / HTTP/2.0\r\n{HOST}\r\n"),
        format!("GET / HTTP/1.1 \r\n{HOST}\r\n"),
        format!("GET  /  HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET / x HTTP/1.1\r\n{HOST}\r\n"),
        format!("G\rET / HTTP/1.1\r\n{HOST}\r\n"),
        "GET /\r\n\r\n".to_owned(),
    ];
    for bytes in rows {
        let (got, arrived, passed) = sent(bytes.as_bytes()).await;
        assert_eq!((arrived.as_str(), passed), ("", 0), "{bytes:?}");
        assert!(
            got.is_empty() || got.starts_with("HTTP/1.1 4") || got.starts_with("HTTP/1.1 501 "),
            "{bytes:?}: {got}"
        );
    }
}

#[tokio::test]
async fn what_can_be_read_arrives_with_one_meaning() {
    let smuggled = "GET /forbidden HTTP/1.1\r\nHost: api.x.com\r\n\r\n";
    let rows = [
        // RFC 9112, section 6.3: the transfer encoding counts, and the connection ends.
        format!(
            "POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0;x=\"y\"\r\n\r\n"),
        // RFC 9112, section 2.2: a bare LF may end a line; what is sent on has none.
        format!("GET / HTTP/1.1\n{}X-A: b\n\n", HOST.replace('\r', "")),
    ];
    for bytes in rows {
        let (_, arrived, passed) = sent(bytes.as_bytes()).await;
        assert_eq!((heads(&arrived), passed), (1, 1), "{bytes:?}: {arrived}");
        assert!(!arrived.contains("forbidden"), "{bytes:?}: {arrived}");
        assert!(!arrived.replace("\r\n", "").contains(['\n', '\r']), "{bytes:?}: {arrived:?}");
        let lengths =
            arrived.matches("content-length").count() + arrived.matches("transfer-encoding").count();
        assert!(lengths <= 1, "{bytes:?}: {arrived}");
    }
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    for body in [
        "5\r\nabcdeX0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\0z\r\n\r\n",
        "3\r\nabc\r\n0\r\nGET /forbidden HTTP/1.1\r\nHost: api.x.com\r\n\r\n",
    ] {
        let bytes = format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{body}");
        let (_, arrived, _) = sent(bytes.as_bytes()).await;
        assert!(heads(&arrived) <= 1 && !arrived.contains("forbidden"), "{body:?}: {arrived}");
        assert!(!arrived.ends_with("0\r\n\r\n"), "it never became whole: {body:?}: {arrived:?}");
    }
}

#[tokio::test]
async fn each_request_of_a_pipeline_is_judged() {
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\n{HOST}\r\n");
    let bytes = [one("/a"), one("/forbidden"), one("/b")].concat();
    let (got, arrived, passed) = sent(bytes.as_bytes()).await;
    assert_eq!((heads(&arrived), passed), (2, 2), "{arrived}");
    assert!(!arrived.contains("forbidden"));
    let status: Vec<&str> = got.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(status, ["200", "403", "200"]);
}

/// No request is told of it: the connection is what the log has.
#[tokio::test]
async fn a_head_that_cannot_be_read_breaks_the_connection_off() {
    let heads = [
        format!("{HOST}Transfer-Encoding : chunked\r\n"),
        format!("{HOST}X-A: b\0c\r\nContent-Length: 0\r\n"),
    ];
    for head in heads {
        let (address, record, task) = recorder().await;
        let rules = Arc::new(Rules::default());
        let mut flow = plain(&web(), place(address), &rules);
        flow.client.write_all(format!("POST / HTTP/1.1\r\n{head}\r\n").as_bytes()).await.unwrap();
        let got = read_all(&mut flow.client).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{head}: {got}");
        drop(flow.client);
        assert_eq!(
            soon(flow.outcome).await.unwrap().0,
            Outcome::Broken(io::ErrorKind::InvalidData),
            "{head}"
        );
        assert!(rules.seen().is_empty() && record.lock().unwrap().is_empty(), "{head}");
        task.abort();
    }
}
