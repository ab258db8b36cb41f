//! One small file from the web, such as a template: over https, bounded, following few redirects.

use crate::{
    proxies::Proxies,
    registry::{Asked, Bounds, Client, Failure, Origin, Patience, Peer, Request, read},
};
use agentkernel_model::{Error, Kind, Result, text::printable};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::runtime::Builder;

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(30),
    idle: Duration::from_secs(30),
    backoff: Duration::from_millis(300),
};

/// What is at `url`, at most `limit` bytes, of its host and no other. Blocks, and leaves no thread behind.
///
/// # Errors
/// [`Kind::Invalid`] for what is no https URL, and for more than `limit` bytes; [`Kind::NotFound`]; [`Kind::Denied`] when
/// not everybody may read it, or its host leads elsewhere; [`Kind::Unavailable`] when it cannot be reached;
/// [`Kind::Config`] for a proxy that is none.
pub fn fetch(url: &str, limit: u64, proxies: &Proxies) -> Result<Vec<u8>> {
    let (host, path) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| Error::invalid(format!("'{}' is no https URL", printable(url))))?;
    let origin = Origin::https(host)?;
    let client = Client::new(PATIENCE, proxies, Bounds::default())?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("cannot start a runtime", e))?;
    let (peer, path) = (Peer::Site(host), format!("/{path}"));
    let whole = async {
        let response = client.get(&origin, peer, &path, Request::default()).await?;
        match response.status() {
            StatusCode::OK => read(peer, response, limit, Asked::File(&path)).await,
            status => Err(Failure::elsewhere(refused(url, status))),
        }
    };
    runtime.block_on(whole).map_err(|failure| failure.error)
}

/// What a status says that is no success.
fn refused(url: &str, status: StatusCode) -> Error {
    let (url, code) = (printable(url), status.as_u16());
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Error::new(Kind::NotFound, format!("there is nothing at {url} (HTTP {code})"))
                .with_hint("check each part of it, and that everybody may read it")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Error::new(Kind::Denied, format!("{url} is not for everybody (HTTP {code})"))
                .with_hint("download it yourself, and name the file")
        }
        _ => Error::new(Kind::Unavailable, format!("{url} cannot be had now (HTTP {code})"))
            .with_hint("try again later")
            .retry_later(),
    }
}
