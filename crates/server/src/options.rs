//! What a server is told when it starts.

use crate::{access::AccessLog, keys::KeySource};
use std::{net::IpAddr, path::PathBuf};

/// Where it listens and whom it serves.
#[derive(Debug, Clone)]
pub struct Options {
    pub listen: Listen,
    pub keys: KeySource,
    /// Serve whoever comes, on an address that other machines reach.
    pub insecure: bool,
    /// Names besides `localhost` and addresses that a `Host` header may have.
    pub allow_hosts: Vec<String>,
    /// Directories of this machine that callers may mount.
    pub allow_paths: Vec<PathBuf>,
    /// Whether callers may have secrets of the vault as files inside, where commands read them.
    pub allow_secret_files: bool,
    /// Whether rules of callers may let sandboxes reach more than public addresses: this machine, its networks, metadata.
    pub allow_private_network: bool,
    /// Whether callers may run commands as root inside.
    pub allow_sudo: bool,
    /// The directories in which programs of agents are looked for.
    pub path: Vec<PathBuf>,
    pub access_log: Option<AccessLog>,
    pub limits: ServerLimits,
}

/// Where a server listens; at least one.
#[derive(Debug, Clone)]
pub struct Listen {
    pub tcp: Option<Tcp>,
    /// A socket of the file system, which only its owner can reach.
    pub socket: Option<PathBuf>,
}

/// An address, and how it is encrypted.
#[derive(Debug, Clone)]
pub struct Tcp {
    pub address: IpAddr,
    pub port: u16,
    pub tls: Option<Tls>,
}

/// PEM files of a certificate chain and its key.
#[derive(Debug, Clone)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How much is served at once.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Bytes of the body of a request that is JSON.
    pub body: usize,
    /// Connections that are open.
    pub connections: usize,
    /// Those of them that have not said whose they are: the oldest makes way for the next one.
    pub strangers: usize,
    /// Commands of callers that run; the next one is answered with 429.
    pub commands: usize,
    /// Bytes of each output stream of a command that is answered when it has ended.
    pub output: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self { body: 16 * MIB, connections: 4096, strangers: 128, commands: 256, output: 16 * MIB }
    }
}
