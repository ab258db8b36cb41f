//! An engine behind TLS, with an authority that lives as long as its directory.

use crate::origin::authority::Authority;
use agentkernel_model::{Error, Result};
use std::{
    fs::{self, DirBuilder},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Docker's own.
const PORT: u16 = 2376;

/// How an engine is reached over the loopback, and what proves who is who.
#[derive(Debug, Clone)]
pub struct Tls {
    address: Ipv4Addr,
    dir: PathBuf,
}

impl Tls {
    /// Certificates in the new directory `dir`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn make(dir: &Path) -> Result<Self> {
        let tls = Self { address: own_address()?, dir: dir.to_owned() };
        let (server, client) = (dir.join("server"), tls.client());
        for place in [dir, &server, &client] {
            let made = DirBuilder::new().mode(0o700).create(place);
            made.map_err(|e| Error::io(format!("cannot make '{}'", place.display()), e))?;
        }
        let authority = Authority::new("engines of a test")?;
        for (place, name) in [(&server, tls.address.to_string()), (&client, "agentkernel".to_owned())] {
            let (certificate, key) = authority.mutual(&name)?;
            for (file, text) in [("ca.pem", authority.pem()), ("cert.pem", &certificate), ("key.pem", &key)] {
                let path = place.join(file);
                let mut open = fs::OpenOptions::new();
                let file = open.write(true).create_new(true).mode(0o600).open(&path);
                let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
                written.map_err(|e| Error::io(format!("cannot write '{}'", path.display()), e))?;
            }
        }
        Ok(tls)
    }

    /// As it stands in `DOCKER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("tcp://{}:{PORT}", self.address)
    }

    /// What `DOCKER_CERT_PATH` names for callers.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// A file of the server's.
    pub(super) fn of_server(&self, name: &str) -> PathBuf {
        self.dir.join("server").join(name)
    }
}

/// One of the loopback's many addresses, so that the usual port is free there.
fn own_address() -> Result<Ipv4Addr> {
    let [.., a, b, c] = uuid::Uuid::now_v7().into_bytes();
    let address = Ipv4Addr::new(127, a | 1, b, c | 1);
    let listener = std::net::TcpListener::bind((address, PORT));
    listener.map(|_| address).map_err(|e| Error::io(format!("cannot use {address}:{PORT}"), e))
}
