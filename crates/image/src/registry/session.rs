//! One place that may have an image: asked, answered when it wants to know who we are, asked again.

use super::{
    challenge,
    client::{self, Client, Request},
    failure::{Asked, Failure, Peer, tls_error, unauthorized},
    origin::Origin,
    retry::{self, Retries, WhenUnreachable},
    token::Door,
};
use crate::{
    credentials::{Credentials, Keyring},
    digest,
    halt::Halt,
    manifest::{self, Descriptor},
    progress::Progress,
};
use agentkernel_model::{Error, Kind, Result, image::Digest};
use reqwest::{Response, StatusCode, header::HeaderValue};
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    net::TcpStream,
    sync::{Mutex, OnceCell},
};

/// What all places are asked with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) client: &'a Client,
    pub(crate) keyring: &'a Keyring<'a>,
    pub(crate) halt: &'a Halt,
    pub(crate) progress: &'a dyn Progress,
}

pub(crate) struct Session<'a> {
    pub(super) around: Surroundings<'a>,
    /// As people and files of credentials name it.
    pub(super) registry: String,
    pub(super) repository: &'a str,
    place: Place,
    origin: OnceCell<Origin>,
    authorization: Mutex<Option<HeaderValue>>,
    credentials: OnceCell<Option<Credentials>>,
}

/// Where it answers.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Known(Origin),
    /// A registry of this machine's loopback: by https if it speaks that, else by http.
    Loopback(String),
}

const ERROR_BODY: u64 = 64 << 10;
/// For a server on this machine to begin TLS: longer than one takes that speaks it, on a machine that is busy. Who does not
/// speak it mostly says so at once.
const LOOPBACK_TLS: Duration = Duration::from_secs(10);

impl<'a> Session<'a> {
    pub(crate) fn new(around: Surroundings<'a>, registry: String, repository: &'a str, place: Place) -> Self {
        let (origin, authorization) = (OnceCell::new(), Mutex::new(None));
        Self { around, registry, repository, place, origin, authorization, credentials: OnceCell::new() }
    }

    pub(super) fn peer(&self) -> Peer<'_> {
        Peer::Registry(&self.registry)
    }

    /// A manifest by its tag or digest: its bytes and their digest.
    pub(crate) async fn manifest(
        &self,
        image: &str,
        named: &str,
        pinned: Option<&Digest>,
    ) -> Result<(Vec<u8>, Digest), Failure> {
        let path = format!("/v2/{}/manifests/{named}", self.repository);
        let asked = Asked::Manifest(image);
        let accept = manifest::accepted();
        let (body, header) = self
            .repeat(async || {
                let response = self.get(&path, Some(&accept), 0, asked).await?;
                let header = response.headers().get("docker-content-digest").cloned();
                let body = client::read(self.peer(), response, manifest::MAX_MANIFEST, asked).await?;
                Ok((body, header))
            })
            .await?;
        let digest = digest::of(&body);
        // Of other algorithms, and of what else is in that header, we know nothing.
        let said = header.as_ref().and_then(|h| h.to_str().ok()).and_then(|text| text.parse::<Digest>().ok());
        match pinned.or(said.as_ref()) {
            Some(expected) if *expected != digest => {
                Err(Failure::lie(self.peer(), &format!("sends {digest} for the manifest {expected}")))
            }
            _ => Ok((body, digest)),
        }
    }

    /// A small blob, whole.
    pub(crate) async fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Failure> {
        let asked = Asked::Blob(blob.digest.as_str());
        if blob.size > limit {
            let what = format!("has a manifest whose part {} has {} bytes", blob.digest, blob.size);
            return Err(Failure::lie(self.peer(), &what));
        }
        let path = self.path(blob);
        let body = self
            .repeat(async || {
                let response = self.get(&path, None, 0, asked).await?;
                client::read(self.peer(), response, blob.size, asked).await
            })
            .await?;
        let digest = digest::of(&body);
        if body.len() as u64 != blob.size || digest != blob.digest {
            let what = format!("sends {} bytes of {digest} for {} of {}", body.len(), blob.size, blob.digest);
            return Err(Failure::lie(self.peer(), &what));
        }
        Ok(body)
    }

    pub(super) fn path(&self, blob: &Descriptor) -> String {
        format!("/v2/{}/blobs/{}", self.repository, blob.digest)
    }

    async fn repeat<T>(&self, mut ask: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut retries = Retries::new(self.around.client.patience().backoff, WhenUnreachable::GiveUp);
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => retries.wait(failure, self.around.halt).await?,
            }
        }
    }

    /// One answer that is a success, or the refusal of a range.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: Option<&str>,
        from: u64,
        asked: Asked<'_>,
    ) -> Result<Response, Failure> {
        let origin = self.origin().await?;
        let known = self.authorization.lock().await.clone();
        let request = Request { accept, from, authorization: known.as_ref() };
        let response = self.around.client.get(origin, self.peer(), path, request).await?;
        // Only the registry itself may ask who we are: not where it leads to.
        if response.status() != StatusCode::UNAUTHORIZED || !origin.has(response.url()) {
            return self.judge(response, from, asked).await;
        }
        let fresh = self.authorize(origin, &response, known.as_ref(), asked).await?;
        let request = Request { authorization: Some(&fresh), ..request };
        let response = self.around.client.get(origin, self.peer(), path, request).await?;
        if response.status() == StatusCode::UNAUTHORIZED && origin.has(response.url()) {
            let had = self.credentials.get().is_some_and(Option::is_some);
            return Err(unauthorized(&self.registry, asked, had));
        }
        self.judge(response, from, asked).await
    }

    async fn judge(&self, response: Response, from: u64, asked: Asked<'_>) -> Result<Response, Failure> {
        let status = response.status();
        match status {
            StatusCode::OK => return Ok(response),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                return Ok(response);
            }
            _ => {}
        }
        let wait = retry::asked(&self.registry, response.headers());
        let code = self.code(response).await;
        let mut failure = Failure::status(&self.registry, asked, status, code.as_deref());
        if let super::failure::Remedy::Again(_) = failure.remedy {
            failure.remedy = super::failure::Remedy::Again(wait?);
        }
        Err(failure)
    }

    /// The registry's own word for an error, such as `MANIFEST_UNKNOWN`. Its message is not shown: it may repeat what we
    /// sent.
    async fn code(&self, response: Response) -> Option<String> {
        #[derive(Deserialize)]
        struct Body {
            errors: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            code: String,
        }
        let body = client::read(self.peer(), response, ERROR_BODY, Asked::Token).await.ok()?;
        let code = serde_json::from_slice::<Body>(&body).ok()?.errors.into_iter().next()?.code;
        let word = (1..=40).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'0'..=b'9'));
        word.then_some(code)
    }

    /// What to send from now on. Of several that ask at once, one gets it for all.
    async fn authorize(
        &self,
        origin: &Origin,
        response: &Response,
        known: Option<&HeaderValue>,
        asked: Asked<'_>,
    ) -> Result<HeaderValue, Failure> {
        let mut held = self.authorization.lock().await;
        if let Some(fresh) = held.as_ref().filter(|fresh| Some(*fresh) != known) {
            return Ok(fresh.clone());
        }
        let credentials = self.credentials.get_or_try_init(async || {
            let note = |text: &str| self.around.progress.note(text);
            self.around.keyring.find(&self.registry, self.repository, &note).await
        });
        let credentials = credentials.await.map_err(Failure::last)?;
        let Some(challenge) = challenge::read(response.headers()) else {
            return Err(unauthorized(&self.registry, asked, credentials.is_some()));
        };
        let door = Door {
            client: self.around.client,
            origin,
            registry: &self.registry,
            repository: self.repository,
            asked,
        };
        let fresh = door.answer(challenge, credentials.as_ref()).await?;
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    async fn origin(&self) -> Result<&Origin, Failure> {
        self.origin
            .get_or_try_init(async || match &self.place {
                Place::Known(origin) => Ok(origin.clone()),
                Place::Loopback(host) => self.probe(host).await,
            })
            .await
    }

    /// Tries https, and takes http if what answers does not speak TLS: nobody else can listen on this machine's loopback
    /// or stand between it and us. A certificate that is not trusted is an error: who has one means it.
    async fn probe(&self, host: &str) -> Result<Origin, Failure> {
        let secure = Origin::https(host).map_err(Failure::last)?;
        let plain = Origin::http(host).map_err(Failure::last)?;
        // Not even dialled, where neither may be.
        let http = match self.around.client.http(self.peer(), &secure.at("/v2/")) {
            Ok(http) => http,
            Err(_) => return self.around.client.http(self.peer(), &plain.at("/v2/")).map(|_| plain),
        };
        // Without a port https and http are two servers; plain http is asked where nobody answers https.
        let dialled =
            tokio::time::timeout(self.around.client.patience().connect, TcpStream::connect(secure.address()));
        if !matches!(dialled.await, Ok(Ok(_))) {
            return Ok(plain);
        }
        let request = http.get(secure.at("/v2/")).send();
        let patience = self.around.client.patience().answer.min(LOOPBACK_TLS);
        match tokio::time::timeout(patience, request).await {
            Ok(Ok(_)) => Ok(secure),
            Ok(Err(error)) => match tls_error(&error) {
                None | Some(rustls::Error::InvalidMessage(_)) => Ok(plain),
                Some(_) => Err(Failure::transport(self.peer(), &error)),
            },
            Err(_) => Ok(plain),
        }
    }
}

/// Where the registry `host` of a reference answers.
pub(crate) fn place_of(host: &str) -> Result<Place> {
    // The name of Docker's registry is not the name of a server.
    let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let origin = Origin::https(server).map_err(|_| {
        Error::new(Kind::Invalid, format!("'{host}' is not a registry")).with_hint("write HOST/NAME:TAG")
    })?;
    Ok(if origin.is_loopback() { Place::Loopback(server.to_owned()) } else { Place::Known(origin) })
}
