//! One server: its listener, TLS, and HTTP/1.1 or HTTP/2 as ALPN has it.

use super::{Files, Record, routes};
use agentkernel_model::{Error, Result};
use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Handle,
    sync::mpsc,
    task::{AbortHandle, spawn_blocking},
};
use tokio_rustls::TlsAcceptor;

/// Longer than a client takes to ask, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) files: Files,
}

/// What every connection of a server shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) record: Arc<Record>,
    pub(super) files: Files,
    /// The readers of `/stream`.
    streams: Mutex<Vec<mpsc::Sender<Bytes>>>,
    /// Another reader is there.
    joined: Condvar,
    before: Mutex<Option<Before>>,
}

/// What is done before a request is answered.
#[derive(Clone)]
struct Before(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Before").finish_non_exhaustive()
    }
}

impl Shared {
    /// A body that the test writes.
    pub(super) fn stream(&self) -> mpsc::Receiver<Bytes> {
        let (send, receive) = mpsc::channel(64);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(send);
        self.joined.notify_all();
        receive
    }

    /// Does what the test wants to be done while a client waits for its answer.
    pub(super) async fn before_answer(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Before(act)) = before
            && let Err(e) = spawn_blocking(move || act()).await
        {
            self.record.fault(format!("before an answer: {e}"));
        }
    }
}

/// Who speaks to us.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) connection: usize,
    pub(super) address: SocketAddr,
    pub(super) sni: Option<String>,
}

/// A running server. Dropping it stops it from taking connections.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    is_tls: bool,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Origin {
    pub(super) fn start(handle: &Handle, listener: TcpListener, plan: Plan) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::io("a listener has no address", e))?;
        let Plan { tls, files } = plan;
        let is_tls = tls.is_some();
        let shared = Arc::new(Shared {
            record: Arc::default(),
            files,
            streams: Mutex::default(),
            joined: Condvar::new(),
            before: Mutex::default(),
        });
        let task = handle.spawn(accept(listener, tls.map(TlsAcceptor::from), Arc::clone(&shared)));
        Ok(Self { address, is_tls, shared, task: task.abort_handle() })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// The address of `path` under `name`, with a port where it is not the usual one.
    #[must_use]
    pub fn url(&self, name: &str, path: &str) -> String {
        let (scheme, usual) = if self.is_tls { ("https", 443) } else { ("http", 80) };
        match self.address.port() {
            port if port == usual => format!("{scheme}://{name}{path}"),
            port => format!("{scheme}://{name}:{port}{path}"),
        }
    }

    /// Has each request wait for its answer until `act`, called once for each of them from now on, has come back.
    pub fn before_answers(&self, act: impl Fn() + Send + Sync + 'static) {
        let before = Before(Arc::new(act));
        *self.shared.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    }

    /// Sends `text` to everybody who reads `/stream`; how many that are. Waits for the first one, but not for ever.
    #[must_use]
    pub fn release(&self, text: &str) -> usize {
        let streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.joined.wait_timeout_while(streams, PATIENCE, |streams| streams.is_empty());
        let (mut streams, _) = waited.unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.try_send(Bytes::copy_from_slice(text.as_bytes())).is_ok());
        streams.len()
    }

    /// Ends every `/stream`.
    pub fn end_streams(&self) {
        self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let connection = shared.record.connected();
                let peer = Peer { connection, address, sni: None };
                // Small answers at once: what is measured is the gateway.
                let _hint = stream.set_nodelay(true);
                tokio::spawn(connected(stream, tls.clone(), peer, Arc::clone(&shared)));
            }
            Err(e) => return shared.record.fault(format!("cannot accept: {e}")),
        }
    }
}

async fn connected(
    stream: tokio::net::TcpStream,
    tls: Option<TlsAcceptor>,
    mut peer: Peer,
    shared: Arc<Shared>,
) {
    let Some(acceptor) = tls else { return speak(stream, false, peer, shared).await };
    match acceptor.accept(stream).await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            peer.sni = session.server_name().map(str::to_owned);
            let is_http2 = session.alpn_protocol() == Some(b"h2");
            speak(stream, is_http2, peer, shared).await;
        }
        Err(e) => shared.record.fault(format!("TLS: {e}")),
    }
}

async fn speak<S>(stream: S, is_http2: bool, peer: Peer, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let answered = Arc::clone(&shared);
    let service = service_fn(move |request| routes::answer(request, peer.clone(), Arc::clone(&answered)));
    let ended = if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await
    };
    if let Err(e) = ended {
        shared.record.fault(format!("HTTP: {e}"));
    }
}
