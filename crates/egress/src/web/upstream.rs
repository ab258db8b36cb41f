//! The way to the other side of a place, verified where it is TLS.

use super::{
    Place, Timeouts,
    ahead::Ahead,
    book::{Book, Booked},
    filled::Filled,
    tasks::Spawner,
    upload::Upload,
};
use agentkernel_model::{Error, Result};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    http::uri::Scheme,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use rustls::{
    CipherSuite, ClientConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName},
};
use rustls_platform_verifier::Verifier;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Silence after which the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(120);
/// Handshakes that can be taken up again; each is a few kilobytes.
const RESUMABLE: usize = 64;
/// How much of an answer is passed on in one piece, HTTP/1 in TLS; so much is there only where it may be read ahead.
const WIDE: usize = 256 * 1024;
/// How much of an answer may be under way to this process, HTTP/2.
const WINDOW: u32 = 256 * 1024;
/// How much of each request may wait to be sent on, HTTP/2.
const SEND_BUFFER: usize = 32 * 1024;

/// Of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(super) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Why the other side was not reached.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: io::ErrorKind,
    pub(super) status: StatusCode,
    /// A sentence without a full stop.
    pub(super) text: String,
    /// It is not who it should be.
    pub(super) is_untrusted: bool,
}

/// Makes connections. What verifies certificates is loaded when it is needed first.
pub(super) struct Dialer {
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    tls: OnceCell<ClientConfig>,
    timeouts: Timeouts,
    /// See [`Ahead`].
    wide_reads: Arc<Semaphore>,
}

/// One connection for HTTP.
pub(super) enum Leg {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

impl Leg {
    /// Waits until it can take a request; `false` when it never will.
    pub(super) async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> std::result::Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

impl Dialer {
    /// `roots` are believed beside those of this machine.
    pub(super) fn new(
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
        timeouts: Timeouts,
        wide_reads: Arc<Semaphore>,
    ) -> Self {
        Self { roots, provider, tls: OnceCell::new(), timeouts, wide_reads }
    }

    /// Connects to `place` for the first of `offer` that it speaks; in clear it is accounted for in `book`.
    pub(super) async fn reach(
        &self,
        place: &Place,
        scheme: &Scheme,
        offer: &[Protocol],
        tasks: &Spawner,
        book: Option<Book>,
    ) -> std::result::Result<(Leg, Protocol), Failure> {
        let stream = match self.dial(place).await {
            Ok(stream) => stream,
            Err(failure) => {
                if let Some(book) = book {
                    book.unreachable(failure.kind);
                }
                return Err(failure);
            }
        };
        if *scheme != Scheme::HTTPS {
            let protocol = offer.first().copied().unwrap_or(Protocol::Http1);
            let stream = Booked::new(stream, book);
            return Ok((speak(stream, super::LONGEST_HEAD, protocol, place, tasks).await?, protocol));
        }
        let stream = self.secure(stream, place, offer).await?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        if !offer.is_empty() && !offer.contains(&protocol) {
            return Err(Failure::new(place, io::ErrorKind::Unsupported, "it speaks no HTTP/2"));
        }
        Ok((speak(Filled::new(stream), WIDE, protocol, place, tasks).await?, protocol))
    }

    async fn dial(&self, place: &Place) -> std::result::Result<TcpStream, Failure> {
        let mut address = place.address;
        // A machine without IPv6 can reach these.
        address.set_ip(address.ip().to_canonical());
        let connected = match timeout(self.timeouts.connect, TcpStream::connect(address)).await {
            Ok(connected) => connected.and_then(prepared),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        connected.map_err(|e| Failure::new(place, e.kind(), &e.to_string()))
    }

    async fn secure(
        &self,
        stream: TcpStream,
        place: &Place,
        offer: &[Protocol],
    ) -> std::result::Result<TlsStream<Ahead<TcpStream>>, Failure> {
        let failure = |e: io::Error| Failure::of_tls(place, &e);
        let name = ServerName::try_from(place.name.clone())
            .map_err(|e| failure(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let config = self.tls.get_or_try_init(|| self.load()).await;
        let mut config = config.map_err(|e| failure(io::Error::other(e.to_string())))?.clone();
        config.alpn_protocols = offer.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        let stream = Ahead::new(stream, Arc::clone(&self.wide_reads));
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match timeout(self.timeouts.handshake, connecting).await {
            Ok(connected) => connected.map_err(failure),
            Err(_) => Err(failure(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Reads what this machine believes: some files, or a service of the system.
    async fn load(&self) -> Result<ClientConfig> {
        let (roots, provider) = (self.roots.clone(), Arc::clone(&self.provider));
        let verifier = spawn_blocking(move || Verifier::new_with_extra_roots(roots, provider))
            .await
            .map_err(|e| {
                Error::internal("the certificates that this machine trusts were not read").with_source(e)
            })?
            .map_err(|e| Error::internal("the certificates to trust cannot be used").with_source(e))?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal("TLS cannot be set up").with_source(e))?
            // The verifier of the platform is no weaker than the usual one: it has more roots.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(RESUMABLE);
        Ok(config)
    }
}

fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    Ok(stream)
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    at_once: usize,
    protocol: Protocol,
    place: &Place,
    tasks: &Spawner,
) -> std::result::Result<Leg, Failure> {
    let failure = |e: hyper::Error| Failure::new(place, io::ErrorKind::InvalidData, &e.to_string());
    let io = TokioIo::new(stream);
    // How a connection ends is told by the requests on it.
    Ok(match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::Builder::new()
                .max_headers(super::MOST_HEADERS)
                .max_header_size(super::LONGEST_HEAD)
                .max_buf_size(at_once)
                .handshake(io)
                .await
                .map_err(failure)?;
            tasks.spawn(async {
                let _ = connection.with_upgrades().await;
            });
            Leg::Http1(sender)
        }
        Protocol::Http2 => {
            let (sender, connection) = http2::Builder::new(tasks.clone())
                .timer(TokioTimer::new())
                .max_header_list_size(super::LONGEST_HEAD_H2)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .handshake(io)
                .await
                .map_err(failure)?;
            tasks.spawn(async {
                let _ = connection.await;
            });
            Leg::Http2(sender)
        }
    })
}

impl Failure {
    fn new(place: &Place, kind: io::ErrorKind, why: &str) -> Self {
        let status = match kind {
            io::ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self { kind, status, text: format!("{} is not reached: {why}", place.name), is_untrusted: false }
    }

    /// The connection is there, the answer is not.
    pub(super) fn of_answer(place: &Place, error: &hyper::Error) -> Self {
        let kind = super::serve::kind(error);
        let text = format!("{} did not answer: {error}", place.name);
        Self { text, ..Self::new(place, kind, "") }
    }

    fn of_tls(place: &Place, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(why)) => Self {
                kind: io::ErrorKind::InvalidData,
                status: StatusCode::BAD_GATEWAY,
                text: format!("the certificate of {} is not valid: {why}", place.name),
                is_untrusted: true,
            },
            _ => Self::new(place, error.kind(), &format!("TLS fails: {error}")),
        }
    }
}

/// AES-128-GCM first, as browsers have it: both sides of a connection are encrypted here, and a key of 256 bits takes a
/// fourth more of the time.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    Arc::new(provider)
}

const fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}
