//! Registries (OCI distribution-spec 1.1, and Docker's before it), as strangers that may be slow, broken or hostile.
//!
//! [`Remote`] knows all places where an image may be and asks them in order; [`Session`](session::Session) is one of
//! them: it asks, is told who we have to be (`challenge`, `token`), and repeats what may work later (`retry`). `download`
//! is a blob on its way to the disk, `client` one request with its redirects, `failure` what went wrong and what helps.

mod bounds;
mod challenge;
mod client;
mod dns;
mod download;
mod failure;
mod origin;
mod remote;
mod retry;
mod session;
mod token;

pub(crate) use bounds::Bounds;
pub(crate) use client::{Client, Patience, Request, read};
pub(crate) use download::{Partial, remove_leftover};
pub(crate) use failure::{Asked, Failure, Peer};
pub(crate) use origin::{Origin, is_loopback};
pub(crate) use remote::{Fetched, Remote, Surroundings};
