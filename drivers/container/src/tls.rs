//! Who an engine on the network is, and who asks it: certificates as Docker's command line keeps them.

use agentkernel_model::{Error, Kind, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

/// The longest file of certificates that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What `ca.pem`, `cert.pem` and `key.pem` in `directory` say. The engine is believed when `ca.pem` vouches for it, and
/// nobody else does; the last two may be missing together, for engines that ask for no certificate.
///
/// # Errors
/// [`Kind::Invalid`] when one is missing or cannot be used; the content of none is in the error.
pub(crate) fn configuration(directory: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&directory.join("ca.pem"))? {
        roots.add(certificate).map_err(|e| unusable(&directory.join("ca.pem"), &e.to_string()))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal("TLS cannot be set up").with_source(e))?
        .with_root_certificates(roots);
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    if !cert.exists() && !key.exists() {
        return Ok(Arc::new(config.with_no_client_auth()));
    }
    let chain = certificates(&cert)?;
    let secret =
        PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|_| unusable(&key, "it holds no private key"))?;
    let config = config.with_client_auth_cert(chain, secret);
    config.map(Arc::new).map_err(|_| unusable(&key, "it is not the key of cert.pem"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(path, "it holds no certificate")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
    let read = read.and_then(|count| if count as u64 > MAX_FILE { Err(too_long()) } else { Ok(bytes) });
    read.map_err(|e| unusable(path, &e.to_string()))
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(Kind::Invalid, format!("cannot use {} for the engine: {why}", path.display()))
        .with_hint("DOCKER_CERT_PATH, or the context, names a directory with ca.pem, cert.pem and key.pem")
}
