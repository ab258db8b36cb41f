//! From credentials to what a registry takes: `Authorization`.

use super::{
    challenge::Challenge,
    client::{self, Client},
    failure::{Asked, Failure, Peer, unauthorized},
    origin::Origin,
};
use crate::{credentials::Credentials, secret::Secret};
use agentkernel_model::{Error, Kind};
use base64::Engine as _;
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use zeroize::Zeroizing;

const MAX_ANSWER: u64 = 64 << 10;
/// Registries whose tokens come from another host, and that host.
const PAIRS: [(&str, &str); 2] =
    [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// One repository of one registry that wants to know who we are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door<'a> {
    pub(crate) client: &'a Client,
    pub(crate) origin: &'a Origin,
    pub(crate) registry: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) asked: Asked<'a>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
}

impl Door<'_> {
    const fn peer(&self) -> Peer<'_> {
        Peer::Registry(self.registry)
    }

    /// The header that answers `challenge`. Credentials are sent to the registry's own origin and to hosts that are
    /// known to belong to it; a token without any may come from every place that https leads to.
    ///
    /// # Errors
    /// When the registry wants credentials and there are none, or takes none of them.
    pub(crate) async fn answer(
        &self,
        challenge: Challenge,
        credentials: Option<&Credentials>,
    ) -> Result<HeaderValue, Failure> {
        match (challenge, credentials) {
            (_, Some(Credentials::Token(token))) => self.header("Bearer", token.reveal()),
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                self.header("Basic", &basic(username, password))
            }
            (Challenge::Basic, credentials) => {
                Err(unauthorized(self.registry, self.asked, credentials.is_some()))
            }
            (Challenge::Bearer { realm, service }, credentials) => {
                let token = self.token(realm, service, credentials).await?;
                self.header("Bearer", token.reveal())
            }
        }
    }

    async fn token(
        &self,
        realm: Url,
        service: Option<String>,
        credentials: Option<&Credentials>,
    ) -> Result<Secret, Failure> {
        if !self.origin.may_lead_to(&realm) {
            return Err(Failure::elsewhere(Error::new(
                Kind::Denied,
                format!("registry '{}' wants a token from a place that is not safe", self.registry),
            )));
        }
        let trusted = self.origin.has(&realm) || is_pair(self.origin, &realm);
        let sent = credentials.filter(|_| trusted);
        let response = match sent {
            Some(Credentials::Refresh(token)) => self.refresh(realm, service, token).await?,
            other => self.ask(realm, service, other).await?,
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if credentials.is_some() && sent.is_none() => {
                return Err(Failure::elsewhere(Error::new(
                    Kind::Denied,
                    format!(
                        "registry '{}' wants our credentials sent to another host, and they stay here",
                        self.registry
                    ),
                )));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(unauthorized(self.registry, self.asked, sent.is_some()));
            }
            status => return Err(Failure::status(self.registry, Asked::Token, status, None)),
        }
        let body = client::read(self.peer(), response, MAX_ANSWER, Asked::Token).await.map(Zeroizing::new)?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Failure::lie(self.peer(), "gives out tokens that are none"))
    }

    /// As the distribution project's token authentication has it.
    async fn ask(
        &self,
        mut realm: Url,
        service: Option<String>,
        credentials: Option<&Credentials>,
    ) -> Result<Response, Failure> {
        for (key, value) in self.parameters(service) {
            realm.query_pairs_mut().append_pair(key, &value);
        }
        let mut request = self.client.http(self.peer(), &realm)?.get(realm);
        if let Some(Credentials::Password { username, password }) = credentials {
            request = request.header(AUTHORIZATION, self.header("Basic", &basic(username, password))?);
        }
        self.client.send(self.peer(), request).await
    }

    /// As its OAuth 2 has it.
    async fn refresh(
        &self,
        realm: Url,
        service: Option<String>,
        token: &Secret,
    ) -> Result<Response, Failure> {
        let mut form = Url::parse("form:").map_err(|e| Failure::last(Error::internal(e.to_string())))?;
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "agentkernel")
            .append_pair("refresh_token", token.reveal())
            .extend_pairs(self.parameters(service));
        let body = form.query().unwrap_or_default().to_owned();
        let request = self.client.http(self.peer(), &realm)?.post(realm);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        self.client.send(self.peer(), request).await
    }

    /// The scope is ours: what a registry asks for in its challenge may be more.
    fn parameters(&self, service: Option<String>) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("scope", format!("repository:{}:pull", self.repository))];
        parameters.extend(service.map(|service| ("service", service)));
        parameters
    }

    fn header(&self, scheme: &str, text: &str) -> Result<HeaderValue, Failure> {
        let whole = Zeroizing::new(format!("{scheme} {text}"));
        let mut value = HeaderValue::from_str(&whole)
            .map_err(|_| Failure::lie(self.peer(), "gives out tokens that are none"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn basic(username: &str, password: &Secret) -> Zeroizing<String> {
    let plain = Zeroizing::new(format!("{username}:{}", password.reveal()));
    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(plain.as_bytes()))
}

fn is_pair(registry: &Origin, realm: &Url) -> bool {
    let own_port = realm.port().is_none() && realm.scheme() == "https";
    let authority = registry.authority();
    own_port
        && !registry.is_plain()
        && PAIRS.iter().any(|(r, t)| *r == authority && realm.host_str() == Some(t))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
