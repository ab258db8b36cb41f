//! TLS that is opened: who is believed, and what is spoken.

use super::{super::*, lab::*};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: api.x.com\r\nConnection: close\r\n\r\n";

/// Answers one request of HTTP/1.1 with what was agreed on.
async fn says_alpn(mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
    let alpn = stream.get_ref().1.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
    let name = stream.get_ref().1.server_name().map(str::to_owned);
    read_until(&mut stream, "\r\n\r\n").await;
    let text = format!("{alpn:?} {name:?}");
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn both_sides_speak_what_the_other_side_chose() {
    let trust = Trust::new();
    let rows: [(&[&str], &[&str], Option<&str>); 4] = [
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&["h2", "http/1.1"], &["http/1.1"], Some("http/1.1")),
        (&[], &["h2", "http/1.1"], None),
        (&["h2", "http/1.1"], &[], Some("http/1.1")),
    ];
    for (client, server, agreed) in rows {
        let address = tls_server(trust.acceptor(NAME, server), says_alpn).await;
        let (web, rules) = (trust.web(), Arc::new(Rules::default()));
        let flow = opened(&web, place(address), &rules);
        let mut tls = tls_to(&web, flow.client, NAME, client).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{client:?} {server:?}");
        tls.write_all(GET).await.unwrap();
        let got = read_all(&mut tls).await;
        let upstream = if server.is_empty() { None } else { Some("http/1.1") };
        assert!(got.ends_with(&format!("{upstream:?} Some(\"api.x.com\")")), "{client:?} {server:?}: {got}");
        assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Closed);
        assert_eq!(rules.only(), ("GET".into(), "/".into(), Some(200), None));
    }
}

#[tokio::test]
async fn who_is_not_who_it_should_be_gets_no_request() {
    let (trust, other) = (Trust::new(), Trust::new());
    let wrong = [
        (other.acceptor(NAME, &[]), "UnknownIssuer"),
        (trust.acceptor("evil.com", &[]), "not valid for name"),
    ];
    for (acceptor, _why) in wrong {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.is_ok()
        });
        let (web, rules) = (trust.web(), Rules::with_secret());
        let flow = opened(&web, place(address), &rules);
        let mut tls = tls_to(&web, flow.client, NAME, &["http/1.1"]).await.unwrap();
        tls.write_all(GET).await.unwrap();
        let got = read_all(&mut tls).await;
        assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("x-agentkernel-blocked: true"), "{got}");
        assert!(got.contains("agentkernel: the certificate of api.x.com is not valid: "), "{got}");
        assert!(!soon(server).await.unwrap(), "the handshake failed there too");
        assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Unreachable(io::ErrorKind::InvalidData));
        let seen = rules.seen();
        assert!(seen.len() == 1 && seen[0].refused.as_ref().unwrap().contains("certificate"), "{seen:?}");
        assert!(seen[0].secrets.is_empty() && seen[0].status.is_none());
    }
}

#[tokio::test]
async fn nobody_there_is_told_over_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (web, rules) = (web(), Arc::new(Rules::default()));
    let flow = opened(&web, place(address), &rules);
    let mut tls = tls_to(&web, flow.client, NAME, &["http/1.1"]).await.unwrap();
    tls.write_all(&GET.to_vec()[..GET.len() - 21]).await.unwrap();
    tls.write_all(b"\r\n").await.unwrap();
    assert!(read_until(&mut tls, "is not reached").await.starts_with("HTTP/1.1 502 "));
    // Tried again for each request.
    tls.write_all(GET).await.unwrap();
    assert!(read_all(&mut tls).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Unreachable(io::ErrorKind::ConnectionRefused));
    assert_eq!(rules.seen().len(), 2);
}

#[tokio::test]
async fn another_name_than_the_place_has_is_denied() {
    let (web, rules) = (web(), Arc::new(Rules::default()));
    let flow = opened(&web, place(([127, 0, 0, 1], 1).into()), &rules);
    let error = tls_to(&web, flow.client, "evil.com", &["http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Broken(io::ErrorKind::PermissionDenied));
}

#[tokio::test]
async fn what_is_no_http_is_not_opened() {
    let (web, rules) = (web(), Arc::new(Rules::default()));
    let flow = opened(&web, place(([127, 0, 0, 1], 1).into()), &rules);
    let error = tls_to(&web, flow.client, NAME, &["imap"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Broken(io::ErrorKind::Unsupported));
}

#[tokio::test]
async fn a_place_that_is_an_address_needs_no_name() {
    let trust = Trust::new();
    let address = tls_server(trust.acceptor("127.0.0.1", &[]), says_alpn).await;
    let (web, rules) = (trust.web(), Arc::new(Rules::default()));
    let flow = opened(&web, Place { name: "127.0.0.1".to_owned(), address }, &rules);
    let mut tls = tls_to(&web, flow.client, "127.0.0.1", &[]).await.unwrap();
    let get = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    tls.write_all(get.as_bytes()).await.unwrap();
    let got = read_all(&mut tls).await;
    assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("None None"), "{got}");
}

#[tokio::test]
async fn bytes_that_are_no_tls_end_the_connection() {
    let (web, rules) = (web(), Arc::new(Rules::default()));
    let mut flow = opened(&web, place(([127, 0, 0, 1], 1).into()), &rules);
    flow.client.write_all(GET).await.unwrap();
    assert!(matches!(soon(flow.outcome).await.unwrap().0, Outcome::Broken(_)));
    assert!(rules.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_believe_the_gateway_is_let_go() {
    let trust = Trust::new();
    let address = tls_server(trust.acceptor(NAME, &[]), says_alpn).await;
    let (gateway, stranger) = (trust.web(), web());
    let rules = Arc::new(Rules::default());
    let flow = opened(&gateway, place(address), &rules);
    assert!(tls_to(&stranger, flow.client, NAME, &[]).await.is_err());
    assert!(matches!(soon(flow.outcome).await.unwrap().0, Outcome::Broken(_)));
}

#[tokio::test]
async fn no_session_is_taken_up_again() {
    let trust = Trust::new();
    let address = tls_server(trust.acceptor(NAME, &[]), says_alpn).await;
    let (web, rules) = (trust.web(), Arc::new(Rules::default()));
    let config = client_config(&web, &[]);
    for _ in 0..2 {
        let flow = opened(&web, place(address), &rules);
        let mut tls = tls_with(Arc::clone(&config), flow.client, NAME).await.unwrap();
        tls.write_all(GET).await.unwrap();
        assert!(read_all(&mut tls).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

/// Of what both of its ends know, with keys of 128 and of 256 bits and in whatever order.
#[tokio::test]
async fn what_costs_least_is_spoken_on_both_sides() {
    let suite = |connection: &rustls::CommonState| {
        format!("{:?}", connection.negotiated_cipher_suite().unwrap().suite())
    };
    let says_suite = move |mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let text = suite(stream.get_ref().1);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    };
    let trust = Trust::new();
    let address = tls_server(trust.acceptor(NAME, &[]), says_suite).await;
    let (web, rules) = (trust.web(), Arc::new(Rules::default()));
    let flow = opened(&web, place(address), &rules);
    let mut tls = tls_to(&web, flow.client, NAME, &[]).await.unwrap();
    tls.write_all(GET).await.unwrap();
    let got = read_all(&mut tls).await;
    assert!(got.ends_with("TLS13_AES_128_GCM_SHA256"), "{got}");
    assert_eq!(suite(tls.get_ref().1), "TLS13_AES_128_GCM_SHA256");
}
