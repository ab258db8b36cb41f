//! The gateway, asked as a proxy.

use super::{super::*, lab::*};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

/// Leads `*.x.com` to one address, whatever the port, and tells what came through a tunnel.
struct Map {
    address: SocketAddr,
    tunnelled: tokio::sync::mpsc::UnboundedSender<(Place, String)>,
    ends: Arc<Ends>,
}

#[async_trait]
impl Roads for Map {
    async fn find(&self, host: &str, port: u16) -> std::result::Result<Way, Denied> {
        if !host.ends_with(".x.com") {
            return Err(Denied { rule: None, why: format!("no rule lets out {host}:{port}") });
        }
        let place = Place { name: host.to_ascii_lowercase(), address: self.address };
        Ok(Way { place, rule: Some("allow *.x.com".to_owned()) })
    }

    fn ledger(&self, place: &Place) -> Ledger {
        Ledger::open(Some(self.ends.clone()), place.address, agentkernel_model::egress::Protocol::Tcp)
    }

    async fn tunnel(&self, place: Place, mut io: Box<dyn ByteStream>) {
        io.write_all(b"welcome").await.unwrap();
        let read = read_all(&mut io).await;
        self.tunnelled.send((place, read)).unwrap();
    }
}

type Tunnelled = tokio::sync::mpsc::UnboundedReceiver<(Place, String)>;

fn proxied(address: SocketAddr, rules: &Arc<Rules>) -> (Flow, Tunnelled) {
    let (tunnelled, tunnels) = tokio::sync::mpsc::unbounded_channel();
    let (web, rules) = (web(), Arc::clone(rules));
    let roads = Arc::new(Map { address, tunnelled, ends: rules.ends.clone() });
    (flow(move |io, ledger| async move { web.proxy(io, roads, rules, &ledger).await }), tunnels)
}

fn nowhere() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

#[tokio::test]
async fn connect_leads_to_a_stream() {
    let rules = Arc::new(Rules::default());
    let (mut flow, mut tunnels) = proxied(nowhere(), &rules);
    flow.client
        .write_all(b"CONNECT API.x.com:443 HTTP/1.1\r\nHost: api.x.com:443\r\n\r\nearly")
        .await
        .unwrap();
    let got = read_until(&mut flow.client, "welcome").await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nwelcome"), "{got}");
    assert!(!got.contains("content-length") && !got.contains("transfer-encoding"), "{got}");
    flow.client.write_all(b" and late").await.unwrap();
    flow.client.shutdown().await.unwrap();
    let (place, read) = soon(tunnels.recv()).await.unwrap();
    assert_eq!((place.name.as_str(), read.as_str()), ("api.x.com", "early and late"));
    let (outcome, sent, received) = soon(flow.outcome).await.unwrap();
    assert_eq!(outcome, Outcome::Closed);
    assert!(sent > 60 && received >= got.len() as u64);
    assert_eq!(rules.only(), ("CONNECT".into(), String::new(), Some(200), None));
    assert_eq!(rules.seen()[0].rule.as_deref(), Some("allow *.x.com"));
}

#[tokio::test]
async fn what_no_rule_lets_out_is_refused_by_name() {
    for (request, status, why) in [
        ("CONNECT evil.com:443 HTTP/1.1\r\nHost: evil.com:443", 403, "no rule lets out evil.com:443"),
        ("GET http://evil.com/x HTTP/1.1\r\nHost: evil.com", 403, "no rule lets out evil.com:80"),
        ("GET http://evil.com:81/x HTTP/1.1\r\nHost: evil.com:81", 403, "no rule lets out evil.com:81"),
        ("GET http://api.x.com/forbidden HTTP/1.1\r\nHost: api.x.com", 403, "deny api.x.com/forbidden"),
        ("GET http://api.x.com/ HTTP/1.1\r\nHost: evil.com", 421, "another host"),
        ("GET http://api.x.com/ HTTP/1.1\r\nHost: api.x.com\r\nHost: api.x.com", 421, "another host"),
        ("GET http://evil.com@api.x.com/ HTTP/1.1\r\nHost: api.x.com", 421, "another host"),
        ("GET https://api.x.com/ HTTP/1.1\r\nHost: api.x.com", 400, "CONNECT"),
        ("GET ftp://api.x.com/ HTTP/1.1\r\nHost: api.x.com", 400, "this is a proxy"),
        ("GET / HTTP/1.1\r\nHost: api.x.com", 400, "this is a proxy"),
        ("CONNECT api.x.com HTTP/1.1\r\nHost: api.x.com", 400, "a host and a port"),
        ("CONNECT user@api.x.com:443 HTTP/1.1\r\nHost: api.x.com", 400, "a host and a port"),
    ] {
        let rules = Arc::new(Rules::default());
        let (mut flow, _tunnels) = proxied(([127, 0, 0, 1], 80).into(), &rules);
        flow.client.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let got = read_all(&mut flow.client).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {got}");
        assert!(got.contains(why) && got.contains("x-agentkernel-blocked: true"), "{request}: {got}");
        assert!(rules.only().3.unwrap().contains(why), "{request}");
    }
}

#[tokio::test]
async fn whole_urls_lead_to_their_hosts_over_one_connection_of_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rules = Rules::with_secret();
    let (mut flow, _tunnels) = proxied(address, &rules);
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let port = address.port();
    let ask = |host: &str, path: &str| {
        format!(
            "GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\nProxy-Authorization: Basic x\r\n\
             Proxy-Connection: keep-alive\r\n\r\n"
        )
    };
    flow.client.write_all(ask("api.x.com", "/1").as_bytes()).await.unwrap();
    let (mut first, _) = soon(listener.accept()).await.unwrap();
    for path in ["/1", "/2"] {
        let arrived = read_until(&mut first, "\r\n\r\n").await;
        assert_eq!(
            arrived,
            format!(
                "GET {path} HTTP/1.1\r\naccept-encoding: gzip, identity\r\nhost: api.x.com:{port}\r\n\r\n"
            )
        );
        first.write_all(ok).await.unwrap();
        read_until(&mut flow.client, "hi").await;
        let next = if path == "/1" { ask("api.x.com", "/2") } else { ask("other.x.com", "/3") };
        flow.client.write_all(next.as_bytes()).await.unwrap();
    }
    let (mut second, _) = soon(listener.accept()).await.unwrap();
    let arrived = read_until(&mut second, "\r\n\r\n").await;
    assert_eq!(
        arrived,
        format!("GET /3 HTTP/1.1\r\naccept-encoding: gzip, identity\r\nhost: other.x.com:{port}\r\n\r\n")
    );
    second.write_all(ok).await.unwrap();
    read_until(&mut flow.client, "hi").await;
    assert_eq!(read_all(&mut first).await, "", "the connection to the place before ends");
    drop(flow.client);
    assert_eq!(soon(flow.outcome).await.unwrap().0, Outcome::Closed);
    let hosts: Vec<_> = rules.seen().into_iter().map(|request| (request.host, request.path)).collect();
    let wanted = [("api.x.com", "/1"), ("api.x.com", "/2"), ("other.x.com", "/3")];
    assert!(hosts.iter().map(|(host, path)| (host.as_str(), path.as_str())).eq(wanted), "{hosts:?}");
    assert!(rules.seen().iter().all(|request| request.rule.as_deref() == Some("allow api.x.com")));
    // Each connection that was made for them is told with what went over it.
    let told = rules.ends.all();
    let head = |path: &str, host: &str| {
        let head =
            format!("GET {path} HTTP/1.1\r\naccept-encoding: gzip, identity\r\nhost: {host}:{port}\r\n\r\n");
        head.len() as u64
    };
    let wanted = [
        ("api.x.com", head("/1", "api.x.com") * 2, ok.len() as u64 * 2),
        ("other.x.com", head("/3", "other.x.com"), ok.len() as u64),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for (connection, (name, sent, received)) in told.iter().zip(wanted) {
        assert_eq!(connection.name.as_deref(), Some(name));
        assert_eq!((connection.sent, connection.received), (sent, received), "{name}");
        assert_eq!((connection.destination, connection.outcome), (address, Outcome::Closed), "{name}");
        assert_eq!(connection.rule.as_deref(), Some("allow api.x.com"), "{name}");
    }
}

#[tokio::test]
async fn a_connection_for_a_whole_url_that_does_not_come_about_or_ends_early_is_told_too() {
    let rules = Arc::new(Rules::default());
    let (mut flow, _tunnels) = proxied(nowhere(), &rules);
    let get = b"GET http://api.x.com/ HTTP/1.1\r\nHost: api.x.com\r\n\r\n";
    flow.client.write_all(get).await.unwrap();
    read_until(&mut flow.client, "HTTP/1.1 502 ").await;
    drop(flow.client);
    soon(flow.outcome).await.unwrap();
    let told = rules.ends.all();
    assert!(matches!(told[0].outcome, Outcome::Unreachable(_)) && told.len() == 1, "{told:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rules = Arc::new(Rules::default());
    let (mut flow, _tunnels) = proxied(listener.local_addr().unwrap(), &rules);
    flow.client.write_all(get).await.unwrap();
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut server, "\r\n\r\n").await;
    flow.outcome.abort();
    assert_eq!(read_all(&mut server).await, "");
    let told = rules.ends.all();
    assert!(told[0].outcome == Outcome::Cut && told[0].sent > 0 && told.len() == 1, "{told:?}");
}
