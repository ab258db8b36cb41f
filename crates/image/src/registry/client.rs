//! One request and the redirects that answer it.

use super::{
    bounds::Bounds,
    dns::Resolver,
    failure::{Asked, Failure},
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

/// A request for something of a registry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    pub(crate) accept: Option<&'a str>,
    /// The first byte that is wanted, where it is not the first of all.
    pub(crate) from: u64,
    /// Sent to the registry itself and to nobody that it names.
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

    /// Sends a request of `registry`'s, and waits for the beginning of its answer.
    pub(crate) async fn send(&self, registry: &str, request: RequestBuilder) -> Result<Response, Failure> {
        match tokio::time::timeout(self.patience.answer, request.send()).await {
            Ok(sent) => sent.map_err(|e| self.unanswered(registry, &e)),
            Err(_) => Err(Failure::silent(registry)),
        }
    }

    /// That `error` came in place of an answer of `registry`.
    fn unanswered(&self, registry: &str, error: &reqwest::Error) -> Failure {
        let way = error.url().and_then(|url| self.way.as_ref().filter(|way| way.to(url).is_some()));
        match way {
            Some(way) => Failure::through(registry, way, error),
            None => Failure::transport(registry, error),
        }
    }

    pub(crate) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// What a request to `url` is made with.
    ///
    /// # Errors
    /// When that is out of bounds; `registry` is who named it.
    pub(crate) fn http(&self, registry: &str, url: &Url) -> Result<&reqwest::Client, Failure> {
        self.bounds
            .judge(url, self.way.as_ref())
            .map_err(|refused| Failure::elsewhere(refused.told(registry)))?;
        Ok(&self.http)
    }

    /// Asks `origin` at `path`, which messages call `registry`, and follows where it leads.
    ///
    /// # Errors
    /// When there is no answer, and for redirects that lead to plain http, to too many places, or nowhere.
    pub(crate) async fn get(
        &self,
        origin: &Origin,
        registry: &str,
        path: &str,
        request: Request<'_>,
    ) -> Result<Response, Failure> {
        let mut url = origin.at(path);
        for _ in 0..=MAX_REDIRECTS {
            let mut building = self.http(registry, &url)?.get(url.clone());
            if let Some(accept) = request.accept {
                building = building.header(ACCEPT, accept);
            }
            if request.from > 0 {
                building = building.header(RANGE, format!("bytes={}-", request.from));
            }
            if let Some(authorization) = request.authorization.filter(|_| origin.has(&url)) {
                building = building.header(AUTHORIZATION, authorization.clone());
            }
            let response = self.send(registry, building).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return decoded(registry, response);
            }
            url = next(origin, registry, &url, &response)?;
        }
        let message = format!(
            "registry '{registry}' leads from one place to the next, more than {MAX_REDIRECTS} times"
        );
        Err(Failure::elsewhere(Error::new(Kind::Unavailable, message)))
    }
}

impl Client {
    /// All of a file that is no registry's.
    ///
    /// # Errors
    /// As [`Client::get`]; for any status but success.
    pub(crate) async fn file(
        &self,
        origin: &Origin,
        host: &str,
        path: &str,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        let response = self.get(origin, host, path, Request::default()).await?;
        if !response.status().is_success() {
            return Err(Failure::status(host, Asked::Manifest(path), response.status(), None));
        }
        read(host, response, limit, Asked::Manifest(path)).await
    }
}

/// Where a redirect leads, if we go there.
fn next(origin: &Origin, registry: &str, from: &Url, response: &Response) -> Result<Url, Failure> {
    let refuse = |why: &str| {
        Failure::elsewhere(Error::new(Kind::Denied, format!("registry '{registry}' leads {why}")).with_hint(
            "a registry may lead to https only, and one on this machine's loopback also to plain http there",
        ))
    };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let url = location.and_then(|text| from.join(text).ok()).ok_or_else(|| refuse("nowhere"))?;
    if origin.may_lead_to(&url) { Ok(url) } else { Err(refuse("to a place that is not safe")) }
}

/// A response is taken as it is: encodings were not asked for, and what they hide is not what has the digest.
fn decoded(registry: &str, response: Response) -> Result<Response, Failure> {
    match response.headers().get(CONTENT_ENCODING) {
        Some(encoding) if encoding.as_bytes() != b"identity" => {
            Err(Failure::lie(registry, "encodes an answer in a way that nobody asked for"))
        }
        _ => Ok(response),
    }
}

/// All of an answer that may be `limit` bytes long, whatever its length is said to be.
pub(crate) async fn read(
    registry: &str,
    mut response: Response,
    limit: u64,
    asked: Asked<'_>,
) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let whole = async {
        while let Some(chunk) = response.chunk().await.map_err(|e| Failure::transport(registry, &e))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(Failure::lie(registry, &format!("sends more than {limit} bytes for {asked}")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(WHOLE_TEXT, whole).await {
        Ok(read) => read.map(|()| body),
        Err(_) => Err(too_slow(registry, &asked)),
    }
}

/// For a manifest, a configuration or a token: they are small, and a byte now and then is nothing to wait for.
const WHOLE_TEXT: Duration = Duration::from_secs(60);

pub(crate) fn too_slow(registry: &str, asked: &Asked<'_>) -> Failure {
    Failure::elsewhere(
        Error::new(Kind::Unavailable, format!("registry '{registry}' sends {asked} too slowly"))
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
