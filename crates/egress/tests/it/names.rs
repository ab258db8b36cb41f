//! Rules about names: decided by what the connection says, at addresses that the sandbox was told, and nothing leaves for
//! the rest.

use crate::support::{Lab, rules, soon};
use agentkernel_egress::{Outcome, PROXY, Reason};
use agentkernel_model::egress::Otherwise;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, UdpSocket},
};

/// A resolver that says 127.0.0.1 for every name, and how often it was asked.
async fn resolver() -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            let kind = answer[length - 3];
            if kind == 1 {
                answer[7] = 1;
                answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    (address, asked)
}

fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x11, 0x22, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// A server that answers whatever comes with `hello`, and hands out what came.
async fn server() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hear) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    heard.send(buffer[..count].to_vec()).unwrap();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, hear)
}

async fn exchange(mut stream: DuplexStream, say: &[u8]) -> Vec<u8> {
    stream.write_all(say).await.unwrap();
    let mut answer = vec![0; 2048];
    let mut length = 0;
    loop {
        let count = soon(stream.read(&mut answer[length..])).await.unwrap_or(0);
        length += count;
        if count == 0 || answer[..length].ends_with(b"hello") || answer[..length].ends_with(b"\n") {
            break;
        }
    }
    answer.truncate(length);
    answer
}

/// A ClientHello for `name`, as small as one can be.
fn client_hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut sni = vec![0, 0];
    sni.extend(length(name.len() + 5));
    sni.extend(length(name.len() + 3));
    sni.push(0);
    sni.extend(length(name.len()));
    sni.extend(name);
    let algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(length(sni.len() + algorithms.len()));
    body.extend(sni);
    body.extend(algorithms);
    let mut hello = vec![22, 3, 1];
    hello.extend(length(body.len() + 4));
    hello.extend([1, 0]);
    hello.extend(length(body.len()));
    hello.extend(body);
    hello
}

/// Names below `good.org` at 127.0.0.1, and nothing else.
async fn lab() -> (Lab, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let (resolver, asked) = resolver().await;
    let rules = rules(&["allow *.good.org", "deny 127.0.0.1:1-1000", "allow 127.0.0.1:7"], Otherwise::Deny);
    let lab = Lab::new(rules, vec![resolver], |limits| limits.greeting = Duration::from_millis(500));
    (lab, asked)
}

fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_name_that_nothing_lets_out_is_not_asked_about_and_leads_to_an_explanation() {
    let (mut lab, asked) = lab().await;
    let answer = lab.inside.ask(&question("secret-data.evil.com")).await;
    assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 54]);
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0, "the name left this machine");
    assert!(lab.seen.names().is_empty());
    let sink: SocketAddr = "192.0.2.54:80".parse().unwrap();
    let told = exchange(lab.inside.connect(sink).await, &get("secret-data.evil.com")).await;
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 403 ") && told.contains("secret-data.evil.com is blocked"), "{told}");
    let sink: SocketAddr = "192.0.2.54:443".parse().unwrap();
    let alert = exchange(lab.inside.connect(sink).await, &client_hello("evil.com")).await;
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 49]);
    let seen = lab.end().await;
    let refused = |c: &agentkernel_egress::Connection| c.outcome == Outcome::Refused(Reason::NotListed);
    assert!(seen.iter().all(refused), "{seen:?}");
    assert_eq!(seen[1].name.as_deref(), Some("evil.com"));
}

#[tokio::test]
async fn what_is_below_a_denied_domain_is_not_asked_about_whatever_its_bytes() {
    let (resolver, asked) = resolver().await;
    let mut lab = Lab::new(rules(&["deny *.evil.com"], Otherwise::Public), vec![resolver], |_| {});
    for name in ["data-.evil.com", "x!y.evil.com", "\u{1}.Evil.com"] {
        let answer = lab.inside.ask(&question(name)).await;
        assert_eq!(answer[answer.len() - 4..], [192, 0, 2, 54], "{name}");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0, "a name left this machine");
    lab.inside.ask(&question("x!y.good.com")).await;
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    lab.end().await;
}

#[tokio::test]
async fn a_rule_about_a_name_holds_at_the_address_that_was_told_and_only_with_a_rule_for_private_ones() {
    let (resolver, _) = resolver().await;
    let (server, mut heard) = server().await;
    let text = format!("allow 127.0.0.1:{}", server.port());
    // Without the second rule, a name may not lead to this machine.
    for (list, passes) in [(vec!["allow *.good.org"], false), (vec!["allow *.good.org", &text], true)] {
        let mut lab = Lab::new(rules(&list, Otherwise::Deny), vec![resolver], |_| {});
        lab.inside.ask(&question("a.good.org")).await;
        let answer = exchange(lab.inside.connect(server).await, &get("a.good.org")).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), passes, "{answer}");
        assert_eq!(heard.try_recv().is_ok(), passes);
    }
}

#[tokio::test]
async fn a_hard_coded_address_is_no_name() {
    let (resolver, _) = resolver().await;
    let (server, mut heard) = server().await;
    // The public may be reached by name only; a sandbox that names an address itself was told nothing.
    let lab = Lab::new(rules(&["allow *.good.org"], Otherwise::Deny), vec![resolver], |_| {});
    for say in [get("a.good.org"), client_hello("a.good.org")] {
        let answer = exchange(lab.inside.connect(server).await, &say).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn a_tunnel_of_the_proxy_is_judged_as_a_connection_is() {
    let (resolver, asked) = resolver().await;
    let (server, mut heard) = server().await;
    let text = format!("allow 127.0.0.1:{}", server.port());
    let lab = Lab::new(rules(&["allow *.good.org", &text], Otherwise::Deny), vec![resolver], |_| {});
    let connect = |host: &str| format!("CONNECT {host}:{} HTTP/1.1\r\nHost: {host}\r\n\r\n", server.port());
    let refused = exchange(lab.inside.connect(PROXY).await, connect("evil.com").as_bytes()).await;
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("evil.com is blocked"), "{refused}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
    let mut tunnel = lab.inside.connect(PROXY).await;
    tunnel.write_all(connect("a.good.org").as_bytes()).await.unwrap();
    let mut opened = Vec::new();
    while !opened.ends_with(b"\r\n\r\n") {
        opened.push(soon(tunnel.read_u8()).await.unwrap());
    }
    assert!(opened.starts_with(b"HTTP/1.1 200"));
    let answer = exchange(tunnel, &get("a.good.org")).await;
    assert!(String::from_utf8(answer).unwrap().ends_with("hello"));
    assert!(heard.try_recv().is_ok());
}

#[tokio::test]
async fn a_name_that_leaves_this_machine_is_told() {
    let (mut lab, asked) = lab().await;
    lab.inside.ask(&question("data.good.org")).await;
    // The case of its letters goes out too.
    lab.inside.ask(&question("dAtA.good.org")).await;
    assert_eq!(lab.seen.names(), ["data.good.org", "dAtA.good.org"]);
    // A question that the proxy asks.
    let connect = b"CONNECT more.good.org:7 HTTP/1.1\r\nHost: more.good.org:7\r\n\r\n";
    exchange(lab.inside.connect(PROXY).await, connect).await;
    let names = lab.seen.names();
    assert!(names[2..].iter().all(|name| name == "more.good.org"), "{names:?}");
    assert_eq!(names.len(), asked.load(std::sync::atomic::Ordering::SeqCst), "every question is told");
}

#[tokio::test]
async fn a_request_in_clear_is_told_with_its_rule_and_its_connection_whichever_way_it_goes() {
    let (resolver, _) = resolver().await;
    let (server, _heard) = server().await;
    let address = format!("allow 127.0.0.1/32:{}", server.port());
    for proxy in [false, true] {
        let rules = rules(&["allow GET *.good.org", &address], Otherwise::Deny);
        let mut lab = Lab::new(rules, vec![resolver], |_| {});
        lab.inside.ask(&question("a.good.org")).await;
        let host = format!("a.good.org:{}", server.port());
        let (to, url) = if proxy { (PROXY, format!("http://{host}/")) } else { (server, "/".to_owned()) };
        let mut stream = lab.inside.connect(to).await;
        let get = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            answer.push(soon(stream.read_u8()).await.unwrap());
        }
        drop(stream);
        let seen = lab.seen.clone();
        let connections = lab.end().await;
        let requests = seen.requests();
        assert_eq!((connections.len(), requests.len()), (1, 1), "{proxy}: {connections:?} {requests:?}");
        assert_eq!(requests[0].rule.as_deref(), Some("allow GET *.good.org"), "{proxy}");
        let rule = if proxy { "allow GET *.good.org" } else { &address };
        let [connection] = connections.as_slice() else { panic!("{connections:?}") };
        assert_eq!(connection.rule.as_deref(), Some(rule), "{proxy}");
        assert_eq!(connection.name.as_deref(), Some("a.good.org"), "{proxy}");
        assert_eq!((connection.destination, connection.outcome), (server, Outcome::Closed), "{proxy}");
        assert!(connection.sent > 40 && connection.received > 40, "{connection:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_forever() {
    let (lab, _) = lab().await;
    let stream = lab.inside.connect("192.0.2.1:443".parse().unwrap()).await;
    let mut rest = Vec::new();
    let mut stream = stream;
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(lab.end().await[0].outcome, Outcome::Refused(Reason::NotListed));
}

#[tokio::test]
async fn other_rules_hold_from_the_next_connection_on() {
    let (server, _heard) = server().await;
    let lab = Lab::new(rules(&["allow 127.0.0.1"], Otherwise::Deny), Vec::new(), |_| {});
    let passes = async || {
        let answer = exchange(lab.inside.connect(server).await, b"EHLO\r\n").await;
        answer.ends_with(b"hello")
    };
    assert!(passes().await);
    lab.gateway.set_rules(rules(&["deny 127.0.0.1", "allow 127.0.0.1"], Otherwise::Deny));
    assert!(!passes().await);
    lab.gateway.set_rules(rules(&["allow host"], Otherwise::Deny));
    assert!(passes().await);
}

/// A name server takes the lines of a request for a message that it does not understand, and reads on behind it.
#[tokio::test]
async fn no_request_to_the_proxy_reaches_a_name_server() {
    let lab = Lab::loopback();
    for request in [
        "POST http://127.0.0.1:53/ HTTP/1.1\r\nHost: 127.0.0.1:53\r\nContent-Length: 0\r\n\r\n",
        "CONNECT 127.0.0.1:53 HTTP/1.1\r\nHost: 127.0.0.1:53\r\n\r\n",
    ] {
        let answer = exchange(lab.inside.connect(PROXY).await, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("port 53 is for DNS"), "{answer}");
    }
}
