//! One request and the redirects that answer it.

use super::{
    bounds::Bounds,
    dns::Resolver,
    failure::{Asked, Failure, Peer},
    origin::Origin,
};
use crate::proxies::{Proxies, Way};
use agentkernel_model::{Error, Kind, Result};
use reqwest::{
    RequestBuilder, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, HeaderValue, LOCATION, RANGE},
    redirect,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::{sync::Arc, time::Duration};

const MAX_REDIRECTS: usize = 5;

/// How long strangers are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a connection, names and TLS included.
    pub(crate) connect: Duration,
    /// For an answer to begin, with the connection that it may need.
    pub(crate) answer: Duration,
    /// Without a byte.
    pub(crate) idle: Duration,
    /// Before the first repetition.
    pub(crate) backoff: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    patience: Patience,
    way: Option<Way>,
    bounds: Bounds,
}

/// A request for one thing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    pub(crate) accept: Option<&'a str>,
    /// The first byte that is wanted, where it is not the first of all.
    pub(crate) from: u64,
    /// Sent to the server itself and to nobody that it names.
    pub(crate) authorization: Option<&'a HeaderValue>,
}

impl Client {
    /// # Errors
    /// [`Kind::Internal`] when TLS cannot be set up, [`Kind::Config`] and [`Kind::Unsupported`] for a proxy that is none.
    pub(crate) fn new(patience: Patience, proxies: &Proxies, bounds: Bounds) -> Result<Self> {
        let way = proxies.way()?;
        let bounds = bounds.behind(way.as_ref());
        let builder = reqwest::Client::builder()
            .user_agent(concat!("agentkernel/", env!("CARGO_PKG_VERSION")))
            // Each redirect is judged here.
            .redirect(redirect::Policy::none())
            .referer(false)
            // The environment is not this crate's to read: its caller says what it has.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver::within(bounds.clone())))
            .connect_timeout(patience.connect)
            .read_timeout(patience.idle)
            .tls_backend_preconfigured(tls()?);
        let builder = match way.clone() {
            Some(way) => builder.proxy(reqwest::Proxy::custom(move |target| way.to(target))),
            None => builder,
        };
        let http = builder.build().map_err(|e| Error::internal("cannot set up HTTP").with_source(e))?;
        Ok(Self { http, patience, way, bounds })
    }

    /// Sends a request for what `peer` has, and waits for the beginning of its answer.
    pub(crate) async fn send(&self, peer: Peer<'_>, request: RequestBuilder) -> Result<Response, Failure> {
        match tokio::time::timeout(self.patience.answer, request.send()).await {
            Ok(sent) => sent.map_err(|e| self.unanswered(peer, &e)),
            Err(_) => Err(Failure::silent(peer)),
        }
    }

    /// That `error` came in place of an answer of `peer`.
    fn unanswered(&self, peer: Peer<'_>, error: &reqwest::Error) -> Failure {
        let way = error.url().and_then(|url| self.way.as_ref().filter(|way| way.to(url).is_some()));
        match way {
            Some(way) => Failure::through(peer, way, error),
            None => Failure::transport(peer, error),
        }
    }

    pub(crate) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// What a request to `url` is made with.
    ///
    /// # Errors
    /// When that is out of bounds; `peer` is who named it.
    pub(crate) fn http(&self, peer: Peer<'_>, url: &Url) -> Result<&reqwest::Client, Failure> {
        self.bounds
            .judge(url, self.way.as_ref())
            .map_err(|refused| Failure::elsewhere(refused.told(peer)))?;
        Ok(&self.http)
    }

    /// Asks `origin` at `path`, which messages call `peer`, and follows where it leads.
    ///
    /// # Errors
    /// When there is no answer, and for redirects that lead to plain http, to too many places, or nowhere; of a [`Peer::Site`],
    /// also for those to somebody else.
    pub(crate) async fn get(
        &self,
        origin: &Origin,
        peer: Peer<'_>,
        path: &str,
        request: Request<'_>,
    ) -> Result<Response, Failure> {
        let mut url = origin.at(path);
        for _ in 0..=MAX_REDIRECTS {
            let mut building = self.http(peer, &url)?.get(url.clone());
            if let Some(accept) = request.accept {
                building = building.header(ACCEPT, accept);
            }
            if request.from > 0 {
                building = building.header(RANGE, format!("bytes={}-", request.from));
            }
            if let Some(authorization) = request.authorization.filter(|_| origin.has(&url)) {
                building = building.header(AUTHORIZATION, authorization.clone());
            }
            let response = self.send(peer, building).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return decoded(peer, response);
            }
            url = next(origin, peer, &url, &response)?;
        }
        let message = format!("{peer} leads from one place to the next, more than {MAX_REDIRECTS} times");
        let error =
            Error::new(Kind::Unavailable, message).with_hint("its redirections are broken; try again later");
        Err(Failure::elsewhere(error))
    }
}

/// Where a redirect leads, if we go there.
fn next(origin: &Origin, peer: Peer<'_>, from: &Url, response: &Response) -> Result<Url, Failure> {
    let rule = match peer {
        Peer::Registry(_) => {
            "a registry may lead to https only, and one on this machine's loopback also to plain http there"
        }
        Peer::Site(_) => "a file is taken from the host that was named, and from no other",
    };
    let refuse = |why: &str| {
        Failure::elsewhere(Error::new(Kind::Denied, format!("{peer} leads {why}")).with_hint(rule))
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let url = location.and_then(|text| from.join(text).ok()).ok_or_else(|| refuse("nowhere"))?;
    if matches!(peer, Peer::Site(_)) && !origin.has(&url) {
        return Err(refuse("to another place"));
    }
    if origin.may_lead_to(&url) { Ok(url) } else { Err(refuse("to a place that is not safe")) }
}

/// A response is taken as it is: encodings were not asked for, and what they hide is not what has the digest.
fn decoded(peer: Peer<'_>, response: Response) -> Result<Response, Failure> {
    match response.headers().get(CONTENT_ENCODING) {
        Some(encoding) if encoding.as_bytes() != b"identity" => {
            Err(Failure::lie(peer, "encodes an answer in a way that nobody asked for"))
        }
        _ => Ok(response),
    }
}

/// All of an answer that may be `limit` bytes long, whatever its length is said to be.
pub(crate) async fn read(
    peer: Peer<'_>,
    mut response: Response,
    limit: u64,
    asked: Asked<'_>,
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let whole = async {
        while let Some(chunk) = response.chunk().await.map_err(|e| Failure::transport(peer, &e))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(Failure::too_long(peer, asked, limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(WHOLE_TEXT, whole).await {
        Ok(read) => read.map(|()| body),
        Err(_) => Err(too_slow(peer, &asked)),
    }
}

/// For a manifest, a configuration or a token: they are small, and a byte now and then is nothing to wait for.
const WHOLE_TEXT: Duration = Duration::from_secs(60);

pub(crate) fn too_slow(peer: Peer<'_>, asked: &Asked<'_>) -> Failure {
    Failure::elsewhere(
        Error::new(Kind::Unavailable, format!("{peer} sends {asked} too slowly"))
            .with_hint("try again later, or use a mirror")
            .retry_later(),
    )
}

/// TLS with the certificates that this machine trusts.
fn tls() -> Result<rustls::ClientConfig> {
    let fail = |e: rustls::Error| Error::internal("cannot set up TLS").with_source(e);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(fail)
    };
    let mut config = match builder()?.with_platform_verifier() {
        Ok(trusting) => trusting.with_no_client_auth(),
        // A machine without any certificates trusts nobody, and still has its own loopback.
        Err(_) => builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
