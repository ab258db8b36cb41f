//! Connections that stop being HTTP.

use super::{super::*, lab::*};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

const WISH: &str = "GET /chat HTTP/1.1\r\nHost: api.x.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Key: abc\r\n\r\n";

#[tokio::test]
async fn a_web_socket_passes_both_ways_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
    flow.client.write_all(WISH.as_bytes()).await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    let arrived = read_until(&mut server, "\r\n\r\n").await;
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: abc\r\n"] {
        assert!(arrived.contains(line), "{arrived}");
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: def\r\n\r\nfirst";
    server.write_all(answer.as_bytes()).await.unwrap();
    let got = read_until(&mut flow.client, "first").await;
    assert!(got.starts_with("HTTP/1.1 101 ") && got.contains("sec-websocket-accept: def\r\n"), "{got}");
    assert!(got.contains("connection: upgrade\r\n") && got.contains("upgrade: websocket\r\n"), "{got}");
    for number in 0..3 {
        flow.client.write_all(format!("up{number}").as_bytes()).await.unwrap();
        read_until(&mut server, &format!("up{number}")).await;
        server.write_all(format!("down{number}").as_bytes()).await.unwrap();
        read_until(&mut flow.client, &format!("down{number}")).await;
    }
    server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut flow.client).await, "");
    flow.client.write_all(b"last").await.unwrap();
    drop(flow.client);
    assert_eq!(read_all(&mut server).await, "last");
    let (outcome, sent, received) = soon(flow.outcome).await.unwrap();
    assert_eq!(outcome, Outcome::Closed);
    assert!(sent > WISH.len() as u64 && received > 0);
    assert_eq!(rules.only(), ("GET".into(), "/chat".into(), Some(101), None));
}

#[tokio::test]
async fn http_cannot_be_changed_to_http_that_nobody_judges() {
    for wish in ["h2c", "HTTP/2.0", "TLS/1.0"] {
        let (address, read) =
            raw_server("\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n").await;
        let rules = Arc::new(Rules::default());
        let mut flow = plain(&web(), place(address), &rules);
        let wish = WISH
            .replace("websocket", wish)
            .replace("Connection: Upgrade", "Connection: Upgrade, HTTP2-Settings")
            .replace("\r\n\r\n", "\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
        flow.client.write_all(wish.as_bytes()).await.unwrap();
        let got = read_until(&mut flow.client, "\n").await;
        assert!(got.starts_with("HTTP/1.1 502 "), "it was not asked for: {got}");
        drop(flow.client);
        let arrived = soon(read).await.unwrap();
        assert!(
            !arrived.to_lowercase().contains("upgrade") && !arrived.contains("http2-settings"),
            "{arrived}"
        );
    }
}

#[tokio::test]
async fn a_change_that_is_not_granted_is_an_answer_like_others() {
    let (address, read) =
        raw_server("\r\n\r\n", "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno").await;
    let rules = Arc::new(Rules::default());
    let mut flow = plain(&web(), place(address), &rules);
    flow.client.write_all(WISH.as_bytes()).await.unwrap();
    read_until(&mut flow.client, "\r\n\r\nno").await;
    drop(flow.client);
    soon(read).await.unwrap();
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Closed);
}

#[tokio::test]
async fn a_flow_that_is_cut_ends_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for upgraded in [false, true] {
        let rules = Arc::new(Rules::default());
        let mut flow = plain(&web(), place(listener.local_addr().unwrap()), &rules);
        flow.client.write_all(WISH.as_bytes()).await.unwrap();
        let (mut server, _) = soon(listener.accept()).await.unwrap();
        read_until(&mut server, "\r\n\r\n").await;
        let status = if upgraded { "101 Switching Protocols\r\nupgrade: websocket" } else { "200 OK" };
        server.write_all(format!("HTTP/1.1 {status}\r\n\r\nfirst").as_bytes()).await.unwrap();
        read_until(&mut flow.client, "first").await;
        flow.outcome.abort();
        assert_eq!(read_all(&mut server).await, "");
        read_all(&mut flow.client).await;
    }
}
