//! One small file from the web, such as a template: over https, bounded, following few redirects.

use crate::{
    proxies::Proxies,
    registry::{Bounds, Client, Origin, Patience},
};
use agentkernel_model::{Error, Kind, Result, text::printable};
use std::time::Duration;
use tokio::runtime::Builder;

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(30),
    idle: Duration::from_secs(30),
    backoff: Duration::from_millis(300),
};

/// What is at `url`, at most `limit` bytes. Blocks, and leaves no thread behind.
///
/// # Errors
/// [`Kind::Invalid`] for what is no https URL, and for more than `limit` bytes; [`Kind::NotFound`]; [`Kind::Unavailable`]
/// when it cannot be reached; [`Kind::Config`] for a proxy that is none.
pub fn fetch(url: &str, limit: u64, proxies: &Proxies) -> Result<Vec<u8>> {
    let shown = printable(url);
    let (host, path) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| Error::invalid(format!("'{shown}' is no https URL")))?;
    let origin = Origin::https(host)?;
    let client = Client::new(PATIENCE, proxies, Bounds::default())?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("cannot start a runtime", e))?;
    runtime.block_on(client.file(&origin, host, &format!("/{path}"), limit)).map_err(|failure| {
        let error = failure.error;
        if error.kind() == Kind::NotFound {
            Error::new(Kind::NotFound, format!("there is nothing at {shown}"))
                .with_hint("check each part of it, and that everybody may read it")
        } else {
            error
        }
    })
}
