//! DNS for a sandbox: its questions are checked, asked of the host's resolvers, and answered.
//!
//! The addresses in an answer are passed on as they are. A name that leads to a private address (DNS rebinding) gains
//! nothing: each connection is decided by its address when it is made.

pub(crate) mod forward;
mod message;
pub(crate) mod resolvers;
pub(crate) mod stream;
mod upstream;

use forward::Forwarder;
use message::{Fault, Query};

/// The port of DNS. Connections to it end here whatever address was meant.
pub(crate) const PORT: u16 = 53;

/// How a question arrived, which bounds its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// The answer to `message`; `None` when it deserves none.
pub(crate) async fn respond(forwarder: &Forwarder, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match Query::parse(message) {
        Ok(query) => Some(forwarder.answer(&query, transport).await),
        Err(Fault::Answerable(error)) => Some(error),
        Err(Fault::Silent) => None,
    }
}
