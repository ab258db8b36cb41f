//! Who may use the API: the right user, the right key, and no web page of somebody else's.

use super::{envelope::Failure, listen::Stay, peer::Peer};
use crate::App;
use agentkernel_model::Kind;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use std::{net::IpAddr, sync::Arc};

/// Asked before every route.
pub(super) async fn check(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Unknown);
    let asked = Asked { uri: request.uri(), headers: request.headers(), peer };
    match asked.judge(&app) {
        Ok(known) => {
            if known {
                if let Some(stay) = request.extensions().get::<Stay>() {
                    stay.is_known();
                }
                request.extensions_mut().insert(Known);
            }
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// With a request of which it is known who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known;

struct Asked<'a> {
    uri: &'a Uri,
    headers: &'a HeaderMap,
    peer: Peer,
}

impl Asked<'_> {
    /// Whether it is known then who asks.
    fn judge(&self, app: &App) -> Result<bool, Failure> {
        self.judge_host(app)?;
        self.judge_origin()?;
        // The page holds nothing of anybody's: what it shows it asks for with the key.
        if self.uri.path() == "/health" || super::routes::is_page(self.uri.path()) {
            return Ok(false);
        }
        if app.keys.are_required() {
            return self.judge_key(app).map(|()| true);
        }
        match self.peer {
            Peer::Socket | Peer::Own => Ok(true),
            Peer::Remote if app.options.insecure => Ok(true),
            Peer::Remote | Peer::Foreign | Peer::Unknown => {
                Err(denied("this server serves only the user who started it")
                    .with_hint("start it with --api-key-file FILE, and send Authorization: Bearer KEY"))
            }
        }
    }

    /// A name that somebody else's DNS leads here is not ours (DNS rebinding).
    fn judge_host(&self, app: &App) -> Result<(), Failure> {
        if self.peer == Peer::Socket {
            return Ok(());
        }
        let host = self.headers.get(header::HOST).map(|value| value.to_str().unwrap_or_default());
        let Some(authority) = host.or_else(|| self.uri.authority().map(Authority::as_str)) else {
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                Kind::Invalid.as_str(),
                "there is no Host header",
            ));
        };
        let name = authority.parse::<Authority>().map(|a| a.host().to_ascii_lowercase()).unwrap_or_default();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let known = name == "localhost"
            || bare.parse::<IpAddr>().is_ok()
            || app.options.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name));
        if known {
            return Ok(());
        }
        Err(denied("the Host header names no host that this server answers for")
            .with_hint("use its address, or start it with --allow-host NAME"))
    }

    /// A browser says where a request comes from; programs say nothing.
    fn judge_origin(&self) -> Result<(), Failure> {
        let foreign = || denied("requests of other web pages are refused");
        if let Some(origin) = self.headers.get(header::ORIGIN) {
            let origin = origin.to_str().map_err(|_| foreign())?;
            let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if host.is_empty() || own != Some(host) {
                return Err(foreign());
            }
        }
        match self.headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            // Following a link to the page is no request of another page's.
            Some(_) if super::routes::is_page(self.uri.path()) => Ok(()),
            Some(_) => Err(foreign()),
        }
    }

    fn judge_key(&self, app: &App) -> Result<(), Failure> {
        let Some(key) = self.key()? else {
            return Err(unauthorized("the Authorization header is missing"));
        };
        if app.keys.accept(key) { Ok(()) } else { Err(unauthorized("the API key is wrong")) }
    }

    fn key(&self) -> Result<Option<&[u8]>, Failure> {
        let Some(value) = self.headers.get(header::AUTHORIZATION) else { return Ok(self.key_of_socket()) };
        let (scheme, key) = value.as_bytes().split_at(value.len().min(7));
        if scheme.eq_ignore_ascii_case(b"bearer ") {
            return Ok(Some(key.trim_ascii()));
        }
        Err(unauthorized("the Authorization header has another scheme than Bearer"))
    }

    /// A browser can give a WebSocket no header but the names of subprotocols; `bearer.KEY` is one of ours.
    fn key_of_socket(&self) -> Option<&[u8]> {
        let offered = self.headers.get(header::SEC_WEBSOCKET_PROTOCOL)?;
        offered.as_bytes().split(|b| *b == b',').find_map(|one| one.trim_ascii().strip_prefix(b"bearer."))
    }
}

fn denied(why: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, Kind::Denied.as_str(), why)
}

fn unauthorized(why: &str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, Kind::Denied.as_str(), why)
        .with_hint("send Authorization: Bearer KEY")
}
