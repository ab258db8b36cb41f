//! Connections to engines, whichever way leads there.

use crate::{
    remote::{Login, Place, Refused, Remote},
    tls,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result, text::printable};
use bollard::{BollardRequest, ClientVersion, Docker};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use rustix::net::sockopt;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// Silence after which the other side is asked whether it is still there, how often, and how many times.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;
/// How long what was sent may stay without an answer.
const UNHEARD_MILLIS: u32 = 60_000;
/// What is read of what ssh complains of, in bytes.
const MAX_COMPLAINT: u64 = 1024;
/// How long ssh may take to say why, once it has ended.
const COMPLAINT: Duration = Duration::from_secs(1);

/// The way to one engine.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    Network(Arc<Network>),
}

/// An engine over a network, and what it takes to get there.
#[derive(Debug)]
pub(crate) struct Network {
    remote: Remote,
    by: By,
}

#[derive(Debug)]
enum By {
    Tcp,
    Tls(Arc<ClientConfig>),
    Ssh { program: PathBuf },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Network(network) => network.remote.fmt(f),
        }
    }
}

/// The error of an address that is not used.
pub(crate) fn refused(refused: Refused) -> Error {
    Error::invalid(refused.what).with_hint(refused.hint)
}

impl Way {
    /// The way to `remote`; nobody is asked yet.
    ///
    /// # Errors
    /// When what it takes is not on this machine: certificates, or ssh.
    pub(crate) fn to(remote: Remote, host: &Host) -> Result<Self> {
        let by = match &remote {
            Remote::Plain(_) => By::Tcp,
            Remote::Tls { material, .. } => By::Tls(tls::configuration(material)?),
            Remote::Ssh(_) => {
                let program = crate::endpoint::program(host, "ssh").ok_or_else(|| {
                    Error::new(
                        Kind::Unavailable,
                        format!("there is no ssh on this machine, to reach {remote}"),
                    )
                    .with_hint("install it, on Debian and Ubuntu: sudo apt-get install openssh-client")
                })?;
                By::Ssh { program }
            }
        };
        Ok(Self::Network(Arc::new(Network { remote, by })))
    }

    /// The socket, where it is one of this machine.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Socket(path) => Some(path),
            Self::Network(_) => None,
        }
    }

    /// A connection.
    ///
    /// # Errors
    /// As the system says, and `TimedOut` after [`CONNECT`].
    pub(crate) async fn dial(&self) -> io::Result<Stream> {
        let connected = match self {
            Self::Socket(path) => return Ok(Stream::of(UnixStream::connect(path).await?)),
            Self::Network(network) => timeout(CONNECT, network.dial()).await,
        };
        connected.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nobody answers there"))?
    }

    /// A client of the engine's API, whose requests end after `patience` seconds.
    ///
    /// # Errors
    /// When it cannot be made; nobody is asked.
    pub(crate) fn client(&self, patience: u64, version: &ClientVersion) -> Result<Docker> {
        let made = match self {
            Self::Socket(path) => Docker::connect_with_unix(&path.display().to_string(), patience, version),
            Self::Network(_) => {
                let way = self.clone();
                let connector = tower::service_fn(move |_: hyper::Uri| {
                    let way = way.clone();
                    Box::pin(async move { way.dial().await.map(TokioIo::new) })
                });
                let client = Client::builder(TokioExecutor::new()).build(connector);
                let transport = move |request: BollardRequest| {
                    let client = client.clone();
                    async move { client.request(request).await.map_err(bollard::errors::Error::from) }
                };
                Docker::connect_with_custom_transport(transport, Some("http://engine"), patience, version)
            }
        };
        made.map_err(|e| crate::fault::failed("reach the engine", e))
    }
}

impl Network {
    async fn dial(&self) -> io::Result<Stream> {
        match (&self.remote, &self.by) {
            (Remote::Ssh(login), By::Ssh { program }) => ssh(login, program),
            (Remote::Tls { place, .. }, By::Tls(config)) => {
                let name = ServerName::try_from(place.host.clone());
                let name = name.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
                let stream = tcp(place).await?;
                Ok(Stream::of(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
            }
            (Remote::Plain(place), _) => {
                let stream = tcp(place).await?;
                // A name can be given any address.
                match stream.peer_addr()?.ip().is_loopback() {
                    true => Ok(Stream::of(stream)),
                    false => {
                        Err(io::Error::other("without TLS only this machine's own loopback is an engine"))
                    }
                }
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn tcp(place: &Place) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    stream.set_nodelay(true)?;
    // A sandbox may be silent for days; a machine that is gone is silent for ever.
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(&stream, UNHEARD_MILLIS)?;
    Ok(stream)
}

/// One `ssh` for one connection, in a group of its own: what is typed to interrupt a command is not for it.
fn ssh(login: &Login, program: &Path) -> io::Result<Stream> {
    let mut command = Command::new(program);
    command.args(login.words()).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let complaints = child.stderr.take();
    let io = Box::new(tokio::io::join(output, input));
    Ok(Stream { io, ssh: Some(Ssh { _child: child, complaints }) })
}

#[derive(Debug)]
struct Ssh {
    /// Killed when it is dropped.
    _child: Child,
    complaints: Option<ChildStderr>,
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// Bytes to and from an engine.
pub(crate) struct Stream {
    io: Box<dyn Both>,
    ssh: Option<Ssh>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("ssh", &self.ssh).finish_non_exhaustive()
    }
}

impl Stream {
    fn of(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { io: Box::new(io), ssh: None }
    }

    /// Why nothing came, where ssh knows: the end of what it complained of.
    pub(crate) async fn complaint(&mut self) -> Option<String> {
        let complaints = self.ssh.as_mut()?.complaints.take()?;
        let mut said = Vec::new();
        let _ = timeout(COMPLAINT, complaints.take(MAX_COMPLAINT).read_to_end(&mut said)).await;
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(printable(last))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
