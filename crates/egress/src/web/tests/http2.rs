//! HTTP/2: agreed on over TLS, and known before in clear.

use super::{super::*, lab::*};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::{Body as _, Frame, Incoming},
    client::conn::http2::{self, SendRequest},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::atomic::{AtomicUsize, Ordering};

type Outgoing = BoxBody<Bytes, Infallible>;

/// Echoes a body and its trailers, and says in headers what it saw.
async fn echo(request: hyper::Request<Incoming>) -> std::result::Result<Response<Incoming>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert("x-uri", parts.uri.to_string().parse().unwrap());
    headers.insert("x-host-header", parts.headers.contains_key("host").to_string().parse().unwrap());
    headers.insert("x-method", parts.method.as_str().parse().unwrap());
    for name in ["authorization", "x-sent"] {
        if let Some(value) = parts.headers.get(name) {
            headers
                .insert(format!("echo-{name}").parse::<hyper::header::HeaderName>().unwrap(), value.clone());
        }
    }
    Ok(answer)
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(io), service_fn(echo)).await;
}

async fn client(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Outgoing> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A client over TLS that is opened, to an echo.
async fn over_tls(rules: &Arc<Rules>) -> SendRequest<Outgoing> {
    let trust = Trust::new();
    let address = tls_server(trust.acceptor(NAME, &["h2"]), serve).await;
    let web = trust.web();
    let flow = opened(&web, place(address), rules);
    let tls = tls_to(&web, flow.client, NAME, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    client(tls).await
}

fn text(text: &str) -> Outgoing {
    Full::new(Bytes::from(text.to_owned())).boxed()
}

fn get(uri: &str) -> hyper::http::request::Builder {
    hyper::Request::builder().uri(uri)
}

#[tokio::test]
async fn requests_pass_side_by_side_with_their_secrets() {
    let rules = Rules::with_secret();
    let sender = over_tls(&rules).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let mut sender = sender.clone();
        tasks.spawn(async move {
            let request = get(&format!("https://api.x.com/{number}?q=1")).method(Method::POST);
            let request =
                request.header("authorization", "Bearer mine").body(text(&format!("body {number}")));
            let answer = soon(sender.send_request(request.unwrap())).await.unwrap();
            assert_eq!(answer.headers()["echo-authorization"], "[redacted]");
            assert_eq!(answer.headers()["x-host-header"], "false");
            let uri = answer.headers()["x-uri"].to_str().unwrap();
            assert!(
                uri.starts_with("https://api.x.com:") && uri.ends_with(&format!("/{number}?q=1")),
                "{uri}"
            );
            let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
            assert_eq!(body, format!("body {number}"));
        });
    }
    soon(tasks.join_all()).await;
    assert_eq!(rules.seen().len(), 50);
}

#[tokio::test]
async fn bodies_stream_both_ways_and_trailers_follow() {
    let rules = Rules::with_secret();
    let mut sender = over_tls(&rules).await;
    let (frames, queue) = tokio::sync::mpsc::channel(1);
    let request = get("https://api.x.com/").method(Method::POST).header("te", "trailers");
    let answer = soon(sender.send_request(request.body(Queue(queue).boxed()).unwrap())).await.unwrap();
    let mut body = answer.into_body();
    for piece in ["one", "two", "three"] {
        frames.send(Frame::data(Bytes::from(piece))).await.unwrap();
        let got = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(got, piece);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("authorization", "mine".parse().unwrap());
    frames.send(Frame::trailers(trailers)).await.unwrap();
    drop(frames);
    let got = soon(body.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(got["grpc-status"], "0");
    assert!(body.is_end_stream());
}

/// Frames as a test puts them in.
struct Queue(tokio::sync::mpsc::Receiver<Frame<Bytes>>);

impl hyper::body::Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected() {
    let rules = Rules::with_secret();
    let mut sender = over_tls(&rules).await;
    for (request, status) in [
        (get("https://evil.com/"), StatusCode::MISDIRECTED_REQUEST),
        (get("https://api.x.com/").header("host", "evil.com"), StatusCode::MISDIRECTED_REQUEST),
        (get("https://user@api.x.com/"), StatusCode::MISDIRECTED_REQUEST),
        (get("https://api.x.com/forbidden"), StatusCode::FORBIDDEN),
        (get("https://api.x.com/").method(Method::TRACE), StatusCode::METHOD_NOT_ALLOWED),
        (get("https://api.x.com/").header("expect", "tea"), StatusCode::EXPECTATION_FAILED),
        (get("https://api.x.com/").header("host", "api.x.com"), StatusCode::OK),
    ] {
        let answer = soon(sender.send_request(request.body(text("")).unwrap())).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key("x-agentkernel-blocked"), status != StatusCode::OK);
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(rules.seen().iter().filter(|request| request.refused.is_none()).count(), 1);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let rules = Arc::new(Rules::default());
    let mut sender = over_tls(&rules).await;
    let mut request = get("https://api.x.com/");
    for number in 0..=MOST_HEADERS {
        request = request.header(format!("x-{number}"), "1");
    }
    let answer = soon(sender.send_request(request.body(text("")).unwrap())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let long = get("https://api.x.com/").header("x-long", "a".repeat(20 * 1024)).body(text("")).unwrap();
    match soon(sender.send_request(long)).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert!(rules.seen().iter().all(|request| request.refused.is_some()));
}

/// Each stream holds a head and what is to be sent, in memory of this process.
#[tokio::test]
async fn no_more_than_32_requests_of_a_connection_are_under_way() {
    const MOST: usize = 32;
    let (trust, rules) = (Trust::new(), Arc::new(Rules::default()));
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let together = Arc::new(tokio::sync::Barrier::new(MOST));
    let (seen, peak) = (Arc::clone(&under_way), Arc::clone(&most));
    let address = tls_server(trust.acceptor(NAME, &["h2"]), move |io| {
        let (seen, peak, together) = (Arc::clone(&seen), Arc::clone(&peak), Arc::clone(&together));
        let service = service_fn(move |request| {
            let (seen, peak, together) = (Arc::clone(&seen), Arc::clone(&peak), Arc::clone(&together));
            async move {
                peak.fetch_max(seen.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                together.wait().await;
                seen.fetch_sub(1, Ordering::SeqCst);
                echo(request).await
            }
        });
        async move {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(io), service).await;
        }
    })
    .await;
    let web = trust.web();
    let flow = opened(&web, place(address), &rules);
    let mut sender = client(tls_to(&web, flow.client, NAME, &["h2"]).await.unwrap()).await;
    // The first words of the other side are there when something was answered.
    let refused = get("https://api.x.com/forbidden").body(text("")).unwrap();
    assert_eq!(soon(sender.send_request(refused)).await.unwrap().status(), StatusCode::FORBIDDEN);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..MOST * 4 {
        let mut sender = sender.clone();
        tasks.spawn(async move {
            let request = get("https://api.x.com/").body(text("")).unwrap();
            assert_eq!(soon(sender.send_request(request)).await.unwrap().status(), StatusCode::OK);
        });
    }
    soon(tasks.join_all()).await;
    assert_eq!(most.load(Ordering::SeqCst), MOST);
}

#[tokio::test]
async fn where_http2_has_no_seat_left_http1_is_spoken() {
    let (trust, rules) = (Trust::new(), Arc::new(Rules::default()));
    let address = tls_server(trust.acceptor(NAME, &["h2", "http/1.1"]), serve).await;
    let web = trust.web();
    let spoken = async || {
        let flow = opened(&web, place(address), &rules);
        let tls = tls_to(&web, flow.client, NAME, &["h2", "http/1.1"]).await.unwrap();
        (tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec), tls, flow.outcome)
    };
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(spoken().await);
    }
    assert!(open.iter().all(|(protocol, ..)| protocol.as_deref() == Some(b"h2")));
    assert_eq!(spoken().await.0.as_deref(), Some(&b"http/1.1"[..]));
    let (_, tls, outcome) = open.pop().unwrap();
    drop(tls);
    soon(outcome).await.unwrap();
    assert_eq!(spoken().await.0.as_deref(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_client_that_speaks_nothing_else_is_told_where_the_other_side_does_not() {
    let trust = Trust::new();
    let address = tls_server(trust.acceptor(NAME, &[]), serve).await;
    let (web, rules) = (trust.web(), Rules::with_secret());
    let flow = opened(&web, place(address), &rules);
    let mut sender = client(tls_to(&web, flow.client, NAME, &["h2"]).await.unwrap()).await;
    let answer = soon(sender.send_request(get("https://api.x.com/").body(text("")).unwrap())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("it speaks no HTTP/2"), "{body:?}");
}
