//! The certificates that the sandbox is shown where its TLS is opened. Their keys never leave this process.

use agentkernel_model::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};
use rustls::{
    crypto::ring::sign::any_ecdsa_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SigningKey},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of sandboxes may be behind.
const BEFORE: Duration = DAY;
const AUTHORITY_LASTS: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const LEAF_LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// After which a new leaf is made, so that none runs out while it is used.
const LEAF_SERVES: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const MOST_LEAVES: usize = 256;

/// One for each gateway: what one sandbox trusts, no other does.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: String,
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
    /// The least recently used first.
    leaves: Mutex<VecDeque<Leaf>>,
}

struct Leaf {
    name: String,
    made: SystemTime,
    key: Arc<CertifiedKey>,
}

impl Authority {
    /// # Errors
    /// When there is no randomness.
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
        let mut params = lasting(AUTHORITY_LASTS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = named("agentkernel gateway authority");
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(broken)?;
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialized_der()));
        let leaf_signer = any_ecdsa_type(&der).map_err(broken)?;
        Ok(Self { pem: issuer.pem(), issuer, leaf_key, leaf_signer, leaves: Mutex::default() })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `name`, which is one of a host or an address as text.
    ///
    /// # Errors
    /// When `name` is neither, and as [`Authority::new`].
    pub(super) fn leaf(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        let now = SystemTime::now();
        if let Some(key) = self.cached(name, now) {
            return Ok(key);
        }
        let key = Arc::new(CertifiedKey::new(self.issue(name)?, Arc::clone(&self.leaf_signer)));
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        while leaves.len() >= MOST_LEAVES {
            leaves.pop_front();
        }
        leaves.push_back(Leaf { name: name.to_owned(), made: now, key: Arc::clone(&key) });
        Ok(key)
    }

    fn cached(&self, name: &str, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let at = leaves.iter().position(|leaf| leaf.name == name)?;
        let leaf = leaves.remove(at)?;
        // A clock that was turned back makes a new one as well.
        let fresh = now.duration_since(leaf.made).is_ok_and(|age| age < LEAF_SERVES);
        let key = fresh.then(|| Arc::clone(&leaf.key));
        if fresh {
            leaves.push_back(leaf);
        }
        key
    }

    fn issue(&self, name: &str) -> Result<Vec<CertificateDer<'static>>> {
        let mut params = lasting(LEAF_LASTS)?;
        // Tells addresses from names.
        params.subject_alt_names =
            CertificateParams::new(vec![name.to_owned()]).map_err(broken)?.subject_alt_names;
        params.distinguished_name = named("agentkernel gateway");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(broken)?;
        Ok(vec![leaf.der().clone()])
    }
}

fn lasting(time: Duration) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BEFORE);
    params.not_after = date_time_ymd(1970, 1, 1) + now + time;
    // RFC 5280, section 4.1.2.2: positive and not more than 20 bytes. Leaves share a key, so a hash of it will not do.
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)
        .map_err(|e| Error::internal("no random number can be had for a certificate").with_source(e))?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the gateway cannot make a certificate").with_source(error)
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
