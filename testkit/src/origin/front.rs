//! TLS and a doorkeeper before a plain server, as registries of companies have them: who has no token is sent to get one.

use super::body::{Pipe, whole};
use agentkernel_model::{Error, Result};
use http_body_util::Either;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

/// The token that lets in.
const TOKEN: &str = r#"{"token":"good-token"}"#;
const BEARER: &str = "Bearer good-token";

/// Who is let in.
#[derive(Debug, Clone)]
pub struct Gate {
    /// What is sent for a token, such as `Basic dXNlcjpwYXNz`.
    pub wanted: String,
    /// Where tokens are said to be; `None`: at `/token` of this very server, where they are.
    pub realm: Option<String>,
}

/// One request: its path, and what it said of who asks.
pub type Came = (String, Option<String>);

#[derive(Debug)]
struct State {
    behind: SocketAddr,
    gate: Gate,
    came: Mutex<Vec<Came>>,
}

/// A running front. Dropping it stops it from taking connections.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

impl Front {
    pub(super) fn start(
        handle: &Handle,
        listener: TcpListener,
        config: Arc<ServerConfig>,
        behind: SocketAddr,
        gate: Gate,
    ) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::io("a listener has no address", e))?;
        let state = Arc::new(State { behind, gate, came: Mutex::default() });
        // Behind it HTTP/1.1 is spoken.
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let task = handle.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&state)));
        Ok(Self { address, state, task: task.abort_handle() })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    #[must_use]
    pub fn came(&self) -> Vec<Came> {
        self.state.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // Whoever does not believe the certificate breaks off here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<Either<Pipe, Incoming>>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, Infallible> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (path, who) = (request.uri().path().to_owned(), header(AUTHORIZATION).map(str::to_owned));
    let own = format!("https://{}/token", header(HOST).unwrap_or_default());
    state.came.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), who.clone()));
    if path == "/token" {
        let is_known = who.as_ref() == Some(&state.gate.wanted);
        return Ok(if is_known { said(StatusCode::OK, TOKEN) } else { said(StatusCode::UNAUTHORIZED, "") });
    }
    if who.as_deref() != Some(BEARER) {
        let realm = state.gate.realm.as_ref().unwrap_or(&own);
        let mut refused = said(StatusCode::UNAUTHORIZED, "");
        if let Ok(challenge) = format!(r#"Bearer realm="{realm}",service="test""#).parse() {
            refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        return Ok(refused);
    }
    let failed = |e: io::Error| said(StatusCode::BAD_GATEWAY, &e.to_string());
    Ok(pass(request, state.behind).await.unwrap_or_else(failed))
}

async fn pass(mut request: Request<Incoming>, behind: SocketAddr) -> io::Result<Answer> {
    request.headers_mut().remove(AUTHORIZATION);
    let stream = TcpStream::connect(behind).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    // It ends with the answer's body.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(response.map(Either::Right))
}

fn said(status: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(Either::Left(whole(text.to_owned())));
    *response.status_mut() = status;
    response
}
