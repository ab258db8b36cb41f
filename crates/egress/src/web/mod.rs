//! HTTP of a sandbox, read by the gateway: requests in clear, TLS that is opened, and requests to the gateway as a proxy.
//!
//! This part knows neither rules nor DNS: a [`Judge`] says what may be asked, [`Roads`] find a way.

use crate::observer::Request;
use agentkernel_backend::ByteStream;
use agentkernel_trust::Bound;
use async_trait::async_trait;
use std::net::SocketAddr;

/// Where a connection goes, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What SNI, Host and :authority must say: a name in lower case without a dot at its end, or an address as text.
    pub(crate) name: String,
    /// An address that the sandbox may reach under this name.
    pub(crate) address: SocketAddr,
}

/// Says of each request whether it goes out.
pub(crate) trait Judge: Send + Sync {
    /// `path` is without its query.
    ///
    /// # Errors
    /// The rule that forbids it, as people read it.
    fn request(&self, place: &Place, method: &str, path: &str) -> Result<(), String>;

    /// What is to be sent to the verified other side; over TLS only.
    fn secrets(&self, place: &Place) -> Vec<Bound>;

    /// Is told of each request once, when its answer has begun or it was refused. Must not block.
    fn observe(&self, request: Request);
}

/// Finds ways for requests to a proxy.
#[async_trait]
pub(crate) trait Roads: Send + Sync {
    /// # Errors
    /// The rule that forbids it, or that the name leads nowhere, as people read it.
    async fn find(&self, host: &str, port: u16) -> Result<Place, String>;

    /// Takes the stream behind a CONNECT, to its end.
    async fn tunnel(&self, place: Place, io: Box<dyn ByteStream>);
}
