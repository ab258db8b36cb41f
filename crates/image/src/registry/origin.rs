//! Scheme, host and port: whom we talk to.

use agentkernel_model::{Error, Result, text::printable};
use reqwest::Url;
use std::{fmt, str::FromStr};

/// Where a registry or a mirror answers: `https`, or `http` on this machine's own loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(Url);

impl Origin {
    /// `host` of a reference, with its port or without, by https.
    ///
    /// # Errors
    /// When it is no host.
    pub(crate) fn https(host: &str) -> Result<Self> {
        format!("https://{host}").parse()
    }

    /// As [`Origin::https`], by plain http.
    ///
    /// # Errors
    /// Also when it is not this machine.
    pub(crate) fn http(host: &str) -> Result<Self> {
        format!("http://{host}").parse()
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether `url` leads to the same server.
    pub(crate) fn has(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Host and port, as `TcpStream::connect` takes them.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host(), self.0.port_or_known_default().unwrap_or_default())
    }

    /// Host, and port if it is not the scheme's own: as references and files of credentials name it.
    pub(crate) fn authority(&self) -> String {
        match self.0.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        }
    }

    /// `path`, which begins with a slash and is made of names and digests that we checked, on this server.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Whether this server may send us, or a token, to `url`: https anywhere; plain http between loopback and loopback;
    /// and no names or passwords of its choice.
    pub(crate) fn may_lead_to(&self, url: &Url) -> bool {
        let way = match url.scheme() {
            "https" => true,
            "http" => self.is_plain() && is_loopback(url),
            _ => false,
        };
        way && url.username().is_empty() && url.password().is_none()
    }
}

/// Whether `url` leads to this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    // The parser has normalised the host: 127.1 and 0x7f000001 are 127.0.0.1 here.
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::invalid(format!("'{}' {why}", printable(text)))
                .with_hint("write https://HOST, https://HOST:PORT, or http://localhost:PORT")
        };
        let url = Url::parse(text).map_err(|_| refuse("is not the address of a registry"))?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match url.scheme() {
            "https" | "http" if url.host_str().is_none_or(str::is_empty) => {
                Err(refuse("is not the address of a registry"))
            }
            "https" | "http" if !bare => Err(refuse("has more than a host and a port")),
            "http" if !is_loopback(&url) => Err(refuse("is plain http, which is for this machine only")),
            "https" | "http" => Ok(Self(url)),
            _ => Err(refuse("is not the address of a registry")),
        }
    }
}

/// Without a slash at the end.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
