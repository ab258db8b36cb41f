//! The certificate authority of a test, and the certificates of its servers.

use agentkernel_model::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{fmt, sync::Arc};

/// What a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    Right,
    /// Of the right names, until the year 2001.
    Expired,
    /// Of `elsewhere.test`.
    OtherName,
    /// Of the right names, by an authority that nobody knows.
    Stranger,
}

/// An authority whose key lives as long as it does.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// # Errors
    /// When the machine has no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate and its key, both as PEM, for a server that is another program.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn pair(&self, names: &[&str], certificate: Certificate) -> Result<(String, String)> {
        let (leaf, key) = self.leaf(names, certificate)?;
        Ok((leaf.pem(), key.serialize_pem()))
    }

    /// A certificate of `name`, a name or an address, for either side of a connection, and its key, both as PEM.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn mutual(&self, name: &str) -> Result<(String, String)> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok((certificate, key.serialize_pem()))
    }

    pub(super) fn server(&self, names: &[&str], certificate: Certificate) -> Result<Arc<ServerConfig>> {
        let (leaf, key) = self.leaf(names, certificate)?;
        let chain = vec![leaf.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn leaf(&self, names: &[&str], certificate: Certificate) -> Result<(rcgen::Certificate, KeyPair)> {
        let stranger;
        let issuer = if certificate == Certificate::Stranger {
            stranger = Self::new("somebody")?;
            &stranger.issuer
        } else {
            &self.issuer
        };
        let names = if certificate == Certificate::OtherName { &["elsewhere.test"] } else { names };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if certificate == Certificate::Expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().map_err(failed)?;
        let leaf = params.signed_by(&key, issuer).map_err(failed)?;
        Ok((leaf, key))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn failed(why: impl fmt::Display) -> Error {
    Error::internal(format!("cannot make a certificate: {why}"))
}
