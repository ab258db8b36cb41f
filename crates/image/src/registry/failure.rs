//! What went wrong with a registry, and what may help.

use super::bounds::Refused;
use crate::proxies::Way;
use agentkernel_model::{Error, Kind, text::printable};
use reqwest::StatusCode;
use std::{error, fmt, io, time::Duration};

/// An error, with what is left to try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) remedy: Remedy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same again, after a while; `None`: as we see fit.
    Again(Option<Duration>),
    /// Another place may have it, or this one when it is there again.
    Unreachable,
    /// Another place may have it.
    Elsewhere,
    /// Nothing: somebody lies, or it is our own machine that fails.
    None,
}

/// Who is asked, as messages name it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer<'a> {
    Registry(&'a str),
    /// The host of one file, which is no registry.
    Site(&'a str),
}

/// What was asked for, as messages name it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Token,
    /// A file of a [`Peer::Site`].
    File(&'a str),
}

impl Failure {
    pub(crate) fn again(error: Error) -> Self {
        Self { error, remedy: Remedy::Again(None) }
    }

    pub(crate) fn elsewhere(error: Error) -> Self {
        Self { error, remedy: Remedy::Elsewhere }
    }

    pub(crate) fn last(error: Error) -> Self {
        Self { error, remedy: Remedy::None }
    }

    /// It says one thing and sends another. Nothing of it is kept.
    pub(crate) fn lie(peer: Peer<'_>, what: &str) -> Self {
        Self::last(
            Error::invalid(format!("{peer} {what}"))
                .with_hint("it is broken, or somebody between it and here changes what it sends"),
        )
    }

    /// More than anybody wants to read.
    pub(crate) fn too_long(peer: Peer<'_>, asked: Asked<'_>, limit: u64) -> Self {
        match asked {
            Asked::File(path) => Self::last(
                Error::invalid(format!("{path} of {peer} has more than {limit} bytes"))
                    .with_hint("check that it is the file that you mean"),
            ),
            asked => Self::lie(peer, &format!("sends more than {limit} bytes for {asked}")),
        }
    }

    /// A status of a registry that is no success.
    pub(crate) fn status(registry: &str, asked: Asked<'_>, status: StatusCode, code: Option<&str>) -> Self {
        let said = match code {
            Some(code) => format!("HTTP {}, {code}", status.as_u16()),
            None => format!("HTTP {}", status.as_u16()),
        };
        let what = asked.to_string();
        match status {
            StatusCode::NOT_FOUND => Self::elsewhere(not_found(registry, asked, &said)),
            StatusCode::FORBIDDEN => Self::elsewhere(
                Error::new(Kind::Denied, format!("registry '{registry}' refuses {what} ({said})"))
                    .with_hint(login(registry)),
            ),
            StatusCode::TOO_MANY_REQUESTS => Self::again(
                Error::new(
                    Kind::Unavailable,
                    format!("registry '{registry}' is asked too often from here ({said})"),
                )
                .with_hint(format!(
                    "try again later; with an account more may be allowed: {}",
                    login(registry)
                ))
                .retry_later(),
            ),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => Self::again(
                Error::new(Kind::Unavailable, format!("registry '{registry}' fails on {what} ({said})"))
                    .with_hint("try again later")
                    .retry_later(),
            ),
            _ => Self::elsewhere(Error::new(
                Kind::Unavailable,
                format!("registry '{registry}' answers {what} with {said}"),
            )),
        }
    }

    /// No answer, or not all of it.
    pub(crate) fn transport(peer: Peer<'_>, error: &reqwest::Error) -> Self {
        if let Some(refused) = refused(error) {
            return Self::elsewhere(refused.told(peer));
        }
        let cause = cause(error);
        if speaks_bad_tls(error) {
            return Self::elsewhere(
                Error::new(Kind::Unavailable, format!("{peer} cannot be trusted: {cause}"))
                    .with_hint(
                        "add the certificate of its authority to those of this machine (ca-certificates), or name a file that has it in SSL_CERT_FILE",
                    ),
            );
        }
        let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
        let told =
            Error::new(Kind::Unavailable, format!("{peer} {what}: {cause}")).with_hint(CHECK).retry_later();
        // Whoever cannot be reached now is not waited for: there may be another place, or an image that is here.
        let remedy = if error.is_connect() { Remedy::Unreachable } else { Remedy::Again(None) };
        Self { error: told, remedy }
    }

    /// Somebody took the connection and says nothing. As with one who cannot be reached, nobody waits for more of that.
    pub(crate) fn silent(peer: Peer<'_>) -> Self {
        let error =
            Error::new(Kind::Unavailable, format!("{peer} does not answer")).with_hint(CHECK).retry_later();
        Self { error, remedy: Remedy::Unreachable }
    }

    /// As [`Self::transport`], where a proxy is in between.
    pub(crate) fn through(peer: Peer<'_>, way: &Way, error: &reqwest::Error) -> Self {
        let told = Self::transport(peer, error);
        if !error.is_connect() || speaks_bad_tls(error) {
            return told;
        }
        let (proxy, variable) = (way.shown(), way.variable());
        let cause = cause(error);
        let message = format!("{peer} cannot be reached through the proxy {proxy}: {cause}");
        let error = Error::new(Kind::Unavailable, message)
            .with_hint(format!("check {variable}, or name the host in NO_PROXY to go without the proxy"))
            .retry_later();
        Self { error, ..told }
    }

    /// A registry that asks for a longer wait than anybody wants.
    pub(crate) fn patience(registry: &str, wait: Duration) -> Self {
        let seconds = wait.as_secs();
        let when =
            if seconds < 120 { format!("{seconds} s") } else { format!("{} minutes", seconds.div_ceil(60)) };
        Self::elsewhere(
            Error::new(Kind::Unavailable, format!("registry '{registry}' asks to come back in {when}"))
                .with_hint(format!("try again in {when}"))
                .retry_later(),
        )
    }
}

/// What helps where nobody answers.
const CHECK: &str = "check the network and the name of the host, or try again later";

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => write!(f, "registry '{name}'"),
            Self::Site(host) => f.write_str(host),
        }
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(image) => write!(f, "image '{image}'"),
            Self::Blob(digest) => write!(f, "the part {digest} of an image"),
            Self::Token => f.write_str("a token"),
            Self::File(path) => f.write_str(path),
        }
    }
}

fn not_found(registry: &str, asked: Asked<'_>, said: &str) -> Error {
    match asked {
        Asked::Manifest(image) => {
            Error::new(Kind::NotFound, format!("image '{image}' is not in registry '{registry}' ({said})"))
                .with_hint(format!(
                    "check its name and tag; registries also say so of private images: {}",
                    login(registry)
                ))
        }
        asked => Error::new(Kind::NotFound, format!("registry '{registry}' lacks {asked} ({said})"))
            .with_hint("the image was removed there, or its upload is not finished"),
    }
}

/// What to type for credentials.
pub(crate) fn login(registry: &str) -> String {
    match registry {
        "docker.io" => "docker login".to_owned(),
        other => format!("docker login {other}"),
    }
}

/// What a registry wants credentials for, and there are none, or it takes none of ours.
pub(crate) fn unauthorized(registry: &str, asked: Asked<'_>, had_credentials: bool) -> Failure {
    let error = if had_credentials {
        Error::new(Kind::Denied, format!("registry '{registry}' does not take our credentials for {asked}"))
            .with_hint(format!("log in again: {}", login(registry)))
    } else {
        Error::new(Kind::NotFound, format!("{asked} is not in registry '{registry}', or needs credentials"))
            .with_hint(format!("check its name and tag; for a private image: {}", login(registry)))
    };
    Failure::elsewhere(error)
}

/// The innermost causes, without the address: it may hold what signs a download.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut innermost: &dyn error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = printable(&innermost.to_string());
    text.chars().take(200).collect()
}

/// That a name led out of bounds.
fn refused(error: &reqwest::Error) -> Option<Refused> {
    let mut cause: Option<&(dyn error::Error + 'static)> = Some(error);
    while let Some(here) = cause {
        if let Some(found) = here.downcast_ref::<Refused>() {
            return Some(*found);
        }
        cause = here.source();
    }
    None
}

fn speaks_bad_tls(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(e) if !matches!(e, rustls::Error::InvalidMessage(_)))
}

/// What TLS says went wrong, if it was TLS.
pub(crate) fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut here: &(dyn error::Error + 'static) = error;
    loop {
        if let Some(found) = here.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An error of reading hides what it holds, and that may be another one.
        here = match here.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => held,
            None => here.source()?,
        };
    }
}
