//! Published ports: `8080:80`, `80`, `8080:80/tcp`.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A TCP port of the sandbox that the keeper offers on 127.0.0.1 of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port on the host; 0 lets the system choose one.
    pub host: u16,
    /// The port inside.
    pub guest: u16,
}

impl FromStr for PublishedPort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |why: &str| {
            Error::invalid(format!("port '{}' {why}", printable(text)))
                .with_hint("write HOST:SANDBOX or SANDBOX, such as 8080:80 or 3000")
        };
        let spec = match text.split_once('/') {
            None | Some((_, "tcp")) => text.split('/').next().unwrap_or(text),
            Some((_, "udp")) => {
                return Err(Error::new(
                    crate::Kind::Unsupported,
                    format!("port '{}': UDP cannot be published yet", printable(text)),
                )
                .with_hint("publish a TCP port"));
            }
            Some(_) => return Err(fail("has an unknown protocol")),
        };
        let number = |s: &str| s.parse::<u16>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
        let (host, guest) = match spec.split_once(':') {
            Some((host, guest)) => (number(host), number(guest)),
            None => (number(spec), number(spec)),
        };
        match (host, guest) {
            (Some(host), Some(guest)) if guest != 0 => Ok(Self { host, guest }),
            _ => Err(fail("is not a port")),
        }
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.guest)
    }
}
