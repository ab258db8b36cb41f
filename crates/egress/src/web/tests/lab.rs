//! A client and another side for the tests, with what was said and judged.

use super::super::*;
use agentkernel_model::egress::Protocol;
use agentkernel_trust::resolve;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::ServerName};
use std::sync::Mutex as StdMutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(super) const NAME: &str = "api.x.com";
pub(super) const SECRET: &str = "sk-hidden/value+0123456789";

/// Forbids paths below `/forbidden`, and DELETE.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) secrets: Vec<Bound>,
    pub(super) seen: StdMutex<Vec<Request>>,
    /// Of connections that were made for requests to a proxy.
    pub(super) ends: Arc<Ends>,
}

impl Rules {
    pub(super) fn with_secret() -> Arc<Self> {
        let binding = format!("KEY={SECRET}:{NAME}").parse().unwrap();
        Arc::new(Self { secrets: resolve(&[binding], &[]).unwrap(), ..Self::default() })
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The only one, but for its time.
    pub(super) fn only(&self) -> (String, String, Option<u16>, Option<String>) {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        let one = seen.remove(0);
        (one.method, one.path, one.status, one.refused)
    }
}

fn denied(rule: &str) -> Denied {
    Denied { rule: Some(rule.to_owned()), why: format!("the rule '{rule}' says so") }
}

impl Judge for Rules {
    fn request(
        &self,
        _place: &Place,
        method: &str,
        path: &str,
    ) -> std::result::Result<Option<String>, Denied> {
        if method == "DELETE" {
            return Err(denied("deny DELETE api.x.com"));
        }
        if path.starts_with("/forbidden") {
            return Err(denied("deny api.x.com/forbidden"));
        }
        Ok(Some("allow api.x.com".to_owned()))
    }

    fn secrets(&self, _place: &Place) -> Vec<Bound> {
        self.secrets.clone()
    }

    fn observe(&self, request: Request) {
        self.seen.lock().unwrap().push(request);
    }
}

pub(super) fn place(address: SocketAddr) -> Place {
    Place { name: NAME.to_owned(), address }
}

/// A flow through `web`: the client's end, and what becomes of it.
pub(super) struct Flow {
    pub(super) client: DuplexStream,
    pub(super) outcome: JoinHandle<(Outcome, u64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Ends(StdMutex<Vec<crate::Connection>>);

impl Ends {
    pub(super) fn all(&self) -> Vec<crate::Connection> {
        self.0.lock().unwrap().clone()
    }
}

impl crate::Observer for Ends {
    fn connection(&self, connection: &crate::Connection) {
        self.0.lock().unwrap().push(connection.clone());
    }
    fn asked_name(&self, _name: &str) {}
    fn refused_name(&self, _name: &str, _rule: Option<&str>) {}
    fn request(&self, _request: &Request) {}
}

/// Serves one stream by what `start` makes of it; the outcome comes with the bytes of its ledger.
pub(super) fn flow<F, R>(start: F) -> Flow
where
    F: FnOnce(Box<dyn ByteStream>, Arc<Ledger>) -> R + Send + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let (client, gateway) = tokio::io::duplex(64 * 1024);
    let outcome = tokio::spawn(async move {
        let ends = Arc::new(Ends::default());
        let ledger = Arc::new(Ledger::open(Some(ends.clone()), ([127, 0, 0, 1], 1).into(), Protocol::Tcp));
        let outcome = start(Box::new(gateway), Arc::clone(&ledger)).await;
        drop(ledger);
        let connection = ends.all().remove(0);
        (outcome, connection.sent, connection.received)
    });
    Flow { client, outcome }
}

pub(super) fn plain(web: &Arc<Web>, place: Place, rules: &Arc<Rules>) -> Flow {
    let (web, rules) = (Arc::clone(web), Arc::clone(rules));
    flow(move |io, ledger| async move { web.plain(io, place, rules, &ledger).await })
}

pub(super) fn opened(web: &Arc<Web>, place: Place, rules: &Arc<Rules>) -> Flow {
    let (web, rules) = (Arc::clone(web), Arc::clone(rules));
    flow(move |io, ledger| async move { web.open_tls(io, place, rules, &ledger).await })
}

/// A server that takes one connection, says `answer` when it has read up to `until`, and gives what it read.
pub(super) async fn raw_server(
    until: &'static str,
    answer: &'static str,
) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let read = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = read_until(&mut stream, until).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        // What comes afterwards is shown as well.
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        read.push_str(&String::from_utf8_lossy(&rest));
        read
    });
    (address, read)
}

pub(super) async fn read_until(stream: &mut (impl AsyncRead + Unpin), until: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(until) {
        let count = soon(stream.read_buf(&mut read)).await.unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// All that comes.
pub(super) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let _ = soon(stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

/// A test that hangs fails.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("nothing happened for 20 seconds")
}

pub(super) fn web() -> Arc<Web> {
    Arc::new(Web::new(Vec::new()).unwrap())
}

/// An authority of the test's own, for the other side.
pub(super) struct Trust {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Trust {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// A gateway that believes it.
    pub(super) fn web(&self) -> Arc<Web> {
        Arc::new(Web::new(vec![self.issuer.der().clone()]).unwrap())
    }

    pub(super) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut config = ServerConfig::builder_with_provider(peers_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// With the longer keys first.
fn peers_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Of a client of the sandbox, which believes the gateway and nobody else.
pub(super) fn client_config(web: &Web, alpn: &[&str]) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(web.authority().unwrap().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(peers_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(super) async fn tls_with(config: Arc<ClientConfig>, client: DuplexStream, name: &str) -> io::Result<Tls> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(TlsConnector::from(config).connect(name, client)).await
}

pub(super) async fn tls_to(web: &Web, client: DuplexStream, name: &str, alpn: &[&str]) -> io::Result<Tls> {
    tls_with(client_config(web, alpn), client, name).await
}

pub(super) type Tls = tokio_rustls::client::TlsStream<DuplexStream>;

/// A server of TLS for one connection after the other, each served by `serve`.
pub(super) async fn tls_server<F, R>(acceptor: TlsAcceptor, serve: F) -> SocketAddr
where
    F: Fn(tokio_rustls::server::TlsStream<TcpStream>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream));
            }
        }
    });
    address
}
