use super::super::*;
use super::lab::*;
use tokio::io::AsyncWriteExt as _;

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

#[tokio::test]
async fn a_request_arrives_as_one_of_the_gateways_own() {
    let request = "POST /v1?q=1 HTTP/1.1\r\nHost: API.x.com\r\nConnection: close, x-mine\r\nX-Mine: 1\r\n\
                   Keep-Alive: 5\r\nProxy-Authorization: x\r\nTE: gzip\r\nX-Kept: yes\r\nContent-Length: 4\r\n\r\nbody";
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
