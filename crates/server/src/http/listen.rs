//! Connections: accepting them, serving requests on them, and letting those that are under way finish at the end.

use super::{
    patience::Patient,
    peer::Peer,
    routes,
    strangers::{Stranger, Strangers},
};
use crate::{
    App, keys,
    options::{Tcp, Tls},
};
use agentkernel_model::{Error, Kind, Result};
use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fs,
    future::Future,
    io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// How long a client may take to send the headers of a request, or to agree on TLS.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of all headers of a request.
const MAX_HEADERS: usize = 64 * 1024;
/// How long requests may go on when the server is told to end.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a client is silent before the kernel asks whether its machine is still there, how long it waits for an answer, and
/// how often it asks.
const SILENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(10);
const ASKED: u32 = 6;
/// How long to wait where descriptors ran out: nothing tells when there are some again.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Where the server can be reached.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    pub tcp: Option<SocketAddr>,
    pub tls: bool,
    pub socket: Option<PathBuf>,
}

/// Serves until `end` resolves, and then until the requests under way are answered, at most half a minute.
///
/// # Errors
/// [`Kind::Denied`] for what would serve strangers; when an address cannot be listened on.
pub async fn serve(app: Arc<App>, end: impl Future<Output = ()>, ready: impl FnOnce(&Bound)) -> Result<()> {
    refuse_open_doors(&app)?;
    let (mut bound, mut doors) = (Bound::default(), Vec::new());
    if let Some(tcp) = &app.options.listen.tcp {
        let (listener, tls) = open_tcp(tcp).await?;
        bound.tcp = listener.local_addr().ok();
        bound.tls = tls.is_some();
        doors.push(Door::Tcp(listener, tls));
    }
    let held = match &app.options.listen.socket {
        Some(path) => {
            let (listener, held) = open_socket(path)?;
            bound.socket = Some(path.clone());
            doors.push(Door::Socket(listener));
            Some(held)
        }
        None => None,
    };
    // The first run finds what every other one finds.
    app.engine.prepare_runners()?;
    ready(&bound);
    let (ending, told) = watch::channel(false);
    let hall = Arc::new(Hall {
        router: routes::router(&app),
        room: Arc::new(Semaphore::new(app.options.limits.connections)),
        strangers: Arc::new(Strangers::new(app.options.limits.strangers)),
        ending: told,
    });
    let keepers: Vec<_> = doors.into_iter().map(|door| tokio::spawn(door.keep(Arc::clone(&hall)))).collect();
    end.await;
    for keeper in keepers {
        keeper.abort();
    }
    drop(held);
    // Nobody listens: then everything is answered.
    let _ = ending.send(true);
    drop(hall);
    // MCP clients keep connections open on which they only listen.
    let answered = async { tokio::join!(app.calls.close(), ending.closed()) };
    let _ = tokio::time::timeout(DRAIN, answered).await;
    Ok(())
}

/// Sees that only those are served whom somebody chose.
fn refuse_open_doors(app: &App) -> Result<()> {
    let Some(tcp) = &app.options.listen.tcp else { return Ok(()) };
    if app.keys.are_required() {
        return Ok(());
    }
    let hint = "--api-key-file FILE, with one key a line";
    if rustix::process::geteuid().is_root() {
        return Err(Error::new(Kind::Denied, "root's server needs an API key").with_hint(hint));
    }
    if !tcp.address.is_loopback() && !app.options.insecure {
        return Err(Error::new(
            Kind::Denied,
            format!("a server on {} is reached from other machines, and there is no API key", tcp.address),
        )
        .with_hint(format!("{hint}; --insecure serves whoever comes")));
    }
    Ok(())
}

async fn open_tcp(tcp: &Tcp) -> Result<(TcpListener, Option<TlsAcceptor>)> {
    let tls = tcp.tls.as_ref().map(acceptor).transpose()?;
    let address = SocketAddr::new(tcp.address, tcp.port);
    let listener = TcpListener::bind(address).await.map_err(|e| {
        let kind = if e.kind() == io::ErrorKind::AddrInUse { Kind::Conflict } else { Kind::Unavailable };
        Error::new(kind, format!("cannot listen on {address}"))
            .with_source(e)
            .with_hint("choose another with --port; 0 takes any that is free")
    })?;
    Ok((listener, tls))
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let wrong = |path: &Path, why: String| {
        Error::new(Kind::Config, format!("{} is no PEM file of TLS: {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    let metadata = fs::metadata(&tls.key).map_err(|e| wrong(&tls.key, e.to_string()))?;
    keys::refuse_shared(&metadata, &tls.key)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| wrong(&tls.key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("cannot set up TLS").with_source(e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| wrong(&tls.certificate, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Removes the socket's name when dropped, unless it has become another server's.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: (u64, u64),
}

impl Held {
    fn file(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if Self::file(&self.path).is_ok_and(|file| file == self.file) {
            // What cannot be removed is replaced by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket that nobody but its owner can ever reach: it gets its name when its mode is right.
fn open_socket(path: &Path) -> Result<(UnixListener, Held)> {
    let fail = |e: io::Error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {}", path.display())).with_source(e)
    };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::new(Kind::Conflict, format!("a server listens on {} already", path.display()))
            .with_hint("end it first, or name another socket"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let making = path.with_file_name(name);
    let _ = fs::remove_file(&making);
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&making);
    rustix::process::umask(before);
    let listener = listener.map_err(fail)?;
    fs::set_permissions(&making, fs::Permissions::from_mode(0o600)).map_err(fail)?;
    // Before it has its name, which somebody else may take at any time.
    let held = Held { path: path.to_owned(), file: Held::file(&making).map_err(fail)? };
    fs::rename(&making, path).map_err(fail)?;
    Ok((listener, held))
}

/// One address that is listened on.
enum Door {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Socket(UnixListener),
}

/// What all connections share.
struct Hall {
    router: Router,
    room: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    ending: watch::Receiver<bool>,
}

/// A connection's place, and what the server's end waits for. Whoever takes the connection over keeps it for as long.
#[derive(Debug, Clone)]
pub(super) struct Stay {
    _seat: Arc<OwnedSemaphorePermit>,
    stranger: Arc<Stranger>,
    ending: watch::Receiver<bool>,
}

impl Stay {
    /// Whoever is at the other end may be here.
    pub(super) fn is_known(&self) {
        self.stranger.is_known();
    }

    /// Resolves when the server is told to end.
    pub(super) async fn ending(&self) {
        // One that is gone has ended.
        let _ = self.ending.clone().wait_for(|ending| *ending).await;
    }
}

impl Door {
    async fn keep(self, hall: Arc<Hall>) {
        loop {
            // Whoever comes when there is no room waits in the kernel's queue.
            let Ok(seat) = Arc::clone(&hall.room).acquire_owned().await else { return };
            let came = match &self {
                Self::Tcp(listener, tls) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(Arc::clone(&hall).tcp(stream, tls.clone(), seat));
                }),
                Self::Socket(listener) => listener.accept().await.map(|(stream, _)| {
                    let stranger = Arc::new(Stranger::default());
                    // Nobody else can open it.
                    stranger.is_known();
                    tokio::spawn(Arc::clone(&hall).talk(stream, Peer::Socket, stranger, seat));
                }),
            };
            if came.is_err() {
                tokio::time::sleep(NO_DESCRIPTORS).await;
            }
        }
    }
}

/// Has the kernel ask a client that is silent whether its machine is still there.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    sockopt::set_tcp_keepintvl(stream, ASK_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, ASKED)?;
    sockopt::set_socket_keepalive(stream, true)
}

impl Hall {
    async fn tcp(self: Arc<Self>, stream: TcpStream, tls: Option<TlsAcceptor>, seat: OwnedSemaphorePermit) {
        // Bytes of a command's output wait for no more of them.
        let _ = stream.set_nodelay(true);
        // A client whose machine is gone says nothing more, and holds its place. Without this it does so for longer.
        let _ = keep_alive(&stream);
        let (Ok(theirs), Ok(ours)) = (stream.peer_addr(), stream.local_addr()) else { return };
        let peer = Peer::of(theirs, ours);
        let guest = self.strangers.came();
        let stranger = guest.stranger();
        let out = guest.stranger();
        let talking = async {
            match tls {
                None => self.talk(stream, peer, stranger, seat).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEADER_PATIENCE, tls.accept(stream)).await {
                        self.talk(stream, peer, stranger, seat).await;
                    }
                }
            }
        };
        tokio::select! {
            () = talking => {}
            () = out.out() => {}
        }
    }

    async fn talk<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        stranger: Arc<Stranger>,
        seat: OwnedSemaphorePermit,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let stay = Stay { _seat: Arc::new(seat), stranger, ending: self.ending.clone() };
        let ending = stay.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| Body::new(Patient::new(body)));
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stay.clone());
            let answer = router.clone().oneshot(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        // The connection alone holds what the server's end waits for.
        drop(self);
        tokio::select! {
            // What a client does wrong to its connection is its own affair.
            _ = connection.as_mut() => {}
            () = ending.ending() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}
